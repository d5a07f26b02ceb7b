"""What the balancer, and DNS in the driver, said of themselves last, for `gslb status`: a file in the run folder.  IO.

An orderly end removes it with that folder's content; after a crash it tells what still forwards.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "balancer.json"
_MAX = 64 << 20  # octets

log = logging.getLogger("gslb.balancer")


def save(run: Path, state: Mapping[str, object]) -> None:
    """Keep `state` (`gslb.control.balancing.Balancing.to_json`).  Never fails."""
    beside = run / f"{NAME}.new"
    try:
        beside.write_text(json.dumps(state, separators=(",", ":")))
        beside.replace(run / NAME)
    except OSError as error:
        log.warning("the balancer's state for `gslb status` cannot be written", extra={"why": error.strerror})


def read(run: Path) -> dict[str, Any] | None:
    """The state that was kept; None where there is none."""
    try:
        with (run / NAME).open("rb") as file:
            found = json.loads(file.read(_MAX))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
