"""Slots over changes and time, judged by flows that are followed one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count, pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gslb import layout
from gslb.layout import RING_SLOTS
from xdp.slots import OLDER, Slots, after, aged, coarse, empty, from_bytes, idle_since, keepers

WATCHED = 4  # slots that differ; all others are as the first one
BACKENDS = range(1, 8)


def ring(*backends: int) -> np.ndarray:
    """Current backends: of the first slots, then of all others."""
    current = np.full(RING_SLOTS, backends[-1], np.uint16)
    current[: len(backends)] = backends
    return current


@dataclass
class Flow:
    slot: int
    backend: int


@dataclass
class Program:
    """What the program does with flows, said plainly: it remembers for ever what a SYN told it."""

    slots: Slots = field(default_factory=empty)
    down: set[int] = field(default_factory=set)
    new_flows: dict[int, int] = field(default_factory=dict)

    def route(self, number: int, slot: int, *, syn: bool = False) -> int:
        current, previous = int(self.slots.current[slot]), int(self.slots.previous[slot])
        if previous == 0:
            return current
        if syn:
            self.new_flows[number] = current
            return current
        found = self.new_flows.get(number, previous)
        return current if found in self.down else found


@dataclass(frozen=True)
class Step:
    """A change: who is down, who is current in each watched slot; flows that begin in each slot; whether time passes after it."""

    down: frozenset[int]
    current: tuple[int, ...]
    begin: int
    passes: int

    @property
    def ring(self) -> np.ndarray:
        """With who is up in the place of who is down."""
        up = [backend for backend in BACKENDS if backend not in self.down]
        return ring(*(backend if backend in up else up[backend % len(up)] for backend in self.current))


steps = st.builds(
    Step,
    down=st.frozensets(st.sampled_from(BACKENDS), max_size=3),
    current=st.tuples(*[st.sampled_from(BACKENDS)] * WATCHED),
    begin=st.integers(0, 2),
    passes=st.integers(0, 2),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=1, max_size=12))
def test_no_flow_moves_but_those_of_a_backend_that_is_down(course: list[Step]) -> None:
    program = Program()
    flows: dict[int, Flow] = {}
    numbers = count()
    for step in course:
        program.down = set(step.down)
        program.slots, _ = after(program.slots, step.ring, keepers(set(BACKENDS) - step.down))
        flows = {number: flow for number, flow in flows.items() if flow.backend not in step.down}
        follow(program, flows)
        for slot in range(WATCHED):
            for _ in range(step.begin):
                number = next(numbers)
                flows[number] = Flow(slot, program.route(number, slot, syn=True))
        for _ in range(step.passes):
            used = {flow.slot for number, flow in flows.items() if flow.backend != program.slots.current[flow.slot]}
            idle = np.ones(RING_SLOTS, np.bool_)
            idle[list(used)] = False
            program.slots, _ = aged(program.slots, idle)
            follow(program, flows)


def follow(program: Program, flows: dict[int, Flow]) -> None:
    for number, flow in flows.items():
        assert program.route(number, flow.slot) == flow.backend


@settings(max_examples=15, deadline=None)
@given(st.lists(steps, min_size=1, max_size=10))
def test_what_is_kept_is_in_order(course: list[Step]) -> None:
    """No gaps, nobody who is down, nothing that says the same twice, and nothing left when enough time has passed."""
    held = empty()
    for step in course:
        keep = keepers(set(BACKENDS) - step.down)
        before = held
        held, stamped = after(held, step.ring, keep)
        older = np.zeros((RING_SLOTS, OLDER), np.uint16) if held.older is None else held.older
        whole = np.concatenate((held.previous[:, None], older), axis=1)[: WATCHED + 1]
        assert not np.isin(whole, list(step.down)).any()
        for row in whole.tolist():
            told = [each for each in row if each]
            assert row == told + [0] * (len(row) - len(told))
            assert all(a != b for a, b in pairwise(told))
        changed = np.nonzero((held.current != before.current) | (held.previous != before.previous))[0]
        assert np.isin(changed[held.previous[changed] != 0], stamped).all()
    for _ in range(OLDER + 1):
        held, _ = aged(held, np.ones(RING_SLOTS, np.bool_))
    assert held.moving == 0
    assert held.older is None


def test_the_second_of_two_changes_keeps_who_was_first() -> None:
    keep = keepers({1, 2, 3})
    one, _ = after(empty(), ring(1), keep)
    two, _ = after(one, ring(2), keep)
    three, _ = after(two, ring(3), keep)
    assert (one.moving, int(two.previous[0]), int(three.previous[0])) == (0, 1, 1)
    assert three.older is not None
    assert three.older[0].tolist() == [2, 0, 0, 0]
    later, stamped = aged(three, np.ones(RING_SLOTS, np.bool_))
    assert (int(later.previous[0]), later.older, stamped.size) == (2, None, RING_SLOTS)


def test_a_slot_that_has_its_backend_back_forgets_all_at_once() -> None:
    """Flows of its first time are not remembered as new ones: with another previous they would go there."""
    keep = keepers({1, 2})
    held = empty()
    for current in (1, 2, 1):
        held, _ = after(held, ring(current), keep)
    assert (int(held.current[0]), int(held.previous[0])) == (1, 1)
    held, _ = aged(held, np.ones(RING_SLOTS, np.bool_))
    assert held.moving == 0


def test_flows_of_who_is_down_go_to_the_current_backend_at_once() -> None:
    held, _ = after(empty(), ring(1), keepers({1}))
    held, stamped = after(held, ring(2), keepers({2}))
    assert (held.moving, stamped.size) == (0, 0)


def test_a_flow_that_is_remembered_stays_although_its_backend_was_forgotten() -> None:
    """Backend 2 is crowded out, then all the others are down: its flows are remembered, so the slot must ask."""
    held = empty()
    for current in (1, 2, 3, 4, 5, 6, 7):
        held, _ = after(held, ring(current), keepers(set(range(1, 8))))
    held, _ = after(held, ring(7), keepers({2, 7}))
    assert (int(held.previous[0]), held.older) == (7, None)


def test_of_many_in_between_the_oldest_are_forgotten() -> None:
    keep = keepers(set(range(1, 20)))
    held = empty()
    for current in range(1, 12):
        held, _ = after(held, ring(current), keep)
    assert held.older is not None
    assert [int(held.previous[0]), *held.older[0].tolist()] == [1, 7, 8, 9, 10]


def test_only_slots_that_change_are_touched() -> None:
    keep = keepers({1, 2})
    held, _ = after(empty(), ring(1), keep)
    held, stamped = after(held, ring(2, 2, 1), keep)
    assert (held.moving, stamped.tolist()) == (2, [0, 1])


def test_a_ring_is_what_the_kernel_holds() -> None:
    keep = keepers({1, 2})
    held, _ = after(empty(), ring(1), keep)
    held, _ = after(held, ring(2, 1), keep)
    kernels = layout.Ring.from_buffer_copy(held.to_bytes())
    assert (kernels.slots[0].current, kernels.slots[0].previous, kernels.slots[1].previous) == (2, 1, 0)
    assert from_bytes(held.to_bytes()).same(held)


def test_idle_is_judged_over_the_end_of_the_clock() -> None:
    uses = np.zeros(RING_SLOTS + 1, np.uint16)
    uses[0], uses[1], uses[2] = 65_530, 65_534, 3
    idle = idle_since(uses, 65_536 + 4, 8)
    assert idle[:3].tolist() == [True, False, False]
    assert coarse(2**32 / 1e9 * 7 + 0.001) == 7
