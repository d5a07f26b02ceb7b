"""Who is first, who receives, and how far that is; and that what is kept between decisions changes none of them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from gslb.decide.decide import decide
from gslb.decide.order import reach_of
from gslb.decide.routes import KEPT, firsts, pools_of, routes_of
from gslb.model.deployment import TYPE_A, Deployment, PoolId, Rule
from gslb.model.location import Catchment, Geography
from gslb.model.plan import Plan
from gslb.model.world import World
from tests.decide.loads import courses
from tests.decide.worlds import CLOUD, FRA, IAD, NEAREST, SIN, WEB, deployment, geography

MODEL = deployment(NEAREST)
RANKINGS = geography(MODEL, web=[(FRA, IAD, SIN), (SIN, IAD, FRA)]).rankings[WEB]
REACH = reach_of((FRA, IAD, SIN), (CLOUD,), {FRA, IAD, SIN, CLOUD})
EVERYONE = frozenset({FRA, IAD, SIN, CLOUD})


def test_the_first_of_those_that_are_left() -> None:
    assert firsts(NEAREST, TYPE_A, RANKINGS, REACH, EVERYONE) == (FRA, SIN)
    assert firsts(NEAREST, TYPE_A, RANKINGS, REACH, EVERYONE - {FRA, SIN}) == (IAD, IAD)
    assert firsts(NEAREST, TYPE_A, RANKINGS, REACH, frozenset({CLOUD})) == (CLOUD, CLOUD)


def test_receivers_are_the_others_of_the_rule_and_then_the_spill_targets() -> None:
    routes = routes_of(NEAREST, TYPE_A, RANKINGS, (), REACH, EVERYONE - {IAD})
    assert routes.at_home == {FRA: [0], SIN: [1]}
    assert [routes.receivers(index) for index in (0, 1)] == [(SIN, CLOUD), (FRA, CLOUD)]
    assert routes.lost_km(0) is None


def test_kilometres_are_those_to_the_first_receiver() -> None:
    catchments = (Catchment(0.5, {FRA: 100.0, IAD: 6000.0}), Catchment(0.5, {SIN: 50.0, FRA: 9000.0}))
    near = routes_of(NEAREST, TYPE_A, RANKINGS, catchments, REACH, EVERYONE)
    assert [near.lost_km(index) for index in (0, 1)] == [5900.0, None]
    far = routes_of(NEAREST, TYPE_A, RANKINGS, catchments, REACH, EVERYONE - {IAD})
    assert [far.lost_km(index) for index in (0, 1)] == [None, 8950.0]


def test_what_is_kept_belongs_to_one_policy_and_one_set_of_rankings() -> None:
    """Values that are equal, or have the name of one that is known, are found anew: nothing is taken for another."""
    other = replace(NEAREST, rules=(Rule((IAD, SIN), nearest=True),))
    assert pools_of(NEAREST) == (FRA, IAD, SIN)
    assert pools_of(other) == (IAD, SIN)
    for _ in range(KEPT + 1):  # what was kept first is given up, and its place in memory used again
        one = replace(NEAREST, rules=(Rule((PoolId("a"),)),))
        assert pools_of(one) == ("a",)
    turned = RANKINGS[::-1]
    assert firsts(NEAREST, TYPE_A, turned, REACH, EVERYONE) == (SIN, FRA)
    assert firsts(NEAREST, TYPE_A, RANKINGS, REACH, EVERYONE) == (FRA, SIN)


@settings(max_examples=50, deadline=None)
@given(courses())
def test_what_is_kept_changes_no_decision(course: tuple[Deployment, list[tuple[Geography, World]]]) -> None:
    """Copies are equal and not the same, so for them nothing is kept."""
    model, moments = course
    plan: Plan | None = None
    for places, world in moments:
        fresh_model = replace(model, policies={name: replace(policy) for name, policy in model.policies.items()})
        fresh_places = replace(places, rankings={name: (*found,) for name, found in places.rankings.items()})
        after = decide(model, places, world, plan)
        assert after.to_bytes() == decide(fresh_model, fresh_places, world, plan).to_bytes()
        plan = after
