"""The merge of what nodes told: whatever the bus does to messages, in the end every node knows what was told last."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.bus.bus import Message
from gslb.bus.held import MOVED_S
from gslb.bus.messages import Answers, Loads, Opinions, RoundTrips, SharedLoad
from gslb.bus.peer import LIFE_S, WINDOW_S
from gslb.bus.peers import SILENT_S, Peers, Taken
from gslb.bus.rows import pack
from gslb.bus.wire import SEGMENT
from gslb.model.deployment import NodeId, PoolId, SiteId
from gslb.model.world import Health
from tests.bus.senders import DOWN, FRA, LIFE, NOW, UP, WEB, Sender, hear, one, said


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


def play(script: Script, senders: dict[str, Sender], first: int = 0) -> list[tuple[float, Message]]:
    """One step a second, from the `first` on: messages and when they arrive."""
    arrivals = []
    for second, (node, states, delay_s, times) in enumerate(script, first):
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


@given(steps, st.dictionaries(st.integers(0, 29), st.integers(-3, 3).filter(bool), max_size=4), st.floats(0, 1e6))
def test_restarts_and_lost_state_lead_to_the_same(script: Script, restarts: dict[int, int], clock_s: float) -> None:
    """A node that begins again, with a higher run or a lower one and another clock, is heard again after its silence."""
    peers, now = Peers(NodeId("fra1")), NOW + 100
    senders = {"iad1": Sender(run=50), "sin1": Sender("sin1", "sin", run=50)}
    arrivals = []
    for second, step in enumerate(script):
        if second in restarts:
            old = senders[step[0]]
            senders[old.node] = Sender(old.node, old.site, old.run + restarts[second], clock_s)
        arrivals += play([step], senders, second)
    for arrives_at, message in sorted(arrivals, key=lambda arrival: arrival[0]):
        hear(peers, message, took_s=arrives_at - message.heard_at)
    everything = without_times(last(script, heard=False))
    for node, sender in senders.items():
        mine = {key: one(by_node[node], age_s=0.0) for key, by_node in everything.items() if node in by_node}
        if mine:
            assert not hear(peers, sender.tell(Opinions(mine), now)).refused
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


def test_how_much_is_known_of_a_node_and_how_old_it_is() -> None:
    peers, iad = Peers(NodeId("fra1")), Sender()
    hear(peers, iad.tell(LIFE, NOW))
    assert peers.heaps(NOW) == {NodeId("iad1"): {}}
    hear(peers, iad.tell(Opinions({7: one(age_s=1.0), 9: one(age_s=4.0)}), NOW))
    hear(peers, iad.tell(Loads({PoolId("web-fra"): SharedLoad(0.5, 2.0, part=False)}), NOW))
    hear(peers, iad.tell(RoundTrips("g", {(PoolId("web-fra"), 4, 0): (0.01, 0.02, 10, 3.0)}), NOW))
    hear(peers, iad.tell(Answers("g", {(WEB, 1, 0): (1.0,)}, age_s=5.0), NOW))
    heaps = peers.heaps(NOW + 10)[NodeId("iad1")]
    assert {kind.value: (heap.count, round(heap.age_s, 3)) for kind, heap in heaps.items()} == {
        "opinions": (2, 11.0),
        "loads": (1, 12.0),
        "rtts": (1, 13.0),
        "demand": (1, 15.0),
    }
