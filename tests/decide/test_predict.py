"""Loads that follow clients: units, what is not measured, and what no answer explains."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gslb.decide.predict import CONNECTIONS, SERVERS, SHARE, Costs, Path
from gslb.decide.spread import Rest
from gslb.model.deployment import Capacity, Deployment, PoolId
from gslb.model.world import Load
from tests.decide.worlds import NEAREST, deployment

FRA, IAD, SIN = PoolId("web-fra"), PoolId("web-iad"), PoolId("web-sin")


def model(**capacities: Capacity) -> Deployment:
    here = deployment(NEAREST)
    return replace(
        here, pools={name: replace(each, capacity=capacities.get(each.datacenter)) for name, each in here.pools.items()}
    )


def shares(costs: Costs, here: Deployment, *paths: Path) -> dict[str, float | None]:
    return {name: each.share for name, each in costs.carried(here, paths).items()}


CONNS = Capacity(conns_per_s=1000.0)


def test_connections_move_as_they_are() -> None:
    here = model(fra=CONNS, iad=Capacity(conns_per_s=500.0))
    costs = Costs(here, {FRA: Load(0.5), IAD: Load(0.2)}, {FRA: 10.0, IAD: 10.0})
    found = costs.carried(here, [Path(FRA, FRA, 6.0), Path(FRA, IAD, 4.0), Path(IAD, IAD, 10.0)])
    assert found[FRA].unit == CONNECTIONS
    assert found[FRA].amount == pytest.approx(300.0)
    assert found[IAD].share == pytest.approx((200 + 100) / 500)


def test_another_unit_costs_what_own_clients_cost() -> None:
    here = model(fra=CONNS, iad=Capacity(servers=10))
    costs = Costs(here, {FRA: Load(0.5), IAD: Load(0.2)}, {FRA: 10.0, IAD: 4.0})
    found = costs.carried(here, [Path(FRA, IAD, 10.0), Path(IAD, IAD, 4.0)])
    assert found[IAD].unit == SERVERS
    assert found[IAD].amount == pytest.approx(2 + 10 * 0.5)


def test_another_unit_without_clients_of_its_own_is_share_for_share() -> None:
    here = model(fra=CONNS, iad=Capacity(servers=10), sin=Capacity())
    costs = Costs(here, {FRA: Load(0.5)}, {FRA: 10.0})
    found = costs.carried(here, [Path(FRA, IAD, 4.0), Path(FRA, SIN, 6.0)])
    assert found[IAD].share == pytest.approx(0.2)
    assert found[SIN].share == pytest.approx(0.3)
    assert (found[SIN].unit, found[SIN].amount) == (SHARE, None)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (Path(SIN, IAD, 1.0), None),  # nobody measures sin
        (Path(SIN, FRA, 1.0), 0.05),  # as a client of its own
        (Path(Rest.UNANSWERED, FRA, 1.0), 0.05),
        (Path(FRA, Rest.UNANSWERED, 1.0), 0.0),
    ],
)
def test_what_nobody_measures(path: Path, expected: float | None) -> None:
    here = model(fra=CONNS, iad=CONNS, sin=CONNS)
    costs = Costs(here, {FRA: Load(0.5)}, {FRA: 10.0, SIN: 10.0})
    found = shares(costs, here, path)
    assert found[path.reached if path.reached in found else FRA] == (
        None if expected is None else pytest.approx(expected)
    )


def test_a_load_that_no_answer_explains_stays() -> None:
    here = model(fra=CONNS, iad=CONNS)
    costs = Costs(here, {FRA: Load(0.5), IAD: Load(0.3)}, {FRA: 10.0})
    assert shares(costs, here, Path(FRA, IAD, 10.0))[IAD] == pytest.approx(0.8)


def test_without_a_capacity_no_load_is_known() -> None:
    here = model(fra=CONNS)
    found = Costs(here, {FRA: Load(0.5)}, {FRA: 10.0}).carried(here, [Path(FRA, IAD, 10.0)])
    assert (found[IAD].amount, found[IAD].share) == (None, None)
    assert found[FRA].share == 0.0
