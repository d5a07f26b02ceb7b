"""What a node keeps of the others: for its next start, and for commands.  IO.

    shared.bin     what other nodes told last, and since when this node's own opinions hold
    world.json     the world as decisions go by it (gslb.control.observed); absent on a node that is alone
    sharing.json   the bus and the other nodes, for `gslb status`

Rule: what cannot be read is as if it were not there, and is told once.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from gslb.bus.peers import Peers, PeersUnreadable
from gslb.control.observed import Observed, dump_observed, parse_observed
from gslb.control.opinions import Opinions
from gslb.control.sharing import aged
from gslb.control.store import ObservedRead, Store, bounded

KNOWN, WORLD, SHARING = "shared.bin", "world.json", "sharing.json"
FORMAT = 1

log = logging.getLogger("gslb.node")

_Known = tuple[int, float, dict[int, tuple[str, float]], bytes]
_DECODER = msgspec.msgpack.Decoder(_Known)


def save_known(store: Store, peers: Peers, opinions: Opinions, now: float, wall_s: float) -> None:
    """Keep it for the next start; `now` is monotonic, `wall_s` seconds since the epoch.  Raises OSError."""
    raw = (FORMAT, wall_s, opinions.since(now), peers.dump(store.deployment, now, wall_s))
    _replace(store.folder / KNOWN, msgspec.msgpack.encode(raw))


def load_known(store: Store, peers: Peers, opinions: Opinions, now: float, wall_s: float) -> None:
    """Begin with what an earlier run kept, older by the time between."""
    try:
        data = bounded(store.folder / KNOWN)
        if data is None:
            return
        form, written_at, since, told = _DECODER.decode(data)
        if form != FORMAT:
            raise ValueError(f"format {form}, expected {FORMAT}")
        passed = max(0.0, wall_s - written_at)
        opinions.restore({key: (health, for_s + passed) for key, (health, for_s) in since.items()}, now)
        peers.load(told, store.deployment, now, wall_s)
    except (OSError, ValueError, msgspec.MsgspecError, PeersUnreadable) as error:
        log.warning("what other nodes told last is not known", extra={"why": str(error)})


def save_world(store: Store, seen: Observed, sharing: Mapping[str, object]) -> None:
    """Keep the shared world for commands.  Raises OSError."""
    _replace(store.folder / WORLD, dump_observed(store.deployment, seen))
    _replace(store.folder / SHARING, json.dumps(sharing, separators=(",", ":")).encode())


def drop_world(store: Store) -> None:
    """There is no shared world: the node is alone."""
    for name in (WORLD, SHARING):
        with suppress(OSError):
            (store.folder / name).unlink(missing_ok=True)


def read_seen(store: Store) -> ObservedRead:
    """What decisions went by last: the shared world, on a node that is alone its own."""
    try:
        data = bounded(store.folder / WORLD)
        if data is not None:
            return ObservedRead(parse_observed(data, store.deployment))
    except (OSError, ValueError) as error:
        own = store.read_observed()
        return ObservedRead(own.seen, f"{store.folder / WORLD}: {error}; what this node itself observed is shown")
    return store.read_observed()


def read_sharing(store: Store, now: float) -> dict[str, Any] | None:
    """The bus and the other nodes as they were written last, aged to `now`; None on a node that is alone."""
    try:
        return aged(json.loads(bounded(store.folder / SHARING) or b"null"), now)
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None


def _replace(path: Path, data: bytes) -> None:
    """Not synced: it is written often, and told anew."""
    beside = path.with_name(f".{path.name}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    beside.replace(path)
