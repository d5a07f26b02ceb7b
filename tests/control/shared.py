"""A bus in memory for tests: one bucket, and a line to it for each node that can be cut."""

from __future__ import annotations

import asyncio

from gslb.bus.bus import Away, Conflict, Entry, Hearer, Standing


class Bucket:
    """What a cluster keeps."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[int, bytes | None]] = {}
        self.objects: dict[str, bytes] = {}
        self.lines: list[Line] = []
        self._last = 0

    def write(self, key: str, value: bytes | None) -> int:
        """Write without being asked for a revision, and tell all who are connected."""
        self._last += 1
        self.held[key] = self._last, value
        for line in self.lines:
            line.hear(key)
        return self._last

    def lose(self) -> None:
        """All is gone, and a new one is there."""
        self.held.clear()
        self.objects.clear()
        self._last = 0
        for line in self.lines:
            line.list()


class Line:
    """`gslb.bus.bus.Bus` of one node."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._hearer: Hearer | None = None
        self.standing = Standing(connected=False, since=0.0)
        self.writes = 0
        bucket.lines.append(self)

    def connect(self, hearer: Hearer) -> None:
        """The connection is there: all keys come."""
        self._hearer = hearer
        self.standing = Standing(connected=True, since=1.0)
        hearer.standing(self.standing)
        for key in self._bucket.held:
            self.hear(key)
        self.list()

    def cut(self) -> None:
        """The connection is lost."""
        self.standing = Standing(connected=False, since=2.0)
        if self._hearer is not None:
            self._hearer.standing(self.standing)

    def list(self) -> None:
        """All keys that there are."""
        if self.standing.connected and self._hearer is not None:
            self._hearer.listed(frozenset(self._bucket.held))

    def hear(self, key: str) -> None:
        """A key's value as it is now."""
        if self.standing.connected and self._hearer is not None:
            revision, value = self._bucket.held[key]
            self._hearer.entry(Entry(key, value, revision))

    def publish(self, kind: str, body: bytes) -> bool:  # noqa: ARG002
        """Messages are not needed here."""
        return False

    async def get(self, key: str) -> Entry:
        """See Bus."""
        self._reach()
        await asyncio.sleep(0)
        revision, value = self._bucket.held.get(key, (0, None))
        return Entry(key, value, revision)

    async def put(self, key: str, value: bytes, revision: int | None = None) -> int:
        """See Bus."""
        self._reach()
        await asyncio.sleep(0)
        if revision is not None and self._bucket.held.get(key, (0, None))[0] != revision:
            raise Conflict
        self.writes += 1
        return self._bucket.write(key, value)

    async def store(self, name: str, value: bytes) -> None:
        """See Bus."""
        self._reach()
        await asyncio.sleep(0)
        self._bucket.objects[name] = value

    async def fetch(self, name: str) -> bytes | None:
        """See Bus."""
        self._reach()
        await asyncio.sleep(0)
        return self._bucket.objects.get(name)

    async def run(self, hearer: Hearer, stop: asyncio.Event) -> None:
        """Connected until `stop`."""
        self.connect(hearer)
        await stop.wait()

    def _reach(self) -> None:
        if not self.standing.connected:
            raise Away("the line is cut")
