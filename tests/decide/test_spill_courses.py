"""What pools shed: invariants over random courses of a deployment, and over levels that rise and fall."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gslb.decide.decide import decide
from gslb.model.deployment import TYPE_A, AllDown, Deployment, PoolId
from gslb.model.history import WHOLE, Shed
from gslb.model.location import Geography
from gslb.model.plan import Mode, Plan, from_bytes
from gslb.model.world import Forced, World
from tests.decide import oracle
from tests.decide.loads import DWELL, courses, level_of, loaded, service, share_moved
from tests.decide.worlds import FRA, IAD, NOW, SIN, WEB, backwards, geography

MODEL = service()
PLACES = geography(MODEL, web=[(FRA, IAD, SIN), (FRA, SIN, IAD), (FRA, IAD, SIN), (IAD, FRA, SIN)])
Course = tuple[Deployment, list[tuple[Geography, World]]]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 1000), min_size=4, max_size=4), st.floats(0.85, 3), st.integers(1, 30), st.floats(0.2, 0.9)
)
def test_shedding_a_share_moves_that_share_and_nobody_twice(
    asked: list[int], load: float, steps: int, falling: float
) -> None:
    """Up and then down again: levels are what moves, and each step only adds, or only gives back."""
    rates = tuple(map(float, asked))
    cells = {(WEB, TYPE_A, ranking): rates[ranking] for ranking in range(3)}
    plan, now = None, NOW
    for turn in range(2 * steps):
        share = load if turn < steps else falling * 0.5
        world = replace(loaded(now, fra=share, iad=0.0, sin=0.0, cloud=0.0), demand={WEB: {TYPE_A: rates}})
        before = plan
        plan = decide(MODEL, PLACES, world, before)
        shed = plan.history.sheds.get(FRA)
        if shed is not None and shed.moved:
            assert share_moved(shed, cells) == pytest.approx(shed.level, abs=1e-9)
        if before is not None:
            assert only_added_or_only_given_back(before, plan)
        now += DWELL


def only_added_or_only_given_back(before: Plan, after: Plan) -> bool:
    """Whether no slot went from one receiver to another."""
    grew = level_of(after, FRA) >= level_of(before, FRA)
    return all(
        one == other or other == FRA if not grew else one in (FRA, other)
        for ranking in range(3)
        for one, other in zip(slots(before, ranking), slots(after, ranking), strict=True)
    )


def slots(plan: Plan, ranking: int) -> list[str]:
    """The pool that answers each slot."""
    one = plan.choices[plan.policies[WEB].choices[TYPE_A][ranking]]
    found = [str(part.members[0].pool) for part in one.shed for _ in range(part.slots)]
    return found + [str(one.members[0].pool)] * (WHOLE - len(found))


@settings(max_examples=100, deadline=None)
@given(courses())
def test_invariants_over_random_courses(course: Course) -> None:
    model, moments = course
    plan: Plan | None = None
    for places, world in moments:
        before = plan
        plan = decide(model, places, world, before)
        assert plan == decide(model, places, world, from_bytes(before.to_bytes()) if before else None)
        assert from_bytes(plan.to_bytes()) == plan
        for name, policy in model.policies.items():
            for indexes in plan.policies[name].choices.values():
                for one in (plan.choices[index] for index in indexes):
                    assert sum(part.slots for part in one.shed) < WHOLE
                    assert all(part.slots > 0 and part.members for part in one.shed)
                    if policy.on_all_down not in (AllDown.NODATA, AllDown.SERVFAIL):
                        assert one.members or not one.shed
        for pool, shed in plan.history.sheds.items():
            check_shed(model, places, world, pool, shed)
            if shed.geography != places.digest:  # all is down, and it waits as it was
                assert before is not None
                assert replace(shed, stepped_at=0.0) == replace(before.history.sheds[pool], stepped_at=0.0)


def check_shed(model: Deployment, places: Geography, world: World, pool: PoolId, shed: Shed) -> None:
    """What holds of every shed: it is bounded, sends to others only, and moves no slot twice."""
    assert 0 <= shed.level <= 1
    assert shed.stepped_at <= world.now
    taken: dict[tuple[str, int, int], int] = {}
    for one in shed.moved:
        assert one.slots > 0
        assert one.receiver != pool
        assert one.receiver in model.pools
        assert one.ranking < len(places.rankings[one.policy]) or shed.geography != places.digest
        key = one.policy, one.rtype, one.ranking
        taken[key] = taken.get(key, 0) + one.slots
    assert all(sum_of <= WHOLE for sum_of in taken.values())


@settings(max_examples=50, deadline=None)
@given(courses())
def test_decisions_at_one_moment_come_to_rest(course: Course) -> None:
    """The next one may use room that one freed; after that nothing moves."""
    model, moments = course
    plan: Plan | None = None
    for places, world in moments:
        plan = decide(model, places, world, decide(model, places, world, plan))
        assert decide(model, places, world, plan) is plan


@settings(max_examples=50, deadline=None)
@given(courses())
def test_what_operators_took_out_receives_nothing(course: Course) -> None:
    model, moments = course
    plan: Plan | None = None
    for places, world in moments:
        plan = decide(model, places, world, plan)
        for choice_ in plan.choices:
            for part in choice_.shed if choice_.mode is Mode.NORMAL else ():
                for member in part.members:
                    assert not taken_out(model, world, PoolId(str(member.pool)), member.address)


def taken_out(model: Deployment, world: World, pool: PoolId, address: str) -> bool:
    """Whether an operator's word keeps the address out."""
    answer = next(one for one in model.pools[pool].answers if str(one.address) == address)
    ruling = oracle.ruling_override(model.pools[pool], answer, world)
    return ruling is not None and ruling.state is not Forced.UP


@settings(max_examples=50, deadline=None)
@given(courses())
def test_the_order_of_the_input_does_not_matter(course: Course) -> None:
    model, moments = course
    other = replace(model, pools=backwards(model.pools), policies=backwards(model.policies))
    plan: Plan | None = None
    for places, world in moments:
        turned = replace(world, loads=backwards(world.loads), demand=backwards(world.demand), heavy=world.heavy[::-1])
        after = decide(model, places, world, plan)
        assert after.to_bytes() == decide(other, places, turned, plan).to_bytes()
        plan = after
