"""What a node does with the level of a pool that another node steers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gslb.decide.decide import decide
from gslb.decide.following import SILENT_S
from gslb.model.deployment import TYPE_A, Deployment, PolicyId, PoolId
from gslb.model.history import WHOLE, Cause, Moved, Shed
from gslb.model.location import Geography
from gslb.model.plan import Plan, from_bytes
from gslb.model.world import GivenShed, Load, World
from tests.decide.loads import DWELL, busy, courses, filled, level_of, loaded, service
from tests.decide.test_spill_courses import check_shed
from tests.decide.worlds import FRA, IAD, NOW, SIN, backwards, down, geographies, geography

MODEL = service()
PLACES = geography(MODEL, web=[(FRA, IAD, SIN), (FRA, SIN, IAD), (IAD, FRA, SIN)])
FULL = loaded(fra=0.95, iad=0.2, sin=0.2, cloud=0.0)


def steered(world: World = FULL, previous: Plan | None = None) -> Plan:
    """What the writer decides; one step where nothing was before."""
    return decide(MODEL, PLACES, world, previous)


def word(plan: Plan, as_of: float, pool: PoolId = FRA) -> dict[PoolId, GivenShed]:
    """What others are given of a writer's plan."""
    return {pool: GivenShed(plan.history.sheds.get(pool), as_of, "fra1")}


def told(world: World, plan: Plan, as_of: float | None = None) -> World:
    """The world of a node that is given the level of fra."""
    return replace(world, given=word(plan, world.now if as_of is None else as_of))


def test_a_level_that_is_given_is_applied_to_the_letter() -> None:
    writer = steered()
    assert level_of(writer, FRA) > 0
    quiet = replace(
        loaded(fra=0.1, iad=0.2, sin=0.2, cloud=0.0), now=NOW + 3
    )  # by what it measures it would shed nothing
    follower = decide(MODEL, PLACES, told(quiet, writer), None)
    assert follower.history.sheds[FRA] == writer.history.sheds[FRA]
    assert follower.digest == writer.digest


def test_who_is_given_nothing_sheds_nothing_however_full_the_pool() -> None:
    nothing = replace(FULL, given={FRA: GivenShed(None, NOW)})
    assert FRA not in decide(MODEL, PLACES, nothing, None).history.sheds
    assert FRA not in decide(MODEL, PLACES, replace(nothing, now=NOW + 300), steered()).history.sheds


def test_a_node_goes_on_from_what_it_was_given_when_it_becomes_the_writer() -> None:
    writer = steered()
    follower = decide(MODEL, PLACES, told(replace(FULL, now=NOW + 1), writer), None)
    taken = decide(MODEL, PLACES, replace(FULL, now=NOW + 2), follower)
    assert taken is follower  # it rests for a dwell, as the writer would have
    later = replace(FULL, now=NOW + DWELL + 2)
    assert decide(MODEL, PLACES, later, follower).history.sheds == steered(later, writer).history.sheds


def test_in_another_geography_the_level_is_apportioned_anew_and_then_stays() -> None:
    writer = steered()
    places = replace(geography(MODEL, web=[(IAD, FRA, SIN), (FRA, IAD, SIN)]), digest="another")
    world = told(FULL, writer)
    follower = decide(MODEL, places, world, None)
    assert level_of(follower, FRA) == pytest.approx(level_of(writer, FRA), abs=0.01)
    assert follower.history.sheds[FRA].geography == "another"
    other = replace(world, now=NOW + 5, loads={**world.loads, IAD: Load(0.79)})  # no room there any more: no matter
    assert decide(MODEL, places, other, follower) is follower
    more = steered(replace(FULL, now=NOW + DWELL), writer)
    raised = decide(MODEL, places, told(replace(FULL, now=NOW + DWELL), more), follower)
    assert level_of(raised, FRA) == pytest.approx(level_of(more, FRA), abs=0.01)
    kept = follower.history.sheds[FRA].moved
    assert raised.history.sheds[FRA].moved[: len(kept) - 1] == kept[:-1]


