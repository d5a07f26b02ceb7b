"""What the controller needs of a bus.  `gslb.bus.nats` has it by NATS, `gslb.bus.lone` for a node that is alone.

Rule 1: nothing here waits for the network but the `async` functions, and those end within a few seconds, by Away at the latest.
Rule 2: what cannot be sent now is not kept for later: its sender tells it anew, with its age of then.
Rule 3: what is heard is given to `Hearer` in the event loop, whole and bounded, from this deployment alone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

MESSAGE_MOST = 64 << 10  # octets of a message's body
VALUE_MOST = 512 << 10  # octets of a key's value; less than a NATS server takes by default


class Away(Exception):
    """The bus cannot be reached now, or a majority of its servers cannot: nothing was changed as far as is known."""


class Conflict(Exception):
    """Another wrote the key since it was read."""


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
    `alone`: there is no bus, by configuration.
    """

    connected: bool
    since: float
    server: str = ""
    why: str = ""
    refused: dict[str, int] | None = None
    alone: bool = False


class Hearer(Protocol):
    """Who is told what comes by the bus."""

    def message(self, message: Message) -> None:
        """Another node told something."""

    def entry(self, entry: Entry) -> None:
        """A key has this value now; after a connection also those that did not change."""

    def standing(self, standing: Standing) -> None:
        """The connection was made or lost."""


class Bus(Protocol):
    """Messages to all nodes of a deployment, and keys that all nodes share."""

    @property
    def standing(self) -> Standing:
        """Where it stands now."""

    def publish(self, kind: str, body: bytes) -> bool:
        """Tell all other nodes; False where it cannot be told now.  Never waits."""

    async def get(self, key: str) -> Entry:
        """The value of a key, from a majority.  Raises Away."""

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
