"""Invariant 9: each shed level has one writer, so that nodes never steer against each other, whatever befalls the bus or them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gslb.bus.bus import Entry
from gslb.bus.shedword import Word, key_of, octets_of
from gslb.bus.stamps import Written
from gslb.control.steering import LOST_S
from gslb.decide.levels import LONGEST
from gslb.model.history import Cause, Shed
from gslb.model.world import Health, Verdict
from tests.control.steered import FRA, IAD, MODEL, SIN, STEP_MOST, TTL, Lab, lab, level_at

PLACES = (("fra", "fra1"), ("fra", "fra2"), ("iad", "iad1"), ("iad", "iad2"), ("fra", "fra3"))
DOWN = {FRA: {"192.0.2.1": Verdict(Health.DOWN, why="timeout", double=True)}}
TAKEOVER_S = 10.0


def test_three_nodes_are_led_by_one_and_come_to_rest_where_one_alone_does() -> None:
    one, three = lab(PLACES[:1]), lab(PLACES[:3])
    one.run(300)
    three.run(300)
    assert len(three.writers()) == 1
    assert three.nodes[three.writers()[0]].place[0] == "fra"  # a node of the pool's own site
    assert len(three.writers(SIN)) == 1  # where no node is, any
    assert len(three.answers()) == 1
    assert three.measured[FRA] == pytest.approx(one.measured[FRA], abs=0.02)
    assert [level for _, level in three.published()] == [level for _, level in one.published()]


@pytest.mark.parametrize("skew", [0.0, 60.0, -60.0])
def test_a_dead_writer_has_a_successor_in_time_and_no_level_jumps(skew: float) -> None:
    found = lab(PLACES[:3], skew=skew)
    found.run(33)  # between two steps
    first = found.writers()[0]
    found.kill(first)
    waited = 0.0
    while not found.writers():
        found.run(0.5)
        waited += 0.5
        assert waited <= TAKEOVER_S
    found.run(300)
    assert len(found.answers()) == 1
    check_steps(found)
    check_no_jumps(found, 0)
    found.start(first)
    found.run(60)
    assert found.writers() == [first]
    check_no_jumps(found, 0)


def test_a_slow_bus_has_a_successor_in_time() -> None:
    found = lab(PLACES[:3], lambda _: 1.0)
    found.run(60)
    found.kill(found.writers()[0])
    found.run(TAKEOVER_S)
    assert len(found.writers()) == 1


def test_who_comes_back_without_its_state_begins_with_what_is_given() -> None:
    found = lab(PLACES[:2])
    found.run(200)
    writer = found.writers()[0]
    level = level_at(found.nodes[writer])
    assert level > 0.1
    found.start(writer, forgetful=True)
    found.run(30)
    assert found.writers() == [writer]
    assert {round(level_at(node), 6) for node in found.nodes} == {round(level, 6)}
    check_steps(found)


def test_without_the_bus_the_last_given_stays_and_each_site_steers_its_own() -> None:
    found = lab(PLACES[:3])
    found.run(200)
    before = level_at(found.nodes[2])
    found.up = False
    found.asked[FRA] = 0.5
    for _ in range(int(LOST_S) + 5):
        found.run(1)
        assert set(found.writers()) <= {0, 1}  # the other site hears of nobody before it knows that the bus is gone
    assert found.writers() == [0, 1]  # both nodes of the site, each for its own answers
    assert found.writers(IAD) == [2]
    assert found.writers(SIN) == []
    found.run(200)
    assert level_at(found.nodes[2]) == before
    assert level_at(found.nodes[0]) < before
    found.up = True
    found.run(20)
    assert len(found.writers()) == 1
    assert len({round(level_at(node), 6) for node in found.nodes}) == 1
    found.run(300)
    check_steps(found)
    assert {level_at(node) for node in found.nodes} == {0.0}


def test_two_halves_that_heal_end_with_one_writer_that_goes_on_from_what_was_given() -> None:
    """The writer's own site is cut off from the majority: that takes the pool over, and gives it back."""
    found = lab(PLACES[:4])
    found.run(100)
    found.cut = frozenset({0, 1})
    found.asked[FRA] = 0.8
    found.run(120)
    assert {found.nodes[index].place[0] for index in found.writers()} == {"fra", "iad"}
    found.cut = frozenset()
    found.run(30)
    assert [found.nodes[index].place[0] for index in found.writers()] == ["fra"]
    assert len({round(level_at(node), 6) for node in found.nodes}) == 1
    found.run(200)
    check_steps(found)
    assert len(found.answers()) == 1


