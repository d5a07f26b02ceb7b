"""What the steps leave, against a slow twin, over random services and moments one after the other."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gslb.decide.decide import decide
from gslb.decide.settle import settle
from gslb.decide.situation import situation_of
from gslb.model.deployment import DYNAMIC_TYPES, Deployment, PolicyId, PoolId
from gslb.model.history import History, Keeper
from gslb.model.plan import Mode, Plan
from tests.decide.sequences import moments, services
from tests.decide.twin import Twin
from tests.decide.worlds import geographies

GOOD = (Mode.NORMAL, Mode.KEPT, Mode.LAST_GOOD)


def answered_by(plan: Plan | None, policy: PolicyId, rtype: int) -> list[tuple[PoolId, str, Mode]]:
    """Every (pool, address, mode) that a plan answers for a policy and record type."""
    if plan is None:
        return []
    choices = [plan.choices[index] for index in plan.policies[policy].choices[rtype]]
    return [
        (member.pool, member.address, choice.mode)
        for choice in choices
        for members in (choice.members, *(part.members for part in choice.shed))
        for member in members
        if member.pool is not None
    ]


@settings(max_examples=80)
@given(services(), st.data())
def test_equals_the_slow_twin_at_every_moment(model: Deployment, data: st.DataObject) -> None:
    places = data.draw(geographies(model))
    plan: Plan | None = None
    for world in data.draw(moments(model)):
        history = plan.history if plan is not None else History()
        situation = situation_of(model, world, history)
        for name, policy in model.policies.items():
            for rtype in DYNAMIC_TYPES:
                before = answered_by(plan, name, rtype)
                slowed = {pool for pool, one in history.kept.get(name, {}).items() if one.by is Keeper.VELOCITY}
                twin = Twin(
                    model,
                    world,
                    replace(history, ejected=situation.history.ejected),
                    policy,
                    rtype,
                    answered={pool for pool, _, _ in before},
                    good={(pool, at) for pool, at, mode in before if mode in GOOD and pool not in slowed},
                )
                settled = settle(policy, rtype, situation, plan)
                found = {pool: {one.address for one in members} for pool, members in settled.by_pool.items()}
                assert (settled.mode, found) == twin.left()
        plan = decide(model, places, world, plan)
