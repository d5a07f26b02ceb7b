"""The bus of a node that is alone: nobody hears it, and its keys are in memory.  No IO.

It makes no promise about other nodes: in a deployment of several nodes it writes no lease (DESIGN: without a bus there is
only drain).
"""

from __future__ import annotations

import asyncio

from gslb.bus.bus import (
    LEASE,
    MESSAGE_MOST,
    OBJECT_MOST,
    VALUE_MOST,
    Away,
    Conflict,
    Entry,
    Hearer,
    Standing,
    check_key,
    check_size,
)


class Lone:
    """`Bus` for one node.  `nodes` is how many the deployment has, `since` the time of now (seconds since the epoch)."""

    def __init__(self, nodes: int, since: float) -> None:
        self._nodes = nodes
        self._standing = Standing(connected=False, since=since, why="no bus is configured", alone=True)
        self._entries: dict[str, Entry] = {}
        self._objects: dict[str, bytes] = {}
        self._revision = 0
        self._hearer: Hearer | None = None

    @property
    def standing(self) -> Standing:
        """Alone, by configuration."""
        return self._standing

    def publish(self, kind: str, body: bytes) -> bool:
        """Nobody is there to be told."""
        check_size(f"a message of {kind}", body, MESSAGE_MOST)
        return False

    async def get(self, key: str) -> Entry:
        """The value of a key."""
        return self._entries.get(key) or Entry(key, None, 0)

    async def put(self, key: str, value: bytes, revision: int | None = None) -> int:
        """Write a key.  Raises Conflict, and Away for a lease that other nodes could want."""
        check_key(key)
        check_size(key, value, VALUE_MOST)
        if key.startswith(LEASE) and self._nodes > 1:
            raise Away(f"no bus is configured, and the deployment has {self._nodes} nodes: a lease needs a bus")
        if revision is not None and revision != (await self.get(key)).revision:
            raise Conflict(key)
        self._revision += 1
        self._entries[key] = Entry(key, value, self._revision)
        if self._hearer is not None:
            self._hearer.entry(self._entries[key])
        return self._revision

    async def store(self, name: str, value: bytes) -> None:
        """Keep an object."""
        check_size(name, value, OBJECT_MOST)
        self._objects[name] = value

    async def fetch(self, name: str) -> bytes | None:
        """An object; None where there is none."""
        return self._objects.get(name)

    async def run(self, hearer: Hearer, stop: asyncio.Event) -> None:
        """Tell the keys that there are, and then each that is written, until `stop`."""
        self._hearer = hearer
        hearer.standing(self._standing)
        for entry in list(self._entries.values()):
            hearer.entry(entry)
        hearer.listed(frozenset(self._entries))
        await stop.wait()
        self._hearer = None
