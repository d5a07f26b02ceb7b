"""Leases to withdraw prefixes: prepared at the start, one holder, given on when they are given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest

from gslb.bus.bus import Bus, Entry, Message, Standing
from gslb.bus.leases import MARGIN_S
from gslb.bus.lone import Lone
from gslb.control import leaving
from gslb.control.leaving import Leaving
from tests.control.shared import Bucket, Line

VIP, OTHER = ip_network("192.0.2.53/32"), ip_network("2001:db8:1111:2222:3333:4444:5555:6666/128")
TTL_S = 1.0

pytestmark = pytest.mark.slow


@dataclass
class Node:
    """One node's leases, as `Shared` has them take part."""

    name: str
    bus: Bus
    changes: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.leaving = Leaving(self.name, self._changed)
        self.leaving.guard([VIP, OTHER])

    def _changed(self) -> None:
        self.changes += 1

    def message(self, message: Message) -> None:
        """Nothing of it is told by messages."""

    def entry(self, entry: Entry) -> None:
        self.leaving.entry(entry)

    def listed(self, keys: frozenset[str]) -> None:
        self.leaving.listed(keys)

    def standing(self, standing: Standing) -> None:
        """It is asked for where it counts."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.bus.run(self, self.stop))
            tasks.create_task(self.leaving.run(self.bus, self.stop))

    def has(self, *prefixes: object) -> bool:
        """Whether it holds the leases of exactly these."""
        return {one for one in (VIP, OTHER) if self.leaving.left_s(one) > 0} == set(prefixes)


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    works = [asyncio.create_task(node.run()) for node in nodes]
    try:
        yield
    finally:
        for node in nodes:
            node.stop.set()
        await asyncio.gather(*works)


async def until(condition: Callable[[], bool], within_s: float = 15.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # of another's state
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The times of the test; they only differ in size."""
    for name, seconds in (("TTL_S", TTL_S), ("RENEW_S", TTL_S / 3), ("AGAIN_S", 0.2), ("PREPARE_S", 0.2)):
        monkeypatch.setattr(leaving, name, seconds)


def test_one_after_the_other_and_at_once_when_it_was_given_back() -> None:
    async def work() -> None:
        bucket = Bucket()
        fra, iad = (Node(name, Line(bucket)) for name in ("fra", "iad"))
        async with running(fra, iad):
            await until(lambda: {*bucket.held} == {leaving_key(VIP), leaving_key(OTHER)})
            await until(lambda: all(b"true" in (value or b"") for _, value in bucket.held.values()))
            assert fra.has(), "it was prepared, and given back"
            assert iad.has()
            loop = asyncio.get_running_loop()
            at = loop.time()
            fra.leaving.want([VIP])
            await until(lambda: fra.has(VIP))
            iad.leaving.want([VIP, OTHER])
            await until(lambda: iad.has(OTHER))
            assert loop.time() - at < TTL_S + MARGIN_S, "one that was had before is given at once"
            assert iad.leaving.holder(VIP) == "fra"
            await asyncio.sleep(1.5 * TTL_S)
            assert fra.has(VIP), "it is renewed"
            assert iad.has(OTHER)
            fra.leaving.want([])
            await until(lambda: iad.has(VIP, OTHER))
            assert fra.has()
            assert fra.changes
            assert iad.changes

    asyncio.run(work())


def test_a_lost_line_ends_it_and_another_run_of_ours_is_another_holder() -> None:
    async def work() -> None:
        bucket = Bucket()
        line = Line(bucket)
        node = Node("fra", line)
        node.leaving.want([VIP])
        async with running(node):
            await until(lambda: node.has(VIP))
            line.cut()
            await until(node.has)
            line.connect(node)
            await until(lambda: node.has(VIP))
        assert node.has(), "it is held by nobody who does not run"
        again = Node("fra", Line(bucket))
        again.leaving.want([VIP])
        async with running(again):
            await until(lambda: again.leaving.holder(VIP) == "fra")
            assert again.has()
            await until(lambda: again.has(VIP))

    asyncio.run(work())


def test_a_node_that_is_alone_has_them_at_once_and_among_several_without_a_bus_nobody_has() -> None:
    async def work() -> None:
        for nodes in (1, 2):
            node = Node("fra", Lone(nodes, 0.0))
            node.leaving.want([VIP])
            async with running(node):
                if nodes == 1:
                    await until(lambda node=node: node.has(VIP))  # type: ignore[misc]
                else:
                    await asyncio.sleep(2 * TTL_S)
                    assert node.has()

    asyncio.run(work())


def leaving_key(prefix: object) -> str:
    return "lease.bgp-" + str(prefix).replace(":", "=3A").replace("/", "=2F").replace(".", "=2E")