def test_who_was_sent_to_a_receiver_that_fails_goes_elsewhere_at_once_and_stays_there() -> None:
    writer = steered(replace(FULL, now=NOW + DWELL), steered())
    lost = {one.receiver for one in writer.history.sheds[FRA].moved}
    world = replace(told(replace(FULL, now=NOW + DWELL + 1), writer), verdicts=down(*lost))
    follower = decide(MODEL, PLACES, world, None)
    assert {one.receiver for one in follower.history.sheds[FRA].moved}.isdisjoint(lost)
    assert level_of(follower, FRA) == pytest.approx(level_of(writer, FRA), abs=1e-6)
    other = replace(world, now=world.now + 9, loads={pool: Load(0.7) for pool in world.loads})
    assert decide(MODEL, PLACES, other, follower) is follower
    healed = replace(other, now=other.now + 1, verdicts={})
    assert decide(MODEL, PLACES, healed, follower).history.sheds[FRA] == writer.history.sheds[FRA]


def test_a_pool_that_is_out_is_worked_out_here_at_once_and_the_writers_word_replaces_that() -> None:
    calm = loaded(fra=0.3, iad=0.2, sin=0.2, cloud=0.0)
    failing = replace(calm, now=NOW + 20, verdicts=down(FRA))
    before = steered(calm)
    silent = replace(failing, given={FRA: GivenShed(None, NOW + 15)})
    follower = decide(MODEL, PLACES, silent, before)
    assert follower.history.sheds[FRA].cause is Cause.OUT
    assert level_of(follower, FRA) == 1.0
    still = replace(silent, now=NOW + 60, given={FRA: GivenShed(None, NOW + 55)}, loads={})
    assert decide(MODEL, PLACES, still, follower).choices == follower.choices

    other = replace(failing, loads={**failing.loads, IAD: Load(0.79)})
    writer = decide(MODEL, PLACES, other, before)
    assert writer.history.sheds[FRA].moved != follower.history.sheds[FRA].moved
    heard = told(replace(failing, now=NOW + 21), writer)
    assert decide(MODEL, PLACES, heard, follower).history.sheds[FRA].moved == writer.history.sheds[FRA].moved


def test_a_pool_that_is_back_here_waits_for_the_writer_and_not_for_ever() -> None:
    calm = loaded(fra=0.3, iad=0.2, sin=0.2, cloud=0.0)
    writer = decide(MODEL, PLACES, replace(calm, now=NOW + 20, verdicts=down(FRA)), steered(calm))
    out = decide(MODEL, PLACES, told(replace(calm, now=NOW + 21, verdicts=down(FRA)), writer), steered(calm))
    back = told(replace(calm, now=NOW + 30), writer)
    held = decide(MODEL, PLACES, back, out)
    assert held.choices == out.choices
    returning = decide(MODEL, PLACES, replace(calm, now=NOW + 31), writer)
    assert returning.history.sheds[FRA].cause is Cause.RETURN
    followed = decide(MODEL, PLACES, told(replace(calm, now=NOW + 32), returning), held)
    assert followed.history.sheds[FRA] == returning.history.sheds[FRA]
    silence = decide(MODEL, PLACES, replace(back, now=NOW + 31 + SILENT_S), held)
    assert silence.history.sheds[FRA].cause is Cause.RETURN
    assert level_of(silence, FRA) == 1.0


def test_a_pool_that_the_writer_alone_finds_out_keeps_what_it_had_and_is_then_steered_here() -> None:
    calm = loaded(fra=0.95, iad=0.2, sin=0.2, cloud=0.0)
    before = steered(calm)
    writer = decide(MODEL, PLACES, replace(calm, now=NOW + 20, verdicts=down(FRA)), before)
    moments = [told(replace(calm, now=NOW + 20 + passed), writer) for passed in (0, 5, 100)]
    plan = before
    for moment in moments:
        plan = decide(MODEL, PLACES, moment, plan)
        assert plan.choices == before.choices
    after = decide(MODEL, PLACES, told(replace(calm, now=NOW + 20 + 2 * DWELL), writer), plan)
    assert level_of(after, FRA) > level_of(before, FRA)


def test_a_return_goes_on_without_the_bus_down_to_what_was_given_last() -> None:
    """The writer was heard before the pool failed, and never again: all come back by `recover` all the same."""
    calm = loaded(fra=0.3, iad=0.2, sin=0.2, cloud=0.0)
    first = steered(FULL)
    gone = replace(calm, given=word(first, NOW))
    plan = decide(MODEL, PLACES, gone, first)
    plan = decide(MODEL, PLACES, replace(gone, now=NOW + 20, verdicts=down(FRA)), plan)
    levels = []
    for turn in range(1, 80):
        plan = decide(MODEL, PLACES, replace(gone, now=NOW + 20 + turn * DWELL), plan)
        levels.append(level_of(plan, FRA))
    assert levels[0] == 1.0
    assert all(before - after <= 2 * 0.0201 + 0.05 for before, after in pairwise(levels))
    assert plan.history.sheds[FRA] == replace(first.history.sheds[FRA], stepped_at=NOW)


