"""Who hears a bus in tests, and runs of it in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from gslb.bus.access import Access
from gslb.bus.bus import Bus, Entry, Message, Standing
from gslb.bus.nats import Nats

WAIT_S = 40.0


class Ear:
    """Keeps what it is told; raises an error when it is told the value that it cannot stand."""

    def __init__(self, cannot_stand: bytes = b"\0unheard of") -> None:
        self._cannot_stand = cannot_stand
        self.messages: list[Message] = []
        self.entries: list[Entry] = []
        self.keys: dict[str, bytes | None] = {}
        self.lists: list[frozenset[str]] = []
        self.standings: list[Standing] = []

    def message(self, message: Message) -> None:
        self.messages.append(message)

    def entry(self, entry: Entry) -> None:
        if entry.value == self._cannot_stand:
            raise ValueError("this cannot be stood")
        self.entries.append(entry)
        self.keys[entry.key] = entry.value

    def listed(self, keys: frozenset[str]) -> None:
        self.lists.append(keys)

    def standing(self, standing: Standing) -> None:
        self.standings.append(standing)

    @property
    def bodies(self) -> list[bytes]:
        return [message.body for message in self.messages]


def bus_at(*urls: str, node: str = "fra1", site: str = "fra", deployment: str = "example", **access: object) -> Nats:
    """A bus that is not run yet."""
    return Nats(Access(urls=urls, **access), deployment, site, node, time.time)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def running(bus: Bus, connected: bool = True) -> AsyncIterator[Ear]:  # noqa: FBT001, FBT002
    """Run a bus while the block lasts; it begins when the bus is connected and has listed its keys."""
    ear, stop = Ear(), asyncio.Event()
    task = asyncio.ensure_future(bus.run(ear, stop))
    try:
        if connected:
            await until(lambda: bool(ear.lists) or task.done())
        yield ear
    finally:
        stop.set()
        await asyncio.wait_for(task, 5)


async def until(condition: Callable[[], object], within: float = WAIT_S) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.005)
