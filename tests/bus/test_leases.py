"""Leases: never two holders at one moment, whatever the bus, the clocks and the machines do."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.bus.bus import Away, Bus, Conflict, Entry, Standing
from gslb.bus.leases import MARGIN, MARGIN_S, Leases
from gslb.bus.lone import Lone
from tests.bus.cluster import Cluster
from tests.bus.hearing import bus_at, running, until

TTL = 10.0
CALL_S = 5.0


@dataclass
class Pause:
    """What a coroutine of the simulation waits for: so many seconds."""

    seconds: float

    def __await__(self) -> Generator[Pause, None, None]:
        yield self


class Sea:
    """A simulated world: one store, slow and lossy ways to it, clocks that differ, machines that stand still."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 0.0
        self.entries: dict[str, Entry] = {}
        self.revision = 0
        self.clients: list[Client] = []
        self.takes = 0
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._works: list[Coroutine[Any, Any, None]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._numbers), act))

    def go(self, work: Coroutine[Any, Any, None], alive: Callable[[], bool]) -> None:
        self._works.append(work)

        def step() -> None:
            if not alive():
                return
            try:
                pause = work.send(None)
            except StopIteration:
                return
            self.after(pause.seconds, step)

        self.after(0, step)

    def run(self, until_s: float) -> None:
        while self._queue and self.now < until_s:
            self.now, _, act = heapq.heappop(self._queue)
            act()
            holders = [client.name for client in self.clients if client.alive and client.leases.held("vip")]
            assert len(holders) < 2, f"at {self.now:.2f} s {holders} hold it"

    def close(self) -> None:
        for work in self._works:
            work.close()

    def apply(self, key: str, value: bytes, revision: int | None) -> int | None:
        current = self.entries.get(key, Entry(key, None, 0))
        if revision is not None and current.revision != revision:
            return None
        self.revision += self.dice.choice((1, 1, 3))
        entry = self.entries[key] = Entry(key, value, self.revision)
        for client in self.clients:  # their watch of the keys: late now and then, out of order, or never
            if client.alive and self.dice.random() < 0.8:
                self.after(self.dice.choice((0.001, 0.001, 0.5, 8.0)), partial(client.leases.entry, entry))
        return self.revision

    def lose_the_bucket(self) -> None:
        """Numbers begin anew; that the same one comes back while a call is under way is not tried."""
        self.entries.clear()
        self.revision = self.dice.randrange(10**6) * 1000


class Client:
    """One run of a node: its ways to the store, and its clock."""

    standing = Standing(connected=True, since=0.0)

    def __init__(self, sea: Sea, name: str, run: int) -> None:
        self.sea, self.name, self.alive = sea, name, True
        self._offset = sea.dice.uniform(-1e6, 1e6)
        self._rate = sea.dice.uniform(0.95, 1.05)
        bus: Bus = self  # type: ignore[assignment]  # only what leases need
        self.leases = Leases(bus, name, f"{name}-{run}", lambda: self._offset + self._rate * sea.now)

    async def get(self, key: str) -> Entry:
        await self._way()
        found = self.sea.entries.get(key, Entry(key, None, 0))
        await self._way()
        return found

    async def put(self, key: str, value: bytes, revision: int | None = None) -> int:
        dice, sea = self.sea.dice, self.sea
        if dice.random() < 0.1:  # it comes to the store later than anybody waits for
            sea.after(dice.uniform(0, 30), partial(sea.apply, key, value, revision))
            await Pause(CALL_S)
            raise Away
        await self._way()
        written = sea.apply(key, value, revision)
        await self._way()  # the answer may be lost
        if written is None:
            raise Conflict(key)
        return written

    async def _way(self) -> None:
        if self.sea.dice.random() < 0.08:
            await Pause(CALL_S)
            raise Away
        await Pause(self.sea.dice.choice((0.01, 0.1, 1.0, 4.0)))

    async def live(self) -> None:
        dice = self.sea.dice
        while True:
            before = self.leases.held("vip")
            if before and dice.random() < 0.05:
                await self.leases.release("vip")
            elif await self.leases.acquire("vip", TTL) and not before:
                self.sea.takes += 1
            await Pause(dice.choice((0.1, TTL / 3, TTL / 3, TTL / 3, 3 * TTL)))


async def _disasters(sea: Sea) -> None:
    runs = itertools.count(1)
    while True:
        await Pause(sea.dice.uniform(5, 120))
        if sea.dice.random() < 0.3:
            sea.lose_the_bucket()
        else:
            old = sea.dice.choice([client for client in sea.clients if client.alive])
            old.alive = False
            _begin(sea, old.name, next(runs))


def _begin(sea: Sea, name: str, run: int) -> None:
    client = Client(sea, name, run)
    sea.clients.append(client)
    sea.go(client.live(), lambda: client.alive)