def test_a_bucket_that_was_lost_is_filled_again_by_who_steers() -> None:
    found = lab(PLACES[:3])
    found.run(200)
    level = level_at(found.nodes[0])
    found.entries.clear()
    for node in found.nodes:
        node.steering.listed(())
    found.run(10)
    assert key_of(FRA) in found.entries
    assert {level_at(node) for node in found.nodes} == {level}


def test_a_pool_that_fails_is_out_everywhere_at_once_and_comes_back_by_one_hand() -> None:
    found = lab(PLACES[:3])
    found.asked[FRA] = 0.5
    found.run(60)
    found.verdicts = DOWN
    found.run(2.5)
    assert {level_at(node) for node in found.nodes} == {1.0}
    found.run(57.5)
    assert len(found.answers()) == 1
    found.verdicts = {}
    found.run(15)
    assert {level_at(node) for node in found.nodes} == {1.0}
    back = len(found.levels)
    found.run(600)
    check_no_jumps(found, back)
    assert len(found.answers()) == 1
    assert {level_at(node) for node in found.nodes} == {0.0}


def test_garbage_under_a_key_changes_nothing_and_is_written_over() -> None:
    found = lab(PLACES[:3])
    found.run(200)
    level = level_at(found.nodes[0])
    future = Word(Shed(Cause.LOAD, 1.0, 0.0, ""), Written(int(found.now * 1000) + 10_000_000, "x"), 1)
    for value in (b"", b"garbage", octets_of(future, MODEL.name), octets_of(future, "another")):
        found.revision += 1
        found.entries[key_of(FRA)] = value, found.revision
        for node in found.nodes:
            node.due |= node.steering.entry(Entry(key_of(FRA), value, found.revision))
        found.run(5)
        assert found.entries[key_of(FRA)][0] != value
    assert all(node.steering.refused == 4 for node in found.nodes)
    assert {level_at(node) for node in found.nodes} == {level}


@dataclass(frozen=True)
class Fault:
    """Something that befalls the deployment `after` some seconds."""

    after: int
    what: str
    node: int


def befall(found: Lab, fault: Fault) -> None:
    """Let it happen; what makes no sense (all dead, none to start) does not."""
    index = fault.node % len(found.nodes)
    alive = [one for one, node in enumerate(found.nodes) if node.alive]
    match fault.what:
        case "kill" if len(alive) > 1 and index in alive:
            found.kill(index)
        case "start" | "forget" if index not in alive:
            found.start(index, forgetful=fault.what == "forget")
        case "restart":
            found.start(index)
        case "cut":
            found.cut = found.cut ^ {index}
        case "halves":
            found.cut = frozenset(range(index))
        case "bus":
            found.up = not found.up
        case "demand":
            found.asked[FRA] = (0.6, 0.75, 0.9)[index % 3]
        case _:
            pass


def faults(*kinds: str) -> st.SearchStrategy[list[Fault]]:
    one = st.builds(Fault, st.integers(1, 70), st.sampled_from(kinds), st.integers(0, 4))
    return st.lists(one, max_size=5)


@dataclass(frozen=True)
class Delays:
    """Up to `most` seconds, other ones for each message; one in `lost` is lost (0: none)."""

    most: float
    lost: int
    seed: int

    def __call__(self, number: int) -> float | None:
        mixed = int.from_bytes(blake2b(f"{self.seed} {number}".encode(), digest_size=4).digest())
        return None if self.lost and mixed % self.lost == 0 else 0.001 + self.most * mixed / (1 << 32)


