"""Regional views that a reader should know: up from Asia and down from Europe, and what becomes of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from gslb.decide.case import Case, without
from gslb.decide.decide import decide
from gslb.decide.explain import explain
from gslb.decide.inheritance import inherited
from gslb.decide.order import fits
from gslb.decide.parts import Sight
from gslb.model.deployment import TYPE_A, AllDown, Capacity, Deployment, PolicyId, PoolId, Return, View
from gslb.model.history import WHOLE, Cause, History, Keeper, Moved, Out, Shed
from gslb.model.location import Geography
from gslb.model.plan import Mode, Plan, from_bytes
from gslb.model.world import Forced, Health, Load, Verdict, Verdicts, World
from tests.decide.worlds import (
    CLOUD,
    FRA,
    IAD,
    NEAREST,
    NOW,
    POOLS,
    SIN,
    WEB,
    deployment,
    down,
    geography,
    override,
    rank,
)

WEB_EU, WEB_AS = PolicyId("web/EU"), PolicyId("web/AS")
MODEL = deployment(replace(NEAREST, view=View.REGIONAL))
ORDERS = {"": (FRA, IAD, SIN), "EU": (SIN, FRA, IAD), "AS": (SIN, IAD, FRA)}


def placed(model: Deployment) -> Geography:
    """One ranking for clients of nowhere, one for Europe, one for Asia."""
    orders = (replace(rank(model, model.policies[WEB], -1, order), continent=name) for name, order in ORDERS.items())
    return replace(geography(model, web=[]), rankings={WEB: tuple(orders)})


PLACES = placed(MODEL)
NOWHERE, EUROPE, ASIA = range(3)
EVERYTHING = (FRA, IAD, SIN, CLOUD)


def at(second: float, verdicts: Verdicts | None = None, **seen: Verdicts) -> World:
    return World(NOW + second, verdicts=verdicts or {}, regional=seen)


def up(*pools: PoolId) -> Verdicts:
    found = down(*pools)
    return {name: {one: Verdict(Health.UP) for one in verdicts} for name, verdicts in found.items()}


def firsts(plan: Plan, rtype: int = TYPE_A) -> list[str | None]:
    """Who answers nowhere, Europe, Asia; by its choice, or by the first part of it."""
    choices = [plan.choices[index] for index in plan.policies[WEB].choices[rtype]]
    return [[*(part.members[0] for part in choice.shed), *choice.members][0].pool for choice in choices]


def test_up_from_asia_and_down_from_europe() -> None:
    for world in (at(0, {}, EU=down(SIN)), at(0, down(SIN), AS=up(SIN))):
        plan = decide(MODEL, PLACES, world, None)
        assert firsts(plan) == [FRA, FRA, SIN]
    assert firsts(decide(MODEL, PLACES, at(0, down(SIN)), None)) == [FRA, FRA, IAD]


def test_the_reason_says_from_where() -> None:
    world = at(0, {}, EU=down(SIN))
    europe, asia, nowhere = (explain(MODEL, PLACES, world, None, (WEB, n, TYPE_A)) for n in (EUROPE, ASIA, NOWHERE))
    (sin, *_) = europe.tried
    assert [reason.why for reason in sin.reasons] == ["down as seen from EU: timeout"]
    assert [target.verdict.seen_from for target in sin.targets if target.verdict] == ["EU"]
    assert sin.out == Out(NOW, types=(TYPE_A,))
    assert (europe.sight, asia.sight, nowhere.sight) == (Sight.OWN, Sight.SAME, Sight.ALL)
    assert asia.tried[0].out is None


def test_a_continent_that_sees_nothing_at_all_goes_by_the_others() -> None:
    """More likely it is cut off itself; and what it may not say is not in the history."""
    plan = decide(MODEL, PLACES, at(0), None)
    after = decide(MODEL, PLACES, at(1, down(SIN), EU=down(*EVERYTHING), AS=up(SIN)), plan)
    assert firsts(after) == [FRA, FRA, SIN]
    told = explain(MODEL, PLACES, at(1, down(SIN), EU=down(*EVERYTHING)), plan, (WEB, EUROPE, TYPE_A))
    assert told.sight is Sight.NOTHING
    assert [reason.why for reason in told.tried[0].reasons] == ["its checks find it down: timeout"]
    assert WEB_EU not in after.history.out


def test_an_empty_answer_is_for_everybody() -> None:
    model = deployment(replace(NEAREST, view=View.REGIONAL, on_all_down=AllDown.NODATA))
    world = at(0, down(*EVERYTHING), AS=up(SIN))
    plan = decide(model, PLACES, world, None)
    assert [plan.choices[index].mode for index in plan.policies[WEB].choices[TYPE_A]] == [Mode.NODATA] * 3
    assert explain(model, PLACES, world, None, (WEB, ASIA, TYPE_A)).sight is Sight.EMPTY
    served = decide(MODEL, PLACES, world, None)  # on_all_down: serve_all
    modes = [served.choices[index].mode for index in served.policies[WEB].choices[TYPE_A]]
    assert modes == [Mode.SERVE_ALL, Mode.SERVE_ALL, Mode.NORMAL]


def test_velocity_holds_for_each_continent() -> None:
    """Of Europe's three pools one may leave at once, whatever leaves elsewhere; and evidence that is double is believed."""
    plan = decide(MODEL, PLACES, at(0), None)
    after = decide(MODEL, PLACES, at(1, down(IAD), EU={**down(SIN, FRA), **up(IAD)}), plan)
    assert after.history.out == {WEB: {IAD: Out(NOW + 1)}, WEB_EU: {FRA: Out(NOW + 1)}}
    assert {*after.history.kept} == {WEB_EU}
    assert after.history.kept[WEB_EU][SIN].by is Keeper.VELOCITY
    assert firsts(after) == [FRA, SIN, SIN]
    assert after.policies[WEB].ttl == MODEL.policies[WEB].ttl_min
    again = from_bytes(after.to_bytes())
    later = decide(MODEL, PLACES, at(62, down(IAD), EU={**down(SIN, FRA), **up(IAD)}), again)
    assert {*later.history.out[WEB_EU]} == {FRA, SIN}
    doubly = {SIN: {"192.0.2.3": Verdict(Health.DOWN, double=True)}}
    believed = decide(MODEL, PLACES, at(1, EU={**down(FRA), **doubly}), plan)
    assert {*believed.history.out[WEB_EU]} == {FRA, SIN}


