"""Several nodes in one event loop, over a bus in memory that can be cut."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from gslb.bus.bus import Away, Bus, Entry, Hearer, Message, Standing
from gslb.bus.lone import Lone
from gslb.control import sharedfile
from gslb.control.clock import Clock
from gslb.control.facts import Facts
from gslb.control.membership import Joins, Owner
from gslb.control.observed import Observed
from gslb.control.shared import Shared
from gslb.control.store import Store
from gslb.control.teller import Itself
from gslb.model.deployment import Datacenter, Deployment, Monitor, MonitorId, Node, NodeId, PoolId, SiteId
from gslb.model.world import Health, Verdict
from tests.control.make import DEPLOYMENT, FRA_ADDRESS, POOLS

UP, DOWN = Health.UP, Health.DOWN
POOL = PoolId("web-fra")
WEB = Monitor(MonitorId("web"), "http", 5.0, 2.0, 3, 2, 0.5, 80)
SITES = ("fra", "iad", "sin")
NODES = {NodeId(f"{site}1"): Node(NodeId(f"{site}1"), SiteId(site)) for site in SITES}
MODEL: Deployment = replace(
    DEPLOYMENT,
    nodes=NODES,
    datacenters={SiteId(site): Datacenter(SiteId(site)) for site in SITES},
    pools={POOL: replace(POOLS[POOL], monitor=WEB.name)},
    monitors={WEB.name: WEB},
)
WAIT_S = 10.0


class Ether:
    """What all lines have in common."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def cut(self) -> None:
        for line in self.lines:
            line.connect(there=False)

    def mend(self) -> None:
        for line in self.lines:
            line.connect(there=True)


class Line:
    """`Bus` of one node, for messages alone."""

    def __init__(self, ether: Ether, node: Node) -> None:
        self._ether = ether
        self._node = node
        self.hearer: Hearer | None = None
        self.standing = Standing(connected=False, since=time.time())
        ether.lines.append(self)

    def connect(self, *, there: bool) -> None:
        self.standing = Standing(connected=there, since=time.time())
        if self.hearer is not None:
            self.hearer.standing(self.standing)

    def publish(self, kind: str, body: bytes) -> bool:
        if not self.standing.connected:
            return False
        message = Message(self._node.site, self._node.name, kind, body, time.monotonic())
        for line in self._ether.lines:
            if line is not self and line.standing.connected and line.hearer is not None:
                asyncio.get_running_loop().call_soon(line.hearer.message, message)
        return True

    async def get(self, key: str) -> Entry:
        return Entry(key, None, 0)

    async def put(self, key: str, value: bytes, revision: int | None = None) -> int:  # noqa: ARG002
        raise Away("there are no keys")

    async def store(self, name: str, value: bytes) -> None:
        """Nothing is kept."""

    async def fetch(self, name: str) -> bytes | None:  # noqa: ARG002
        return None

    async def run(self, hearer: Hearer, stop: asyncio.Event) -> None:
        self.hearer = hearer
        self.connect(there=True)
        await stop.wait()
        self.hearer = None
        self._ether.lines.remove(self)


class Seat:
    """One node: what its checks say, and the world that it shares."""

    def __init__(self, root: Path, node: Node, ether: Ether, model: Deployment = MODEL) -> None:
        store = Store(root, "example", node.name)
        store.create()
        self.node = node
        self.facts = Facts()
        self.own = {POOL: {FRA_ADDRESS: Verdict(UP)}}
        self.woken = asyncio.Event()
        self.shared = Shared(
            store,
            Clock(),
            self.facts,
            Owner(lambda now: Observed(now, self.own), lambda: Itself(config="c"), self.woken.set),
            lambda joins, clock: Line(ether, joins.node) if joins.deployment.bus.nats else Lone(3, clock.now()),
        )
        self.want(model)

    def want(self, model: Deployment, *, bus: bool = True) -> None:
        with_bus = replace(model, bus=replace(model.bus, nats=("nats://127.0.0.1",) if bus else ()))
        self.shared.want(Joins(with_bus, self.node, "geography"))

    def find(self, health: Health) -> None:
        self.own = {POOL: {FRA_ADDRESS: Verdict(health, why="" if health is UP else "refused")}}
        self.shared.own_changed()

    def verdict(self) -> Verdict:
        return self.shared.seen(time.time()).verdicts[POOL][FRA_ADDRESS]

    def alive(self) -> set[str]:
        return {one["node"] for one in self.shared.state()["nodes"] if one["alive"]}