@given(seed=st.integers(0, 2**32))
def test_never_two_holders(seed: int) -> None:
    sea = Sea(seed)
    for name in ("fra1", "fra2", "iad1", "sin1"):
        _begin(sea, name, 0)
    sea.go(_disasters(sea), lambda: True)
    try:
        sea.run(1200)
    finally:
        sea.close()
    assert sea.takes, "nobody ever held it: nothing was tried"


class Timed:
    """Leases of several nodes over one memory, with one clock that the test turns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.lone = Lone(1, 0.0)
        self.shared = Shared(self.lone)

    def node(self, name: str, run: str = "1") -> Leases:
        return Leases(self.shared, name, run, lambda: self.now)


class Shared:
    """A bus that others could be on."""

    def __init__(self, lone: Lone) -> None:
        self._lone = lone
        self.get, self.put, self.store, self.fetch = lone.get, lone.put, lone.store, lone.fetch
        self.run, self.publish = lone.run, lone.publish

    @property
    def standing(self) -> Standing:
        return Standing(connected=True, since=0.0)


def _wait_s(ttl_s: float) -> float:
    return ttl_s * (1 + MARGIN) + MARGIN_S + 0.001


async def _won(timed: Timed, leases: Leases) -> None:
    assert not await leases.acquire("vip", TTL), "nobody knows who had it before"
    timed.now += _wait_s(TTL)
    assert await leases.acquire("vip", TTL)


def _run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


def test_it_ends_by_itself_and_another_waits_its_whole_time() -> None:
    async def work() -> None:
        timed = Timed()
        left, right = timed.node("fra1"), timed.node("iad1")
        await _won(timed, left)
        assert not await right.acquire("vip", TTL)
        assert right.holder("vip") == left.holder("vip") == "fra1"
        timed.now += TTL - 4
        assert (left.left("vip"), right.left("vip"), left.left("other")) == (4, 0, 0)
        timed.now += 4
        assert (left.held("vip"), left.left("vip")) == (False, 0)
        assert not await right.acquire("vip", TTL)
        timed.now += _wait_s(TTL) - TTL
        assert await right.acquire("vip", TTL)
        assert not await left.acquire("vip", TTL)
        assert left.holder("vip") == "iad1"

    _run(work)


def test_it_is_renewed_and_released() -> None:
    async def work() -> None:
        timed = Timed()
        left, right = timed.node("fra1"), timed.node("iad1")
        await _won(timed, left)
        for _ in range(10):
            timed.now += TTL / 3
            assert await left.acquire("vip", TTL)
            assert not await right.acquire("vip", TTL)
        await right.release("vip")
        assert left.held("vip"), "what another holds cannot be released"
        await left.release("vip")
        assert not left.held("vip")
        assert await right.acquire("vip", TTL), "what was released need not be waited for"

    _run(work)


def test_an_earlier_run_is_another_holder_unless_the_run_is_the_same() -> None:
    async def work() -> None:
        timed = Timed()
        await _won(timed, timed.node("fra1", "1"))
        assert not await timed.node("fra1", "2").acquire("vip", TTL)
        assert await timed.node("fra1", "1").acquire("vip", TTL)

    _run(work)


def test_alone_it_is_given_at_once_but_not_beside_nodes_that_cannot_be_asked() -> None:
    async def work() -> None:
        assert await Leases(Lone(1, 0.0), "fra1", "1").acquire("2001:db8::/32", TTL)
        lone = Lone(2, 0.0)
        assert not await Leases(lone, "fra1", "1").acquire("vip", TTL)
        with pytest.raises(Away, match="2 nodes: a lease needs a bus"):
            await lone.put("lease.vip", b"")

    _run(work)


def test_what_stands_there_and_is_no_lease_is_waited_for() -> None:
    async def work() -> None:
        timed = Timed()
        await timed.lone.put("lease.vip", b"{}")
        await _won(timed, timed.node("fra1"))
        with pytest.raises(ValueError, match="expected more than 0"):
            await timed.node("fra1").acquire("vip", 0)

    _run(work)


@pytest.mark.slow
def test_two_nodes_race_for_one_lease_by_a_real_server(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("nats-server")

    async def work() -> None:
        with Cluster(tmp_path) as cluster:
            left, right = bus_at(*cluster.urls), bus_at(*cluster.urls, node="iad1")
            async with running(left), running(right):
                both = Leases(left, "fra1", "1"), Leases(right, "iad1", "1")
                deadline = asyncio.get_running_loop().time() + 10
                while not any(lease.held("198.51.100.0/24") for lease in both):
                    assert asyncio.get_running_loop().time() < deadline
                    won = await asyncio.gather(*(lease.acquire("198.51.100.0/24", 1.0) for lease in both))
                    assert sum(won) < 2
                    await asyncio.sleep(0.05)
                holder, other = both if both[0].held("198.51.100.0/24") else both[::-1]
                assert not await other.acquire("198.51.100.0/24", 1.0)
                assert other.holder("198.51.100.0/24") in ("fra1", "iad1")
                cluster.servers[0].kill()
                await until(lambda: not holder.held("198.51.100.0/24"), 2)
                assert not await holder.acquire("198.51.100.0/24", 1.0)

    _run(work)
