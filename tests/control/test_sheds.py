"""Shed levels over a bus: a real one, and one that does what a bus may do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gslb.bus.bus import Away, Bus, Conflict, Entry, Hearer, Message, Standing
from gslb.bus.lone import Lone
from gslb.bus.shedword import Word, key_of, octets_of
from gslb.bus.stamps import Written
from gslb.bus.writers import writer_of
from gslb.control.clock import Clock
from gslb.control.sheds import Sheds
from gslb.decide.decide import decide
from gslb.model.deployment import Node, NodeId, SiteId
from gslb.model.history import Cause, Shed
from gslb.model.plan import Plan
from gslb.model.world import Load, World
from tests.bus.cluster import Cluster, installed
from tests.bus.hearing import bus_at, until
from tests.control.steered import FRA, IAD, MODEL, PLACES, SIN

NODES = (("fra", "fra1"), ("fra", "fra2"), ("iad", "iad1"))
TAKEOVER_S = 10.0


@dataclass
class Decider:
    """A node that decides when a decision is due; the load of fra is what it is told."""

    place: tuple[str, str]
    bus: Bus
    load: float = 0.9
    alone: bool = False
    live: tuple[tuple[str, str], ...] = NODES
    clock: Clock = field(default_factory=Clock)
    plan: Plan | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.due = asyncio.Event()
        self.sheds = Sheds(self.clock, self.due.set)
        self.sheds.want(MODEL, Node(NodeId(self.place[1]), SiteId(self.place[0])), alone=self.alone)

    def message(self, message: Message) -> None:
        """Nothing of it is told by messages."""

    def entry(self, entry: Entry) -> None:
        self.sheds.entry(entry)

    def listed(self, keys: frozenset[str]) -> None:
        self.sheds.listed(keys)

    def standing(self, standing: Standing) -> None:
        """It is asked for where it counts."""

    async def run(self) -> None:
        """Live until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.bus.run(self, self.stop))
            tasks.create_task(self.sheds.run(self.bus, self.stop))
            tasks.create_task(self._decide())

    async def _decide(self) -> None:
        while not self.stop.is_set():
            self.sheds.live(self.live)
            now = self.clock.now()
            loads = {FRA: Load(self.load), IAD: Load(0.2), SIN: Load(0.2)}
            world = World(now, loads=loads, given=self.sheds.given(now))
            self.plan = decide(MODEL, PLACES, world, self.plan)
            self.sheds.decided(self.plan)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.due.wait(), 0.2)
            self.due.clear()

    @property
    def steers(self) -> bool:
        """Whether it steers fra."""
        return FRA not in self.sheds.given(self.clock.now())

    @property
    def moved(self) -> object:
        """What fra sheds here."""
        shed = self.plan.history.sheds.get(FRA) if self.plan is not None else None
        return None if shed is None else (shed.level, shed.moved)


@contextlib.asynccontextmanager
async def lives(*nodes: Decider) -> AsyncIterator[None]:
    """The nodes live while the block lasts."""
    async with asyncio.TaskGroup() as tasks:
        for node in nodes:
            tasks.create_task(node.run())
        try:
            yield
        finally:
            for node in nodes:
                node.stop.set()


@pytest.mark.slow
@pytest.mark.skipif(installed() is None, reason="needs nats-server")
def test_over_a_real_bus_one_steers_and_another_goes_on_from_there(tmp_path: Path) -> None:
    async def check(url: str) -> None:
        nodes = {name: Decider((site, name), bus_at(url, node=name, site=site)) for site, name in NODES}
        first = nodes[str(writer_of(FRA, SiteId("fra"), NODES))]
        others = [node for node in nodes.values() if node is not first]
        async with lives(*nodes.values()):
            await until(lambda: first.steers and first.moved, 20)
            await until(lambda: all(node.moved == first.moved for node in others), 5)
            assert not any(node.steers for node in others)
            assert {node.sheds.writers[FRA] for node in others} == {first.place[1]}
            last, first_stop = first.moved, time.monotonic()
            first.stop.set()
            for node in others:
                node.live = tuple(place for place in NODES if place != first.place)
            heir = next(node for node in others if node.place[0] == "fra")
            await until(lambda: heir.steers, TAKEOVER_S)
            assert time.monotonic() - first_stop < TAKEOVER_S
            assert heir.moved == last  # it goes on from what was given, and rests for a dwell
            assert all(node.moved == last for node in others)

    with Cluster(tmp_path) as cluster:
        asyncio.run(check(cluster.urls[0]))


def test_who_is_alone_is_given_nothing() -> None:
    async def check() -> None:
        node = Decider(("fra", "fra1"), Lone(nodes=1, since=0.0), alone=True)
        async with lives(node):
            await until(lambda: node.moved is not None)
            assert node.steers
            assert node.sheds.writers == dict.fromkeys(MODEL.pools, "fra1")

    asyncio.run(check())