@asynccontextmanager
async def running(*seats: Seat) -> AsyncIterator[None]:
    stop = asyncio.Event()
    tasks = [asyncio.create_task(seat.shared.run(stop)) for seat in seats]
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), WAIT_S)


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.002)


async def all_alive(seats: Iterable[Seat]) -> None:
    for seat in seats:
        await until(lambda seat=seat: seat.alive() == set(NODES), "all hear each other")  # type: ignore[misc]


def seats_in(root: Path, ether: Ether) -> list[Seat]:
    return [Seat(root, node, ether) for node in NODES.values()]


def test_what_two_of_three_find_is_at_every_node_soon(tmp_path: Path) -> None:
    async def scenario() -> float:
        seats = seats_in(tmp_path, Ether())
        async with running(*seats):
            await all_alive(seats)
            seats[0].find(DOWN)
            await until(lambda: "down: fra" in seats[2].verdict().why, "the word of fra is heard")
            assert [seat.verdict().health for seat in seats] == [UP] * 3
            for seat in seats:
                seat.woken.clear()
            began = time.monotonic()
            seats[1].find(DOWN)
            for seat in seats:
                await asyncio.wait_for(seat.woken.wait(), WAIT_S)
                await until(lambda seat=seat: seat.verdict().health is DOWN, "down by two of three")  # type: ignore[misc]
            return time.monotonic() - began

    assert asyncio.run(scenario()) < 0.3


def test_the_loss_of_the_bus_changes_ages_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        ether = Ether()
        seats = seats_in(tmp_path, ether)
        async with running(*seats):
            await all_alive(seats)
            for seat in seats[:2]:
                seat.find(DOWN)
            await until(lambda: seats[2].verdict().health is DOWN, "down by two of three")
            ether.cut()
            assert seats[2].verdict().health is DOWN
            assert not seats[2].shared.state()["bus"]["connected"]
            assert seats[2].shared.company.bus is False
            seats[0].find(UP)
            assert seats[0].verdict().health is UP  # two of three, as far as it knows
            assert seats[2].verdict().health is DOWN
            ether.mend()
            await until(lambda: seats[2].verdict().health is UP, "what fra found meanwhile is known")

    asyncio.run(scenario())


def test_what_others_said_outlives_a_restart_without_the_bus(tmp_path: Path) -> None:
    async def scenario() -> None:
        ether = Ether()
        seats = seats_in(tmp_path, ether)
        async with running(*seats):
            await all_alive(seats)
            for seat in seats[:2]:
                seat.find(DOWN)
            await until(lambda: seats[2].verdict().health is DOWN, "down by two of three")
        again = Seat(tmp_path, seats[2].node, Ether())
        assert again.verdict().health is DOWN
        assert again.verdict().why.startswith("2 of 3 sites: fra (refused), iad (refused); up: sin")
        last = again.shared.last
        assert last is not None
        assert last.verdicts[POOL][FRA_ADDRESS].health is DOWN

    asyncio.run(scenario())


def test_a_node_that_is_alone_goes_by_what_it_observes(tmp_path: Path) -> None:
    async def scenario() -> None:
        ether = Ether()
        seats = seats_in(tmp_path, ether)
        one = seats[2]
        async with running(*seats):
            await all_alive(seats)
            for seat in seats[:2]:
                seat.find(DOWN)
            await until(lambda: one.verdict().health is DOWN, "down by two of three")
            one.want(MODEL, bus=False)
            assert one.shared.alone
            assert one.verdict() == Verdict(UP)
            assert one.shared.seen(1.0) == Observed(1.0, one.own)
            store = Store(tmp_path, "example", one.node.name)
            assert sharedfile.read_sharing(store, time.time()) is None
            one.want(MODEL)
            await until(lambda: one.verdict().health is DOWN, "on the bus again")

    asyncio.run(scenario())


