"""Each part of a policy against the slow twin, over random views of continents; and nobody else's harm."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gslb.decide.decide import decide
from gslb.decide.explain import explain
from gslb.decide.inheritance import inherited
from gslb.decide.parts import Views, continents_of, parts_of
from gslb.decide.situation import situation_of
from gslb.model.deployment import DYNAMIC_TYPES, AllDown, Deployment, PolicyId, Return, View
from gslb.model.history import History, Keeper
from gslb.model.location import Geography
from gslb.model.plan import Mode, Plan, from_bytes
from gslb.model.world import World
from tests.decide.continents import alike, as_left_to, as_seen_from, of_policies, regional, told_apart, views
from tests.decide.sequences import moments, services
from tests.decide.test_settle import GOOD, answered_by
from tests.decide.twin import Left, Twin
from tests.decide.worlds import (
    backwards,
    geographies,
    models,
    worlds,
)

EMPTY = (Mode.NODATA, Mode.SERVFAIL)


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
    """Where nothing is shed: loads, and a gradual return, are of pools, whoever uses them."""
    model, places, worlds_ = case
    model = replace(model, pools={name: replace(p, return_=Return.AT_ONCE) for name, p in model.pools.items()})
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
