"""When a node that looks at its loads decides: always while something moves, seldom at rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gslb.control.occasion import REST_S, Occasions, signs_of
from gslb.model.deployment import Capacity, PolicyId, PoolId
from gslb.model.history import Cause, Ejection, History, Keeper, Kept, Out, Shed
from gslb.model.world import Load
from tests.control.make import DEPLOYMENT

FRA, IAD, WEB = PoolId("web-fra"), PoolId("web-iad"), PolicyId("web")
MODEL = replace(
    DEPLOYMENT,
    pools={
        name: replace(pool, capacity=Capacity(conns_per_s=100.0, soft=0.7, hard=0.9))
        for name, pool in DEPLOYMENT.pools.items()
    },
)
REST = History()
CALM = signs_of(MODEL, {FRA: Load(0.3), IAD: Load(0.5)})


def at_rest() -> Occasions:
    occasions = Occasions()
    occasions.decided(100.0, CALM)
    return occasions


def test_the_first_look_is_one() -> None:
    assert Occasions().arises(100.0, CALM, REST)


def test_at_rest_there_is_one_now_and_then() -> None:
    occasions = at_rest()
    assert [occasions.arises(100.0 + after, CALM, REST) for after in (0.0, 1.0, REST_S - 0.1, REST_S)] == [
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("loads", "expected"),
    [
        ({FRA: Load(0.1, age_s=4.0), IAD: Load(0.69)}, False),
        ({FRA: Load(0.3), IAD: Load(0.71)}, True),
        ({FRA: Load(0.3), IAD: Load(0.5, stale=True)}, True),
        ({FRA: Load(0.3)}, True),
        ({FRA: Load(0.3), IAD: Load(0.5), PoolId("gone"): Load(2.0)}, False),
    ],
)
def test_a_load_that_crosses_a_mark_is_one_and_one_that_wanders_is_none(
    loads: dict[PoolId, Load], *, expected: bool
) -> None:
    assert at_rest().arises(101.0, signs_of(MODEL, loads), REST) is expected


def test_a_load_that_stays_above_its_soft_mark_is_one_at_each_look() -> None:
    occasions, full = at_rest(), signs_of(MODEL, {FRA: Load(0.8)})
    for now in (101.0, 102.0):
        assert occasions.arises(now, full, REST)
        occasions.decided(now, full)


@pytest.mark.parametrize(
    "history",
    [
        History(sheds={FRA: Shed(Cause.LOAD, 0.1, 100.0, "g")}),
        History(out={WEB: {FRA: Out(100.0)}}),
        History(kept={WEB: {FRA: Kept(100.0, Keeper.PANIC)}}),
        History(ejected={"web-fra/192.0.2.10": Ejection(130.0, 1, "slow")}),
    ],
    ids=["sheds", "out", "kept", "ejected"],
)
def test_what_is_in_motion_is_one_at_each_look(history: History) -> None:
    occasions = at_rest()
    assert occasions.arises(100.5, CALM, history)


def test_loads_of_unknown_capacity_mean_nothing() -> None:
    assert signs_of(DEPLOYMENT, {FRA: Load(5.0)}) == frozenset()
