"""What becomes of flows as backends drain, lose their weight, go and come back: rings as user space makes them, packet by packet.

Each test begins with three backends that are up and two flows at each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from gslb.layout import RING_SLOTS, Mode
from gslb.model.deployment import Forward
from gslb.model.plan import BackendPlan, Serving
from tests.xdp.packets.moving import NOBODY, Moving, number_of
from tests.xdp.packets.scene import BACKENDS, DOWN
from xdp import maglev
from xdp.entries import Content, Target, keeping, members
from xdp.slots import Slots, after, aged, empty, keepers

pytestmark = pytest.mark.root
NAMES = ("one", "two", "three")
UP, DRAIN = Serving.UP, Serving.DRAIN
EACH = 2  # flows


def plan(name: str, *, serving: Serving = UP, weight: int = 1) -> BackendPlan:
    """What the plan says of a backend."""
    return BackendPlan(BACKENDS[name].address, weight, Forward.L2, serving)


ALL_UP = {name: plan(name) for name in NAMES}
IDS = {Target(BACKENDS[name].address, Forward.L2): number_of(name) for name in NAMES}


@dataclass
class Pool:
    """The pool behind the VIPs called moving, and its clients: who began where."""

    moving: Moving
    kind: str
    slots: Slots = field(default_factory=empty)
    ports: Iterator[int] = field(default_factory=lambda: iter(range(42000, 60000)))
    flows: dict[int, str] = field(default_factory=dict)

    def become(self, backends: dict[str, BackendPlan]) -> None:
        """A new plan: the ring is replaced, then backends are down or gone, as `xdp.tables` writes it."""
        content = Content(sorted(backends.values(), key=lambda one: one.address))
        taking = members(content)
        current = np.zeros(RING_SLOTS, np.uint16)
        if taking:
            ids = np.array([IDS[Target(address, Forward.L2)] for address, _ in taking], np.uint16)
            current = ids[maglev.table(taking)]
        self._put(after(self.slots, current, keepers(keeping(content, IDS)))[0])
        for name in NAMES:
            record = BACKENDS[name] if name in backends else replace(BACKENDS[name], mode=Mode.MODE_NONE)
            down = name in backends and backends[name].serving is Serving.DOWN
            self.moving.scene.backend(replace(record, flags=DOWN if down else 0))

    def forget(self) -> None:
        """Nobody has used a previous backend for long enough."""
        self._put(aged(self.slots, np.ones(RING_SLOTS, np.bool_))[0])

    def begin(self, at: str) -> int:
        """A new flow in a slot of this backend; its port."""
        port = next(port for port in self.ports if self._current(port) == number_of(at))
        self._first(port, at)
        self.flows[port] = at
        return port

    def go_on(self) -> None:
        """Every flow is where it was said to be."""
        for port, at in self.flows.items():
            if self.kind == "tcp":
                self.moving.tcp("A", port, at)
            else:
                self.moving.udp(port, at)

    def move(self, *gone: str) -> None:
        """Flows of these backends are in the hands of their slots' current ones from now on."""
        names = {number_of(name): name for name in (NOBODY, *NAMES)}
        for port, at in self.flows.items():
            if at in gone:
                self.flows[port] = names[self._current(port)]

    def nowhere(self, at: str) -> bool:
        """Whether no slot gives its new flows to this backend."""
        return not (self.slots.current == number_of(at)).any()

    def _put(self, slots: Slots) -> None:
        self.slots = slots
        self.moving.scene.moving(slots.to_bytes())

    def _first(self, port: int, at: str) -> None:
        if self.kind == "tcp":
            self.moving.tcp("S", port, at)
        else:
            self.moving.udp(port, at, udp_flows=1)

    def _current(self, port: int) -> int:
        packet = self.moving.segment("A", port) if self.kind == "tcp" else self.moving.datagram(port)
        return int(self.slots.current[self.moving.slot(packet)])


@pytest.fixture(params=["tcp", "udp"])
def pool(moving: Moving, request: pytest.FixtureRequest) -> Pool:
    """Three backends, and two flows at each."""
    made = Pool(moving, request.param)
    made.become(ALL_UP)
    for name in NAMES:
        for _ in range(EACH):
            made.begin(name)
    assert made.slots.moving == 0
    return made