def test_what_waits_for_an_operator_waits_where_it_was_out() -> None:
    pools = [replace(one, return_=Return.MANUAL) for one in POOLS]
    model = deployment(replace(NEAREST, view=View.REGIONAL), pools=pools)
    plan = decide(model, PLACES, at(0), None)
    for second, seen in ((1, {"EU": down(SIN)}), (500, {}), (9_000, {})):
        plan = decide(model, PLACES, at(second, {}, **seen), plan)
        assert firsts(plan) == [FRA, FRA, SIN]
    assert plan.history.out == {WEB_EU: {SIN: Out(NOW + 1, held=True, types=(TYPE_A,))}}
    word = replace(at(9_001), overrides=(override("pool/web-sin", Forced.UP),))
    freed = decide(model, PLACES, word, plan)
    assert (freed.history.out, firsts(freed)) == ({}, [FRA, SIN, SIN])


@pytest.mark.parametrize("regional_", [True, False])
def test_what_waits_there_waits_on_though_the_policy_is_renamed(*, regional_: bool) -> None:
    pools = [replace(one, return_=Return.MANUAL) for one in POOLS]
    model = deployment(replace(NEAREST, view=View.REGIONAL), pools=pools)
    plan = decide(model, PLACES, at(1, {}, EU=down(SIN)), decide(model, PLACES, at(0), None))
    view = View.REGIONAL if regional_ else View.GLOBAL
    renamed = deployment(replace(NEAREST, name=PolicyId("www"), view=view), pools=pools)
    part = PolicyId("www/EU")
    assert inherited(renamed, plan).out.get(part) == (plan.history.out[WEB_EU] if regional_ else None)


def test_a_continent_ends_to_be_apart_once_nothing_tells_it_apart() -> None:
    """What is out everywhere begins alike; what left at different times counts so for as long as that matters."""
    plan = decide(MODEL, PLACES, at(0), None)
    early = decide(MODEL, PLACES, at(1, {}, EU=down(SIN)), plan)
    both = decide(MODEL, PLACES, at(41, down(SIN)), early)
    assert both.history.out == {
        WEB: {SIN: Out(NOW + 41, types=(TYPE_A,))},
        WEB_EU: {SIN: Out(NOW + 1, types=(TYPE_A,))},
    }
    late = decide(MODEL, PLACES, at(102, down(SIN)), both)
    assert late.history.out.keys() == {WEB}


LOADS = {name: Load(0.3) for name in (FRA, IAD, SIN, CLOUD)}


def full_service() -> Deployment:
    pools = [replace(one, capacity=Capacity(conns_per_s=100.0)) for one in POOLS]
    return deployment(replace(NEAREST, view=View.REGIONAL), pools=pools)


