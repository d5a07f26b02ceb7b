"""TCP in a slot that changed: whoever is remembered, or stays, is sent to one backend from its SYN on, whatever the limits do."""

from __future__ import annotations

import time

import pytest

from gslb import layout
from tests.xdp.harness import word
from tests.xdp.packets.frames import hash_of
from tests.xdp.packets.moving import NOBODY, Moving, coarse_now, number_of
from tests.xdp.packets.scene import DOWN, MODES, MOVING_RING, UNREACHABLE

pytestmark = pytest.mark.root
OLD, NEW, LATER = 50001, 50002, 50003  # ports of flows that began before the change, after it, and after a second one
NOT_NEW = ("A", "PA", "FA", "F", "R", "RA", "SA", "FPU", "")


def remembered(moving: Moving, port: int) -> layout.NewFlow | None:
    """What is remembered of the flow from this port."""
    key = hash_of(moving.segment("A", port)).to_bytes(8, "little")
    held = moving.scene.programs.maps["new_flows"].lookup(key)
    return None if held is None else layout.NewFlow.from_buffer_copy(held)


# ---- one change ----


def test_a_new_flow_is_remembered_and_an_older_one_stays(moving: Moving) -> None:
    moving.tcp("S", NEW, "two")
    moving.tcp("A", NEW, "two")
    moving.tcp("A", OLD, "one")


@pytest.mark.parametrize("flags", NOT_NEW, ids=lambda flags: flags or "none")
def test_only_a_syn_begins_a_flow(moving: Moving, flags: str) -> None:
    moving.tcp(flags, OLD, "one")
    moving.tcp("S", NEW, "two")
    moving.tcp(flags, NEW, "two")
    assert remembered(moving, OLD) is None


@pytest.mark.parametrize("flags", ["SEC", "SU", "SP"])
def test_other_bits_of_a_syn_do_not_matter(moving: Moving, flags: str) -> None:
    """RFC 3168 section 6.1.1: ECN is agreed upon with E and C."""
    moving.tcp(flags, NEW, "two")
    moving.tcp("A", NEW, "two")


def test_a_port_that_is_used_again_begins_a_new_flow(moving: Moving) -> None:
    moving.tcp("FA", OLD, "one")
    moving.tcp("S", OLD, "two")
    moving.tcp("A", OLD, "two")


def test_what_is_remembered_says_whom_and_when(moving: Moving) -> None:
    before = time.monotonic_ns() // 1_000_000_000
    moving.tcp("S", NEW, "two")
    flow = remembered(moving, NEW)
    assert flow is not None
    assert (flow.backend, flow.zero) == (number_of("two"), 0)
    assert before <= flow.seen_s <= time.monotonic_ns() // 1_000_000_000


def test_nothing_is_remembered_in_a_slot_that_did_not_change(moving: Moving) -> None:
    moving.slots("two")
    moving.tcp("S", NEW, "two")
    moving.tcp("A", NEW, "two")
    assert not list(moving.scene.programs.maps["new_flows"].keys())


def test_a_slot_says_when_it_was_last_used_for_another_backend(moving: Moving) -> None:
    moving.tcp("S", NEW, "two")
    moving.tcp("A", NEW, "two")
    assert moving.used == {}
    before = coarse_now()
    moving.tcp("A", OLD, "one")
    assert list(moving.used) == [moving.slot(moving.segment("A", OLD))]
    assert set(moving.used.values()) <= {before, coarse_now()}


def test_a_slot_serves_though_nobody_asks_when_it_was_used(moving: Moving) -> None:
    moving.scene.programs.maps["ring_uses"].delete(word(MOVING_RING))
    moving.tcp("A", OLD, "one")


@pytest.mark.parametrize("backend", MODES)
def test_who_stays_is_reached_by_the_mode_of_its_backend(moving: Moving, backend: str) -> None:
    moving.slots("l2" if backend != "l2" else "gue6", backend)
    moving.tcp("A", OLD, backend)
    moving.slots(backend, "l2" if backend != "l2" else "gue6")
    moving.tcp("S", NEW, backend)
    moving.tcp("A", NEW, backend)


# ---- limits ----


def test_a_flow_that_cannot_be_remembered_stays_with_the_previous_backend(moving: Moving) -> None:
    moving.scene.settings(new_flows_per_s=0)
    moving.tcp("S", NEW, "one", NEW_FLOWS_FULL=1)
    moving.tcp("A", NEW, "one")
    moving.tcp("S", NEW, "one", NEW_FLOWS_FULL=1, resent_syns=1)


def test_a_repeated_syn_goes_where_its_flow_is_remembered_though_the_limit_is_used_up(moving: Moving) -> None:
    moving.tcp("S", NEW, "two")
    moving.scene.settings(new_flows_per_s=0)
    moving.tcp("S", NEW, "two", resent_syns=1)
    moving.tcp("A", NEW, "two")


