"""Regional views: up from Asia and down from Europe, each with its own clients, and nobody else's harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gslb.decide.case import Case, without
from gslb.decide.decide import decide
from gslb.decide.explain import explain
from gslb.decide.inheritance import inherited
from gslb.decide.order import fits
from gslb.decide.parts import Sight, Views, continents_of, parts_of
from gslb.decide.situation import situation_of
from gslb.model.deployment import DYNAMIC_TYPES, TYPE_A, AllDown, Capacity, Deployment, PolicyId, PoolId, Return, View
from gslb.model.history import WHOLE, Cause, History, Keeper, Moved, Out, Shed
from gslb.model.location import Geography
from gslb.model.plan import Mode, Plan, from_bytes
from gslb.model.world import Forced, Health, Load, Verdict, Verdicts, World
from tests.decide.continents import alike, as_left_to, as_seen_from, of_policies, regional, told_apart, views
from tests.decide.sequences import moments, services
from tests.decide.test_settle import GOOD, answered_by
from tests.decide.twin import Left, Twin
from tests.decide.worlds import (
    CLOUD,
    FRA,
    IAD,
    NEAREST,
    NOW,
    POOLS,
    SIN,
    WEB,
    backwards,
    deployment,
    down,
    geographies,
    geography,
    models,
    override,
    rank,
    worlds,
)

EMPTY = (Mode.NODATA, Mode.SERVFAIL)
WEB_EU, WEB_AS = PolicyId("web/EU"), PolicyId("web/AS")


@st.composite
def courses(draw: st.DrawFn) -> tuple[Deployment, Geography, list[World]]:
    """A service with regional policies, and what is observed of it moment by moment."""
    model = draw(regional(draw(services())))
    places = draw(told_apart(model, draw(geographies(model))))
    return model, places, [replace(world, regional=draw(views(model))) for world in draw(moments(model, longest=6))]


@st.composite
def situations(draw: st.DrawFn) -> tuple[Deployment, Geography, World, Plan | None]:
    """A deployment with regional policies, its geography, a world, and perhaps the plan of an earlier world."""
    model = draw(regional(draw(models())))
    previous = None
    if draw(st.booleans()):
        places = draw(told_apart(model, draw(geographies(model))))
        previous = decide(model, places, replace(draw(worlds(model)), regional=draw(views(model))), None)
    places = draw(told_apart(model, draw(geographies(model))))
    return model, places, replace(draw(worlds(model)), regional=draw(views(model))), previous


@settings(max_examples=25)
@given(courses())
def test_each_continent_is_given_what_the_slow_twin_says(case: tuple[Deployment, Geography, list[World]]) -> None:
    """Its own twin, where that has something to answer with and the twin of all sites has too; else that of all sites."""
    model, places, worlds_ = case
    plan: Plan | None = None
    for world in worlds_:
        history = plan.history if plan is not None else History()
        situation = situation_of(model, world, history)
        for name, policy in model.policies.items():
            parts = parts_of(policy, continents_of(policy, places.rankings[name]), Views(model, world, situation), plan)
            for rtype in DYNAMIC_TYPES:
                general = left_to("", model, world, plan, (name, rtype))
                for continent, part in parts.items():
                    own = left_to(continent, model, world, plan, (name, rtype))
                    want = own if own[0] in (Mode.NORMAL, Mode.KEPT) and general[0] not in EMPTY else general
                    by_pool = part.settled[rtype].by_pool
                    found = {pool: {one.address for one in members} for pool, members in by_pool.items()}
                    assert (part.settled[rtype].mode, found) == want, continent
        plan = from_bytes(decide(model, places, world, plan).to_bytes())


def left_to(
    continent: str, model: Deployment, world: World, plan: Plan | None, asked: tuple[PolicyId, int]
) -> tuple[Mode, Left]:
    """What the twin says to clients of a continent; without one, to those who go by all sites."""
    name, rtype = asked
    history = plan.history if plan is not None else History()
    ejected = situation_of(model, world, history).history.ejected
    slowed = {pool for pool, one in history.kept.get(name, {}).items() if one.by is Keeper.VELOCITY}
    before = answered_by(plan, name, rtype)
    return Twin(
        model,
        as_seen_from(continent, world),
        replace(as_left_to(continent, name, history), ejected=ejected),
        model.policies[name],
        rtype,
        answered={pool for pool, _, _ in before},
        good={(pool, at) for pool, at, mode in before if mode in GOOD and pool not in slowed},
    ).left()


@settings(max_examples=25)
@given(courses())
def test_nobody_is_answered_what_the_steps_do_not_leave_to_them(
    case: tuple[Deployment, Geography, list[World]],
) -> None:
    model, places, worlds_ = case
    plan: Plan | None = None
    for world in worlds_:
        before, plan = plan, decide(model, places, world, plan)
        assert decide(model, places, world, plan).digest == plan.digest or plan.history.sheds
        situation = situation_of(model, world, inherited(model, before))
        for name, policy in model.policies.items():
            continents = continents_of(policy, places.rankings[name])
            parts = parts_of(policy, continents, Views(model, world, situation), before)
            for rtype in DYNAMIC_TYPES:
                for ranking, index in zip(places.rankings[name], plan.policies[name].choices[rtype], strict=True):
                    settled, choice = parts[ranking.continent].settled[rtype], plan.choices[index]
                    allowed = {member for members in settled.by_pool.values() for member in members}
                    given_ = {*choice.members, *(member for part in choice.shed for member in part.members)}
                    assert given_ <= (allowed or {*settled.for_all})
                    assert choice.mode is settled.mode
        assert {name for name in plan.history.out if "/" in name} <= {
            f"{name}/{continent}"
            for name, policy in model.policies.items()
            for continent in continents_of(policy, places.rankings[name])
        }


@settings(max_examples=25)
@given(courses())
def test_where_continents_say_nothing_else_a_regional_policy_is_a_global_one(
    case: tuple[Deployment, Geography, list[World]],
) -> None:
    model, places, worlds_ = case
    plain = replace(model, policies={name: replace(p, view=View.GLOBAL) for name, p in model.policies.items()})
    plan: Plan | None = None
    other: Plan | None = None
    for seen in worlds_:
        world = replace(seen, regional={})
        plan, other = decide(model, places, world, plan), decide(plain, alike(places), world, other)
        assert (plan.digest, plan.version) == (other.digest, other.version)
        assert of_policies(plan) == other.history


@settings(max_examples=25)
@given(courses())
def test_other_policies_and_balancers_do_not_hear_of_it(case: tuple[Deployment, Geography, list[World]]) -> None:
    """Where nothing is shed: loads are of pools, whoever uses them."""
    model, places, worlds_ = case
    plan: Plan | None = None
    other: Plan | None = None
    for world in worlds_:
        calm = replace(world, loads={})
        plan = decide(model, places, calm, plan)
        other = decide(model, places, replace(calm, regional={}), other)
        assert plan.history.ejected == other.history.ejected
        for name, policy in model.policies.items():
            same_out = plan.history.out.get(name, {}) == other.history.out.get(name, {})
            assert same_out or policy.view is View.REGIONAL  # what was answered to others of it may be kept
            if policy.view is View.GLOBAL:
                assert plan.history.kept.get(name) == other.history.kept.get(name)
                assert plan.policies[name].ttl == other.policies[name].ttl


@given(situations())
def test_same_inputs_same_bytes_in_any_order(situation: tuple[Deployment, Geography, World, Plan | None]) -> None:
    model, places, world, previous = situation
    plan = decide(model, places, world, previous)
    turned = replace(
        world,
        verdicts=backwards(world.verdicts),
        regional=backwards({continent: backwards(found) for continent, found in world.regional.items()}),
    )
    other = replace(model, pools=backwards(model.pools), policies=backwards(model.policies))
    assert plan.to_bytes() == decide(other, places, turned, previous).to_bytes()
    assert from_bytes(plan.to_bytes()) == plan


@given(situations())
def test_an_empty_answer_is_empty_for_every_client(situation: tuple[Deployment, Geography, World, Plan | None]) -> None:
    """Negative answers carry scope 0, so they must hold for all (RFC 7871 section 7.2.1)."""
    model, _, world, _ = situation
    plan = decide(*situation)
    for name, policy in plan.policies.items():
        for indexes in policy.choices.values():
            assert len({bool(plan.choices[index].members) for index in indexes}) == 1
        on_all_down = model.policies[name].on_all_down
        if on_all_down not in (AllDown.NODATA, AllDown.SERVFAIL) and not any(one.force for one in world.overrides):
            pools = [model.pools[pool] for pool in (*model.policies[name].pools, *model.policies[name].spill.to)]
            for rtype, indexes in policy.choices.items():
                has_type = any(answer.weight for pool in pools for answer in pool.answers_of(rtype))
                assert bool(plan.choices[indexes[0]].members) == has_type


@given(situations())
def test_explain_says_what_decide_did(situation: tuple[Deployment, Geography, World, Plan | None]) -> None:
    model, places, world, previous = situation
    plan = decide(model, places, world, previous)
    shed = {(one.policy, one.rtype, one.ranking) for shed in plan.history.sheds.values() for one in shed.moved}
    for name, policy in plan.policies.items():
        for rtype in DYNAMIC_TYPES:
            for index, choice_index in enumerate(policy.choices[rtype]):
                choice = plan.choices[choice_index]
                told = explain(model, places, world, previous, (name, index, rtype))
                assert (told.mode, told.count, told.ttl) == (choice.mode, choice.count, policy.ttl)
                assert (name, rtype, index) in shed or told.members == choice.members
                part = PolicyId(f"{name}/{told.ranking.continent}")
                for tried in told.tried:
                    assert tried.out == plan.history.outs_of(part).get(tried.pool)
                    assert tried.kept == plan.history.kept_of(part).get(tried.pool)


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
