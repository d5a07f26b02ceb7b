"""What balancers are told beside a twin of plain loops, over random services and moments one after the other."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gslb.decide.decide import decide
from gslb.decide.settle import settle
from gslb.decide.situation import situation_of
from gslb.model.deployment import DYNAMIC_TYPES, Deployment, Pool, PoolId, WithoutBalancer
from gslb.model.history import History
from gslb.model.plan import Plan, Serving, from_bytes
from gslb.model.world import Forced, Health, Override, World
from tests.decide.sequences import moments, observed, services
from tests.decide.test_balancers import letters
from tests.decide.worlds import NOW, backwards, geographies


def operators_word(pool: Pool, address: str, world: World) -> Override | None:
    words = [one for one in world.overrides if one.target == f"backend/{pool.name}/{address}"]
    words = [one for one in words if one.until is None or world.now < one.until]
    return max(words, key=lambda one: (one.since, one.state.value, one.until or 1e99, one.force)) if words else None


def state_of(pool: Pool, address: str, world: World, history: History) -> str:
    """What is said of one backend."""
    verdict, ejection = world.verdicts.get(pool.name, {}).get(address), history.ejected.get(f"{pool.name}/{address}")
    fails = verdict is not None and verdict.health is Health.DOWN
    ruling = operators_word(pool, address, world)
    if ruling is not None and (ruling.force or ruling.state is not Forced.DRAIN):
        return "drained for good" if ruling.state is Forced.DRAIN else ruling.state.value
    if ruling is not None:
        return "drained, fails" if fails else "drained"
    if fails:
        return "fails"
    return "ejected" if ejection is not None and world.now < ejection.until else "fine"


def expected(pool: Pool, world: World, history: History, panics: list[float]) -> str:
    """What each backend is, by plain loops; `panics` are those of the policies that answer the pool."""
    assert pool.balance is not None
    states = [state_of(pool, str(backend.address), world, history) for backend in pool.balance.backends]
    weights = [backend.weight for backend in pool.balance.backends]
    total = sum(w for w, state in zip(weights, states, strict=True) if state in ("up", "fine", "fails", "ejected"))
    healthy = sum(w for w, state in zip(weights, states, strict=True) if state in ("up", "fine"))
    serving = {"up", "fine"}
    if healthy == 0:
        order = ("ejected", "drained", "fails", "drained, fails")
        least_bad = [state for state in order if state in states]
        serving = set(least_bad[:1])
    elif any(healthy < panic * total - 1e-9 for panic in panics):
        serving |= {"fails", "ejected"}
    keeps = {"ejected", "drained", "drained, fails", "drained for good"}
    return "".join("u" if state in serving else "d" if state in keeps else "-" for state in states)


@settings(max_examples=80, deadline=None)
@given(services(), st.data())
def test_equals_the_slow_twin_at_every_moment(model: Deployment, data: st.DataObject) -> None:
    places = data.draw(geographies(model))
    plan: Plan | None = None
    for world in data.draw(moments(model)):
        situation = situation_of(model, world, plan.history if plan is not None else History())
        answered: dict[PoolId, list[float]] = {}
        for policy in model.policies.values():
            for rtype in DYNAMIC_TYPES:
                for name in settle(policy, rtype, situation, plan).by_pool:
                    answered.setdefault(name, []).append(policy.panic)
        plan = decide(model, places, world, plan)
        assert from_bytes(plan.to_bytes()) == plan
        assert set(plan.balancers) == {pool.name for pool in model.pools.values() if pool.balance}
        for name, table in plan.balancers.items():
            pool = model.pools[name]
            assert pool.balance is not None
            assert (table.site, [one.address for one in table.backends]) == (
                pool.datacenter,
                [str(backend.address) for backend in pool.balance.backends],
            )
            alone = name in world.unbalanced and pool.balance.without_balancer is WithoutBalancer.SERVE
            panics = [] if alone else answered.get(name, [])
            assert letters(plan, name) == expected(pool, world, plan.history, panics)


@settings(max_examples=30, deadline=None)
@given(services(), st.data())
def test_pure(model: Deployment, data: st.DataObject) -> None:
    """The order of mappings and overrides does not matter, nor what was decided before in this process."""
    places = data.draw(geographies(model))
    world = data.draw(observed(model, NOW))
    turned = replace(
        model,
        pools={name: replace(one) for name, one in backwards(model.pools).items()},
        policies=backwards(model.policies),
    )
    mixed = replace(world, verdicts=backwards(world.verdicts), overrides=world.overrides[::-1])
    assert decide(turned, places, mixed, None).to_bytes() == decide(model, places, world, None).to_bytes()


@settings(max_examples=30, deadline=None)
@given(services(), st.data())
def test_a_table_is_dead_by_operators_words_only(model: Deployment, data: st.DataObject) -> None:
    places = data.draw(geographies(model))
    for world in data.draw(moments(model)):
        plan = decide(model, places, world, None)
        for name, table in plan.balancers.items():
            if all(one.serving is not Serving.UP for one in table.backends):
                for one in table.backends:
                    ruling = operators_word(model.pools[name], one.address, world)
                    assert ruling is not None
                    assert ruling.state is Forced.DOWN or (ruling.state is Forced.DRAIN and ruling.force)
