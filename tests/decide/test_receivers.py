"""What room is left at receivers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gslb.decide.receivers import Rooms, carrying_of, proportions, ratio
from gslb.model.deployment import Capacity
from gslb.model.world import Load
from tests.decide.loads import loaded, service
from tests.decide.worlds import FRA, IAD, POOLS, SIN


def rooms(**loads: float) -> Rooms:
    model = service(sin=None)
    return Rooms(model, carrying_of(model, loaded(**loads).loads))


def test_room_is_up_to_soft_less_what_is_on_its_way() -> None:
    one = rooms(fra=0.5)
    assert one.room(FRA) == pytest.approx(0.3)
    one.book(FRA, 0.2)
    assert one.room(FRA) == pytest.approx(0.1)
    one.book(FRA, -0.2)  # what leaves is still there until answers have expired
    assert one.room(FRA) == pytest.approx(0.1)
    one.book(FRA, 5.0)
    assert one.room(FRA) == 0.0


def test_without_a_capacity_there_is_no_bound_and_without_a_load_what_is_sent_counts() -> None:
    one = rooms()
    assert one.room(SIN) == math.inf
    assert one.room(IAD) == pytest.approx(0.8)
    one.book(IAD, 0.7)
    assert one.room(IAD) == pytest.approx(0.1)
    one.book(IAD, -0.3)
    assert one.room(IAD) == pytest.approx(0.4)


def test_stale_and_closed_pools_have_no_room() -> None:
    one = rooms(fra=0.1, iad=0.1)
    stale = {FRA: Load(0.1, stale=True)}
    assert Rooms(one.model, carrying_of(one.model, stale)).room(FRA) == 0.0
    one.closed.add(IAD)
    assert one.room(IAD) == 0.0


def test_excess_is_above_soft_from_the_mark_on() -> None:
    one = rooms(fra=0.88, iad=0.95)
    assert one.excess(FRA, hard=True) == 0.0
    assert one.excess(FRA, hard=False) == pytest.approx(0.08)
    assert one.excess(IAD, hard=True) == pytest.approx(0.15)
    one.book(IAD, -0.1)
    assert one.excess(IAD, hard=True) == 0.0
    assert one.excess(SIN, hard=False) == 0.0


def test_absurd_loads_are_none_or_bounded() -> None:
    model = service()
    for absurd in (math.nan, -0.1, -math.inf):
        assert carrying_of(model, {FRA: Load(absurd)})[FRA].share is None
    for huge in (math.inf, 1e308):
        assert carrying_of(model, {FRA: Load(huge)})[FRA].share == 1000.0


def test_ratios_compare_by_the_unit_that_both_have() -> None:
    fra, iad = POOLS[0], POOLS[1]
    big, small = Capacity(conns_per_s=4000.0, servers=10), Capacity(conns_per_s=1000.0)
    assert ratio(replace(fra, capacity=big), replace(iad, capacity=small)) == 4.0
    assert ratio(replace(fra, capacity=Capacity(servers=20)), replace(iad, capacity=big)) == 2.0
    assert ratio(replace(fra, capacity=Capacity(servers=20)), replace(iad, capacity=small)) == 1.0
    assert ratio(fra, replace(iad, capacity=small)) == 1.0


def test_what_fits_nowhere_is_divided_by_capacity_or_goes_where_it_is_unknown() -> None:
    pools = [replace(POOLS[0], capacity=Capacity(conns_per_s=size)) for size in (1000.0, 3000.0)]
    assert proportions(pools) == [1.0, 3.0]
    assert proportions([*pools, POOLS[1], POOLS[2]]) == [0.0, 0.0, 1.0, 0.0]
