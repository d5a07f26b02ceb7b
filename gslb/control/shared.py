"""The world that all nodes share: what this node observes, what others tell of theirs, and the bus between them.  IO.

    observer ── own ──> Opinions ──┐                       ┌─> Telling ──> bus
    bus ── messages ──> Peers ─────┴─> Voting, joined ──> seen()

Rule 1: the loss of the bus changes nothing but ages, and a node without a bus goes by what it observes itself.
Rule 2: only what may come out otherwise is judged anew; a verdict that changes has the controller decide at once.
Rule 3: who takes part in the bus besides (overrides, sheds, configurations) is given its keys here, and runs with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from gslb.bus.bus import Bus, Entry, Message, Standing
from gslb.bus.lone import Lone
from gslb.bus.peers import Living, Peers
from gslb.bus.wire import Refused, decode
from gslb.control import sharedfile
from gslb.control.clock import Clock
from gslb.control.company import Company, Watchman, alarms
from gslb.control.facts import Facts
from gslb.control.joined import Home, JoinedLoads, joined_demand, joined_heavy, joined_rtts
from gslb.control.membership import Joins, Owner, Part, bus_of, line_of
from gslb.control.observed import Observed
from gslb.control.opinions import Opinions
from gslb.control.sharing import sharing, voice
from gslb.control.store import Store
from gslb.control.tasks import keep_running
from gslb.control.teller import Teller
from gslb.control.topics import Topics, topics_of
from gslb.control.traffic import Direction
from gslb.control.voting import Voting
from gslb.model.deployment import NodeId, PoolId
from gslb.model.world import Load, Verdict, Verdicts

GATHER_S = 0.003  # what comes within that is judged together
TICK_S = 1.0
FADED = 300  # topics at a tick: when the bus is lost all opinions fade at once
SLICES = 10  # parts of all topics: one of them is judged again at each tick, for the ages
WORLD_S, KNOWN_S = 2.0, 10.0  # between two writings of files

log = logging.getLogger("gslb.bus")


class Shared:
    """The shared world of one node; `gslb.bus.bus.Hearer` of its bus."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        facts: Facts,
        owner: Owner,
        make_bus: Callable[[Joins, Clock], Bus] = bus_of,
    ) -> None:
        self._store = store
        self._clock = clock
        self._facts = facts
        self._observe, self._changed = owner.observe, owner.changed
        self._make_bus = make_bus
        self._node = NodeId(store.folder.name)
        self.peers = Peers(self._node)
        self._opinions = Opinions()
        self._voting = Voting(self._opinions, self.peers)
        self._loads = JoinedLoads()
        self._watchman = Watchman()
        self._teller = Teller(clock, self._opinions, owner.observe, owner.itself, self._learned)
        self._parts: list[Part] = []
        self._shown: dict[str, Callable[[], Mapping[str, Any]]] = {}
        self._watchers: list[Callable[[Mapping[NodeId, Living]], None]] = []
        self._joins: Joins | None = None
        self._bus: Bus = Lone(1, clock.now())
        self._topics = Topics()
        self._due: set[int] = set()
        self._faded: set[int] = set()  # opinions on them ceased to be fresh
        self._judging: asyncio.TimerHandle | None = None
        self._slice = 0
        self._blind = False
        self._refused: Counter[str] = Counter()
        self._wanted = asyncio.Event()
        self._again: asyncio.Event | None = None
        self._kept = {"world": 0.0, "known": 0.0}
        self.last = sharedfile.read_seen(store).seen
        sharedfile.load_known(store, self.peers, self._opinions, time.monotonic(), clock.now())

    @property
    def bus(self) -> Bus:
        """The bus in use."""
        return self._bus

    @property
    def alone(self) -> bool:
        """Whether no bus is configured."""
        return self._bus.standing.alone

    @property
    def company(self) -> Company:
        """The other nodes, as events tell of them."""
        return self._watchman.company

    def attend(self, part: Part) -> None:
        """Have `part` take part in the bus.  Before `run`."""
        self._parts.append(part)

    def watch(self, lives: Callable[[Mapping[NodeId, Living]], None]) -> None:
        """Call `lives` about once a second with what is known of the other nodes."""
        self._watchers.append(lives)

    def want(self, joins: Joins) -> None:
        """Share the world of this deployment from now on."""
        before, self._joins = self._joins, joins
        self._wanted.set()
        deployment, node = joins.deployment, joins.node
        self._topics = topics_of(deployment)
        self._opinions.want(self._topics, deployment, node.site, node.name)
        self._voting.want(self._topics, deployment, node.site)
        self._teller.want(deployment, joins.geography)
        self.peers.keep([(one.site, one.name) for one in deployment.nodes.values()], time.monotonic())
        self._due.update(self._topics.by_key)
        if before is None or line_of(before) != line_of(joins):
            self._bus = self._make_bus(joins, self._clock)
            self._watchman.begin()
            if self._again is not None:
                self._again.set()
        if self.alone:
            sharedfile.drop_world(self._store)

    def seen(self, now: float) -> Observed:
        """The shared world; on a node that is alone, what it observes itself."""
        own = self._observe(now)
        joins = self._joins
        if joins is None or self.alone:
            return own
        at = time.monotonic()
        self._learn(own, at)
        self._judge(at)
        asked = self.peers.answers(joins.geography, at)
        located = own.geography == joins.geography
        return replace(
            own,
            verdicts=self._with_others(own.verdicts, self._voting.verdicts(at)),
            regional=self._voting.regional(at),
            loads=self.loads(own.loads),
            geography=joins.geography,
            demand=joined_demand(own.demand if located else {}, asked),
            heavy=joined_heavy(own.heavy, asked),
            rtts=joined_rtts(
                joins.deployment,
                joins.node.site,
                own.rtts if located else {},
                self.peers.round_trips(joins.geography, at),
            ),
        )

    def loads(self, own: Mapping[PoolId, Load]) -> Mapping[PoolId, Load]:
        """The loads of the deployment; `own` are those that this node knows."""
        joins = self._joins
        if joins is None or self.alone:
            return own
        now = time.monotonic()
        unknown = not self._watchman.settled  # who lives; then what they told last counts on
        living = [name for name in self.peers.lives(now) if self.company.alive.get(name, unknown)]
        home = Home(joins.deployment, joins.node.site, living)
        return self._loads.join(home, own, self.peers.loads(now), now)

    def own_changed(self) -> None:
        """This node observed something that others are to be told at once."""
        self._teller.wake()

    def show(self, name: str, state: Callable[[], Mapping[str, Any]]) -> None:
        """Have `state` of a part that is told of with the bus stand under `name`."""
        self._shown[name] = state

    def state(self) -> dict[str, Any]:
        """The bus and all nodes, as JSON values; nothing on a node that is alone."""
        if self._joins is None or self.alone:
            return {}
        now, wall = time.monotonic(), self._clock.now()
        this = self._node, self._joins.node.site, self._teller.life(self._observe(wall))
        lives, heaps = self.peers.lives(now), self.peers.heaps(now)
        return {
            "at": wall,
            **sharing(self._joins.deployment, self._bus.standing, lives, this, heaps),
            "refused": dict(self._refused),
            "traffic": self._teller.traffic.state(),
            "contested": [
                {"pool": pool, "address": address, "said": [voice(one) for one in said]}
                for (pool, address), said in self._voting.contested(now).items()
            ],
            **{name: state() for name, state in self._shown.items()},
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Take part in the bus until `stop`, from when it is known which."""
        await _any_of(stop, self._wanted)
        while not stop.is_set():
            again, ended = asyncio.Event(), asyncio.Event()
            self._again = again
            async with asyncio.TaskGroup() as tasks:
                for name, begin in self._tasks(self._bus, ended).items():
                    tasks.create_task(keep_running(begin, name, ended))
                await _any_of(stop, again)
                ended.set()

    def _tasks(self, bus: Bus, ended: asyncio.Event) -> dict[str, Callable[[], Awaitable[None]]]:
        found: dict[str, Callable[[], Awaitable[None]]] = {
            "bus": partial(bus.run, self, ended),
            "what is told": partial(self._teller.run, bus, ended),
            "shared world": partial(self._tick, ended),
        }
        return found | {f"bus: {type(part).__name__.lower()}": partial(part.run, bus, ended) for part in self._parts}

    # --- gslb.bus.bus.Hearer ---

    def message(self, message: Message) -> None:
        """Another node told something."""
        self._teller.traffic.count(Direction.HEARD, message.kind, len(message.body))
        try:
            told = decode(message, time.time())  # noqa: TID251  # to be compared with the sender's calendar
        except Refused as error:
            self._refuse(str(error.cause), message, str(error))
            return
        taken = self.peers.take(told)
        if taken.refused:
            self._refuse(taken.refused, message, taken.refused)
        if taken.keys:
            self._learned(taken.keys)
        if taken.news:
            self._look()

    def entry(self, entry: Entry) -> None:
        """A key has this value now."""
        for part in self._parts:
            part.entry(entry)

    def listed(self, keys: frozenset[str]) -> None:
        """All keys that there are."""
        for part in self._parts:
            part.listed(keys)

    def standing(self, standing: Standing) -> None:
        """The connection was made or lost."""
        if standing.connected:
            self._teller.anew()
        for part in self._parts:
            hear = getattr(part, "standing", None)
            if hear is not None:
                hear(standing)
        self._look()

    # --- within ---

    def _learn(self, own: Observed, now: float) -> None:
        """What the node itself says now."""
        blind = own.blind_since is not None
        if blind != self._blind:
            self._blind = blind
            self._due.update(self._topics.by_key)
        self._teller.learn(own, now)

    def _learned(self, keys: frozenset[int]) -> None:
        """Something is known of these topics; soon they are judged anew."""
        self._due |= keys
        if self._judging is None:
            self._judging = asyncio.get_running_loop().call_later(GATHER_S, self._judge_soon)

    def _judge(self, now: float) -> bool:
        """Work out the verdicts that are due; whether a decision may come out otherwise."""
        if self._judging is not None:
            self._judging.cancel()
            self._judging = None
        if not self._due:
            return False
        due, self._due = self._due, set()
        blind = {
            name for name, one in self.peers.lives(now).items() if one.life is not None and one.life.blind_s is not None
        }
        return self._voting.judge(due, blind, now, own_blind=self._blind)

    def _judge_soon(self) -> None:
        self._judging = None
        if not self.alone and self._judge(time.monotonic()):
            self._changed()

    def _with_others(self, own: Verdicts, voted: Verdicts) -> Verdicts:
        """What was voted, and what this node knows of targets that nobody votes on."""
        found: dict[PoolId, Mapping[str, Verdict]] = dict(voted)
        for pool, verdicts in own.items():
            unshared = {
                address: verdict for address, verdict in verdicts.items() if (pool, address) not in self._topics.keys
            }
            if unshared:
                found[pool] = {**found.get(pool, {}), **unshared}
        return found

    def _look(self) -> None:
        """See who is there."""
        joins = self._joins
        if joins is None:
            return
        now = time.monotonic()
        lives, standing = self.peers.lives(now), self._bus.standing
        before = self.company
        company = self._watchman.look(standing, lives, self._teller.itself().config, now)
        for what, lines in alarms(company, standing, lives, joins.deployment).items():
            self._facts.problem(what, lines)
        if company != before:
            self._changed()
        same = [one for one in lives.values() if one.alive and one.site == joins.node.site]
        self._teller.share(1 + len(same))
        for watcher in self._watchers:
            watcher(lives)

    async def _tick(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._look()
            if not self.alone:
                self._renew()
                self._keep()
            try:
                await asyncio.wait_for(stop.wait(), TICK_S)
            except TimeoutError:
                continue
        if not self.alone:
            self._kept = {"world": 0.0, "known": 0.0}
            self._keep()

    def _renew(self) -> None:
        """Judge what ceased to be fresh, where it is much bit by bit, and a part of all for its age."""
        now = time.monotonic()
        self._faded |= self.peers.due(now)
        for key in list(self._faded)[:FADED]:
            self._faded.discard(key)
            self._due.add(key)
        self._slice = (self._slice + 1) % SLICES
        self._due.update(key for key in self._topics.by_key if key % SLICES == self._slice)
        if self._joins is not None and self._slice == 0:
            nodes = self._joins.deployment.nodes.values()
            self.peers.keep([(one.site, one.name) for one in nodes], now)
        if self._judge(now):
            self._changed()

    def _keep(self) -> None:
        now = time.monotonic()
        try:
            if now - self._kept["world"] >= WORLD_S:
                self._kept["world"] = now
                sharedfile.save_world(self._store, self.seen(self._clock.now()), self.state())
            if now - self._kept["known"] >= KNOWN_S:
                self._kept["known"] = now
                sharedfile.save_known(self._store, self.peers, self._opinions, now, self._clock.now())
        except OSError as error:
            why = f"what other nodes say cannot be kept for the next start: {error.strerror}"
            self._facts.problem("shared", (why,))
        else:
            self._facts.problem("shared", ())

    def _refuse(self, cause: str, message: Message, why: str) -> None:
        self._refused[cause] += 1
        if self._refused[cause] == 1:
            extra = {"cause": cause, "node": message.node, "site": message.site, "why": why}
            log.warning("a message of another node is refused", extra=extra)


async def _any_of(*events: asyncio.Event) -> None:
    """Return when any of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