def test_only_those_are_shed_who_cannot_see_the_pool_and_only_they_come_back_little_by_little() -> None:
    model = full_service()
    steady = replace(at(0), loads=LOADS)
    plan = decide(model, PLACES, steady, None)
    out = decide(model, PLACES, replace(at(1, EU=down(SIN)), loads=LOADS), plan)
    assert out.history.sheds[SIN].cause is Cause.OUT
    assert out.history.sheds[SIN].out == ((WEB_EU, TYPE_A),)
    assert {one.ranking for one in out.history.sheds[SIN].moved} == {EUROPE}
    assert firsts(out) == [FRA, FRA, SIN]
    back = decide(model, PLACES, replace(at(601), loads=LOADS), out)
    assert back.history.sheds[SIN].cause is Cause.RETURN
    assert back.history.sheds[SIN].level == pytest.approx(0.5)
    assert firsts(back) == [FRA, FRA, SIN]
    assert back.history.out == {}
    level = back.history.sheds[SIN].level
    for step in range(1, 40):
        back = decide(model, PLACES, replace(at(601 + 60 * step), loads=LOADS), back)
        shed = back.history.sheds.get(SIN)
        assert (shed.level if shed else 0.0) <= level
        assert {one.ranking for one in shed.moved} <= {EUROPE} if shed else True
        level = shed.level if shed else 0.0
    assert (level, firsts(back)) == (0.0, [FRA, SIN, SIN])


def test_another_location_table_moves_those_again_who_cannot_see_the_pool() -> None:
    model = full_service()
    plan = decide(model, PLACES, replace(at(0), loads=LOADS), None)
    world = replace(at(1, EU=down(SIN)), loads=LOADS)
    out = decide(model, PLACES, world, plan)
    nowhere, europe, asia = PLACES.rankings[WEB]
    turned = replace(PLACES, digest="newer", rankings={WEB: (nowhere, asia, europe)})
    after = decide(model, turned, replace(world, now=NOW + 5), out)
    assert {(one.ranking, one.receiver) for one in after.history.sheds[SIN].moved} == {(2, FRA)}
    assert after.history.sheds[SIN].level == pytest.approx(0.5)


def test_a_lost_site_is_lost_to_all() -> None:
    """What Asia said of it when it was there says nothing any more."""
    case = without(Case(MODEL, PLACES, at(0, down(SIN), AS=up(SIN), EU=down(FRA))), [POOLS[2].datacenter])
    assert case.world.regional == {"AS": {}, "EU": down(FRA)}
    assert firsts(decide(MODEL, PLACES, case.world, None)) == [FRA, IAD, IAD]


def test_backends_are_of_their_site_and_answers_of_whoever_sees_them() -> None:
    """A word on what is no target of the pool, or of no pool, is none."""
    stray: Mapping[str, Verdicts] = {
        "EU": {FRA: {"203.0.113.9": Verdict(Health.DOWN)}, PoolId("gone"): {"192.0.2.1": Verdict(Health.DOWN)}},
        "OC": down(FRA),
    }
    plan = decide(MODEL, PLACES, World(NOW, regional=stray), None)
    assert plan.digest == decide(MODEL, PLACES, World(NOW), None).digest
    assert plan.history == History()


def test_rankings_of_continents_fit_regional_policies_only() -> None:
    assert fits(MODEL, PLACES)
    assert not fits(deployment(NEAREST), PLACES)


def test_the_history_names_what_is_answered_to_whom() -> None:
    history = History(out={WEB: {FRA: Out(1.0)}, WEB_EU: {}})
    assert history.outs_of(WEB_EU) == {}
    assert history.outs_of(WEB_AS) == history.outs_of(WEB) == {FRA: Out(1.0)}


def test_what_is_at_home_elsewhere_by_now_does_not_wait_with_a_pool_that_is_down() -> None:
    """All is down but for Asia, so what Frankfurt shed waits; a client of Asia that was at home there no longer is."""
    plan = decide(MODEL, PLACES, at(0), None)
    stale = tuple(Moved(WEB, TYPE_A, ranking, CLOUD, WHOLE) for ranking in (NOWHERE, ASIA))
    shed = Shed(Cause.LOAD, 0.5, NOW, PLACES.digest, stale)
    before = replace(plan, history=History(sheds={FRA: shed}))
    after = decide(MODEL, PLACES, at(1, down(*EVERYTHING), AS=up(SIN)), before)
    assert after.history.sheds[FRA].moved == stale[:1]
    assert firsts(after) == [FRA, SIN, SIN]
