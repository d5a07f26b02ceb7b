"""Policies that hardly anybody asks stand beside a busy one on the same pools, and its level comes to rest all the same.

A closed loop: what `decide` says is what loads follow a TTL later, and demand is told as a meter would.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from gslb.decide.decide import decide
from gslb.model.choice import CHOICE_SLOTS
from gslb.model.deployment import TYPE_A, Capacity, Policy, PolicyId, PoolId, Rule
from gslb.model.location import Geography
from gslb.model.plan import Choice, Plan
from gslb.model.world import Load, World
from tests.decide.worlds import deployment, pool, rank

NEAR, FAR = (
    replace(pool(name, address), capacity=Capacity(conns_per_s=1000.0, soft=0.8, hard=0.9))
    for name, address in (("near-a", "192.0.2.1"), ("far-b", "192.0.2.2"))
)
BUSY = PolicyId("busy")
RANKINGS, TTL_S, STEP_S, DAMPING_S = 20, 60, 5, 10.0
RATES = tuple(130.0 if place % 2 else 10.0 for place in range(RANKINGS))  # 1 300 a second near, 100 far


def share_of(choice: Choice, name: PoolId) -> float:
    """The part of a choice's clients that a pool answers."""
    parts = [(part.slots, part.members[0].pool) for part in choice.shed]
    parts.append((CHOICE_SLOTS - sum(slots for slots, _ in parts), choice.members[0].pool))
    return sum(slots for slots, of in parts if of == name) / CHOICE_SLOTS


@pytest.mark.parametrize(("idle", "few"), [(9, None), (9, 0.0), (4, 0.02)])
def test_idle_policies_do_not_make_levels_swing(idle: int, few: float | None) -> None:
    """`few`: what each ranking of an idle policy is measured to ask; None: nothing is told of them."""
    rules = (Rule((NEAR.name, FAR.name), nearest=True),)
    policies = [Policy(name, rules=rules) for name in (BUSY, *(PolicyId(f"idle-{place}") for place in range(idle)))]
    model = deployment(*policies, pools=[NEAR, FAR])
    orders = [(NEAR.name, FAR.name) if place % 2 else (FAR.name, NEAR.name) for place in range(RANKINGS)]
    rankings = {policy.name: tuple(rank(model, policy, -1, order) for order in orders) for policy in policies}
    places = Geography("places", RANKINGS, rankings)
    idly = {} if few is None else {policy.name: {TYPE_A: (few,) * RANKINGS} for policy in policies}
    demand = {**idly, BUSY: {TYPE_A: RATES}}
    plan: Plan | None = None
    seen, answered, loads, levels = {NEAR.name: 0.0, FAR.name: 0.0}, list[float](), list[float](), list[float]()
    for second in range(0, 4800, STEP_S):
        world = World(second, loads={name: Load(share) for name, share in seen.items()}, demand=demand)
        plan = decide(model, places, world, plan)
        choices = [plan.choices[index] for index in plan.policies[BUSY].choices[TYPE_A]]
        near = sum(rate * share_of(choice, NEAR.name) for rate, choice in zip(RATES, choices, strict=True))
        answered = [*answered, near][-TTL_S // STEP_S :]
        now = sum(answered) / len(answered) / 1000
        for name, share in ((NEAR.name, now), (FAR.name, 1.4 - now)):
            seen[name] += (share - seen[name]) * (1 - math.exp(-STEP_S / DAMPING_S))
        loads.append(now)
        levels.append(near)
    assert all(0.75 <= load < 0.9 for load in loads[-2400 // STEP_S :])
    assert sum(one != other for one, other in pairwise(levels[-2400 // STEP_S :])) <= 2
