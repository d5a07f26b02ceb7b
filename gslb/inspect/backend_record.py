"""What `gslb backend setup` made on this machine: each line, and the line that takes it back.  IO: one file in /run.

What the record names is gone after a reboot, and so is the record.  There is one for each network namespace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path("/run/gslb-backend")


def record_file() -> Path:
    """Of this network namespace."""
    return FOLDER / f"{Path('/proc/thread-self/ns/net').stat().st_ino}.json"


def read() -> dict[str, str]:
    """Line -> the line that takes it back, in the order in which they were run.  Raises OSError, but for none."""
    try:
        found = json.loads(record_file().read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        return {}  # a write that was broken off, by an older program: lines are told again as they are run
    return {str(line): str(undo) for line, undo in found.items()} if isinstance(found, dict) else {}


def write(lines: Mapping[str, str]) -> None:
    """Keep these; none: no file.  Raises OSError."""
    path = record_file()
    if not lines:
        path.unlink(missing_ok=True)
        return
    FOLDER.mkdir(mode=0o755, exist_ok=True)
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(lines, indent=1))
    partial.rename(path)
