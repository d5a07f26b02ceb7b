"""The merge of what nodes told: whatever the bus does to messages, in the end every node knows what was told last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.bus.bus import Message
from gslb.bus.held import MOVED_S, TARGETS_MOST
from gslb.bus.messages import Answers, Body, Life, Loads, Opinion, Opinions, RoundTrips, SharedLoad, Stamp, Told
from gslb.bus.peer import LIFE_S, WINDOW_S
from gslb.bus.peers import NODES_MOST, SILENT_S, STRANGERS_MOST, Peers, PeersUnreadable, Taken
from gslb.bus.rows import pack
from gslb.bus.wire import SEGMENT, decode, encode, kind_of
from gslb.model.deployment import NodeId, PolicyId, PoolId, SiteId
from gslb.model.world import Health

UP, DOWN = Health.UP, Health.DOWN
NOW, WALL = 10_000.0, 1_700_000_000.0
FRA, WEB = PoolId("web-fra"), PolicyId("web")
LIFE = Life("c", 0, 1, "p", "g", "b", None, {}, "1", 5.0)


@dataclass
class Sender:
    """A node with clocks of its own; `tell` makes a message that is sent at `now` (our clock)."""

    node: str = "iad1"
    site: str = "iad"
    run: int = 1
    clock_s: float = 500_000.0  # its monotonic clock is ahead of ours
    skew_s: float = 0.0
    number: int = field(default=0)

    def tell(self, body: Body, now: float) -> Message:
        self.number += 1
        stamp = Stamp(self.run, self.number, now + self.clock_s, WALL + now + self.skew_s)
        return Message(self.site, self.node, kind_of(body), encode(stamp, body), now)


def hear(peers: Peers, message: Message, took_s: float = 0.0) -> Taken:
    heard_at = message.heard_at + took_s
    return peers.take(decode(replace(message, heard_at=heard_at), WALL + heard_at))


def one(health: Health = UP, *, age_s: float = 1.0, for_s: float = 60.0, why: str = "") -> Opinion:
    return Opinion(health, age_s, for_s, 15.0, why=why)


def said(peers: Peers, now: float, keys: Iterable[int] | None = None) -> dict[int, dict[str, Opinion]]:
    found = peers.opinions(peers.keys() if keys is None else keys, now)
    return {key: {voice.node: voice.opinion for voice in voices} for key, voices in found.items()}


def test_an_opinion_is_heard_with_its_age() -> None:
    peers, iad = Peers(NodeId("fra1")), Sender()
    told = Opinions({7: one(DOWN, why="connection refused"), 9: one()})
    assert hear(peers, iad.tell(told, NOW)) == Taken(frozenset({7, 9}))
    assert said(peers, NOW + 2) == {
        7: {"iad1": one(DOWN, age_s=3.0, for_s=62.0, why="connection refused")},
        9: {"iad1": one(age_s=3.0, for_s=62.0)},
    }


def test_only_what_changed_is_judged_anew() -> None:
    peers, iad = Peers(NodeId("fra1")), Sender()
    told = dict.fromkeys(range(5), one())
    hear(peers, iad.tell(Opinions(told), NOW))
    again = {key: replace(opinion, for_s=65.0) for key, opinion in told.items()}
    assert hear(peers, iad.tell(Opinions(again), NOW + 5)).keys == frozenset()
    again[3] = one(DOWN, for_s=0.0)
    again[4] = replace(again[4], settles_s=4.0)
    assert hear(peers, iad.tell(Opinions(again), NOW + 5)).keys == {3, 4}
    flapped = replace(one(for_s=MOVED_S))  # down and up again, and the message between was lost
    assert hear(peers, iad.tell(Opinions({0: flapped}), NOW + 9)).keys == {0}


def test_a_reason_that_was_left_out_still_holds_while_the_opinion_does() -> None:
    peers, iad = Peers(NodeId("fra1")), Sender()
    hear(peers, iad.tell(Opinions({7: one(DOWN, why="refused")}), NOW))
    assert not hear(peers, iad.tell(pack({7: one(DOWN, why="refused")}, texts=False), NOW)).keys
    assert said(peers, NOW)[7]["iad1"].why == "refused"
    assert hear(peers, iad.tell(pack({7: one(UP, why="slow")}, texts=False), NOW)).keys == {7}
    assert said(peers, NOW)[7]["iad1"].why == ""


def test_what_ceases_to_be_fresh_is_told_once_and_stays() -> None:
    peers, iad = Peers(NodeId("fra1")), Sender()
    hear(peers, iad.tell(Opinions({7: one(age_s=0.0)}), NOW))
    assert peers.due(NOW + 15) == frozenset()
    assert peers.due(NOW + 15.1) == {7}
    assert peers.due(NOW + 16) == frozenset()
    assert said(peers, NOW + 1e6)[7]["iad1"].health is UP
    assert hear(peers, iad.tell(Opinions({7: one(age_s=0.0, for_s=80)}), NOW + 20)).keys == {7}


@given(st.floats(0, 50), st.floats(-3600, 299), st.floats(-1e6, 1e6))
def test_delays_add_to_ages_and_clocks_change_nothing(delay_s: float, skew_s: float, clock_s: float) -> None:
    peers, iad = Peers(NodeId("fra1")), Sender(clock_s=clock_s + 1e6, skew_s=skew_s)
    hear(peers, iad.tell(LIFE, NOW))
    hear(peers, iad.tell(Opinions({7: one(DOWN)}), NOW + 1), took_s=delay_s)
    heard = said(peers, NOW + 1 + delay_s)[7]["iad1"]
    assert heard.age_s == pytest.approx(1 + delay_s, abs=1e-3)
    assert heard.for_s == pytest.approx(60 + delay_s, abs=1e-3)
    living = peers.lives(NOW + 1 + delay_s)[NodeId("iad1")]
    assert living.delay_s == pytest.approx(delay_s, abs=1e-3)
    assert living.skew_s == pytest.approx(skew_s, abs=1e-3)


def test_a_machine_that_slept_is_believed_again() -> None:
    """Its monotonic clock stood still: what it tells seems an hour old, until the windows have passed."""
    peers, iad = Peers(NodeId("fra1")), Sender()
    hear(peers, iad.tell(LIFE, NOW))
    iad.clock_s -= 3600
    hear(peers, iad.tell(LIFE, NOW + 10))
    assert not peers.lives(NOW + 10)[NodeId("iad1")].alive
    for second in range(int(2 * WINDOW_S) + 1):
        hear(peers, iad.tell(LIFE, NOW + 10 + second))
    assert peers.lives(NOW + 11 + 2 * WINDOW_S)[NodeId("iad1")].alive


def test_a_node_lives_while_it_says_so() -> None:
    peers, iad = Peers(NodeId("fra1")), Sender()
    assert hear(peers, iad.tell(LIFE, NOW)).news
    assert not hear(peers, iad.tell(replace(LIFE, up_s=6.0), NOW + 1)).news
    assert hear(peers, iad.tell(replace(LIFE, config="d"), NOW + 2)).news
    assert peers.lives(NOW + 2 + LIFE_S)[NodeId("iad1")].alive
    dead = peers.lives(NOW + 3 + LIFE_S)[NodeId("iad1")]
    assert not dead.alive
    assert dead.life is not None
    assert (dead.age_s, dead.life.up_s, dead.life.config) == (LIFE_S + 1, 5 + LIFE_S + 1, "d")
    assert hear(peers, iad.tell(replace(LIFE, config="d"), NOW + 60)).news


def test_a_node_that_is_blind_now_has_all_its_opinions_judged_anew() -> None:
    peers, iad = Peers(NodeId("fra1")), Sender()
    hear(peers, iad.tell(Opinions({7: one(), 8: one()}), NOW))
    assert hear(peers, iad.tell(LIFE, NOW)).keys == frozenset()
    assert hear(peers, iad.tell(replace(LIFE, blind_s=0.5), NOW + 1)).keys == {7, 8}
    assert hear(peers, iad.tell(replace(LIFE, blind_s=1.5), NOW + 2)).keys == frozenset()
    assert hear(peers, iad.tell(LIFE, NOW + 3)).keys == {7, 8}


def test_a_former_life_does_not_count_and_a_lower_run_does_after_silence() -> None:
    peers, old, new = Peers(NodeId("fra1")), Sender(run=5), Sender(run=6, clock_s=3.0)
    hear(peers, old.tell(Opinions({7: one(DOWN), 8: one(DOWN)}), NOW))
    late = old.tell(Opinions({7: one(DOWN)}), NOW)
    assert hear(peers, new.tell(Opinions({7: one(UP)}), NOW + 1)).keys == {7}
    assert hear(peers, late, took_s=2.0).refused == "former_run"
    assert {key: told["iad1"].health for key, told in said(peers, NOW + 2).items()} == {7: UP, 8: DOWN}
    assert peers.lives(NOW + 2)[NodeId("iad1")].refused == {"former_run": 1}
    lost = Sender(run=1, clock_s=9.0)
    assert hear(peers, lost.tell(Opinions({7: one(DOWN)}), NOW + 1 + SILENT_S)).refused
    assert hear(peers, lost.tell(Opinions({7: one(DOWN)}), NOW + 1.1 + SILENT_S)).keys == {7}
    assert said(peers, NOW + 20)[7]["iad1"].age_s == pytest.approx(1 + 20 - 1.1 - SILENT_S)


def test_our_own_name_is_refused() -> None:
    assert hear(Peers(NodeId("iad1")), Sender().tell(LIFE, NOW)).refused == "own_name"


# Each step: which node, a new state of some targets and loads, how long its message takes, whether it is lost or comes twice.
steps = st.lists(
    st.tuples(
        st.sampled_from(("iad1", "sin1")),
        st.dictionaries(st.integers(0, 5), st.sampled_from(Health), min_size=1),
        st.floats(0, 10),
        st.sampled_from((0, 1, 1, 2)),
    ),
    max_size=30,
)


Script = list[tuple[str, dict[int, Health], float, int]]
Healths = dict[int, dict[str, Health]]


def play(script: Script, senders: dict[str, Sender]) -> list[tuple[float, Message]]:
    """One step a second: messages and when they arrive."""
    arrivals = []
    for second, (node, states, delay_s, times) in enumerate(script):
        body = Opinions({key: one(health, age_s=0.0) for key, health in states.items()})
        message = senders[node].tell(body, NOW + second)
        arrivals += [(NOW + second + delay_s * (turn + 1), message) for turn in range(times)]
    return sorted(arrivals, key=lambda arrival: arrival[0])


def last(script: Script, *, heard: bool) -> dict[int, dict[str, tuple[int, Health]]]:
    """What each node said last of each target, and when; of what was `heard` at all."""
    found: dict[int, dict[str, tuple[int, Health]]] = {}
    for second, (node, states, _delay_s, times) in enumerate(script):
        for key, health in states.items() if times or not heard else ():
            found.setdefault(key, {})[node] = second, health
    return found


def healths(peers: Peers, now: float) -> Healths:
    return {key: {node: told.health for node, told in by_node.items()} for key, by_node in said(peers, now).items()}


def without_times(found: dict[int, dict[str, tuple[int, Health]]]) -> Healths:
    return {key: {node: health for node, (_, health) in by_node.items()} for key, by_node in found.items()}


@given(steps)
def test_any_order_repetition_loss_and_delay_lead_to_the_same(script: Script) -> None:
    """Each target is as its node said last, if that was heard; all is, once all was told again."""
    peers = Peers(NodeId("fra1"))
    senders = {"iad1": Sender(), "sin1": Sender("sin1", "sin", clock_s=7.0)}
    heard, now = last(script, heard=True), NOW + 100
    changed: set[int] = set()
    for arrives_at, message in play(script, senders):
        changed |= hear(peers, message, took_s=arrives_at - message.heard_at).keys
    assert healths(peers, now) == without_times(heard)
    assert changed == heard.keys()
    for key, by_node in said(peers, now).items():
        for node, told in by_node.items():
            since = now - NOW - heard[key][node][0]
            assert since - 20 <= told.age_s <= since + 1e-3  # what the quickest message took is not known
    everything = without_times(last(script, heard=False))
    for node, sender in senders.items():
        mine = {key: one(by_node[node], age_s=0.0) for key, by_node in everything.items() if node in by_node}
        hear(peers, sender.tell(Opinions(mine), now))
    assert healths(peers, now) == everything


@given(st.permutations(range(6)), st.integers(0, 5))
def test_loads_and_answers_are_what_was_told_last(order: list[int], lost: int) -> None:
    peers, iad = Peers(NodeId("fra1")), Sender()
    messages = []
    for number in range(6):
        share = SharedLoad(number / 10, 0.5, part=True)
        messages += [
            iad.tell(Loads({FRA: share, PoolId(f"only-{number}"): share}), NOW),
            iad.tell(Answers("g", {(WEB, 1, 0): (float(number),)}, (f"192.0.2.{number}",)), NOW),
            iad.tell(RoundTrips("g", {(FRA, 4, 1): (number / 8, 1.0, 9, 0.0)}), NOW),
        ]
    for place in order:
        for kind in range(3):
            if place != lost:
                hear(peers, messages[place * 3 + kind])
    newest = max(set(range(6)) - {lost})
    loads = peers.loads(NOW + 1)
    assert loads.keys() == {FRA, *(f"only-{number}" for number in range(6) if number != lost)}
    assert [(carried.node, carried.load) for carried in loads[FRA]] == [
        ("iad1", SharedLoad(newest / 10, 1.5, part=True))
    ]
    (asked,) = peers.answers("g", NOW + 1)
    assert (asked.demand, asked.heavy, asked.age_s) == ({WEB: {1: (float(newest),)}}, (f"192.0.2.{newest}",), 1.0)
    assert peers.round_trips("g", NOW + 1)[SiteId("iad")][FRA][4, 1].p50_s == newest / 8


def test_what_counts_by_another_location_table_is_not_mixed() -> None:
    peers, iad = Peers(NodeId("fra1")), Sender()
    old = iad.tell(Answers("g1", {(WEB, 28, 0): (5.0,)}), NOW)
    hear(peers, iad.tell(Answers("g2", {(WEB, 1, 0): (1.0,)}), NOW))
    hear(peers, old)
    assert peers.answers("g1", NOW) == []
    assert peers.answers("g2", NOW)[0].demand == {WEB: {1: (1.0,)}}


def test_a_long_row_of_answers_comes_in_segments_and_counts_from_its_beginning() -> None:
    peers, iad = Peers(NodeId("fra1")), Sender()
    first, second = (1.0,) * SEGMENT, (2.0, 3.0)
    hear(peers, iad.tell(Answers("g", {(WEB, 1, SEGMENT): second}), NOW))
    assert peers.answers("g", NOW)[0].demand == {}
    hear(peers, iad.tell(Answers("g", {(WEB, 1, 0): first}), NOW))
    assert peers.answers("g", NOW)[0].demand == {WEB: {1: first + second}}


def test_round_trips_of_two_nodes_of_a_site_are_joined_by_their_counts() -> None:
    peers = Peers(NodeId("fra1"))
    for node, seconds, count in (("iad1", 0.125, 30), ("iad2", 0.25, 10)):
        told = RoundTrips("g", {(FRA, 4, 1): (seconds, seconds * 2, count, 1.0)})
        hear(peers, Sender(node).tell(told, NOW))
    joined = peers.round_trips("g", NOW)[SiteId("iad")][FRA][4, 1]
    assert (joined.p50_s, joined.p90_s, joined.count) == (0.15625, 0.3125, 40)


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


def test_a_message_is_taken_as_it_was_decoded_or_given() -> None:
    """Values that were never octets are taken as well."""
    peers = Peers(NodeId("fra1"))
    assert peers.take(Told("iad", "iad1", Stamp(1, 1, 0.0, 0.0), Opinions({7: one()}), NOW)).keys == {7}
