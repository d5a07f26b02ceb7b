"""What pools shed, to whom, and who may not be moved: cases by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gslb.decide.decide import decide
from gslb.model.deployment import TYPE_A, Capacity, Deployment, PoolId, Return, Spill
from gslb.model.history import WHOLE, Cause
from gslb.model.location import Catchment, Geography
from gslb.model.plan import Choice, Mode, Plan
from gslb.model.world import Forced, Load, World
from tests.decide.loads import DWELL, level_of, loaded, service
from tests.decide.worlds import CLOUD, FRA, IAD, NOW, POOLS, SIN, WEB, down, geography, override

MODEL = service()
ORDERS = ((FRA, IAD, SIN), (FRA, SIN, IAD), (FRA, IAD, SIN), (IAD, FRA, SIN))
PLACES = geography(MODEL, web=ORDERS)
ASKED = (100.0, 50.0, 250.0, 80.0)
Course = tuple[Deployment, list[tuple[Geography, World]]]


def asking(world: World, asked: tuple[float, ...] = ASKED) -> World:
    """The same world where clients ask for A only."""
    return replace(world, demand={WEB: {TYPE_A: asked}})


def choice(plan: Plan, ranking: int) -> Choice:
    return plan.choices[plan.policies[WEB].choices[TYPE_A][ranking]]


def given_to(plan: Plan, ranking: int) -> dict[str, int]:
    """Slots by pool."""
    found: dict[str, int] = {}
    one = choice(plan, ranking)
    left = WHOLE
    for part in one.shed:
        found[str(part.members[0].pool)] = found.get(str(part.members[0].pool), 0) + part.slots
        left -= part.slots
    if left:
        found[str(one.members[0].pool)] = found.get(str(one.members[0].pool), 0) + left
    return found


def until_rest(world: World, plan: Plan | None, model: Deployment = MODEL, places: Geography = PLACES) -> Plan:
    """Decisions a dwell apart in one world, until nothing moves."""
    for _ in range(200):
        after = decide(model, places, world, plan)
        world = replace(world, now=world.now + DWELL)
        plan = decide(model, places, world, after)
        if plan.history.sheds == after.history.sheds:
            return plan
    raise AssertionError("it never rests")


def test_nothing_is_shed_below_soft_or_without_capacity_or_load() -> None:
    assert decide(MODEL, PLACES, loaded(fra=0.79, iad=0.2), None).history.sheds == {}
    assert decide(service(fra=None), PLACES, loaded(fra=5.0), None).history.sheds == {}
    assert decide(MODEL, PLACES, World(NOW), None).history.sheds == {}
    for absurd in (float("nan"), -1.0):
        assert decide(MODEL, PLACES, loaded(fra=absurd), None).history.sheds == {}


def test_a_first_step_is_one_dwells_worth_and_the_next_waits_for_a_dwell() -> None:
    world = asking(loaded(fra=0.88, iad=0.1, sin=0.1, cloud=0.0))
    first = decide(MODEL, PLACES, world, None)
    assert first.history.sheds[FRA].cause is Cause.LOAD
    assert level_of(first, FRA) == pytest.approx(0.05, abs=0.5 / WHOLE)
    early = decide(MODEL, PLACES, replace(world, now=NOW + DWELL - 1), first)
    assert early is first
    second = decide(MODEL, PLACES, replace(world, now=NOW + DWELL), first)
    assert level_of(second, FRA) == pytest.approx(0.1, abs=1 / WHOLE)


def test_at_hard_the_step_is_lifted_to_the_room_of_receivers() -> None:
    roomy = decide(MODEL, PLACES, asking(loaded(fra=1.6, iad=0.0, sin=0.0, cloud=0.0)), None)
    assert level_of(roomy, FRA) == pytest.approx(1 - 0.85 / 1.6, abs=2 / WHOLE)
    tight = decide(MODEL, PLACES, asking(loaded(fra=1.6, iad=0.7, sin=0.75, cloud=0.8)), None)
    assert level_of(tight, FRA) == pytest.approx(0.15 / 1.6, abs=4 / WHOLE)
    none = decide(MODEL, PLACES, asking(loaded(fra=1.6, iad=0.8, sin=0.85, cloud=0.9)), None)
    assert level_of(none, FRA) == 0.0


def test_whole_classes_go_first_and_one_is_split() -> None:
    plan = decide(MODEL, PLACES, asking(loaded(fra=1.6, iad=0.0, sin=0.0, cloud=0.0)), None)
    taken = [sum(one.slots for one in plan.history.sheds[FRA].moved if one.ranking == ranking) for ranking in range(3)]
    assert taken[:2] == [WHOLE, WHOLE]
    assert 0 < taken[2] < WHOLE
    assert choice(plan, 0) == Choice(Mode.NORMAL, choice(plan, 3).members, 1)  # moved whole: as if iad were its home
    assert given_to(plan, 1) == {SIN: WHOLE}
    assert given_to(plan, 2) == {IAD: taken[2], FRA: WHOLE - taken[2]}
    assert given_to(plan, 3) == {IAD: WHOLE}


def test_those_go_first_who_lose_the_fewest_kilometres() -> None:
    km: tuple[dict[PoolId, float], ...] = ({FRA: 100.0, IAD: 9000.0}, {FRA: 100.0}, {FRA: 100.0, IAD: 600.0}, {})
    places = replace(PLACES, catchments={WEB: tuple(Catchment(0.25, each) for each in km)})
    plan = decide(MODEL, places, asking(loaded(fra=0.88, iad=0.0)), None)
    assert [one.ranking for one in plan.history.sheds[FRA].moved] == [2]
    steep = decide(MODEL, places, asking(loaded(fra=4.0, iad=0.0, sin=0.0, cloud=0.0)), None)
    order = list(dict.fromkeys(one.ranking for one in steep.history.sheds[FRA].moved))
    assert order[:2] == [2, 0]  # where distances are not known, last


def test_receivers_are_filled_in_order_and_then_the_burst_site() -> None:
    plan = decide(MODEL, PLACES, asking(loaded(fra=2.0, iad=0.6, sin=0.7, cloud=0.0)), None)
    part = dict.fromkeys((IAD, SIN, CLOUD), 0.0)
    for one in plan.history.sheds[FRA].moved:
        part[one.receiver] += ASKED[one.ranking] * one.slots / WHOLE * 2.0 / 400
    assert part[IAD] == pytest.approx(0.2, abs=0.005)
    assert part[SIN] == pytest.approx(0.1, abs=0.005)
    assert part[CLOUD] > 0.5
    assert plan.history.sheds[FRA].fresh == pytest.approx(part)


def test_loads_compare_by_absolute_capacity() -> None:
    small = Capacity(conns_per_s=1000.0, soft=0.8, hard=0.9)
    spill = Spill(to=())
    plan = decide(service(iad=small, sin=small, spill=spill), PLACES, asking(loaded(fra=2.0, iad=0.4, sin=0.8)), None)
    assert level_of(plan, FRA) * 2.0 == pytest.approx(0.1, abs=0.005)  # 400 connections of fra's 8 000
    assert plan.history.sheds[FRA].fresh[IAD] == pytest.approx(0.4, abs=0.01)


def test_what_is_on_its_way_takes_room_and_two_pools_do_not_give_the_same_away() -> None:
    places = geography(MODEL, web=[(FRA, SIN, IAD), (IAD, SIN, FRA)])
    model = service(spill=Spill(to=()))
    world = asking(loaded(fra=1.2, iad=1.2, sin=0.5), (100.0, 100.0))
    plan = decide(model, places, world, None)
    sent = sum(shed.fresh[SIN] for shed in plan.history.sheds.values())
    assert sent == pytest.approx(0.3, abs=0.005)
    assert decide(model, places, replace(world, now=NOW + 30), plan) is plan


def test_a_receiver_whose_load_is_stale_is_sent_nothing_more() -> None:
    world = asking(loaded(fra=1.2, sin=0.1, cloud=0.8))
    world = replace(world, loads={**world.loads, IAD: Load(0.1, stale=True)})
    plan = decide(MODEL, PLACES, world, None)
    assert {one.receiver for one in plan.history.sheds[FRA].moved} == {SIN}


def test_a_receiver_without_load_carries_what_is_sent() -> None:
    world = asking(loaded(fra=3.0, sin=0.8, cloud=0.8))
    plan = until_rest(world, None)
    assert (
        level_of(plan, FRA) * 3.0 <= 0.8 * 1.4
    )  # the load that fra goes on measuring does not follow: demand is overrated


def test_a_stale_load_keeps_the_level() -> None:
    world = asking(loaded(fra=0.88, iad=0.1))
    plan = decide(MODEL, PLACES, world, None)
    stale = replace(world, now=NOW + 600, loads={**world.loads, FRA: Load(0.1, age_s=900, stale=True)})
    assert decide(MODEL, PLACES, stale, plan) is plan


def test_back_by_recover_those_taken_last_first() -> None:
    full = decide(MODEL, PLACES, asking(loaded(fra=1.6, iad=0.0, sin=0.0, cloud=0.0)), None)
    calm = asking(loaded(NOW + DWELL, fra=0.2, iad=0.3, sin=0.2, cloud=0.0))
    plan = decide(MODEL, PLACES, calm, full)
    assert level_of(full, FRA) - level_of(plan, FRA) == pytest.approx(0.02, abs=1 / WHOLE)
    before, after = full.history.sheds[FRA].moved, plan.history.sheds[FRA].moved
    assert after[:-1] == before[: len(after) - 1]
    rest = until_rest(calm, plan)
    assert level_of(rest, FRA) == 0.0
    assert all(not one.shed for one in rest.choices)


def test_a_failed_pool_is_divided_by_room_and_what_fits_nowhere_by_capacity() -> None:
    world = asking(loaded(fra=1.0, iad=0.6, sin=0.7, cloud=0.5))
    before = decide(MODEL, PLACES, asking(loaded(fra=0.7, iad=0.6, sin=0.7, cloud=0.5)), None)
    plan = decide(MODEL, PLACES, replace(world, verdicts=down(FRA, of=POOLS)), before)
    shed = plan.history.sheds[FRA]
    assert (shed.cause, shed.level, shed.demand) == (Cause.OUT, 1.0, 1.0)
    assert shed.fresh[IAD] == pytest.approx(0.2 + 0.4 / 3, abs=0.01)
    assert shed.fresh[SIN] == pytest.approx(0.1 + 0.4 / 3, abs=0.01)
    assert shed.fresh[CLOUD] == pytest.approx(0.3 + 0.4 / 3, abs=0.01)
    assert all(FRA not in given_to(plan, ranking) for ranking in range(4))


def test_a_failed_pool_without_capacities_goes_to_the_next_in_order() -> None:
    model = service(fra=None, iad=None, sin=None, cloud=None)
    plan = decide(model, PLACES, World(NOW, verdicts=down(FRA, of=POOLS)), None)
    assert [given_to(plan, ranking) for ranking in range(4)] == [{IAD: WHOLE}, {SIN: WHOLE}, {IAD: WHOLE}, {IAD: WHOLE}]


def test_a_pool_that_was_out_comes_back_by_recover() -> None:
    world = asking(loaded(fra=0.6, iad=0.1, sin=0.1, cloud=0.0))
    failed = decide(MODEL, PLACES, replace(world, verdicts=down(FRA, of=POOLS)), decide(MODEL, PLACES, world, None))
    calm = replace(world, now=NOW + 600, loads={**world.loads, FRA: Load(0.0)})
    back = decide(MODEL, PLACES, calm, failed)
    assert (back.history.sheds[FRA].cause, level_of(back, FRA)) == (Cause.RETURN, 1.0)
    assert back.version == failed.version
    later = decide(MODEL, PLACES, replace(calm, now=NOW + 600 + DWELL), back)
    assert level_of(later, FRA) == pytest.approx(0.98, abs=1 / WHOLE)
    rest = until_rest(replace(calm, now=NOW + 600 + DWELL), later)
    assert rest.history.sheds == {}
    assert given_to(rest, 0) == {FRA: WHOLE}


def test_a_return_at_once_and_an_override_that_ends_are_not_gradual() -> None:
    at_once = service()
    at_once = replace(
        at_once, pools={name: replace(pool, return_=Return.AT_ONCE) for name, pool in at_once.pools.items()}
    )
    failed = decide(at_once, PLACES, World(NOW, verdicts=down(FRA, of=POOLS)), None)
    assert given_to(decide(at_once, PLACES, World(NOW + 1), failed), 0) == {FRA: WHOLE}
    drained = decide(MODEL, PLACES, World(NOW, overrides=(override("pool/web-fra", Forced.DRAIN),)), None)
    assert given_to(drained, 0) == {IAD: WHOLE}
    assert given_to(decide(MODEL, PLACES, World(NOW + 1), drained), 0) == {FRA: WHOLE}


@pytest.mark.parametrize("stale", [False, True])
def test_what_is_left_of_a_load_during_a_drain_is_no_reason_to_shed_after_it(stale: bool) -> None:  # noqa: FBT001
    calm = asking(loaded(fra=0.3, iad=0.3, sin=0.3, cloud=0.0))
    drain = override("pool/web-fra", Forced.DRAIN)
    drained = decide(MODEL, PLACES, replace(calm, overrides=(drain,)), decide(MODEL, PLACES, calm, None))
    assert level_of(drained, FRA) == 1.0
    ended = replace(calm, now=NOW + 12, loads={**calm.loads, FRA: Load(0.29, stale=stale)})
    assert level_of(decide(MODEL, PLACES, ended, drained), FRA) == 0.0


def test_a_returning_pools_receivers_that_are_too_full_send_home_at_once() -> None:
    world = asking(loaded(fra=0.6, iad=0.1, sin=0.1, cloud=0.0))
    failed = decide(MODEL, PLACES, replace(world, verdicts=down(FRA, of=POOLS)), decide(MODEL, PLACES, world, None))
    back = decide(MODEL, PLACES, replace(world, now=NOW + 600), failed)
    full = asking(loaded(NOW + 700, fra=0.0, iad=0.86, sin=0.2, cloud=0.0))
    assert level_of(decide(MODEL, PLACES, full, back), FRA) < 0.98


def test_a_receiver_that_fails_is_replaced_at_once_and_nobody_else_moves() -> None:
    before = decide(MODEL, PLACES, asking(loaded(fra=1.6, iad=0.0, sin=0.0, cloud=0.0)), None)
    lost = replace(asking(loaded(NOW + 5, fra=1.6, iad=0.1, sin=0.0, cloud=0.0)), verdicts=down(IAD, of=POOLS))
    after = decide(MODEL, PLACES, lost, before)
    assert given_to(after, 0) == {SIN: WHOLE}
    assert given_to(after, 1) == given_to(before, 1)
    assert given_to(after, 2)[FRA] == given_to(before, 2)[FRA]


def test_a_receiver_at_its_hard_mark_is_relieved_to_its_soft_mark() -> None:
    before = decide(MODEL, PLACES, asking(loaded(fra=1.2, iad=0.3, sin=0.1, cloud=0.1)), None)
    between = asking(loaded(NOW + DWELL, fra=0.85, iad=0.89, sin=0.1, cloud=0.1))
    assert {one.receiver for one in decide(MODEL, PLACES, between, before).history.sheds[FRA].moved} == {IAD, SIN}
    full = asking(loaded(NOW + DWELL, fra=0.85, iad=0.95, sin=0.1, cloud=0.1))
    after = decide(MODEL, PLACES, full, before).history.sheds[FRA]
    assert after.fresh[IAD] == pytest.approx(-0.15, abs=0.01)
    assert after.level == pytest.approx(level_of(before, FRA), abs=1 / WHOLE)  # sin takes them


def test_guests_do_not_make_a_pool_shed_its_own() -> None:
    before = decide(MODEL, PLACES, asking(loaded(fra=1.6, iad=0.0, sin=0.8, cloud=0.8)), None)
    after = decide(MODEL, PLACES, asking(loaded(NOW + DWELL, fra=1.0, iad=0.88, sin=0.8, cloud=0.8)), before)
    assert IAD not in after.history.sheds


def test_new_rankings_take_the_level_over() -> None:
    world = asking(loaded(fra=1.2, iad=0.1, sin=0.1, cloud=0.0))
    before = decide(MODEL, PLACES, world, None)
    moved = replace(geography(MODEL, web=[*ORDERS, (FRA, SIN, IAD)]), digest="newer")
    after = decide(MODEL, moved, asking(replace(world, now=NOW + DWELL), (*ASKED, 10.0)), before)
    assert after.history.sheds[FRA].geography == "newer"
    assert level_of(after, FRA) == pytest.approx(level_of(before, FRA), abs=1 / WHOLE)
    assert abs(sum(after.history.sheds[FRA].fresh.values())) < 0.05  # receivers carry what the old rankings sent


def test_heavy_resolvers_stand_in_the_plan_while_a_choice_is_split() -> None:
    heavy = ("198.51.100.9", "192.0.2.77")
    world = replace(asking(loaded(fra=0.88, iad=0.1)), heavy=heavy)
    assert decide(MODEL, PLACES, world, None).heavy == tuple(sorted(heavy))
    assert decide(MODEL, PLACES, replace(world, loads={}), None).heavy == ()


def test_a_clock_that_went_back_does_not_stop_a_level() -> None:
    world = asking(loaded(fra=0.88, iad=0.1))
    plan = decide(MODEL, PLACES, world, None)
    earlier = decide(MODEL, PLACES, replace(world, now=NOW - 9e5), plan)
    assert earlier.history.sheds[FRA].stepped_at == NOW - 9e5
    assert level_of(decide(MODEL, PLACES, replace(world, now=NOW - 9e5 + DWELL), earlier), FRA) > level_of(plan, FRA)


def test_a_receiver_that_is_gone_from_the_configuration_is_replaced() -> None:
    plan = decide(MODEL, PLACES, asking(loaded(fra=1.6, iad=0.0, sin=0.0, cloud=0.0)), None)
    shed = plan.history.sheds[FRA]
    gone = tuple(replace(one, receiver=PoolId("gone")) for one in shed.moved)
    before = replace(plan, history=replace(plan.history, sheds={FRA: replace(shed, moved=gone), PoolId("old"): shed}))
    after = decide(MODEL, PLACES, asking(loaded(NOW + 5, fra=1.0, iad=0.0, sin=0.0, cloud=0.0)), before)
    assert set(after.history.sheds) == {FRA}
    assert {one.receiver for one in after.history.sheds[FRA].moved} <= {IAD, SIN, CLOUD}


def test_no_client_is_passed_on_by_a_receiver() -> None:
    """iad sheds its own clients and not those that fra sent: a slot of fra's cells never goes through iad to another."""
    before = decide(MODEL, PLACES, asking(loaded(fra=1.2, iad=0.5, sin=0.1, cloud=0.0)), None)
    full = asking(loaded(NOW + DWELL, fra=0.85, iad=2.0, sin=0.1, cloud=0.0))
    after = decide(MODEL, PLACES, full, before)
    assert {(one.policy, one.ranking) for one in after.history.sheds[IAD].moved} == {(WEB, 3)}
    assert all(one.ranking != 3 for one in after.history.sheds[FRA].moved)
