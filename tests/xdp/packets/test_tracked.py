"""The sample of connections: what enters it, what keeps it, what takes out of it."""

from __future__ import annotations

import struct

import pytest

from gslb import layout
from gslb.layout import Tracked
from tests.xdp.packets.connection import ISN, Client
from tests.xdp.packets.moving import Moving, coarse_now, number_of
from tests.xdp.packets.scene import MODES, VIPS, Scene

pytestmark = pytest.mark.root
NEXT_UNIT = {0, 1}  # coarse units that may pass between a packet and the look at it


def entry(client: Client) -> Tracked | None:
    """What the sample holds of a connection."""
    found = client.programs.maps["tracked"].lookup(struct.pack("=Q", client.hash))
    return None if found is None else Tracked.from_buffer_copy(found)


def put(client: Client, backend: str, age: int, mask: int = 0) -> None:
    """As if the last packet of a connection had come `age` coarse units ago."""
    held = Tracked(number_of(backend), VIPS[client.vip].number, mask, (coarse_now() - age) & 0xFFFF)
    client.programs.maps["tracked"].update(struct.pack("=Q", client.hash), bytes(held))


def age(client: Client) -> int:
    """Coarse units since a connection was seen."""
    found = entry(client)
    assert found is not None
    return (coarse_now() - found.seen) & 0xFFFF


def opened(client: Client) -> None:
    """A handshake."""
    client.syn()
    client.ack(handshakes=1)


@pytest.mark.parametrize("backend", MODES)
@pytest.mark.parametrize("version", [4, 6])
def test_the_ack_of_a_handshake_enters_a_connection(scene: Scene, backend: str, version: int) -> None:
    client = Client(scene.programs, f"{backend}/{version}/tcp", backend)
    client.syn()
    assert entry(client) is None
    client.ack(handshakes=1)
    found = entry(client)
    assert found is not None
    assert (found.backend, found.vip, found.mask) == (number_of(backend), VIPS[client.vip].number, 0)
    assert age(client) in NEXT_UNIT


@pytest.mark.parametrize("flags", ["A", "PA", "FA", "RA", "R", "F", "SA", ""], ids=lambda flags: flags or "none")
def test_packets_that_end_no_handshake_enter_nothing(client: Client, flags: str) -> None:
    client.send(flags, ISN + 1)
    client.syn()
    client.send(flags, ISN + 2)
    assert entry(client) is None


def test_a_syn_again_enters_nothing(client: Client) -> None:
    client.syn()
    client.syn(resent_syns=1)
    assert entry(client) is None
    client.ack(handshakes=1)
    assert entry(client) is not None


@pytest.mark.parametrize("flags", ["A", "PA"])
def test_later_packets_say_that_it_lives(client: Client, flags: str) -> None:
    put(client, "l2", 50)
    client.send(flags, ISN + 5, data=b"GET /")
    assert age(client) in NEXT_UNIT


@pytest.mark.parametrize("flags", ["FA", "RA", "R", "F"])
def test_the_clients_end_takes_it_out(client: Client, flags: str) -> None:
    opened(client)
    client.send(flags, ISN + 9)
    assert entry(client) is None
    client.send("A", ISN + 10)
    assert entry(client) is None


def test_a_syn_alone_neither_renews_nor_ends_a_connection(client: Client) -> None:
    put(client, "l2", 50)
    client.syn()
    assert 50 + min(NEXT_UNIT) <= age(client) <= 50 + max(NEXT_UNIT)


def test_a_connection_from_the_same_port_takes_its_place(client: Client) -> None:
    put(client, "l2", 50, mask=3)
    opened(client)
    found = entry(client)
    assert found is not None
    assert found.mask == 0
    assert age(client) in NEXT_UNIT


@pytest.mark.parametrize("mask", [0, 1, 0xF, 0xFFFF])
def test_a_mask_takes_one_of_so_many(scene: Scene, mask: int) -> None:
    """By bits 32..47 of the flow's hash."""
    scene.settings(track_mask=mask)
    bits = mask.bit_length()
    clients = [Client(scene.programs, "l2/4/tcp", "l2", sport) for sport in range(20000, 20000 + 4 * max(bits, 1))]
    for client in clients:
        opened(client)
        found = entry(client)
        assert (found is not None) == (client.hash >> 32 & mask == 0)
        assert found is None or found.mask == mask


@pytest.mark.parametrize("flags", ["A", "FA"])
def test_what_a_larger_mask_leaves_out_is_left_to_user_space(scene: Scene, flags: str) -> None:
    scene.settings(track_mask=0xFFFF)
    client = Client(scene.programs, "l2/4/tcp", "l2")
    assert client.hash >> 32 & 0xFFFF
    put(client, "l2", 50)
    client.send(flags, ISN + 1)
    assert 50 + min(NEXT_UNIT) <= age(client) <= 50 + max(NEXT_UNIT)


def test_it_follows_a_connection_to_another_backend(scene: Scene) -> None:
    moving = Moving(scene, 4)
    client = Client(scene.programs, "moving/4/tcp", "two")
    moving.slots("two")
    put(client, "one", 3)
    client.send("A", ISN + 1)
    found = entry(client)
    assert found is not None
    assert found.backend == number_of("two")
    assert age(client) in NEXT_UNIT


def test_a_full_map_takes_no_more_and_loses_nothing(scene: Scene) -> None:
    tracked = scene.programs.maps["tracked"]
    held = bytes(Tracked(1, 1, 0, coarse_now()))
    tracked.update_many([(struct.pack("=Q", number), held) for number in range(layout.MOST_TRACKED)])
    client = Client(scene.programs, "l2/4/tcp", "l2")
    opened(client)
    assert entry(client) is None
    assert tracked.lookup(struct.pack("=Q", 0)) == held
    tracked.delete(struct.pack("=Q", 0))
    opened(client)
    assert entry(client) is not None


def test_udp_flows_are_not_of_it(scene: Scene) -> None:
    moving = Moving(scene, 4)
    moving.slots("one")
    moving.udp(40000, "one", udp_flows=1)
    assert list(scene.programs.maps["tracked"].keys()) == []
    assert moving.udp_flow(40000).tag & layout.MOST_VIPS - 1 == VIPS["moving/4/udp"].number
