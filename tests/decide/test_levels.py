"""The law of shed levels, and their pace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.decide.erlang import soft_mark
from gslb.decide.levels import BAND, Marks, Pace, kept, marks_of, next_level, own_demand, pace_of, wanted
from gslb.model.choice import CHOICE_SLOTS
from gslb.model.deployment import Capacity, Policy, PolicyId, Spill

MARKS = Marks(0.8, 0.9)
PACE = Pace(step_per_s=0.05 / 60, recover_per_s=0.02 / 60, dwell_s=60.0)
demands = st.floats(0, 1000, allow_subnormal=False)
shares = st.floats(0, 1)


@given(demands)
def test_what_is_kept_is_between_the_marks_or_all(demand: float) -> None:
    left = kept(demand, MARKS)
    assert left == demand if demand <= MARKS.soft else MARKS.soft <= left < MARKS.hard
    assert left <= demand


@given(st.floats(0.81, 20), st.floats(0, 0.19))
def test_following_the_law_rests_between_the_marks_though_some_ignore_it(demand: float, deaf: float) -> None:
    """Even if a part of the clients never moves, as far as the others can make up for it."""
    level = 0.0
    for _ in range(400):
        load = demand * (1 - level * (1 - deaf))
        level += 0.2 * (max(0.0, wanted(own_demand(load, 0.0, level), 0.0, MARKS)) - level)
    load = demand * (1 - level * (1 - deaf))
    if demand * deaf < MARKS.soft * 0.5:
        assert MARKS.soft - 1e-3 <= load < MARKS.hard


@given(st.floats(0, 5), st.floats(0, 5))
def test_what_is_wanted_brings_the_load_to_what_is_kept(own: float, staying: float) -> None:
    share = wanted(own, staying, MARKS)
    assert -1 <= share <= 1
    if 0 < share < 1:
        assert own * (1 - share) + staying == pytest.approx(kept(own + staying, MARKS))
    if own + staying <= MARKS.soft:
        assert share <= 0


def test_guests_are_no_demand_of_its_own() -> None:
    assert own_demand(0.9, 0.5, 0.2) == pytest.approx(0.5)
    assert own_demand(0.3, 0.5, 0.0) == 0.0
    assert own_demand(0.1, 0.0, 1.0) == pytest.approx(5.0)  # bounded, though nothing is kept


def test_a_step_moves_as_far_as_the_time_allows() -> None:
    assert next_level(0.1, 0.5, 60, PACE, lifted=False) == pytest.approx(0.15)
    assert next_level(0.1, 0.5, 90, PACE, lifted=False) == pytest.approx(0.175)
    assert next_level(0.1, 0.5, 86400, PACE, lifted=False) == pytest.approx(0.2)  # two dwells, however long it was
    assert next_level(0.1, 0.5, 60, PACE, lifted=True) == 0.5
    assert next_level(0.5, 0.1, 60, PACE, lifted=False) == pytest.approx(0.48)


def test_it_dwells_also_where_the_limit_is_lifted() -> None:
    assert next_level(0.1, 0.9, 59.9, PACE, lifted=True) == 0.1
    assert next_level(0.9, 0.1, 59.9, PACE, lifted=False) == 0.9


def test_noise_moves_nothing() -> None:
    assert next_level(0.3, 0.3 + BAND, 600, PACE, lifted=False) == 0.3
    assert next_level(0.3, 0.3 - 2 * BAND, 600, PACE, lifted=False) == 0.3
    assert next_level(0.01, 0.0, 600, PACE, lifted=False) == 0.01
    assert next_level(0.01, -2 * BAND, 600, PACE, lifted=False) == 0.0


def test_a_rate_below_a_slot_waits_until_it_moves_one() -> None:
    slow = Pace(step_per_s=1e-6, recover_per_s=1e-6, dwell_s=1.0)
    assert next_level(0.0, 1.0, 2000, slow, lifted=False) == pytest.approx(1 / CHOICE_SLOTS)
    assert next_level(1.0, 0.0, 500, slow, lifted=False) == pytest.approx(1 - 500e-6)


@given(shares, st.floats(-1, 1), st.floats(0, 1e6), st.booleans())
def test_a_level_is_a_share_and_goes_towards_its_aim(level: float, aim: float, elapsed: float, lifted: bool) -> None:  # noqa: FBT001
    after = next_level(level, aim, elapsed, PACE, lifted=lifted)
    assert 0 <= after <= 1
    assert min(level, max(aim, 0.0)) <= after <= max(level, aim)


def test_the_slowest_policy_gives_the_pace() -> None:
    quick = Policy(PolicyId("a"), (), spill=Spill(step_per_s=0.5, recover_per_s=0.1), ttl_max=30)
    slow = Policy(PolicyId("b"), (), spill=Spill(step_per_s=0.1, recover_per_s=0.2), ttl_max=300)
    assert pace_of([quick, slow]) == Pace(0.1, 0.1, 300.0)


def test_marks() -> None:
    assert marks_of(Capacity(soft=0.7, hard=0.85)) == Marks(0.7, 0.85)
    assert marks_of(Capacity(servers=4, soft=None, hard=0.9)) == Marks(soft_mark(4, 0.9), 0.9)
