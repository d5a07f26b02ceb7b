"""Reloads that rename, split, merge or shrink policies while pools are out: nothing is let in by them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gslb.decide.decide import decide
from gslb.decide.inheritance import inherited
from gslb.model.deployment import TYPE_A, TYPE_AAAA, Capacity, Deployment, Policy, PolicyId, PoolId, Return, Rule, Spill
from gslb.model.history import Cause, History, Out
from gslb.model.location import Geography
from gslb.model.plan import Plan
from gslb.model.world import Forced, Load, World
from tests.decide.worlds import CLOUD, FRA, IAD, NEAREST, NOW, POOLS, SIN, WEB, deployment, down, geography, override

WWW, SHOP = PolicyId("www"), PolicyId("shop")
ORDERS = ((FRA, IAD, SIN), (IAD, FRA, SIN), (SIN, FRA, IAD))
LOADS = {name: Load(0.2) for name in (FRA, IAD, SIN, CLOUD)}


def made(*policies: Policy, return_: Return = Return.MANUAL) -> tuple[Deployment, Geography]:
    """These policies over the four pools; each configuration has a location table of its own."""
    pools = [replace(one, capacity=Capacity(conns_per_s=100.0), return_=return_) for one in POOLS]
    model = deployment(*policies, pools=pools)
    places = geography(model, **dict.fromkeys(model.policies, ORDERS))
    return model, replace(places, digest="-".join(model.policies))


def named(*names: PolicyId) -> tuple[Policy, ...]:
    return tuple(replace(NEAREST, name=name) for name in names)


def at(second: float, *failing: PoolId) -> World:
    return World(NOW + second, verdicts=down(*failing), loads=LOADS)


def after_failure(*policies: Policy, return_: Return = Return.MANUAL) -> Plan:
    """IAD failed and is healthy again."""
    model, places = made(*policies, return_=return_)
    plan = decide(model, places, at(0), None)
    plan = decide(model, places, at(1, IAD), plan)
    return decide(model, places, at(601, *((IAD,) if return_ is Return.GRADUAL else ())), plan)


def answered(plan: Plan, policy: PolicyId) -> set[str | None]:
    choices = [plan.choices[index] for index in plan.policies[policy].choices[TYPE_A]]
    return {one.pool for choice in choices for one in choice.members}


@pytest.mark.parametrize("now", [(WWW,), (WWW, SHOP), (SHOP, WEB)], ids=["renamed", "split", "one more"])
def test_a_held_pool_is_held_under_every_name_of_its_policy(now: tuple[PolicyId, ...]) -> None:
    plan = after_failure(*named(WEB))
    assert plan.history.out[WEB][IAD].held
    model, places = made(*named(*now))
    after = decide(model, places, at(602), plan)
    for policy in now:
        if policy is not SHOP or WEB not in now:  # a policy beside the old one is a new one, with no past
            assert after.history.out[policy][IAD] == plan.history.out[WEB][IAD]
            assert answered(after, policy) == {FRA, SIN}
    assert after.history.out.keys() <= {*now}
    assert decide(model, places, at(602), after).history.out == after.history.out
    word = replace(at(603), overrides=(override("pool/web-iad", Forced.UP),))
    assert not decide(model, places, word, after).history.out


def test_a_return_stays_gradual_under_another_name() -> None:
    plan = after_failure(*named(WEB), return_=Return.GRADUAL)
    assert plan.history.sheds[IAD].cause is Cause.OUT
    model, places = made(*named(WWW), return_=Return.GRADUAL)
    after = decide(model, places, at(602), plan)  # it passes its checks in the very second of the reload
    assert after.history.sheds[IAD].cause is Cause.RETURN
    assert after.history.sheds[IAD].level > 0.5


def test_policies_that_become_one() -> None:
    """Each has out another pool, and the one that both have out left them at different times."""
    first = replace(NEAREST, rules=(Rule((FRA, IAD)),), spill=Spill())
    second = replace(NEAREST, name=SHOP, rules=(Rule((IAD, SIN)),), spill=Spill())
    model, places = made(first, second)
    plan = decide(model, places, at(0), None)
    history = History(out={WEB: {IAD: Out(NOW, types=(TYPE_A,))}, SHOP: {IAD: Out(NOW + 5, True, (TYPE_AAAA,))}})  # noqa: FBT003
    both, _ = made(*named(WWW))
    found = inherited(both, replace(plan, history=history))
    assert found.out[WWW] == {IAD: Out(NOW + 5, held=True, types=(TYPE_A, TYPE_AAAA))}


def test_a_pool_that_moves_to_another_policy_stays_held() -> None:
    """Its old policy lives on without it; the new one is older than the failure."""
    shop = replace(NEAREST, name=SHOP, rules=(Rule((FRA, SIN)),), spill=Spill())
    plan = after_failure(*named(WEB), shop)
    smaller = replace(NEAREST, rules=(Rule((FRA, SIN)),))
    model, places = made(smaller, replace(shop, rules=NEAREST.rules))
    after = decide(model, places, at(602), plan)
    assert after.history.out == {SHOP: {IAD: plan.history.out[WEB][IAD]}}
    assert answered(after, SHOP) == {FRA, SIN}


def test_who_answered_it_all_along_goes_on() -> None:
    """A policy that had the pool in its answers takes nothing out because another policy went."""
    before = decide(*made(*named(WEB, SHOP)), at(0), None)
    plan = replace(before, history=replace(before.history, out={WEB: {IAD: Out(NOW)}}))
    after = decide(*made(*named(SHOP)), at(602), plan)
    assert answered(after, SHOP) == {FRA, IAD, SIN}
    assert not after.history.out


def test_a_pool_that_nobody_uses_is_forgotten() -> None:
    plan = after_failure(*named(WEB))
    model, places = made(replace(NEAREST, name=WWW, rules=(Rule((FRA, SIN)),)))
    assert decide(model, places, at(602), plan).history.out == {}


def test_without_a_plan_or_with_nothing_out_there_is_nothing_to_take_over() -> None:
    model, places = made(*named(WEB))
    assert inherited(model, None) == History()
    plan = decide(model, places, at(0), None)
    assert inherited(model, plan) is plan.history
