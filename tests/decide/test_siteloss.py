"""If a site fails now: figures by hand, and the same as the full simulation where nothing sheds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given

from gslb.decide.case import Case, without
from gslb.decide.rest import origin_of
from gslb.decide.simulate import simulate
from gslb.decide.siteloss import SiteLoss, site_loss, site_losses
from gslb.model.deployment import SiteId
from tests.decide.test_simulate import CLOUD, FAR, FRA, IAD, case, cases, geography, loads, model

FRANKFURT, ASHBURN, BURST = SiteId("fra"), SiteId("iad"), SiteId("cloud")


def losses(now: Case) -> Mapping[SiteId, SiteLoss]:
    assert now.plan is not None
    return site_losses(now.model, now.geography, now.world, now.plan)


def test_by_hand() -> None:
    here = model(fra=1000, iad=1000)
    found = losses(case(here, geography(here, 0.6, 0.4), loads=loads(fra=0.6, iad=0.25)))
    fra, iad, cloud = found[FRANKFURT], found[ASHBURN], found[BURST]
    assert (fra.over_soft, fra.over_hard, fra.worst) == ((IAD,), (), IAD)
    assert fra.share == pytest.approx(0.85)
    assert fra.moved == pytest.approx(0.6)
    assert fra.added_km == pytest.approx(FAR - 100)
    assert (iad.over_soft, iad.over_hard, iad.worst) == ((FRA,), (), FRA)
    assert (cloud.moved, cloud.added_km, cloud.unanswered) == (0.0, None, 0.0)


def test_a_survivor_over_hard_is_named_once() -> None:
    here = model(fra=1000, iad=500)
    fra = losses(case(here, geography(here, 0.5, 0.5), loads=loads(fra=0.5, iad=0.3)))[FRANKFURT]
    assert (fra.over_soft, fra.over_hard) == ((), (IAD,))
    assert fra.share == pytest.approx(1.3)


def test_who_is_over_a_mark_as_it_is_is_no_consequence() -> None:
    here = model(fra=1000, iad=1000, cloud=100)
    found = losses(case(here, geography(here, 0.6, 0.4), loads=loads(fra=0.96, iad=0.85)))
    cloud, iad = found[BURST], found[ASHBURN]
    assert (cloud.over_soft, cloud.over_hard, set(cloud.already_over)) == ((), (), {FRA, IAD})
    assert (iad.over_hard, iad.already_over, iad.worst) == ((FRA,), (), FRA), "it becomes fuller"


def test_the_worst_is_the_one_that_the_loss_brings_over() -> None:
    here = model(fra=1000, iad=1000, cloud=100)
    present = case(here, geography(here, 0.5, 0.5), loads=loads(fra=0.3, iad=0.7, cloud=1.3))
    fra = losses(present)[FRANKFURT]
    assert (fra.over_hard, fra.already_over, fra.worst) == ((IAD,), (CLOUD,), IAD)
    assert fra.share == pytest.approx(1.0)


def test_without_loads_and_catchments_only_the_move_is_known() -> None:
    here = model(fra=1000, iad=1000)
    where = replace(geography(here, 0.6, 0.4, 0.0), catchments={})
    fra = losses(case(here, where))[FRANKFURT]
    assert (fra.worst, fra.share, fra.added_km, fra.over_hard) == (None, None, None, ())
    assert fra.moved == pytest.approx(2 / 3)  # rankings weigh the same


def test_the_burst_site_takes_over_when_all_others_are_gone() -> None:
    here = model(spill=True, cloud=100)
    now = case(here, geography(here, 0.6, 0.4))
    lost = replace(without(now, [FRANKFURT]), plan=None)
    found = site_loss(lost, origin_of(lost), ASHBURN)
    assert found.moved == pytest.approx(1.0)
    assert found.unanswered == 0.0
    assert CLOUD not in found.over_hard  # nobody measures what comes


@given(cases())
def test_moves_as_many_as_the_simulation_where_nothing_sheds(now: Case) -> None:
    """Without capacities no pool sheds by load, so the first decision is where the case comes to rest."""
    here = replace(now.model, pools={name: replace(each, capacity=None) for name, each in now.model.pools.items()})
    calm = replace(now, model=here, world=replace(now.world, loads={}), plan=None)
    origin = origin_of(calm)
    for site in here.datacenters:
        loss = site_loss(calm, origin, site)
        found = simulate(calm, without(calm, [site]))
        asked = {policy.policy: sum(sum(trip.before.values()) for trip in policy.trips) for policy in found.policies}
        moved = sum(policy.moved * asked[policy.policy] for policy in found.policies)
        assert loss.moved == pytest.approx(moved / sum(asked.values()), abs=1e-9)
