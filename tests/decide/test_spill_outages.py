"""What becomes of sheds while pools, record types of them, or all at once are out, and afterwards."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from gslb.decide.decide import decide
from gslb.model.deployment import TYPE_A, TYPE_AAAA, AllDown, Deployment, PoolId, Return
from gslb.model.history import WHOLE, Cause
from gslb.model.plan import Mode, Plan, from_bytes
from gslb.model.world import Forced, GivenShed, Health, Verdict, World
from tests.decide.loads import DWELL, level_of, loaded, service
from tests.decide.worlds import CLOUD, FRA, IAD, NOW, SIN, WEB, geography, override

MODEL = service()
PLACES = geography(MODEL, web=[(FRA, IAD, SIN), (FRA, SIN, IAD), (FRA, IAD, SIN), (IAD, FRA, SIN)])
RATES = (100.0, 50.0, 250.0, 80.0)
EVERYTHING = (FRA, IAD, SIN, CLOUD)
FRA4, FRA6 = "192.0.2.1", "2001:db8:1::1"


def at(second: float, fra: float, *failing: str, iad: float = 0.1) -> World:
    """FRA's load, and the pools or addresses that fail."""
    found = {
        pool.name: {
            str(one.address): Verdict(Health.DOWN)
            for one in pool.answers
            if pool.name in failing or str(one.address) in failing
        }
        for pool in MODEL.pools.values()
    }
    world = loaded(NOW + second, fra=fra, iad=iad, sin=0.1, cloud=0.0)
    return replace(world, demand={WEB: {TYPE_A: RATES, TYPE_AAAA: RATES}}, verdicts=found)


def returning(how: Return) -> Deployment:
    return replace(MODEL, pools={name: replace(pool, return_=how) for name, pool in MODEL.pools.items()})


def receivers(plan: Plan, pool: PoolId = FRA) -> set[PoolId]:
    return {one.receiver for one in plan.history.sheds[pool].moved}


@pytest.mark.parametrize("mode", [AllDown.SERVE_ALL, AllDown.LAST_GOOD, AllDown.NODATA])
def test_a_level_outlasts_a_moment_in_which_all_is_down(mode: AllDown) -> None:
    model = replace(MODEL, policies={WEB: replace(MODEL.policies[WEB], on_all_down=mode)})
    before = decide(model, PLACES, at(0, 1.2), None)
    during = decide(model, PLACES, at(5, 1.2, *EVERYTHING), before)
    assert during.history.sheds == before.history.sheds
    assert Mode.NORMAL not in {choice.mode for choice in during.choices}
    assert not any(choice.shed for choice in during.choices)
    assert decide(model, PLACES, at(6, 3.0, *EVERYTHING), from_bytes(during.to_bytes())) == during
    after = decide(model, PLACES, at(7, 0.85), during)
    assert after.history.sheds == before.history.sheds
    assert (after.choices, after.policies) == (before.choices, before.policies)


def test_what_is_moved_of_one_record_type_waits_while_that_is_all_down() -> None:
    before = decide(MODEL, PLACES, at(0, 1.2), None)
    every6 = [str(one.address) for pool in MODEL.pools.values() for one in pool.answers if one.address.version == 6]
    during = decide(MODEL, PLACES, at(5, 1.2, *every6), before)
    assert during.history.sheds == before.history.sheds
    falling = decide(MODEL, PLACES, at(DWELL, 0.2, *every6), during).history.sheds[FRA]
    kept6 = [one for one in before.history.sheds[FRA].moved if one.rtype == TYPE_AAAA]
    assert [one for one in falling.moved if one.rtype == TYPE_AAAA] == kept6
    assert falling.level == pytest.approx(level_of(before, FRA) - 0.02, abs=0.002)
    assert decide(MODEL, PLACES, at(6, 0.85), during).history.sheds == before.history.sheds


def test_a_gradual_return_is_still_gradual_after_a_moment_in_which_all_is_down() -> None:
    out = decide(MODEL, PLACES, at(1, 0.5, FRA), decide(MODEL, PLACES, at(0, 0.5), None))
    during = decide(MODEL, PLACES, at(600, 0.0, *EVERYTHING), out)
    back = decide(MODEL, PLACES, at(601, 0.0), during)
    assert (back.history.sheds[FRA].cause, level_of(back, FRA)) == (Cause.RETURN, 1.0)
    again = decide(MODEL, PLACES, at(602, 0.0, *EVERYTHING), back)
    assert again.history.sheds == back.history.sheds
    later = decide(MODEL, PLACES, at(601 + DWELL, 0.0), again)
    assert level_of(later, FRA) == pytest.approx(0.98, abs=0.002)


def test_new_rankings_after_all_was_down_take_the_level_over() -> None:
    before = decide(MODEL, PLACES, at(0, 1.2), None)
    newer = replace(PLACES, digest="newer")
    during = decide(MODEL, newer, at(5, 1.2, *EVERYTHING), before)
    assert during.history.sheds == before.history.sheds
    after = decide(MODEL, newer, at(6, 0.85), during)
    assert after.history.sheds[FRA].geography == "newer"
    assert level_of(after, FRA) == pytest.approx(level_of(before, FRA), abs=0.002)


@pytest.mark.parametrize("how", [Return.AT_ONCE, Return.GRADUAL])
def test_while_one_record_type_is_out_the_load_of_the_other_moves_by_steps(how: Return) -> None:
    """It has not come back from anything: it is not given back, and taken again, at each look."""
    model = returning(how)
    plan = decide(model, PLACES, at(0, 1.2), None)
    for second, load in ((5, 1.2), (6, 1.2), (5 + DWELL, 0.6), (6 + DWELL, 0.6)):
        plan = decide(model, PLACES, at(second, load, FRA4), plan)
        for _ in range(5):
            assert decide(model, PLACES, at(second, load, FRA4), plan) is plan
        shed = plan.history.sheds[FRA]
        assert shed.out == ((WEB, TYPE_A),)
        assert level_of(plan, FRA) > 0.55