def test_beyond_the_limit_nobody_goes_to_a_previous_backend_that_is_down(moving: Moving) -> None:
    """The ring says so in a moment; until then the flow is with the current one, remembered or not."""
    moving.flag("one", DOWN)
    moving.scene.settings(new_flows_per_s=0)
    moving.tcp("S", NEW, "two")
    moving.tcp("A", NEW, "two")


# ---- a second change soon after ----


def test_two_changes_leave_each_flow_with_the_backend_that_it_began_with(moving: Moving) -> None:
    moving.tcp("S", NEW, "two")
    moving.slots("three", "one")
    moving.tcp("S", LATER, "three")
    for _ in range(2):
        moving.tcp("A", OLD, "one")
        moving.tcp("A", NEW, "two")
        moving.tcp("A", LATER, "three")


def test_a_flow_is_not_remembered_anew_by_a_second_change(moving: Moving) -> None:
    moving.tcp("S", NEW, "two")
    moving.slots("three", "one")
    moving.tcp("A", NEW, "two")
    flow = remembered(moving, NEW)
    assert flow is not None
    assert flow.backend == number_of("two")


def test_after_a_second_change_a_repeated_syn_begins_its_flow_again(moving: Moving) -> None:
    """Nobody has answered it yet, and its later packets follow it."""
    moving.tcp("S", NEW, "two")
    moving.slots("three", "one")
    moving.tcp("S", NEW, "three", resent_syns=1)
    moving.tcp("A", NEW, "three")


def test_a_slot_that_has_its_backend_back_keeps_what_began_in_between(moving: Moving) -> None:
    moving.tcp("S", NEW, "two")
    moving.slots("one", "one")
    moving.tcp("A", OLD, "one")
    moving.tcp("A", NEW, "two")
    moving.tcp("S", LATER, "one")
    assert list(moving.used) == [moving.slot(moving.segment("A", NEW))]


def test_once_a_slot_has_forgotten_all_are_with_its_backend(moving: Moving) -> None:
    """User space lets it forget when nobody has used the previous one for as long as flows may be idle."""
    moving.tcp("S", NEW, "two")
    moving.slots("three")
    for port in (OLD, NEW, LATER):
        moving.tcp("A", port, "three")


# ---- backends that are down, unknown, not reached ----


def test_flows_of_a_previous_backend_that_is_down_move_at_once(moving: Moving) -> None:
    moving.tcp("A", OLD, "one")
    moving.flag("one", DOWN)
    moving.tcp("A", OLD, "two")
    moving.tcp("S", NEW, "two")
    moving.tcp("A", NEW, "two")


def test_flows_of_a_remembered_backend_that_is_down_move_at_once(moving: Moving) -> None:
    moving.tcp("S", NEW, "two")
    moving.slots("three", "one")
    moving.flag("two", DOWN)
    moving.tcp("A", NEW, "three")
    moving.tcp("A", OLD, "one")


def test_with_all_but_the_current_one_down_nobody_is_lost(moving: Moving) -> None:
    moving.tcp("S", NEW, "two")
    moving.slots("three", "one")
    moving.flag("one", DOWN)
    moving.flag("two", DOWN)
    for port in (OLD, NEW):
        moving.tcp("A", port, "three")
    assert moving.used == {}


def test_a_current_backend_that_is_down_serves_until_the_ring_says_otherwise(moving: Moving) -> None:
    """Rings are replaced before a backend is called down; where all are down, it is better than nobody."""
    moving.flag("two", DOWN)
    moving.tcp("S", NEW, "two")
    moving.tcp("A", NEW, "two")
    moving.tcp("A", OLD, "one")
    moving.flag("one", DOWN)
    moving.tcp("A", OLD, "two")


def test_a_backend_that_is_no_more_keeps_nothing(moving: Moving) -> None:
    moving.slots("two", "none")
    moving.tcp("A", OLD, "two")
    moving.slots("none", "one")
    moving.tcp("S", NEW, NOBODY)
    moving.slots("two", "one")
    moving.tcp("A", NEW, "two")


def test_a_backend_without_a_next_hop_keeps_its_flows(moving: Moving) -> None:
    """Its neighbour may answer again at once, and no other one knows them."""
    moving.tcp("S", NEW, "two")
    moving.slots("three", "one")
    for backend, port in (("one", OLD), ("two", NEW)):
        moving.flag(backend, UNREACHABLE)
        moving.tcp("A", port, NOBODY)
        moving.flag(backend, 0)
        moving.tcp("A", port, backend)


def test_a_slot_that_takes_nobody_keeps_what_it_has(moving: Moving) -> None:
    moving.slots(NOBODY, "one")
    moving.tcp("A", OLD, "one")
    moving.tcp("S", NEW, NOBODY)
    moving.slots("three", "one")
    moving.tcp("A", NEW, "three")
