"""The configuration in force, kept beside the plan: for commands while its files are refused.  IO.

It is written when a configuration is put in force, and loaded again with all checks (`gslb.config.load.load_copy`).
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from gslb.config.origin import Copy
from gslb.control.store import CONFIGURATION, MAX_FILE, StateError, Store

FORMAT = 1

log = logging.getLogger("gslb.node")


def keep(store: Store, copy: Copy) -> None:
    """Keep `copy` in place of an earlier one; never fails, since only commands depend on it, and only for a while."""
    try:
        texts = {name: octets.decode() for name, octets in copy.octets.items()}
        found = {"format": FORMAT, "config": str(copy.config), "files": texts, "matched": copy.matched}
        data = json.dumps(found).encode()
        if len(data) > MAX_FILE:
            raise StateError(f"it is larger than {MAX_FILE >> 20} MB")
        store.save_file(CONFIGURATION, data, sync=False)
    except (StateError, ValueError) as error:
        store.drop_file(CONFIGURATION)  # an older one is in force no more
        why = {"why": str(error)}
        log.warning("no copy of the configuration is kept: while its files are refused, commands refuse too", extra=why)


def kept(store: Store) -> Copy | None:
    """The copy in a node's state folder; None where there is none that can be read."""
    try:
        raw = json.loads(store.read_file(CONFIGURATION) or b"null")
        if raw["format"] != FORMAT:
            return None
        octets = {str(name): text.encode() for name, text in raw["files"].items()}
        matched = {str(pattern): tuple(map(str, names)) for pattern, names in raw["matched"].items()}
        return Copy(Path(raw["config"]), octets, matched)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
