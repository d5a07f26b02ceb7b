"""What the controller needs of a bus.  `gslb.bus.nats` has it by NATS, `gslb.bus.lone` for a node that is alone.

Rule 1: nothing here waits for the network but the `async` functions, and those end within 5 s (objects: 30 s), by Away at the latest.
Rule 2: what cannot be sent now is not kept for later: its sender tells it anew, with its age of then.
Rule 3: what is heard is given to `Hearer` in the event loop, whole and bounded, from this deployment alone.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Protocol

MESSAGE_MOST = 64 << 10  # octets of a message's body
VALUE_MOST = 512 << 10  # octets of a key's value; less than a NATS server takes by default
OBJECT_MOST = 16 << 20  # octets of an object
KEY = re.compile(r"[A-Za-z0-9_=-]{1,64}(\.[A-Za-z0-9_=-]{1,64}){0,7}")  # what a key may look like
LEASE = "lease."  # how keys of leases begin


class Away(Exception):
    """The bus cannot be reached now, or a majority of its servers cannot: nothing was changed as far as is known."""


class Conflict(Exception):
    """Another wrote the key since it was read."""


def check_key(key: str) -> str:
    """The key.  Raises ValueError where it is not made as keys are."""
    if not KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key: expected letters, digits, - = and _ in at most 8 parts between dots")
    return key


def check_size(what: str, value: bytes, most: int) -> None:
    """Raises ValueError where `value` is longer than `most` octets."""
    if len(value) > most:
        raise ValueError(f"{what} has {len(value)} octets - expected at most {most}")


@dataclass(frozen=True, slots=True)
class Message:
    """What a node told all others.  `site`, `node` and `kind` are those of its subject; `heard_at` by the monotonic clock."""

    site: str
    node: str
    kind: str
    body: bytes
    heard_at: float


@dataclass(frozen=True, slots=True)
class Entry:
    """The value of a key at a revision (0: the key is not there)."""

    key: str
    value: bytes | None
    revision: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a bus stands, for people.

    `since`: since when (seconds since the epoch) it is as `connected` says; `server` is where it is connected;
    `refused` counts what was refused by cause; `why` is the last error while it is not connected.
    `keys_why`: why keys cannot be read or written while it is connected (its servers have no majority); empty while they can.
    `alone`: there is no bus, by configuration.
    """

    connected: bool
    since: float
    server: str = ""
    why: str = ""
    refused: dict[str, int] | None = None
    alone: bool = False
    keys_why: str = ""


class Hearer(Protocol):
    """Who is told what comes by the bus."""

    def message(self, message: Message) -> None:
        """Another node told something."""

    def entry(self, entry: Entry) -> None:
        """A key has this value now; after a connection also those that did not change."""

    def listed(self, keys: frozenset[str]) -> None:
        """All keys that there are; each was told by `entry` since the connection was made.

        After each connection, about every 30 s, and after the bucket was lost and made anew: who keeps what ought to be
        there, and does not find it, puts it.
        """

    def standing(self, standing: Standing) -> None:
        """The connection was made or lost, or the keys can be reached again or no longer."""


class Bus(Protocol):
    """Messages to all nodes of a deployment, and keys that all nodes share."""

    @property
    def standing(self) -> Standing:
        """Where it stands now."""

    def publish(self, kind: str, body: bytes) -> bool:
        """Tell all other nodes; False where it cannot be told now.  Never waits."""

    async def get(self, key: str) -> Entry:
        """The value of a key, from the leader of its replicas.  Raises Away.

        A leader that was cut off from the others may tell an old value for some seconds; what must be sure is written
        with `revision`, which takes a majority.
        """

    async def put(self, key: str, value: bytes, revision: int | None = None) -> int:
        """Write a key; with `revision` only if that is still its revision (0: it is not there).  The new revision.

        Raises Away (then it may have been written all the same) and Conflict.
        """

    async def store(self, name: str, value: bytes) -> None:
        """Keep an object that is larger than a key's value, at most some MB.  Raises Away."""

    async def fetch(self, name: str) -> bytes | None:
        """An object; None where there is none.  Raises Away."""

    async def run(self, hearer: Hearer, stop: asyncio.Event) -> None:
        """Be connected, again after each loss, until `stop`."""