@dataclass
class Unruly:
    """A bus whose calls end as the test says: `Away`, or by the book."""

    away: bool = False
    entries: dict[str, Entry] = field(default_factory=dict)
    asked: int = 0
    hearer: Hearer | None = None
    standing: Standing = field(default_factory=lambda: Standing(connected=True, since=0.0))

    def publish(self, kind: str, body: bytes) -> bool:
        raise NotImplementedError

    async def get(self, key: str) -> Entry:
        if self.away:
            raise Away("as the test says")
        return self.entries.get(key, Entry(key, None, 0))

    async def put(self, key: str, value: bytes, revision: int | None = None) -> int:
        self.asked += 1
        now = await self.get(key)
        if revision is not None and revision != now.revision:
            raise Conflict(key)
        return self.write(key, value)

    def write(self, key: str, value: bytes) -> int:
        """As another node would; nobody is told."""
        entry = Entry(key, value, self.entries[key].revision + 1 if key in self.entries else 1)
        self.entries[key] = entry
        return entry.revision

    async def store(self, name: str, value: bytes) -> None:
        raise NotImplementedError

    async def fetch(self, name: str) -> bytes | None:
        raise NotImplementedError

    async def run(self, hearer: Hearer, stop: asyncio.Event) -> None:
        self.hearer = hearer
        for entry in self.entries.values():
            hearer.entry(entry)
        hearer.listed(frozenset(self.entries))
        await stop.wait()


def word(level: float, ahead_s: float = 0.0, node: str = "fra2") -> Word:
    """What another node says."""
    shed = Shed(Cause.LOAD, level, 5.0, "another geography")
    return Word(shed, Written(int((time.time() + ahead_s) * 1000), node), 3)


@pytest.mark.slow
def test_who_is_told_that_another_wrote_goes_on_from_what_that_one_said() -> None:
    async def check() -> None:
        bus = Unruly()
        node = Decider(("fra", "fra1"), bus, live=())
        async with lives(node):
            await until(lambda: key_of(FRA) in bus.entries, 15)
            bus.write(key_of(FRA), octets_of(word(0.5, 1.0), MODEL.name))
            node.plan = None  # it forgets, and decides and writes anew
            await until(lambda: node.plan is not None and node.plan.history.sheds[FRA].level > 0.4, 15)
            await until(lambda: node.steers, 15)
            assert node.plan is not None
            assert node.plan.history.sheds[FRA].level == pytest.approx(0.5, abs=0.02)

    asyncio.run(check())


@pytest.mark.slow
def test_what_cannot_be_written_now_is_written_later_and_once() -> None:
    async def check() -> None:
        bus = Unruly()
        node = Decider(("fra", "fra1"), bus, load=0.2, live=())
        async with lives(node):
            await until(lambda: node.steers, 15)
            bus.away, node.load = True, 0.9
            await until(lambda: bus.asked > 1, 15)
            assert key_of(FRA) not in bus.entries
            bus.away = False
            await until(lambda: key_of(FRA) in bus.entries, 15)
            tried = bus.asked
            await until(lambda: node.sheds.refused == 0 and bus.asked == tried)
            assert bus.entries[key_of(FRA)].revision == 1

    asyncio.run(check())


@dataclass
class Silent(Unruly):
    """A bus that never answers a write."""

    async def put(self, key: str, value: bytes, revision: int | None = None) -> int:  # type: ignore[explicit-override]
        self.asked += 1
        await asyncio.Event().wait()
        return await super().put(key, value, revision)


@pytest.mark.slow
def test_what_was_being_written_when_the_bus_changed_is_written_to_the_next() -> None:
    async def check() -> None:
        silent, after = Silent(), Unruly()
        node = Decider(("fra", "fra1"), silent, live=())
        async with lives(node):
            await until(lambda: silent.asked, 15)
        node.bus, node.stop = after, asyncio.Event()
        async with lives(node):
            await until(lambda: key_of(FRA) in after.entries, 15)

    asyncio.run(check())


def test_words_of_another_deployment_and_from_the_future_are_refused_and_counted() -> None:
    node = Decider(("fra", "fra1"), Unruly())
    values: Mapping[bytes, bool] = {
        octets_of(word(0.5), MODEL.name): True,
        octets_of(word(0.6), "another"): False,
        octets_of(replace(word(0.6, 3600.0)), MODEL.name): False,
        b"garbage": False,
    }
    for revision, (value, taken) in enumerate(values.items(), 1):
        node.due.clear()
        node.entry(Entry(key_of(FRA), value, revision))
        assert node.due.is_set() == taken
    given = node.sheds.given(node.clock.now())[FRA]
    assert node.sheds.refused == 3
    assert given.node == "fra2"
    assert given.shed is not None
    assert given.shed.level == 0.5
    assert node.clock.now() - given.shed.stepped_at < 60  # as heard, whatever its writer's clock says
