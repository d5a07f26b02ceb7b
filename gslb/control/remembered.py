"""What the last start with this very configuration file wanted, so that a restart need not read the zones first.  IO.

Rule 1: it is taken only where the file's octets and the words that name the node are the same: then what the
controller will say is known.  Rule 2: it is a hint; without it a start is only slower.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path

from gslb.control.start import Start
from gslb.control.wanted import Wanted, from_json

_CONFIG_MAX = 16 << 20  # octets; reading a longer one is left to the controller
_KEPT = 16  # files of other configurations


def remember(start: Start, wanted: Wanted) -> None:
    """Keep `wanted` for the next start.  Never fails."""
    path = _path(start)
    if path is None:
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(wanted.to_json()))
        beside.replace(path)
        for old in sorted(path.parent.glob("*.json"), key=lambda one: one.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)
    except OSError:
        return


def recall(start: Start) -> Wanted | None:
    """What the last start with this configuration wanted; None where that is not known."""
    path = _path(start)
    try:
        return None if path is None else from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _path(start: Start) -> Path | None:
    try:
        with start.config.open("rb") as file:
            content = file.read(_CONFIG_MAX + 1)
    except OSError:
        return None
    if len(content) > _CONFIG_MAX:
        return None
    name = blake2b(f"{start.config.absolute()}\0{start.identity}\0".encode() + content, digest_size=16).hexdigest()
    return start.state / "starts" / f"{name}.json"
