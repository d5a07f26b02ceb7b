"""Handshakes seen one way: the time from SYN to ACK, and SYNs that are sent again."""

from __future__ import annotations

import time

import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt

from tests.xdp.packets.cases import TX, Case, check, sent
from tests.xdp.packets.connection import (
    HELD_US,
    ISN,
    MARGIN_US,
    MOST_RTT_US,
    RESENT,
    WRAPPED,
    Client,
    events,
    one_event,
)
from tests.xdp.packets.frames import Tags, ether, leaves, octets
from tests.xdp.packets.moving import Moving
from tests.xdp.packets.scene import MODES, Scene
from xdp.flow import tag_of

pytestmark = pytest.mark.root
BOTH = (4, 6)
TAGS: dict[str, Tags] = {"VLAN": ((0x8100, 12),), "QinQ": ((0x88A8, 7), (0x8100, 12))}


# ---- round trips ----


@pytest.mark.parametrize("by_us", [0, 5_000, 40_000, 150_000, MOST_RTT_US - MARGIN_US])
def test_a_round_trip_is_that_from_syn_to_ack(client: Client, by_us: int) -> None:
    client.syn()
    client.set_back(by_us)
    least, most = client.ack(handshakes=1)
    one_event(client, least + by_us, most + by_us)
    assert (client.place().tag, client.place().at_us) == (0, 0)


@pytest.mark.parametrize("backend", MODES)
@pytest.mark.parametrize("version", BOTH)
def test_by_every_mode(scene: Scene, backend: str, version: int) -> None:
    client = Client(scene.programs, f"{backend}/{version}/tcp", backend)
    client.syn()
    one_event(client, *client.ack(handshakes=1))


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
def test_in_vlans(client: Client, tags: Tags) -> None:
    client.tags = tags
    client.syn()
    one_event(client, *client.ack(handshakes=1))


@pytest.mark.parametrize("by_us", [MOST_RTT_US + 1, HELD_US, 60_000_000])
def test_a_handshake_that_took_too_long_is_not_measured(client: Client, by_us: int) -> None:
    """The backend's answer was lost and sent again, or the client slept."""
    client.syn()
    client.set_back(by_us)
    client.ack(handshakes=1)
    assert events(client.programs) == []


def test_an_ack_with_data_is_not_measured(client: Client) -> None:
    """The client may have waited for what to say."""
    client.syn()
    client.ack("PA", data=b"GET /", handshakes=1)
    assert events(client.programs) == []


def test_other_bits_of_an_ack_do_not_matter(client: Client) -> None:
    client.syn()
    one_event(client, *client.ack("PAUEC", handshakes=1))


def test_options_of_an_ack_are_no_data(client: Client) -> None:
    client.syn()
    before = time.monotonic_ns()
    packet = client.packet("A", ISN + 1)
    packet[TCP].options = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
    counts = sent(client.vip, "l2", octets(packet), handshakes=1)
    check(client.programs, Case("timestamps", ether() / packet, TX, leaves("l2", packet), counts))
    one_event(client, (before - client.since_ns[1]) // 1000 - 1, 900_000)


def test_padding_of_an_ack_is_no_data(client: Client) -> None:
    client.syn()
    packet, pad = client.packet("A", ISN + 1), bytes(6)
    counts = sent(client.vip, "l2", octets(packet), handshakes=1)
    frames = bytes(ether() / packet) + pad, bytes(leaves("l2", packet)) + pad
    check(client.programs, Case("padding", frames[0], TX, frames[1], counts))
    assert len(events(client.programs)) == 1


def test_extension_headers_of_an_ack_are_no_data(scene: Scene) -> None:
    client = Client(scene.programs, "l2/6/tcp", "l2")
    client.syn()
    plain = client.packet("A", ISN + 1)
    packet = IPv6(src=plain.src, dst=plain.dst, hlim=60) / IPv6ExtHdrDestOpt() / plain.payload
    packet = IPv6(bytes(packet))
    counts = sent(client.vip, "l2", octets(packet), handshakes=1)
    check(client.programs, Case("destination options", ether() / packet, TX, leaves("l2", packet), counts))
    assert len(events(client.programs)) == 1


@pytest.mark.parametrize("flags", ["FA", "RA", "R", "SA", "F", ""], ids=lambda flags: flags or "none")
def test_what_is_no_ack_alone_ends_no_handshake(client: Client, flags: str) -> None:
    client.syn()
    client.send(flags, ISN + 1)
    assert events(client.programs) == []
    one_event(client, *client.ack(handshakes=1))


@pytest.mark.parametrize("seq", [ISN, ISN + 2, 0, 0xFFFFFFFF])
def test_an_ack_with_another_number_is_not_that_of_the_handshake(client: Client, seq: int) -> None:
    client.syn()
    client.send("A", seq)
    assert events(client.programs) == []


def test_only_the_first_ack_is_that_of_the_handshake(client: Client) -> None:
    client.syn()
    client.ack(handshakes=1)
    assert len(events(client.programs)) == 1
    client.ack()
    client.send("PA", ISN + 1, data=b"GET /")
    assert events(client.programs) == []


def test_an_ack_without_a_syn_is_no_handshake(client: Client) -> None:
    client.ack()
    assert events(client.programs) == []


def test_sequence_numbers_begin_again_at_zero(client: Client) -> None:
    client.isn = 0xFFFFFFFF
    client.syn()
    one_event(client, *client.ack(handshakes=1))


def test_a_tag_of_zero_is_a_handshake_like_any_other(client: Client) -> None:
    """0 stands for a free place."""
    client.isn = (tag_of(client.hash) - 1) % WRAPPED
    client.syn()
    assert client.place().tag == 1
    one_event(client, *client.ack(handshakes=1))


def test_a_handshake_goes_on_while_its_slot_changes(moving: Moving) -> None:
    programs = moving.scene.programs
    client = Client(programs, f"moving/{moving.version}/tcp", "one")
    moving.slots("one")
    client.syn()
    moving.slots("two", "one")
    one_event(client, *client.ack(handshakes=1))
    later = Client(programs, client.vip, "two", sport=40001)
    later.syn()
    one_event(later, *later.ack(handshakes=1))


# ---- SYNs that are sent again ----


def test_a_syn_that_is_sent_again_tells_no_time(client: Client) -> None:
    """Which of both was answered is not known (RFC 6298 section 3)."""
    client.syn()
    client.set_back(1_000_000)
    client.syn(resent_syns=1)
    assert client.place().at_us & RESENT
    client.ack(handshakes=1)
    assert events(client.programs) == []


def test_a_handshake_counts_one_syn_that_was_sent_again_however_often_it_was(client: Client) -> None:
    """So resent SYNs over handshakes is a share, and one client that goes on for ever does not weigh more."""
    client.syn()
    client.syn(resent_syns=1)
    for _ in range(3):
        client.set_back(2_000_000)
        client.syn()
    client.ack(handshakes=1)
    assert events(client.programs) == []


def test_after_its_handshake_a_connection_is_forgotten(client: Client) -> None:
    client.syn()
    client.ack(handshakes=1)
    assert len(events(client.programs)) == 1
    client.syn()
    one_event(client, *client.ack(handshakes=1))


def test_another_connection_from_the_same_port_is_no_syn_sent_again(client: Client) -> None:
    """It has another number; the place of the one before is held like anybody's."""
    client.syn()
    client.isn += 100_000
    client.syn(untracked_syns=1)
    client.set_back(HELD_US + MARGIN_US)
    client.syn()
    one_event(client, *client.ack(handshakes=1))