def test_a_record_type_that_comes_back_at_once_does_while_the_other_stays_out() -> None:
    model = returning(Return.AT_ONCE)
    both = decide(model, PLACES, at(1, 0.5, FRA), decide(model, PLACES, at(0, 0.5), None))
    assert both.history.sheds[FRA].out == ((WEB, TYPE_A), (WEB, TYPE_AAAA))
    one = decide(model, PLACES, at(2, 0.5, FRA4), both)
    assert {moved.rtype for moved in one.history.sheds[FRA].moved} == {TYPE_A}
    assert level_of(one, FRA) == pytest.approx(0.5)
    assert decide(model, PLACES, at(2, 0.5, FRA4), one) is one


@pytest.mark.parametrize(("fra", "homeward"), [(0.1, True), (0.85, False)])
def test_whose_receiver_leaves_during_a_gradual_return_goes_home_where_that_is_not_full(
    fra: float, *, homeward: bool
) -> None:
    out = decide(MODEL, PLACES, at(1, 0.5, FRA), decide(MODEL, PLACES, at(0, 0.5), None))
    back = decide(MODEL, PLACES, at(600, fra), out)
    assert level_of(back, FRA) == 1.0
    theirs = {(one.rtype, one.ranking) for one in back.history.sheds[FRA].moved if one.receiver == IAD}
    assert theirs
    drain = (override("pool/web-iad", Forced.DRAIN),)
    for world in (at(601, fra, IAD), replace(at(601, fra), overrides=drain)):
        after = decide(MODEL, PLACES, world, back)
        moved = {(one.rtype, one.ranking) for one in after.history.sheds[FRA].moved}
        assert moved.isdisjoint(theirs) == homeward
        assert IAD not in receivers(after)


def test_new_rankings_while_one_record_type_is_out_move_nobody_of_the_other() -> None:
    before = decide(MODEL, PLACES, at(1, 0.5, FRA4), decide(MODEL, PLACES, at(0, 0.5), None))
    fewer = replace(geography(MODEL, web=[(FRA, IAD, SIN), (IAD, FRA, SIN)]), digest="newer")
    world = replace(at(2, 0.5, FRA4), demand={WEB: {TYPE_A: (20.0, 80.0), TYPE_AAAA: (400.0, 80.0)}})
    after = decide(MODEL, fewer, world, before)
    assert {one.rtype for one in after.history.sheds[FRA].moved} == {TYPE_A}


def idle6(world: World) -> World:
    """Nobody asks for AAAA."""
    return replace(world, demand={WEB: {TYPE_A: RATES, TYPE_AAAA: (0.0,) * len(RATES)}})


@pytest.mark.parametrize("how", [Return.AT_ONCE, Return.GRADUAL])
def test_who_asks_for_nothing_is_moved_from_a_home_that_is_out_and_comes_back(how: Return) -> None:
    model = returning(how)
    before = decide(model, PLACES, idle6(at(0, 0.5)), None)
    out = decide(model, PLACES, idle6(at(1, 0.5, FRA6)), before)
    shed = out.history.sheds[FRA]
    assert (shed.cause, shed.level, shed.out) == (Cause.OUT, 0.0, ((WEB, TYPE_AAAA),))
    assert {(one.rtype, one.ranking, one.slots) for one in shed.moved} == {
        (TYPE_AAAA, place, WHOLE) for place in range(3)
    }
    told = replace(idle6(at(2, 0.5, FRA6)), given={FRA: GivenShed(shed, NOW + 2)})
    assert decide(model, PLACES, told, before).choices == out.choices
    plan = out
    for second in (600, 601, 602 + DWELL, 603 + 2 * DWELL):
        plan = decide(model, PLACES, idle6(at(second, 0.5)), plan)
    assert FRA not in plan.history.sheds
    assert plan.choices == before.choices


def test_who_asked_for_nothing_when_moved_comes_back_by_recover_when_they_ask() -> None:
    plan = decide(MODEL, PLACES, idle6(at(1, 0.1, FRA6)), decide(MODEL, PLACES, idle6(at(0, 0.1)), None))
    levels = []
    for second in (600.0, *(601 + turn * DWELL for turn in range(1, 40))):
        plan = decide(MODEL, PLACES, at(second, 0.1), plan)
        levels.append(level_of(plan, FRA))
    first = next(level for level in levels if level)
    assert first == pytest.approx(0.46, abs=0.002)  # of 0.5, for two dwells
    assert all(one - other <= 0.021 for one, other in pairwise(levels[levels.index(first) :]))
    assert FRA not in plan.history.sheds


def test_a_record_type_comes_back_by_recover_while_one_that_nobody_asks_for_stays_out() -> None:
    out = decide(MODEL, PLACES, idle6(at(1, 0.5, FRA)), decide(MODEL, PLACES, idle6(at(0, 0.5)), None))
    assert level_of(out, FRA) == 1.0
    back = decide(MODEL, PLACES, idle6(at(600, 0.0, FRA6)), out)
    later = decide(MODEL, PLACES, idle6(at(601 + DWELL, 0.0, FRA6)), back)
    assert level_of(later, FRA) < 1.0
    assert later.history.sheds[FRA].out == ((WEB, TYPE_AAAA),)
