"""A deployment in simulated time: nodes that decide, a bus that is slow, loses, and is cut, and a load that follows all answers.

Rule: clients follow the answers of every node, each an equal part of those that live, and each answer for one TTL.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from gslb.bus.bus import Entry
from gslb.control.steering import Put, Steering
from gslb.decide.decide import decide
from gslb.model.deployment import (
    TYPE_A,
    Answer,
    Capacity,
    Deployment,
    Policy,
    PolicyId,
    Pool,
    PoolId,
    Rule,
    SiteId,
    Spill,
)
from gslb.model.history import WHOLE, Shed
from gslb.model.plan import Plan
from gslb.model.world import Load, Verdicts, World
from tests.decide.worlds import deployment, geography

WEB = PolicyId("web")
FRA, IAD, SIN = PoolId("web-fra"), PoolId("web-iad"), PoolId("web-sin")
TTL = 20
STEP, RECOVER = 0.0025, 0.0025  # of the demand, a second
START = 1_000_000.0
DECIDED_S = 2.0  # between two decisions without an occasion
ALIVE_S = 5.0
CAUGHT_UP_S = 15.0  # after its start a node has heard what is given
LISTED_S = 30.0
CALL_S = 5.0  # a call of the bus ends after that
STEP_MOST = 2 * TTL * STEP + 0.02  # of a level: what one step may move, and what slots round


def model() -> Deployment:
    """Three pools of one size; those of `sin` stand where no node is."""
    capacity = Capacity(conns_per_s=1000.0, soft=0.7, hard=0.95)
    pools = [
        Pool(name, SiteId(site), (Answer(ip_address(f"192.0.2.{place}"), 1),), capacity=capacity)
        for place, (name, site) in enumerate(((FRA, "fra"), (IAD, "iad"), (SIN, "sin")), 1)
    ]
    spill = Spill(to=(), step_per_s=STEP, recover_per_s=RECOVER)
    rule = Rule((FRA, IAD, SIN), nearest=True)
    return deployment(Policy(WEB, rules=(rule,), spill=spill, velocity=1.0, ttl_max=TTL), pools=pools)


MODEL = model()
PLACES = geography(MODEL, web=[(FRA, IAD, SIN), (FRA, SIN, IAD), (IAD, FRA, SIN), (SIN, IAD, FRA)])
HOME = (FRA, FRA, IAD, SIN)  # of each ranking


@dataclass
class Machine:
    """One node: its clocks are its own."""

    place: tuple[str, str]
    skew: float
    steering: Steering
    plan: Plan | None = None
    alive: bool = True
    connected: bool = False
    began: int = 0
    began_at: float = 0.0
    due: bool = True
    decided_at: float = 0.0
    lives: dict[tuple[str, str], float] = field(default_factory=dict)
    last_told: float = 0.0  # entries come in order


@dataclass
class Lab:
    """`delay(number)` is how long the message with this number takes, None where it is lost."""

    nodes: list[Machine]
    delay: Callable[[int], float | None]
    now: float = START
    asked: dict[PoolId, float] = field(default_factory=lambda: {FRA: 0.9, IAD: 0.2, SIN: 0.2})
    verdicts: Verdicts = field(default_factory=dict)
    up: bool = True
    cut: frozenset[int] = frozenset()  # nodes on the side that has no majority
    entries: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    revision: int = 0
    words: list[tuple[float, str, PoolId, Shed | None]] = field(default_factory=list)
    measured: dict[PoolId, float] = field(default_factory=dict)
    steering_twice_s: float = 0.0
    levels: list[dict[int, float]] = field(default_factory=list)
    _sent: int = 0
    _queue: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _answers: deque[dict[PoolId, float]] = field(default_factory=lambda: deque(maxlen=TTL))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(int(seconds * 2)):
            self._tick()
            self.now += 0.5

    def kill(self, index: int) -> None:
        """A machine is gone; its clients ask the others."""
        self.nodes[index].alive = False

    def start(self, index: int, *, forgetful: bool = False) -> None:
        """It is back, with its state folder or without."""
        old = self.nodes[index]
        plan = None if forgetful else old.plan
        self.nodes[index] = self._machine(index, old.place, old.skew, plan, old.began + 1)

    def machine(self, place: tuple[str, str], skew: float) -> None:
        """One more node."""
        self.nodes.append(self._machine(len(self.nodes), place, skew, None, 0))

    def _machine(self, index: int, place: tuple[str, str], skew: float, plan: Plan | None, began: int) -> Machine:
        steering = Steering(lambda: self.now + skew, lambda: self.now - START + 7.0 * index)
        made = Machine(place, skew, steering, plan, began=began, began_at=self.now)
        if plan is not None:
            steering.decided(plan)
        steering.want(MODEL, place, alone=False)
        return made

    # --- the bus ---

    def reaches(self, index: int) -> bool:
        """Whether the node reaches the keys."""
        return self.up and self.nodes[index].alive and index not in self.cut

    def hear(self, one: int, other: int) -> bool:
        """Whether messages of one node reach the other."""
        alive = self.nodes[one].alive and self.nodes[other].alive
        return self.up and alive and (one in self.cut) == (other in self.cut)

    def _later(self, what: Callable[[], None], *, at_least: float = 0.0) -> float | None:
        """Something that comes after a message's delay."""
        self._sent += 1
        takes = self.delay(self._sent)
        if takes is None:
            return None
        at = max(self.now + takes, at_least)
        heapq.heappush(self._queue, (at, self._sent, what))
        return at

    def _to(self, index: int, what: Callable[[Machine], None], *, certain: bool = False) -> None:
        """To a node, in order; with `certain` it is not lost (TCP), only late."""
        node, began = self.nodes[index], self.nodes[index].began

        def deliver() -> None:
            if self.reaches(index) and self.nodes[index].began == began and self.nodes[index].connected:
                what(self.nodes[index])

        at = self._later(deliver, at_least=node.last_told)
        while at is None and certain:
            at = self._later(deliver, at_least=node.last_told)
        node.last_told = max(node.last_told, at or 0.0)

    def _connect(self) -> None:
        for index, node in enumerate(self.nodes):
            reaches = self.reaches(index)
            if reaches and not node.connected:
                node.connected = True
                for key, (value, revision) in self.entries.items():
                    self._tell(index, Entry(key, value, revision))
                self._list(index)
            elif reaches and (self.now - START) % LISTED_S == 0:
                self._list(index)
            elif not reaches:
                node.connected = False

    def _list(self, index: int) -> None:
        keys = frozenset(self.entries)
        self._to(index, lambda node: node.steering.listed(keys), certain=True)

    def _tell(self, index: int, entry: Entry) -> None:
        def heard(node: Machine) -> None:
            node.due |= node.steering.entry(entry)

        self._to(index, heard, certain=True)

    def _put(self, index: int, put: Put) -> None:
        """A compare-and-set: the way there, the way back, or nothing for CALL_S."""
        began, node = self.nodes[index].began, self.nodes[index]
        answered: list[bool] = []

        def end() -> None:
            if not answered and self.nodes[index].began == began:
                answered.append(True)
                node.steering.failed(put)

        def back(what: Callable[[], None]) -> None:
            def arrive() -> None:
                if self.reaches(index) and self.nodes[index].began == began and not answered:
                    answered.append(True)
                    what()

            self._later(arrive)

        def arrive() -> None:
            if not self.reaches(index):
                return
            value, revision = self.entries.get(put.key, (None, 0))
            if revision != put.revision:
                back(lambda: self._refuse(node, put, Entry(put.key, value, revision)))
                return
            self.revision += 1
            self.entries[put.key] = put.value, self.revision
            self.words.append((self.now, node.place[1], put.pool, put.word.shed))
            entry = Entry(put.key, put.value, self.revision)
            for other in range(len(self.nodes)):
                self._tell(other, entry)
            back(lambda: node.steering.wrote(put, entry.revision))

        self._later(arrive)
        heapq.heappush(self._queue, (self.now + CALL_S, -self._sent, end))

    @staticmethod
    def _refuse(node: Machine, put: Put, entry: Entry) -> None:
        node.due |= node.steering.refused_by(put, entry)

    # --- time ---

    def _tick(self) -> None:
        self._connect()
        while self._queue and self._queue[0][0] <= self.now:
            heapq.heappop(self._queue)[2]()
        whole = self.now == int(self.now)
        if whole:
            self._say_lives()
            self._follow()
        for index, node in enumerate(self.nodes):
            if node.alive:
                self._work(index, node)
        if whole:
            self._watch()

    def _say_lives(self) -> None:
        for index, node in enumerate(self.nodes):
            for other, hearer in enumerate(self.nodes):
                if index != other and self.hear(index, other):

                    def heard(hearer: Machine = hearer, place: tuple[str, str] = node.place) -> None:
                        hearer.lives[place] = self.now

                    self._later(heard)
            if node.alive and node.connected and (self.now % 3 == 0 or node.steering.unsure):  # what a probe finds
                self._to(index, lambda node: node.steering.reached())

    def _work(self, index: int, node: Machine) -> None:
        node.steering.live([place for place, at in node.lives.items() if self.now - at <= ALIVE_S])
        node.due |= node.steering.look()
        for put in node.steering.due() if node.connected else ():
            self._put(index, put)
        if not node.due and self.now - node.decided_at < DECIDED_S:
            return
        node.due, node.decided_at = False, self.now
        now = self.now + node.skew
        world = World(now, self.verdicts, {pool: Load(share) for pool, share in self.measured.items()})
        rates = tuple(self.asked[home] * 500 if home == FRA else self.asked[home] * 1000 for home in HOME)
        world = replace(world, demand={WEB: {TYPE_A: rates}}, given=node.steering.given(now))
        node.plan = decide(MODEL, PLACES, world, node.plan)
        node.steering.decided(node.plan)

    def _follow(self) -> None:
        """Clients ask the nodes that live, and pools measure what comes."""
        plans = [node.plan for node in self.nodes if node.alive and node.plan is not None]
        if not plans:
            return
        found = dict.fromkeys(self.asked, 0.0)
        for plan in plans:
            for pool, load in self._led(plan).items():
                found[pool] += load / len(plans)
        self._answers.append(found)
        self.measured = {
            pool: sum(answers[pool] for answers in self._answers) / len(self._answers) for pool in self.asked
        }

    def _led(self, plan: Plan) -> dict[PoolId, float]:
        found = dict.fromkeys(self.asked, 0.0)
        for place, index in enumerate(plan.policies[WEB].choices[TYPE_A]):
            choice, home = plan.choices[index], HOME[place]
            weight = self.asked[home] / (2 if home == FRA else 1)
            left = WHOLE
            for part in choice.shed:
                found[PoolId(str(part.members[0].pool))] += weight * part.slots / WHOLE
                left -= part.slots
            if choice.members and choice.members[0].pool is not None:
                found[choice.members[0].pool] += weight * left / WHOLE
        return found

    def _watch(self) -> None:
        mine = [index for index, node in enumerate(self.nodes) if node.alive and FRA in node.steering.steered]
        if len(mine) > 1 and not self.cut and self.up:
            self.steering_twice_s += 1.0
        steady = (
            index for index, node in enumerate(self.nodes) if node.alive and self.now - node.began_at > CAUGHT_UP_S
        )
        self.levels.append({index: level_at(self.nodes[index]) for index in steady})

    # --- what is found ---

    def writers(self, pool: PoolId = FRA) -> list[int]:
        """The nodes that steer a pool."""
        return [index for index, node in enumerate(self.nodes) if node.alive and pool in node.steering.steered]

    def answers(self) -> set[str]:
        """What is answered, by those that live."""
        return {node.plan.digest for node in self.nodes if node.alive and node.plan is not None}

    def published(self, pool: PoolId = FRA) -> list[tuple[float, float]]:
        """Which levels were written, and when each was decided."""
        skews = {node.place[1]: node.skew for node in self.nodes}
        return [
            (at, 0.0) if shed is None else (shed.stepped_at - skews[name], shed.level)
            for at, name, of, shed in self.words
            if of == pool
        ]


def level_at(node: Machine, pool: PoolId = FRA) -> float:
    """What a node lets a pool shed."""
    shed = node.plan.history.sheds.get(pool) if node.plan is not None else None
    return 0.0 if shed is None else shed.level


def lab(
    places: Collection[tuple[str, str]], delay: Callable[[int], float | None] = lambda _: 0.05, skew: float = 0.0
) -> Lab:
    """Nodes at these places (site and name), each with a clock that is `skew` ahead of the one before."""
    made = Lab([], delay)
    for index, place in enumerate(places):
        made.machine(place, skew * index)
    return made
