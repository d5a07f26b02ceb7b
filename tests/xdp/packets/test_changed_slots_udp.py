"""UDP before and in a slot that changed: a flow that was seen in the last minute stays with its backend, any other does not."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach
from scapy.packet import Packet

from tests.xdp.packets.cases import TX, Case, check, sent
from tests.xdp.packets.frames import OUTSIDE, ether, hash_of, ip, leaves, octets
from tests.xdp.packets.moving import NOBODY, Moving, at_rest, coarse_now, number_of, udp_tag
from tests.xdp.packets.scene import DOWN, MODES, UNREACHABLE
from xdp.flow import Flow, index_of

pytestmark = pytest.mark.root
PORT, OTHER = 50001, 50002
LIVE = 14  # coarse units of 4.29 s: the last age at which a flow stays (60 s)
SILENT = 2  # the age from which another flow may have the place


exact_ages = pytest.mark.usefixtures("clock_at_rest")


@pytest.fixture
def clock_at_rest() -> None:
    """Ages in coarse time are the same at the end of a test as at its beginning."""
    at_rest()


@pytest.fixture
def steady(moving: Moving) -> Moving:
    """A slot that did not change: all is with one."""
    moving.slots("one")
    return moving


def same_place(moving: Moving) -> tuple[int, int]:
    """The ports of two flows that have one place in the table of UDP flows."""
    seen: dict[int, int] = {}
    for port in range(20000, 24000):
        index = index_of(hash_of(moving.datagram(port)))
        if index in seen:
            return seen[index], port
        seen[index] = port
    raise AssertionError("no two of 4000 flows meet")


def held(moving: Moving, port: int) -> tuple[int, int, int]:
    """What the place of a flow holds: tag, backend, age."""
    flow = moving.udp_flow(port)
    return flow.tag, flow.backend, (coarse_now() - flow.seen) & 0xFFFF


# ---- a slot that did not change ----


@exact_ages
def test_a_flow_is_counted_once_and_remembered(steady: Moving) -> None:
    steady.udp(PORT, "one", udp_flows=1)
    assert held(steady, PORT) == (udp_tag(steady.datagram(PORT)), number_of("one"), 0)
    for _ in range(3):
        steady.udp(PORT, "one")
    assert steady.used == {}


@exact_ages
@pytest.mark.parametrize(("age", "begins"), [(0, 0), (1, 0), (LIVE, 0), (LIVE + 1, 1), (1000, 1), (0xFFFF, 1)])
def test_a_flow_begins_anew_after_a_minute(steady: Moving, age: int, begins: int) -> None:
    steady.put_udp_flow(PORT, "one", age)
    steady.udp(PORT, "one", **({"udp_flows": 1} if begins else {}))
    assert held(steady, PORT) == (udp_tag(steady.datagram(PORT)), number_of("one"), 0)


def test_the_backend_of_a_slot_is_noted_whatever_was_noted_before(steady: Moving) -> None:
    """Without a previous backend there is nobody to stay with."""
    steady.put_udp_flow(PORT, "three", 0)
    steady.udp(PORT, "one")
    assert held(steady, PORT)[1] == number_of("one")


@exact_ages
@pytest.mark.parametrize("age", [0, 1])
def test_a_flow_that_was_just_seen_keeps_its_place(steady: Moving, age: int) -> None:
    first, second = same_place(steady)
    steady.put_udp_flow(first, "one", age)
    steady.udp(second, "one")
    assert held(steady, second) == (udp_tag(steady.datagram(first)), number_of("one"), age)


@exact_ages
@pytest.mark.parametrize("age", [SILENT, LIVE, 0x8000])
def test_a_silent_flow_loses_its_place_to_another(steady: Moving, age: int) -> None:
    first, second = same_place(steady)
    steady.put_udp_flow(first, "one", age)
    steady.udp(second, "one", udp_flows=1)
    assert held(steady, first) == (udp_tag(steady.datagram(second)), number_of("one"), 0)


def test_flows_of_different_places_do_not_meet(steady: Moving) -> None:
    for port in range(30000, 30032):
        steady.udp(port, "one", udp_flows=1)
    for port in range(30000, 30032):
        steady.udp(port, "one")


@exact_ages
def test_an_error_about_a_flow_does_not_keep_it_alive(steady: Moving) -> None:
    steady.put_udp_flow(PORT, "one", 5)
    check(steady.scene.programs, about(steady, PORT, "one"))
    assert held(steady, PORT)[2] == 5
    check(steady.scene.programs, about(steady, OTHER, "one"))
    assert steady.udp_flow(OTHER).tag == 0


# ---- a slot that changed ----


@exact_ages
@pytest.mark.parametrize("age", [0, 1, LIVE])
def test_a_live_flow_stays(moving: Moving, age: int) -> None:
    moving.put_udp_flow(PORT, "one", age)
    before = coarse_now()
    moving.udp(PORT, "one")
    assert held(moving, PORT) == (udp_tag(moving.datagram(PORT)), number_of("one"), 0)
    assert moving.used.keys() == {moving.slot(moving.datagram(PORT))}
    assert set(moving.used.values()) <= {before, coarse_now()}


@exact_ages
@pytest.mark.parametrize("age", [LIVE + 1, 0x8000])
def test_a_flow_that_was_silent_for_a_minute_goes_to_the_current_backend(moving: Moving, age: int) -> None:
    moving.put_udp_flow(PORT, "one", age)
    moving.udp(PORT, "two", udp_flows=1)
    assert held(moving, PORT) == (udp_tag(moving.datagram(PORT)), number_of("two"), 0)
    assert moving.used == {}


def test_what_was_seen_before_the_change_stays_and_what_begins_after_it_does_not(moving: Moving) -> None:
    moving.slots("one")
    moving.udp(PORT, "one", udp_flows=1)
    moving.slots("two", "one")
    moving.udp(PORT, "one")
    moving.udp(OTHER, "two", udp_flows=1)
    moving.slots("three", "one")
    moving.udp(PORT, "one")
    moving.udp(OTHER, "two")
    moving.udp(PORT + 2, "three", udp_flows=1)


def test_a_slot_that_has_its_backend_back_keeps_what_began_in_between(moving: Moving) -> None:
    moving.udp(PORT, "two", udp_flows=1)
    moving.slots("one", "one")
    moving.udp(PORT, "two")
    moving.udp(OTHER, "one", udp_flows=1)


def test_a_flow_without_a_place_of_its_own_goes_to_the_current_backend(moving: Moving) -> None:
    """What the table does not hold is not known to have been there."""
    first, second = same_place(moving)
    moving.slots("one")
    moving.udp(first, "one", udp_flows=1)
    moving.udp(second, "one")
    moving.slots("two", "one")
    moving.udp(second, "two")
    moving.udp(first, "one")
    assert held(moving, second)[:2] == (udp_tag(moving.datagram(first)), number_of("one"))


def test_a_tag_is_all_that_a_flow_is_known_by(moving: Moving) -> None:
    """One bit of it, of the flow's hash or of the VIP; 0 is nobody's."""
    tag = udp_tag(moving.datagram(PORT))
    for other in (tag ^ 2, tag ^ 1 << 31, 0):
        moving.put_udp_flow(PORT, "one", 0, tag=other)
        moving.udp(PORT, "two", **({} if other else {"udp_flows": 1}))


@pytest.mark.parametrize("backend", MODES)
def test_who_stays_is_reached_by_the_mode_of_its_backend(moving: Moving, backend: str) -> None:
    moving.slots("l2" if backend != "l2" else "gue6", backend)
    moving.put_udp_flow(PORT, backend, 3)
    moving.udp(PORT, backend)


@exact_ages
def test_an_error_about_a_flow_follows_it(moving: Moving) -> None:
    moving.put_udp_flow(PORT, "one", 3)
    check(moving.scene.programs, about(moving, PORT, "one"))
    check(moving.scene.programs, about(moving, OTHER, "two"))
    assert held(moving, PORT)[2] == 3


# ---- backends that are down, unknown, not reached ----


def test_a_live_flow_of_a_backend_that_is_down_moves_at_once_and_for_good(moving: Moving) -> None:
    moving.put_udp_flow(PORT, "one", 1)
    moving.flag("one", DOWN)
    moving.udp(PORT, "two")
    assert held(moving, PORT)[1] == number_of("two")
    moving.flag("one", 0)
    moving.udp(PORT, "two")


def test_a_live_flow_of_a_backend_that_is_no_more_moves(moving: Moving) -> None:
    moving.put_udp_flow(PORT, "none", 1)
    moving.udp(PORT, "two")


def test_a_backend_without_a_next_hop_keeps_its_flows(moving: Moving) -> None:
    moving.put_udp_flow(PORT, "one", 1)
    moving.flag("one", UNREACHABLE)
    moving.udp(PORT, NOBODY)
    moving.flag("one", 0)
    moving.udp(PORT, "one")


def test_a_slot_that_takes_nobody_keeps_what_it_has(moving: Moving) -> None:
    moving.slots(NOBODY, "one")
    moving.put_udp_flow(PORT, "one", 1)
    moving.udp(PORT, "one")
    moving.udp(OTHER, NOBODY)
    moving.slots("two", "one")
    moving.udp(OTHER, "two")


def about(moving: Moving, port: int, to: str) -> Case:
    """An error that a router tells of an answer in this flow."""
    flow, version = moving.datagram(port), moving.version
    answer = ip(version, flow.dst, flow.src) / UDP(sport=flow[UDP].dport, dport=port) / b"answer"
    header: Packet = ICMP(type=3, code=1) if version == 4 else ICMPv6DestUnreach()
    packet = ip(version, OUTSIDE[version], flow.dst) / header / answer
    packet = type(packet)(bytes(packet))
    counts = sent(f"moving/{version}/udp", to, octets(packet)) | {
        "ICMP_FORWARDED": 1,
        f"moving/{version}/udp.errors": 1,
    }
    hashed = Flow(flow.src, flow.dst, port, flow[UDP].dport, 17)
    return Case(f"an error about port {port}", ether() / packet, TX, leaves(to, packet, flow=hashed), counts)