@pytest.mark.parametrize(
    "left_out",
    [plan("two", serving=DRAIN), plan("two", weight=0), plan("two", serving=DRAIN, weight=0)],
    ids=["drain", "weight 0", "both"],
)
def test_one_that_is_given_nothing_new_keeps_its_flows(pool: Pool, left_out: BackendPlan) -> None:
    pool.become(ALL_UP | {"two": left_out})
    pool.go_on()
    assert pool.nowhere("two")
    pool.begin("one")
    pool.begin("three")
    pool.go_on()
    pool.become(ALL_UP)
    pool.go_on()
    pool.begin("two")
    pool.go_on()


def test_flows_of_one_that_is_down_move_and_no_others(pool: Pool) -> None:
    pool.become(ALL_UP | {"two": plan("two", serving=Serving.DOWN)})
    pool.move("two")
    pool.go_on()
    pool.begin("one")
    pool.become(ALL_UP)
    pool.go_on()
    pool.begin("two")
    pool.go_on()


def test_one_that_drains_and_then_fails_keeps_nothing(pool: Pool) -> None:
    pool.become(ALL_UP | {"two": plan("two", serving=DRAIN)})
    pool.go_on()
    pool.become(ALL_UP | {"two": plan("two", serving=Serving.DOWN)})
    pool.move("two")
    pool.go_on()
    assert number_of("two") not in pool.slots.previous


def test_removed_and_added_again(pool: Pool) -> None:
    """Who is removed keeps nothing; who comes back has its own slots again, and none of the flows that left it."""
    before = pool.slots.current.copy()
    pool.become({name: one for name, one in ALL_UP.items() if name != "two"})
    pool.move("two")
    pool.go_on()
    later = pool.begin("one")
    pool.become(ALL_UP)
    assert np.array_equal(pool.slots.current, before)
    pool.go_on()
    pool.begin("two")
    pool.go_on()
    assert pool.flows[later] == "one"


def test_a_weight_that_changes_moves_nobody(pool: Pool) -> None:
    for weight in (5, 2, 1):
        pool.become(ALL_UP | {"one": plan("one", weight=weight)})
        pool.go_on()
        for name in NAMES:
            pool.begin(name)
    pool.go_on()


def test_many_changes_soon_after_each_other_move_nobody(pool: Pool) -> None:
    for left_out in ("one", "two", "three", "one"):
        pool.become(ALL_UP | {left_out: plan(left_out, serving=DRAIN)})
        for name in NAMES:
            if name != left_out:
                pool.begin(name)
        pool.go_on()
    pool.become(ALL_UP)
    pool.go_on()


def test_where_all_drain_they_go_on_taking(pool: Pool) -> None:
    pool.become({name: plan(name, serving=DRAIN) for name in NAMES})
    pool.go_on()
    for name in NAMES:
        pool.begin(name)
    assert pool.slots.moving == 0


def test_where_all_are_down_all_is_dropped_until_one_is_back(pool: Pool) -> None:
    pool.become({name: plan(name, serving=Serving.DOWN) for name in NAMES})
    pool.flows = dict.fromkeys(pool.flows, NOBODY)
    pool.go_on()
    pool.become(ALL_UP)
    pool.move(NOBODY)
    pool.go_on()


def test_once_slots_forget_their_flows_are_with_the_current_backend(pool: Pool) -> None:
    """That is what `flow_idle` says: nobody was heard for so long."""
    pool.become(ALL_UP | {"two": plan("two", serving=DRAIN)})
    pool.go_on()
    pool.forget()
    assert pool.slots.moving == 0
    pool.move("two")
    pool.go_on()


def test_without_its_ring_a_pool_has_no_backend(pool: Pool) -> None:
    before = pool.flows
    pool.moving.scene.moving(None)
    pool.flows = dict.fromkeys(before, NOBODY)
    pool.go_on()
    pool.moving.scene.moving(pool.slots.to_bytes())
    pool.flows = before
    pool.go_on()