buses = st.builds(Delays, st.sampled_from((0.05, 0.5, 2.0)), st.sampled_from((0, 0, 20)), st.integers(1, 1 << 20))


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 5), buses, st.sampled_from((0.0, 60.0)), faults("kill", "start", "restart", "demand"))
@example(3, Delays(2.0, 0, 1), 0.0, [Fault(30, "kill", 1), Fault(30, "start", 1)])
def test_no_level_jumps_whoever_dies_or_comes_back(nodes: int, delay: Delays, skew: float, course: list[Fault]) -> None:
    found = lab(PLACES[:nodes], delay, skew)
    for fault in course:
        found.run(fault.after)
        befall(found, fault)
    found.run(300)
    check_steps(found)
    check_no_jumps(found, 0)
    check_rest(found)
    assert found.steering_twice_s <= 6 * (1 + len(course))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    st.integers(2, 5),
    buses,
    st.sampled_from((0.0, 60.0)),
    faults("kill", "start", "forget", "restart", "demand", "cut", "halves", "bus"),
)
@example(4, Delays(0.05, 0, 1), 60.0, [Fault(50, "halves", 2), Fault(70, "demand", 0), Fault(70, "cut", 3)])
def test_whatever_befalls_one_level_is_given_and_all_end_with_it(
    nodes: int, delay: Delays, skew: float, course: list[Fault]
) -> None:
    found = lab(PLACES[:nodes], delay, skew)
    for fault in course:
        found.run(fault.after)
        befall(found, fault)
    found.run(30)
    found.up, found.cut = True, frozenset()
    found.run(400)
    check_steps(found)
    check_rest(found)


def test_without_one_writer_nodes_would_not_answer_alike() -> None:
    """What the tests above would find: the same nodes, each of them steering."""
    found = lab(PLACES[:3])
    for index, node in enumerate(found.nodes):
        node.steering.want(MODEL, node.place, alone=True)
        if index:
            node.due, node.decided_at = False, found.now + 7 * index
    found.run(300)
    assert len(found.answers()) > 1


def check_steps(found: Lab) -> None:
    """What is given moves by the pace, however many nodes gave it."""
    levels = found.published()
    assert all(abs(after - before) <= STEP_MOST for (_, before), (_, after) in pairwise(levels))
    moving = [at for (_, before), (at, after) in pairwise(levels) if before != after]
    assert all(after - before >= TTL - 0.5 for before, after in pairwise(moving))


def check_no_jumps(found: Lab, since: int) -> None:
    """No node's level moves by more than a step from one second to the next."""
    for before, after in pairwise(found.levels[since:]):
        for index in before.keys() & after.keys():
            assert abs(after[index] - before[index]) <= STEP_MOST


def check_rest(found: Lab) -> None:
    """One writer, the same answers by all, and a load that rests as it does with one node; nothing moves any more."""
    assert len(found.writers()) == 1
    assert len(found.answers()) == 1
    alone = lab(PLACES[:1])
    alone.asked = dict(found.asked)
    alone.run(300)
    own = 1 - alone.measured[FRA] / found.asked[FRA]
    level = level_at(found.nodes[found.writers()[0]])
    assert abs(level - own) <= 0.06  # within the bands of the law, from either side
    quiet = [level for at, level in found.published() if at > found.now - LONGEST * TTL]
    assert all(one == level for one in quiet)
    assert found.measured[FRA] < 0.95


def test_what_is_decided_between_two_writings_is_not_lost_with_the_role() -> None:
    found = lab(PLACES[:2])
    found.run(200)
    index = found.writers()[0]
    node = found.nodes[index]
    assert node.plan is not None
    shed = node.plan.history.sheds[FRA]
    raised = replace(shed, level=shed.level + 0.05, stepped_at=found.now)
    node.steering.decided(replace(node.plan, history=replace(node.plan.history, sheds={FRA: raised})))
    node.steering.live([("fra", "fra1"), ("fra", "fra2"), ("fra", "fra3"), ("fra", "fra4"), ("fra", "fra7")])
    node.steering.look()
    if FRA not in node.steering.steered:
        assert node.steering.given(found.now)[FRA].shed == raised
    assert [put.word.shed for put in node.steering.due() if put.pool == FRA] == [raised]
