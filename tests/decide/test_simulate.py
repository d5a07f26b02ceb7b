"""What-if by hand: shares, loads, who moves, distances; and what must hold in any world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gslb.decide.case import Case, reconfigured, without
from gslb.decide.decide import decide
from gslb.decide.marks import Over
from gslb.decide.predict import CONNECTIONS
from gslb.decide.simulate import Change, PoolOutcome, Simulation, simulate
from gslb.decide.spread import Rest
from gslb.model.deployment import (
    TYPE_A,
    AllDown,
    Capacity,
    Deployment,
    Policy,
    PolicyId,
    Pool,
    PoolId,
    Rule,
    SiteId,
    Spill,
)
from gslb.model.location import Catchment, Cohort, Geography
from gslb.model.world import Forced, Load, Override, World
from tests.decide.worlds import NOW, WEB, deployment, geographies, models, pool, rank

FRA, IAD, CLOUD = PoolId("web-fra"), PoolId("web-iad"), PoolId("web-cloud")
FAR = 6500.0


def model(*, spill: bool = False, **capacities: float) -> Deployment:
    """Two sites, and a burst site that spill may use; capacities in connections per second by pool."""
    pools = [pool("web-fra", "192.0.2.1"), pool("web-iad", "192.0.2.2"), pool("web-cloud", "192.0.2.3")]
    sized = [
        replace(each, capacity=Capacity(conns_per_s=capacities[each.datacenter]))
        if each.datacenter in capacities
        else each
        for each in pools
    ]
    policy = Policy(WEB, rules=(Rule((FRA, IAD), nearest=True),), spill=Spill(to=(CLOUD,) if spill else ()))
    return deployment(policy, pools=sized)


def geography(here: Deployment, *shares: float) -> Geography:
    """The first ranking is near fra, the second near iad, the third near fra again and not far from iad."""
    orders = [(FRA, IAD), (IAD, FRA), (FRA, IAD)][: len(shares)]
    km = [{FRA: 100.0, IAD: FAR, CLOUD: 1000.0}, {FRA: FAR, IAD: 100.0, CLOUD: 5500.0}, {FRA: 3000.0, IAD: 3500.0}]
    return Geography(
        digest="by hand",
        classes=len(shares),
        rankings={WEB: tuple(rank(here, here.policies[WEB], -1, order) for order in orders)},
        catchments={WEB: tuple(Catchment(share, near) for share, near in zip(shares, km, strict=False))},
    )


def case(here: Deployment, where: Geography, **world: object) -> Case:
    """The case whose plan in force is the first that was decided."""
    seen = World(now=NOW, **world)  # type: ignore[arg-type]
    return Case(here, where, seen, decide(here, where, seen, None))


def loads(**shares: float) -> Mapping[PoolId, Load]:
    return {PoolId(f"web-{site}"): Load(share) for site, share in shares.items()}


def ends(change: Change | None) -> tuple[float, float] | None:
    """Both figures, as exact as they are meant to be."""
    return None if change is None else (round(change.before, 9), round(change.after, 9))


def of(found: Simulation, name: PoolId) -> PoolOutcome:
    return next(each for each in found.pools if each.pool == name)


def test_a_lost_site_moves_its_share_and_its_connections() -> None:
    here = model(fra=1000, iad=2000)
    now = case(here, geography(here, 0.6, 0.4), loads=loads(fra=0.5, iad=0.2))
    found = simulate(now, without(now, [SiteId("fra")]))
    [web] = found.policies
    assert {name: ends(change) for name, change in web.answers.items()} == {FRA: (0.6, 0.0), IAD: (0.4, 1.0)}
    assert web.moved == pytest.approx(0.6)
    assert ends(web.km) == (100.0, 0.6 * FAR + 0.4 * 100)
    iad = of(found, IAD)
    assert iad.before is not None
    assert iad.after is not None
    assert iad.before.carried.amount == pytest.approx(400.0)
    assert iad.after.carried.unit == CONNECTIONS
    assert iad.after.carried.amount == pytest.approx(900.0)
    assert iad.after.carried.share == pytest.approx(0.45)
    assert iad.after.over is Over.NONE
    assert found.after.calm


def test_a_survivor_that_is_too_small_is_over_hard() -> None:
    here = model(fra=1000, iad=1000)
    now = case(here, geography(here, 0.6, 0.4), loads=loads(fra=0.6, iad=0.44))
    iad = of(simulate(now, without(now, [SiteId("fra")])), IAD)
    assert iad.after is not None
    assert iad.after.carried.share == pytest.approx(1.04)
    assert iad.after.over is Over.HARD


def test_what_is_not_measured_is_not_known() -> None:
    here = model(fra=1000, iad=1000)
    now = case(here, geography(here, 0.5, 0.5), loads=loads(iad=0.4))
    found = simulate(now, without(now, [SiteId("fra")]))
    fra, iad = of(found, FRA), of(found, IAD)
    assert fra.before is not None
    assert fra.before.carried.share is None
    assert iad.after is not None
    assert iad.after.carried.share == pytest.approx(0.8)  # as much as its own clients cost it


def test_without_capacity_nothing_is_over() -> None:
    here = model()
    now = case(here, geography(here, 0.5, 0.5))
    found = simulate(now, without(now, [SiteId("fra")]))
    assert [(each.after.carried.share, each.after.marks) for each in found.pools if each.after] == [(None, None)] * 3


def test_a_site_that_serves_nobody_changes_nothing() -> None:
    here = model(spill=True, fra=1000, iad=1000, cloud=500)
    now = case(here, geography(here, 0.6, 0.4), loads=loads(fra=0.5, iad=0.4))
    found = simulate(now, without(now, [SiteId("cloud")]))
    [web] = found.policies
    assert all(change.before == change.after for change in web.answers.values())
    assert (web.moved, web.moved_networks) == (0.0, 0)
    assert found.before.plan.choices == found.after.plan.choices
    for each in found.pools:
        assert each.answers.before == each.answers.after
        assert each.before == each.after


def test_all_sites_lost_is_what_the_policy_says() -> None:
    here = model()
    policy = replace(here.policies[WEB], on_all_down=AllDown.NODATA)
    here = replace(here, policies={WEB: policy})
    now = case(here, geography(here, 0.5, 0.5))
    [web] = simulate(now, without(now, [SiteId("fra"), SiteId("iad")])).policies
    assert ends(web.answers[Rest.UNANSWERED]) == (0.0, 1.0)
    assert sum(change.after for change in web.answers.values()) == pytest.approx(1.0)


def test_an_override_holds_however_long_the_simulation_runs() -> None:
    here = model()
    drain = Override("site/iad", Forced.DRAIN, "alice", "CHG-1", since=0.0, until=NOW + 1)
    now = case(here, geography(here, 0.5, 0.5), overrides=(drain,))
    [web] = simulate(now, now).policies
    assert web.answers == {FRA: Change(1.0, 1.0)}


def test_measured_demand_outweighs_the_size_of_networks() -> None:
    here = model()
    where = geography(here, 0.9, 0.1)
    now = case(here, where, demand={WEB: {TYPE_A: (10.0, 30.0)}})
    [web] = simulate(now, without(now, [SiteId("fra")])).policies
    assert web.moved == pytest.approx(0.25)


def test_a_change_of_configuration_is_compared_cohort_by_cohort() -> None:
    """Without iad; half of the networks near fra are given to the burst site by a new rule."""
    here = model()
    where = geography(here, 0.5, 0.5)
    now = case(here, where)
    policy = replace(here.policies[WEB], rules=(Rule((CLOUD,), geos=("EU",)), Rule((FRA,))))
    there = replace(here, policies={WEB: policy})
    new = Geography(
        "new",
        2,
        {WEB: (rank(there, policy, 1, (FRA,)), rank(there, policy, 0, (CLOUD,)))},
        {WEB: (Catchment(0.75, {FRA: 3300.0}), Catchment(0.25, {CLOUD: 500.0}))},
    )
    cohorts = {WEB: (Cohort(0, 1, 10, 10.0), Cohort(0, 0, 10, 10.0), Cohort(1, 0, 20, 20.0))}
    found = simulate(now, reconfigured(now, there, new, cohorts), cohorts)
    [web] = found.policies
    assert {name: change.after for name, change in web.answers.items()} == pytest.approx(
        {FRA: 0.75, IAD: 0, CLOUD: 0.25}
    )
    assert web.moved == pytest.approx(0.75)
    assert (web.networks, web.moved_networks) == (40, 30)
    assert ends(web.km) == (100.0, 0.25 * 500 + 0.75 * 3300)


def test_policies_of_one_configuration_only_are_named() -> None:
    here = model()
    other = replace(here.policies[WEB], name=PolicyId("api"))
    there = replace(here, policies={PolicyId("api"): other})
    now = case(here, geography(here, 1.0))
    moved = Geography("new", 1, {PolicyId("api"): now.geography.rankings[WEB]})
    found = simulate(now, reconfigured(now, there, moved, {}), {})
    assert (found.policies, found.only_before, found.only_after) == ((), (WEB,), (PolicyId("api"),))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any small deployment, with catchments, loads and capacities for some."""
    here = draw(models())
    where = draw(geographies(here))
    catchments = {}
    for name, rankings in where.rankings.items():
        sizes = draw(st.lists(st.integers(0, 9), min_size=len(rankings), max_size=len(rankings)).filter(any))
        catchments[name] = tuple(Catchment(size / sum(sizes), {}) for size in sizes)
    some = st.none() | st.builds(
        Capacity, conns_per_s=st.sampled_from([10.0, 1000.0]), soft=st.just(0.8), hard=st.just(0.9)
    )
    pools: dict[PoolId, Pool] = {name: replace(each, capacity=draw(some)) for name, each in here.pools.items()}
    here = replace(here, pools=pools)
    measured = {
        name: Load(draw(st.floats(0, 1.5)))
        for name, each in pools.items()
        if each.capacity is not None and draw(st.booleans())
    }
    seen = World(now=NOW, loads=measured)
    where = replace(where, catchments=catchments if draw(st.booleans()) else {})
    return Case(here, where, seen, decide(here, where, seen, None))


@settings(max_examples=max(25, settings().max_examples // 4))
@given(now=cases(), data=st.data())
def test_in_any_world(now: Case, data: st.DataObject) -> None:
    """Shares add up with what is not answered; the same again changes nothing; loads are never negative."""
    sites = data.draw(st.lists(st.sampled_from(sorted(now.model.datacenters)), unique=True))
    found = simulate(now, without(now, sites))
    for policy in found.policies:
        asked = any(trip.before for trip in policy.trips)
        assert sum(change.before for change in policy.answers.values()) == pytest.approx(float(asked))
        assert sum(change.after for change in policy.answers.values()) == pytest.approx(float(asked))
        assert -1e-9 <= policy.moved <= 1 + 1e-9
    for each in found.pools:
        for side in (each.before, each.after):
            assert side is not None
            assert side.carried.share is None or side.carried.share >= 0
    again = simulate(now, now)
    assert all(policy.moved == pytest.approx(0.0) for policy in again.policies)
    assert simulate(now, without(now, sites)) == found
