"""Where many handshakes meet: whose place it is, how much is told, and what a flood cannot do."""

from __future__ import annotations

import time

import pytest

from gslb import layout
from tests.xdp.packets.connection import HELD_US, ISN, MARGIN_US, RESENT, Client, events, meeting, one_event
from tests.xdp.packets.frames import ether
from tests.xdp.packets.moving import Moving, at_rest
from tests.xdp.packets.scene import Scene

pytestmark = pytest.mark.root
AHEAD_US = 1000  # xdp/c/handshake.h
SECOND = 30  # a limit is of 2^30 ns
STILL_NS = 500_000_000


@pytest.fixture
def pair(client: Client) -> tuple[Client, Client]:
    """Two clients whose handshakes have one place in the table."""
    return meeting(client)


def test_a_later_syn_does_not_take_the_place_of_an_earlier_one(pair: tuple[Client, Client]) -> None:
    honest, flood = pair
    honest.syn()
    held = honest.place().tag
    for _ in range(3):
        flood.syn(untracked_syns=1)
    assert honest.place().tag == held
    flood.ack()
    one_event(honest, *honest.ack(handshakes=1))


@pytest.mark.parametrize("again", [False, True], ids=["sent once", "sent again"])
@pytest.mark.parametrize(
    ("age_us", "held"),
    [(0, True), (MARGIN_US, True), (HELD_US - MARGIN_US, True), (HELD_US, False), (1 << 31, False)],
)
def test_a_place_is_held_for_a_second_and_a_half(
    pair: tuple[Client, Client], *, age_us: int, held: bool, again: bool
) -> None:
    first, second = pair
    first.syn()
    if again:
        first.syn(resent_syns=1)
    tag = first.place().tag
    first.set_back(age_us)
    second.syn(**({"untracked_syns": 1} if held else {}))
    assert (second.place().tag == tag) is held


def test_a_place_is_held_against_a_cpu_whose_reading_of_the_clock_is_older(pair: tuple[Client, Client]) -> None:
    """And against a SYN of the same microsecond, where the place's own says that it was sent again."""
    first, second = pair
    first.syn()
    first.syn(resent_syns=1)
    tag, frame = first.place().tag, bytes(ether() / second.packet("S", ISN))
    first.put(tag, (time.monotonic_ns() // 1000 + AHEAD_US - 50) | RESENT)
    second.programs.quick(frame)
    assert first.place().tag == tag


def test_a_flood_that_is_never_completed_frees_its_places(pair: tuple[Client, Client]) -> None:
    flood, honest = pair
    flood.syn()
    honest.syn(untracked_syns=1)
    honest.ack()
    flood.set_back(HELD_US + MARGIN_US)
    honest.syn()
    one_event(honest, *honest.ack(handshakes=1))


def test_a_syn_that_is_dropped_leaves_nothing_in_the_table(moving: Moving) -> None:
    moving.slots("none")
    moving.tcp("S", 40000, "", seq=ISN)
    client = Client(moving.scene.programs, f"moving/{moving.version}/tcp", "none")
    assert client.place().tag == 0


# ---- what user space is told ----


@pytest.mark.usefixtures("one_cpu")
@pytest.mark.parametrize("most", [0, 3])
def test_a_cpu_tells_so_many_a_second_and_counts_all(scene: Scene, most: int) -> None:
    scene.settings(events_per_s=most)
    before = scene.programs.counters()
    clients = [Client(scene.programs, "l2/4/tcp", "l2", sport) for sport in range(40000, 40008)]
    frames = [bytes(ether() / each.packet(*of)) for each in clients for of in (("S", ISN), ("A", ISN + 1))]
    at_rest(SECOND, STILL_NS)
    for frame in frames:
        scene.programs.quick(frame)
    assert len(events(scene.programs)) == most
    after = scene.programs.counters()
    assert after["l2.handshakes"] - before["l2.handshakes"] == len(clients)
    assert after["EVENTS_LOST"] == before["EVENTS_LOST"]


def test_what_finds_no_room_is_counted_as_lost(scene: Scene) -> None:
    """Nobody reads: the oldest stay, and the balancer goes on."""
    client = Client(scene.programs, "l2/4/tcp", "l2")
    syn, ack = (bytes(ether() / client.packet(*each)) for each in (("S", ISN), ("A", ISN + 1)))
    room = layout.EVENT_OCTETS // (8 + len(bytes(layout.HandshakeEvent())))  # a record has a header of 8 octets
    lost = scene.programs.counters()["EVENTS_LOST"]
    for _ in range(room):
        scene.programs.quick(syn)
        scene.programs.quick(ack)
    assert scene.programs.counters()["EVENTS_LOST"] == lost
    for _ in range(3):
        client.syn()
        client.ack(handshakes=1, EVENTS_LOST=1)
    assert len(events(scene.programs)) == room
    client.syn()
    one_event(client, *client.ack(handshakes=1))