def test_what_is_no_message_is_refused_and_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        seat = Seat(tmp_path, NODES[NodeId("fra1")], Ether())
        seat.shared.message(Message("iad", "iad1", "life", b"\x01nonsense", time.monotonic()))
        seat.shared.message(Message("iad", "iad1", "gossip", b"", time.monotonic()))
        assert seat.shared.state()["refused"] == {"malformed": 1, "unknown_kind": 1}
        assert seat.alive() == {"fra1"}

    asyncio.run(scenario())


def test_parts_are_given_keys_and_the_bus_of_now(tmp_path: Path) -> None:
    class Part:
        def __init__(self) -> None:
            self.heard: list[object] = []
            self.buses: list[Bus] = []

        def entry(self, entry: Entry) -> None:
            self.heard.append(entry)

        def listed(self, keys: frozenset[str]) -> None:
            self.heard.append(keys)

        def standing(self, standing: Standing) -> None:
            self.heard.append(standing.connected)

        async def run(self, bus: Bus, stop: asyncio.Event) -> None:
            self.buses.append(bus)
            await stop.wait()

    async def scenario() -> None:
        seat, part = Seat(tmp_path, NODES[NodeId("fra1")], Ether()), Part()
        seat.shared.attend(part)
        async with running(seat):
            await until(lambda: len(part.buses) == 1, "it runs")
            entry = Entry("shed.web", b"", 1)
            seat.shared.entry(entry)
            seat.shared.listed(frozenset({"shed.web"}))
            assert part.heard == [True, entry, frozenset({"shed.web"})]
            seat.want(MODEL, bus=False)
            await until(lambda: len(part.buses) == 2, "it runs with the other bus")
        assert [bus.standing.alone for bus in part.buses] == [False, True]

    asyncio.run(scenario())


def test_a_damaged_file_of_others_is_as_if_there_were_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        seat = Seat(tmp_path, NODES[NodeId("fra1")], Ether())
        store = Store(tmp_path, "example", seat.node.name)
        async with running(seat):
            await until((store.folder / sharedfile.KNOWN).exists, "it is kept")
        for name in (sharedfile.KNOWN, sharedfile.WORLD, sharedfile.SHARING):
            (store.folder / name).write_bytes(b"\xc1nonsense")
        assert Seat(tmp_path, seat.node, Ether()).verdict() == Verdict(UP)
        assert sharedfile.read_sharing(store, time.time()) is None
        assert sharedfile.read_seen(store).note is not None

    asyncio.run(scenario())


def test_what_is_known_of_nodes_and_of_what_they_say(tmp_path: Path) -> None:
    async def scenario() -> None:
        seats = seats_in(tmp_path, Ether())
        async with running(*seats):
            await all_alive(seats)
            seats[1].find(DOWN)
            await until(lambda: "down: iad" in seats[0].verdict().why, "the word of iad is heard")
            (contested,) = seats[0].shared.state()["contested"]
            assert (contested["pool"], contested["address"]) == (POOL, FRA_ADDRESS)
            said = contested["said"]
            found = seats[0].shared.state()["nodes"]
            seats[1].find(UP)
            await until(lambda: not seats[0].shared.state()["contested"], "all agree again")
        assert [(one["site"], one["health"], one["why"]) for one in said] == [
            ("fra", "up", ""),
            ("iad", "down", "refused"),
            ("sin", "up", ""),
        ]
        assert all(one["fresh"] for one in said)
        assert [(one["node"], one["this"], one["config"], one["other_config"]) for one in found] == [
            ("fra1", True, "c", False),
            ("iad1", False, "c", False),
            ("sin1", False, "c", False),
        ]

    asyncio.run(scenario())
