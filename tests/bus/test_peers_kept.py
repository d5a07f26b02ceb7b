"""What is kept of other nodes: bounded, over a restart, and whatever can be read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.bus.bus import Message
from gslb.bus.held import TARGETS_MOST
from gslb.bus.messages import Answers, Body, Kind, Loads, Opinions, RoundTrips, SharedLoad, Stamp, Told
from gslb.bus.peers import NODES_MOST, SILENT_S, STRANGERS_MOST, Peers, PeersUnreadable
from gslb.bus.wire import FORMAT, SEGMENT, Refused, decode
from gslb.model.deployment import NodeId, SiteId
from gslb.model.world import Health
from tests.bus.senders import DOWN, FRA, LIFE, NOW, WALL, WEB, Sender, hear, one, said


def test_nodes_are_bounded_and_those_of_the_configuration_find_room() -> None:
    peers = Peers(NodeId("fra1"))
    for number in range(NODES_MOST):
        assert not hear(peers, Sender(f"n{number}").tell(LIFE, NOW + number / 1000)).refused
    assert hear(peers, Sender("one-more").tell(LIFE, NOW + 1)).refused == "too_many_nodes"
    peers.keep([(SiteId("iad"), NodeId("one-more"))], NOW + 1)
    assert not hear(peers, Sender("one-more").tell(LIFE, NOW + 1)).refused
    assert NodeId("n0") not in peers.lives(NOW + 1)
    peers.keep([(SiteId("iad"), NodeId("one-more"))], NOW + 3700)
    assert peers.lives(NOW + 3700).keys() == {"one-more"}
    for number in range(STRANGERS_MOST):
        assert not hear(peers, Sender(f"s{number}").tell(LIFE, NOW + 3700)).refused
    assert hear(peers, Sender("another").tell(LIFE, NOW + 3700)).refused == "too_many_nodes"
    assert not hear(peers, Sender("another").tell(LIFE, NOW + 3701 + SILENT_S)).refused


def test_targets_of_a_node_are_bounded_and_those_that_were_asked_last_stay() -> None:
    peers, iad = Peers(NodeId("fra1")), Sender()
    for first in range(0, TARGETS_MOST + 2000, 2000):
        hear(peers, iad.tell(Opinions(dict.fromkeys(range(first, first + 2000), one())), NOW + first))
    assert peers.keys() == frozenset(range(2000, TARGETS_MOST + 2000))


@given(
    st.dictionaries(st.integers(0, (1 << 64) - 1), st.sampled_from(Health), max_size=20),
    st.floats(0, 1e5),
    st.text(max_size=9),
)
def test_what_was_told_is_kept_over_a_restart_and_ages(states: dict[int, Health], away_s: float, why: str) -> None:
    peers, iad, sin = Peers(NodeId("fra1")), Sender(), Sender("sin1", "sin")
    hear(peers, iad.tell(Opinions({key: one(health, why=why) for key, health in states.items()}), NOW))
    hear(peers, iad.tell(Loads({FRA: SharedLoad(0.5, 2.0, part=False)}), NOW))
    hear(peers, iad.tell(Answers("g", {(WEB, 1, 0): (1.0, 2.0)}), NOW))
    hear(peers, sin.tell(RoundTrips("g", {(FRA, 4, 1): (0.25, 0.5, 9, 0.0)}), NOW))
    hear(peers, sin.tell(replace(LIFE, blind_s=4.0), NOW))
    data = peers.dump("example", NOW + 1, WALL)
    again, now = Peers(NodeId("fra1")), 5.0  # the machine was started anew: its monotonic clock as well
    again.load(data, "example", now, WALL + away_s)
    older = 1 + away_s
    for key, by_node in said(peers, NOW + older).items():
        told = said(again, now)[key]["iad1"]
        assert replace(told, age_s=0.0, for_s=0.0) == replace(by_node["iad1"], age_s=0.0, for_s=0.0)
        assert told.age_s == pytest.approx(by_node["iad1"].age_s, abs=0.01)
        assert told.for_s == pytest.approx(by_node["iad1"].for_s, abs=0.01)
    assert again.keys() == states.keys()
    assert again.loads(now)[FRA][0].load.age_s == pytest.approx(2 + older, abs=0.01)
    life = again.lives(now)[NodeId("sin1")].life
    assert life is not None
    assert life.blind_s == pytest.approx(4 + older, abs=0.01)
    trip = again.round_trips("g", now)[SiteId("sin")][FRA][4, 1]
    assert (trip.p50_s, trip.p90_s, trip.count) == (0.25, 0.5, 9)
    assert trip.age_s == pytest.approx(older)
    went_on = decode(sin.tell(LIFE, NOW + older), WALL + NOW + older)
    assert not again.take(replace(went_on, heard_at=now)).refused


def test_a_file_that_is_none_is_refused_and_changes_nothing() -> None:
    peers = Peers(NodeId("fra1"))
    hear(peers, Sender().tell(LIFE, NOW))
    data = peers.dump("example", NOW, WALL)
    for broken in (b"", data[:-1], data[:40] + b"\xff" + data[41:], b"\x94\x02\xa7example\0\x90"):
        with pytest.raises(PeersUnreadable):
            peers.load(broken, "example", NOW, WALL)
    with pytest.raises(PeersUnreadable, match="deployment 'example', expected 'other'"):
        peers.load(data, "other", NOW, WALL)
    assert peers.lives(NOW).keys() == {"iad1"}


@given(
    st.sampled_from(Kind),
    st.binary(max_size=300),
    st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), max_size=3),
)
def test_whatever_can_be_read_can_be_merged_told_and_kept(
    kind: Kind, tail: bytes, flips: list[tuple[int, int]]
) -> None:
    peers, iad = Peers(NodeId("fra1")), Sender()
    bodies: dict[Kind, Body] = {
        Kind.LIFE: LIFE,
        Kind.OPINIONS: Opinions({7: one(DOWN, why="refused"), 1 << 63: one()}),
        Kind.LOADS: Loads({FRA: SharedLoad(0.5, 1e12, part=True)}),
        Kind.ROUND_TRIPS: RoundTrips("g", {(FRA, 6, 1): (1e12, 1e12, 9, 1e12)}),
        Kind.DEMAND: Answers("g", {(WEB, 1, 0): (1.0, 1e12), (WEB, 1, SEGMENT): (2.0,)}, ("192.0.2.1",), 1e12),
    }
    raw = bytearray(iad.tell(bodies[kind], NOW).body)
    for place, octet in flips:
        raw[place % len(raw)] = octet
    for body in (bytes(raw), bytes((FORMAT,)) + tail, iad.tell(bodies[kind], NOW + 1e9).body):
        try:
            peers.take(decode(Message("iad", "iad1", kind, body, NOW), WALL + 1e9))
        except Refused:
            continue
    peers.due(NOW)
    assert not peers.lives(NOW) or peers.lives(NOW).keys() == {"iad1"}
    assert len(peers.opinions(peers.keys(), NOW)) == len(peers.keys())
    assert len(peers.loads(NOW)) <= 2
    assert len(peers.round_trips("g", NOW)) <= 1
    assert len(peers.answers("g", NOW)) <= 1
    again = Peers(NodeId("fra1"))
    again.load(peers.dump("example", NOW, WALL), "example", NOW, WALL)
    assert again.keys() == peers.keys()


def test_a_message_is_taken_as_it_was_decoded_or_given() -> None:
    """Values that were never octets are taken as well."""
    peers = Peers(NodeId("fra1"))
    assert peers.take(Told("iad", "iad1", Stamp(1, 1, 0.0, 0.0), Opinions({7: one()}), NOW)).keys == {7}