garbage = st.builds(
    Shed,
    cause=st.sampled_from(Cause),
    level=st.floats(),
    stepped_at=st.floats() | st.sampled_from((NOW - 1, NOW, NOW + 1e9)),
    geography=st.sampled_from(("a", "b", "geography", "")),
    moved=st.lists(
        st.builds(
            Moved,
            policy=st.sampled_from(("w0", "w1", "none")).map(PolicyId),
            rtype=st.sampled_from((1, 28, 99)),
            ranking=st.integers(-1, 5),
            receiver=st.sampled_from(("p0", "p1", "p2", "none")).map(PoolId),
            slots=st.integers(-5, 2 * WHOLE),
        ),
        max_size=6,
    ).map(tuple),
    fresh=st.dictionaries(st.sampled_from(("p0", "p1", "none")).map(PoolId), st.floats(), max_size=2),
    demand=st.floats(),
    out=st.lists(st.tuples(st.sampled_from(("w0", "none")).map(PolicyId), st.just(TYPE_A)), max_size=2).map(tuple),
)
words = st.dictionaries(
    st.sampled_from(("p0", "p1", "p2", "p3", "none")).map(PoolId),
    st.builds(GivenShed, st.none() | garbage, st.sampled_from((0.0, NOW - 20, NOW, NOW + 100)) | st.floats()),
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_is_given_decisions_are_total_and_sheds_sound(data: st.DataObject) -> None:
    model = data.draw(filled())
    places = data.draw(geographies(model))
    plan: Plan | None = None
    now = NOW
    for _ in range(data.draw(st.integers(1, 4))):
        world = replace(data.draw(busy(model, places, now)), given=data.draw(words))
        before = plan
        plan = decide(model, places, world, before)
        again = decide(model, places, replace(world, given=backwards(world.given)), before)
        assert plan.to_bytes() == again.to_bytes()
        assert from_bytes(plan.to_bytes()) == plan
        for pool, shed in plan.history.sheds.items():
            check_shed(model, places, world, pool, shed)
        now += data.draw(st.sampled_from((1.0, 30.0, 61.0, 600.0, -500.0)))


@settings(max_examples=60, deadline=None)
@given(courses(), st.data())
def test_who_follows_answers_as_the_writer_does(
    course: tuple[Deployment, list[tuple[Geography, World]]], data: st.DataObject
) -> None:
    """Whatever the follower did before, as soon as both find the same pools in the answers."""
    model, moments = course
    plan: Plan | None = None
    other: Plan | None = None
    for places, world in moments:
        plan = decide(model, places, world, plan)
        names = data.draw(st.lists(st.sampled_from(sorted(model.pools)), unique=True))
        other = decide(model, places, replace(world, given=_all(plan, world.now, names)), other)
    places, world = moments[-1]
    plan = decide(model, places, world, decide(model, places, world, plan))
    everything = replace(world, now=max(world.now, *(at.now for _, at in moments)) + 1e6)
    plan = decide(model, places, everything, decide(model, places, everything, plan))
    follower = replace(everything, given=_all(plan, everything.now, sorted(model.pools)))
    other = decide(model, places, follower, other)
    for _ in range(2):
        other = decide(model, places, follower, other)
    if plan.history.out == other.history.out and plan.history.kept == other.history.kept:
        assert {pool: shed.moved for pool, shed in other.history.sheds.items()} == {
            pool: shed.moved for pool, shed in plan.history.sheds.items()
        }


def _all(plan: Plan, now: float, names: list[PoolId]) -> dict[PoolId, GivenShed]:
    return {pool: GivenShed(plan.history.sheds.get(pool), now) for pool in names}


def test_what_was_given_of_no_such_pool_is_nothing() -> None:
    strange = replace(FULL, given={PoolId("none"): GivenShed(Shed(Cause.LOAD, 0.5, NOW, PLACES.digest), NOW)})
    assert decide(MODEL, PLACES, strange, None) == steered()
