"""Sites that announce one prefix: all of the controller that decides on it, over a bus in memory, with a recorder in ExaBGP's place.

All in virtual time.  What routers have of each site is looked at whenever it changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from bgp.exabgp import Running, Told
from bgp.heard import SessionSaid
from bgp.launch import Setup
from bgp.routes import Announce, Change, Route, State, found_as, normal
from bgp.speaker import Applied, Ready, Speaker, Stage
from gslb.bus.bus import Bus, Hearer, Message
from gslb.control.announcing import Announcing, Hearers, Senses
from gslb.control.clock import Clock
from gslb.control.facts import Facts
from gslb.control.link import Lent
from gslb.control.membership import Joins, Owner
from gslb.control.observed import Observed
from gslb.control.shared import Shared
from gslb.control.store import Store
from gslb.control.teller import Itself
from gslb.model.bgp import Announce as Announced
from gslb.model.bgp import Bgp, Drain, Neighbor
from gslb.model.deployment import Address, Anycast, Datacenter, Deployment, Network, Node, NodeId, SiteId
from gslb.model.deployment import Bus as BusOf
from gslb.model.plan import Plan
from gslb.model.world import Forced, Override
from tests.control.make import DEPLOYMENT
from tests.control.shared import Bucket
from tests.control.shared import Line as Keys
from tests.control.virtualtime import VirtualTime

PREFIX = IPv4Network("192.0.2.53/32")
ROUTER = IPv4Address("198.51.100.1")
ACK_S, MET_S = 0.004, 0.1
DEAD_MAN_S = 15.0
ANNOUNCED_BY_S = 45.0  # leases that nobody ever had are given after their time


class Line(Keys):
    """A line to the bucket that carries messages too, `late_s` late."""

    def __init__(self, bucket: Bucket, node: Node) -> None:
        super().__init__(bucket)
        self.node = node
        self.late_s = 0.002

    @property
    def hearer(self) -> Hearer | None:
        """Who hears it now."""
        return self._hearer if self.standing.connected else None

    def publish(self, kind: str, body: bytes) -> bool:  # type: ignore[explicit-override]
        """See Bus."""
        if not self.standing.connected:
            return False
        for line in self._bucket.lines:
            if line is not self and isinstance(line, Line):
                asyncio.get_running_loop().call_later(self.late_s + line.late_s, line.carry, self.node, kind, body)
        return True

    def carry(self, node: Node, kind: str, body: bytes) -> None:
        """A message arrives."""
        if self.hearer is not None:
            now = asyncio.get_running_loop().time()
            self.hearer.message(Message(node.site, node.name, kind, body, now))

    async def run(self, hearer: Hearer, stop: asyncio.Event) -> None:  # type: ignore[explicit-override]
        """See Bus."""
        self.connect(hearer)
        await stop.wait()
        self._hearer = None


@dataclass
class Speaking:
    """What ExaBGP of a site has, over the lives of its controller."""

    table: dict[tuple[Address, Network], Route] = field(default_factory=dict)
    prepared: tuple[Change, ...] = ()
    ack_s: float = ACK_S
    recorder: Recorder | None = None
    dead_man: asyncio.TimerHandle | None = None


class Recorder:
    """In the place of `bgp.exabgp.ExaBgp`: it acknowledges, and keeps what it was told."""

    def __init__(self, sites: Sites, setup: Setup, tell: object) -> None:
        self.speaker = Speaker(setup.after_s)  # for its values alone
        self._sites = sites
        self._setup = setup
        self._tell = tell
        self._kept = sites.speaking[NodeId(setup.folder.parent.name)]

    def _say(self, event: Told) -> None:
        if self._kept.recorder is self:
            self._tell(event)  # type: ignore[operator]

    async def run(self) -> None:
        """Until it is cancelled; from then on the bridge waits for its time."""
        kept, loop = self._kept, asyncio.get_running_loop()
        kept.recorder = self
        if kept.dead_man is not None:
            kept.dead_man.cancel()
        try:
            await asyncio.sleep(MET_S)
            self.speaker.stage, self.speaker._fenced, self.speaker.version = Stage.READY, True, "5.0.15"
            self.speaker.table = dict(kept.table)
            self._say(Running(1, adopted=bool(kept.table)))
            for session in self._setup.speaker.sessions:
                said = SessionSaid(session.neighbor.address, up=True)
                self.speaker.sessions[said.neighbor] = said
                self._say(said)
            self._say(Ready("5.0.15"))
            await loop.create_future()
        finally:
            kept.recorder = None
            kept.dead_man = loop.call_later(self._setup.after_s, self._trip)

    def _trip(self) -> None:
        for change in self._kept.prepared:
            if isinstance(change, Announce):
                self._kept.table[change.route.neighbor, change.route.prefix] = change.route
            else:
                self._kept.table.pop((change.neighbor, change.prefix), None)
        self._sites.changed()

    def want(self, routes: Iterable[Route], prepared: Iterable[Change] = ()) -> None:
        """As ExaBgp."""
        self._kept.prepared = tuple(prepared)
        wanted = {(route.neighbor, route.prefix): normal(route) for route in routes}
        asyncio.get_running_loop().call_later(self._kept.ack_s, self._acknowledge, wanted)

    def _acknowledge(self, wanted: dict[tuple[Address, Network], Route]) -> None:
        if self._kept.recorder is not self:
            return
        self._kept.table, self.speaker.table = dict(wanted), dict(wanted)
        self._sites.changed()
        self._say(Applied(self._kept.ack_s))

    async def follow(self, setup: Setup) -> None:
        """As ExaBgp."""
        self._setup = setup


class Site:
    """One site: one node, whose controller lives or not, and what is true there."""

    def __init__(self, sites: Sites, node: Node) -> None:
        self.sites = sites
        self.node = node
        self.dns: int | None = 2  # executors that answer
        self.overrides: tuple[Override, ...] = ()
        self.line: Line | None = None
        self.announcing: Announcing | None = None
        self.shown: Mapping[str, Any] | None = None  # what status shows
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """What the router has of it."""
        table = self.sites.speaking[self.node.name].table
        speaker = self.sites.deployment.speaker(self.node)
        assert speaker is not None
        return found_as(table.values(), PREFIX, speaker)

    def prefix_shown(self) -> Mapping[str, Any]:
        """What status shows of the prefix."""
        assert self.shown is not None
        (found,) = self.shown["prefixes"]
        assert isinstance(found, Mapping)
        return found

    def start(self) -> None:
        """A controller begins."""
        self._task = asyncio.create_task(self._live())

    async def die(self) -> None:
        """It is killed."""
        assert self._task is not None
        assert self.line is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.line.cut()
        self.sites.bucket.lines.remove(self.line)
        self._task = self.announcing = self.line = None

    def operator(self, state: Forced | None, *, force: bool = False) -> None:
        """An operator says so of this site; None: nothing any more."""
        now = self.sites.time.wall()
        target = f"site/{self.node.site}"
        self.overrides = () if state is None else (Override(target, state, "alice", "work", now, force=force),)
        self.decided()

    def decided(self) -> None:
        """The controller decides, whatever it is."""
        if self.announcing is not None:
            plan = Plan(self.sites.deployment.name, 1, "", {}, ())
            self.announcing.decided(plan, self.overrides, done=True)

    def cut(self) -> None:
        """The line to the bus is cut."""
        assert self.line is not None
        self.line.cut()

    def mend(self) -> None:
        """It is there again."""
        assert self.line is not None
        self.line.connect(self._shared)

    async def _answering(self) -> int | None:
        await asyncio.sleep(0.01)
        return self.dns

    async def _live(self) -> None:
        sites, node = self.sites, self.node
        store = Store(sites.folder, sites.deployment.name, node.name)
        store.create()
        (store.folder / "run").mkdir(exist_ok=True)
        clock = Clock(sites.time.wall, lambda: sites.time.now)
        facts = Facts()

        def itself() -> Itself:
            return Itself(routes=self.announcing.routes if self.announcing is not None else {})

        def bus(*_: object) -> Bus:
            self.line = Line(sites.bucket, node)
            return self.line

        self._shared = Shared(store, clock, facts, Owner(Observed, itself, lambda: None), bus)
        senses = Senses(dict, dict, self._answering)
        hearers = Hearers(self._lend, self._shared.own_changed, self._shown)
        make: Any = partial(Recorder, sites)
        announcing = self.announcing = Announcing(store, clock, facts, senses, hearers, make)
        self._shared.attend(announcing.leaving)
        self._shared.watch(announcing.lives)
        self._shared.want(Joins(sites.deployment, node, ""))
        announcing.want(sites.deployment, node)
        self.decided()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._shared.run(stop))
            tasks.create_task(announcing.run(stop))

    def _shown(self, state: Mapping[str, Any] | None) -> None:
        self.shown = state

    def _lend(self, prefixes: Iterable[Network]) -> None:
        names = frozenset(map(str, prefixes))
        asyncio.get_running_loop().call_soon(self._lent, Lent(names, names))

    def _lent(self, lent: Lent) -> None:
        if self.announcing is not None:
            self.announcing.lent(lent)


class Sites:
    """All of them, the bucket between them, and what routers had at each moment."""

    def __init__(self, folder: Path, shown: VirtualTime, names: Iterable[str], anycast: Mapping[str, object]) -> None:
        self.folder = folder
        self.time = shown
        self.bucket = Bucket()
        self.deployment = deployment_of(names, anycast)
        self.speaking = {name: Speaking() for name in self.deployment.nodes}
        self.sites = {name: Site(self, node) for name, node in self.deployment.nodes.items()}
        self.moments: list[tuple[float, dict[str, State]]] = []

    def __getitem__(self, name: str) -> Site:
        return self.sites[NodeId(name)]

    def start(self) -> None:
        """All controllers begin."""
        for site in self.sites.values():
            site.start()

    async def announced(self) -> None:
        """All controllers begin, and all announce; the leases were prepared meanwhile."""
        self.start()
        await asyncio.sleep(ANNOUNCED_BY_S)
        assert set(self.states().values()) == {State.ANNOUNCED}, self.states()

    async def close(self) -> None:
        """All controllers die."""
        for site in self.sites.values():
            if site.announcing is not None:
                await site.die()

    def states(self) -> dict[str, State]:
        """What routers have of each node."""
        return {name: site.state for name, site in self.sites.items()}

    def changed(self) -> None:
        """Routers were told something."""
        states = self.states()
        if not self.moments or self.moments[-1][1] != states:
            self.moments.append((self.time.now, states))

    def left(self, since: float) -> list[tuple[float, str]]:
        """Who withdrew since then, and when."""
        before: dict[str, State] = {}
        found = []
        for at, states in self.moments:
            gone = [
                name for name, state in states.items() if state is State.OFF and before.get(name, state) is not state
            ]
            found += [(at, name) for name in gone if at >= since]
            before = states
        return found

    def least(self, since: float, *states: State) -> int:
        """At how many sites, at the least, the prefix stood so since then."""
        before = [moment for at, moment in self.moments if at < since][-1:]
        seen = [*before, *(moment for at, moment in self.moments if at >= since)]
        return min(len({name[0] for name, state in moment.items() if state in states}) for moment in seen)


def deployment_of(names: Iterable[str], anycast: Mapping[str, object]) -> Deployment:
    """A node for each name, with a speaker; its site is the first letter."""
    neighbor = Neighbor(
        ROUTER,
        65000,
        local=IPv4Address("198.51.100.2"),
        drain=Drain("65535:0", 3, 100),
        announce=Announced(("65001:1",)),
    )
    nodes = [Node(NodeId(name), SiteId(name[0])) for name in names]
    made = replace(Anycast("dns", (PREFIX,), ("dns",), rise_s=2.0, least_s=5.0, drain_s=5.0), **anycast)  # type: ignore[arg-type]  # as tests say
    return replace(
        DEPLOYMENT,
        nodes={node.name: node for node in nodes},
        datacenters={node.site: Datacenter(node.site) for node in nodes},
        pools={},
        policies={},
        bus=BusOf(("nats://192.0.2.1:4222",)),
        anycast=(made,),
        bgp=tuple(
            Bgp(node.name, 65001, IPv4Address("10.0.0.1"), (neighbor,), controller_loss_s=DEAD_MAN_S) for node in nodes
        ),
    )
