"""Outliers are ejected for a time that grows, and never so many that the pool cannot serve."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gslb.decide.decide import decide
from gslb.decide.ejection import FORGIVEN_S, LONGEST_S, SHORTEST_S, SPACING_S, lasts_s
from gslb.decide.panic import share_of
from gslb.decide.situation import situation_of
from gslb.model.deployment import TYPE_A, Deployment, Policy, PolicyId, PoolId, Rule
from gslb.model.history import Ejection, History
from gslb.model.plan import Plan, from_bytes
from gslb.model.world import Forced, Health, Override, Verdict, World
from tests.decide.sequences import moments, services
from tests.decide.worlds import FRA, IAD, NOW, WEB, deployment, geographies, geography, override, pool

POOLS = (pool("web-fra", *(f"192.0.2.{place}" for place in range(1, 6))), pool("web-iad", "192.0.2.9"))
POLICY = Policy(WEB, rules=(Rule((FRA, IAD)),))
MODEL = deployment(POLICY, pools=POOLS)
PLACES = geography(MODEL, web=[[FRA, IAD]])
FIRST, SECOND = "web-fra/192.0.2.1", "web-fra/192.0.2.2"


def seen(now: float, slow: str = "", down: str = "", overrides: tuple[Override, ...] = ()) -> World:
    """The last figures of addresses of web-fra that stand out, or that fail."""
    verdicts = {f"192.0.2.{place}": Verdict(Health.UP, outlier="900 ms, its peers 40 ms") for place in slow}
    verdicts |= {f"192.0.2.{place}": Verdict(Health.DOWN) for place in down}
    return World(now, verdicts={FRA: verdicts}, overrides=overrides)


def after(*worlds: World, model: Deployment = MODEL) -> Plan:
    plan = None
    for world in worlds:
        plan = decide(model, PLACES, world, plan)
    assert plan is not None
    return plan


def answered(plan: Plan) -> set[str]:
    choice = plan.choices[plan.policies[WEB].choices[TYPE_A][0]]
    return {member.address[-1] for member in choice.members}


def test_how_long_it_lasts() -> None:
    assert [lasts_s(times) for times in range(1, 9)] == [30, 60, 120, 240, 480, 960, 1800, 1800]


def test_an_outlier_leaves_for_half_a_minute_and_comes_back() -> None:
    out = after(seen(NOW, slow="1"))
    assert answered(out) == {"2", "3", "4", "5"}
    assert out.history.ejected == {FIRST: Ejection(NOW + SHORTEST_S, 1, "900 ms, its peers 40 ms")}
    still = decide(MODEL, PLACES, seen(NOW + SHORTEST_S - 1), out)
    assert still is out
    back = decide(MODEL, PLACES, seen(NOW + SHORTEST_S), still)
    assert answered(back) == {"1", "2", "3", "4", "5"}
    assert back.history.ejected == out.history.ejected  # a repeat would be its second


def test_each_repeat_lasts_twice_as_long() -> None:
    plan, now, spans = None, NOW, []
    for _ in range(9):
        plan = decide(MODEL, PLACES, seen(now, slow="1"), plan)
        until = plan.history.ejected[FIRST].until
        spans.append(until - now)
        now = until + SPACING_S
    assert spans == [30, 60, 120, 240, 480, 960, LONGEST_S, LONGEST_S, LONGEST_S]


def test_good_behaviour_takes_off_one_repeat_at_a_time() -> None:
    thrice = History(ejected={FIRST: Ejection(NOW, 3, "slow")})
    for good_s, times in ((SPACING_S, 4), (FORGIVEN_S - 1, 4), (FORGIVEN_S, 3), (2 * FORGIVEN_S, 2), (9999, 1)):
        again = situation_of(MODEL, seen(NOW + good_s, slow="1"), thrice).history.ejected[FIRST]
        assert again.times == times
    assert situation_of(MODEL, seen(NOW + 3 * FORGIVEN_S), thrice).history.ejected == {}


def test_one_at_a_time() -> None:
    plan = after(seen(NOW, slow="12"))
    assert {*plan.history.ejected} == {FIRST}
    soon = decide(MODEL, PLACES, seen(NOW + SPACING_S - 1, slow="12"), plan)
    assert {*soon.history.ejected} == {FIRST}
    assert {*decide(MODEL, PLACES, seen(NOW + SPACING_S, slow="12"), soon).history.ejected} == {FIRST, SECOND}


def test_who_is_back_is_watched_before_it_goes_again() -> None:
    plan = after(seen(NOW, slow="1"), seen(NOW + SHORTEST_S, slow="1"))
    assert "1" in answered(plan)
    assert "1" not in answered(decide(MODEL, PLACES, seen(NOW + SHORTEST_S + SPACING_S, slow="1"), plan))


def test_never_below_panic_of_the_strictest_policy() -> None:
    """Of five, 60 % have to stay: two may go."""
    strict = deployment(POLICY, Policy(PolicyId("shop"), rules=(Rule((FRA,)),), panic=0.6), pools=POOLS)
    plan = None
    places = geography(strict, web=[[FRA, IAD]], shop=[[FRA]])
    for second in range(0, 30, 5):
        plan = decide(strict, places, seen(NOW + second, slow="1234"), plan)
    assert plan is not None
    assert {*plan.history.ejected} == {FIRST, SECOND}


def test_a_pool_whose_others_fail_has_its_outliers_back() -> None:
    plan = after(seen(NOW, slow="1"), seen(NOW + 5, slow="1", down="23"))
    assert answered(plan) == {"1", "4", "5"}
    assert plan.history.ejected[FIRST].until == NOW + 5


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(seen(NOW, slow="1", overrides=(override("answer/web-fra/192.0.2.1", Forced.UP),)), id="forced up"),
        pytest.param(seen(NOW, slow="1", overrides=(override("pool/web-fra", Forced.DRAIN),)), id="drained"),
        pytest.param(World(NOW, verdicts={FRA: {"192.0.2.1": Verdict(Health.DOWN, outlier="slow")}}), id="down"),
        pytest.param(World(NOW, verdicts={IAD: {"192.0.2.9": Verdict(Health.UP, outlier="slow")}}), id="the only one"),
        pytest.param(World(NOW, verdicts={FRA: {"192.0.2.77": Verdict(Health.UP, outlier="slow")}}), id="no target"),
        pytest.param(
            World(NOW, verdicts={PoolId("gone"): {"192.0.2.1": Verdict(Health.UP, outlier="slow")}}), id="no pool"
        ),
    ],
)
def test_who_is_not_ejected(world: World) -> None:
    assert decide(MODEL, PLACES, world, None).history.ejected == {}


def test_an_ejection_is_capacity_that_leaves() -> None:
    """Of two pools alike, one of five addresses is 10 % of the service."""
    for velocity, ejected in ((0.1, True), (0.09, False)):
        model = deployment(replace(POLICY, velocity=velocity), pools=POOLS)
        assert bool(after(seen(NOW, slow="1"), model=model).history.ejected) is ejected


def test_a_clock_that_goes_back_or_on_ejects_nobody_for_longer() -> None:
    plan = after(seen(NOW, slow="1"))
    back = decide(MODEL, PLACES, seen(NOW - 3600), plan)
    assert back.history.ejected[FIRST].until == NOW - 3600 + SHORTEST_S
    assert decide(MODEL, PLACES, seen(NOW + 3600), plan).history.ejected == {}


@settings(max_examples=40)
@given(services(), st.data())
def test_ejections_alone_never_leave_a_pool_without_enough(model: Deployment, data: st.DataObject) -> None:
    places = data.draw(geographies(model))
    plan = None
    for world in data.draw(moments(model)):
        plan = decide(model, places, world, plan and from_bytes(plan.to_bytes()))
        situation = situation_of(model, world, plan.history)
        for name, condition in situation.conditions.items():
            panic = max(p.panic for p in model.policies.values() if name in (*p.pools, *p.spill.to))
            for group in (condition.backends,) if condition.backends else condition.answers.values():
                if any(target.ejection is not None for target in group):
                    share = share_of(group)
                    assert share.healthy > 0
                    assert not share.below(panic)
