"""`decide`: deployment, geography and world in, a plan out.  Pure and total.

Rule 1: equal inputs give equal bytes; the order of mappings and of overrides does not matter.
Rule 2: the steps (gslb.decide.steps) settle the candidates of a policy and record type once; a client's ranking only
says in which order the pools left are tried, and the first of them answers: with fewer addresses than the policy's
`answers` where it has fewer, since addresses of a farther pool are no substitute for one more of the nearest.
A policy of `view: regional` has parts (gslb.decide.parts), and this holds for each of them.
Rule 3: what pools shed (gslb.decide.spill) is worked out from what the steps left, and moves clients by ranking and slot.
Rule 4: content that did not change is the previous plan, with its version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gslb.decide.balancers import balancers_of
from gslb.decide.choices import Interned, choices_of, moved_of
from gslb.decide.inheritance import inherited
from gslb.decide.parts import Part, Views, continents_of, history_of, parts_of, policy_ttl
from gslb.decide.scene import scene_of
from gslb.decide.situation import Situation, situation_of
from gslb.decide.spill import sheds_of
from gslb.model.deployment import DYNAMIC_TYPES, Deployment, Policy, PolicyId, PoolId
from gslb.model.history import History, Shed
from gslb.model.location import Geography, Ranking
from gslb.model.plan import Plan, PolicyPlan
from gslb.model.world import World


def decide(model: Deployment, geography: Geography, world: World, previous: Plan | None) -> Plan:
    """The plan for this world; `geography` holds the rankings of this `model`.

    `previous` is what the next plan is a successor of: it gives the version and the last good members.  A plan of another
    deployment is no predecessor.
    """
    previous = predecessor(model, previous)
    situation = situation_of(model, world, inherited(model, previous))
    views = Views(model, world, situation)
    parts = {
        name: parts_of(policy, continents_of(policy, geography.rankings[name]), views, previous)
        for name, policy in sorted(model.policies.items())
    }
    settled = {part.name: part.settled for of_policy in parts.values() for part in of_policy.values()}
    sheds = sheds_of(scene_of(model, geography, world, situation, settled))
    interned = Interned(moved_of(sheds, geography.digest))
    policies = {
        name: _policy_plan(model.policies[name], geography.rankings[name], of_policy, interned)
        for name, of_policy in parts.items()
    }
    plan = Plan(
        deployment=model.name,
        version=previous.version if previous else 1,
        geography=geography.digest,
        policies=policies,
        choices=tuple(interned.indexes),
        heavy=tuple(sorted({*world.heavy})) if any(choice.shed for choice in interned.indexes) else (),
        history=_history(parts, situation, sheds),
        balancers=balancers_of(model, situation, settled),
    )
    return plan if previous is None else _successor(plan, previous)


def predecessor(model: Deployment, plan: Plan | None) -> Plan | None:
    """The plan, if it is one of this deployment."""
    return plan if plan is not None and plan.deployment == model.name else None


def _successor(plan: Plan, previous: Plan) -> Plan:
    """The plan with its version: `previous` itself where nothing changed, its version where only the history did."""
    if plan == previous:
        return previous
    same = replace(plan, history=previous.history) == previous
    return plan if same else replace(plan, version=previous.version + 1)


def _history(
    parts: Mapping[PolicyId, Mapping[str, Part]], situation: Situation, sheds: Mapping[PoolId, Shed]
) -> History:
    found = [history_of(of_policy, situation.now) for of_policy in parts.values()]
    return History(
        sheds=sheds,
        out={name: one for outs, _ in found for name, one in outs.items()},
        ejected=situation.history.ejected,
        kept={name: one for _, keeps in found for name, one in keeps.items()},
    )


def _policy_plan(
    policy: Policy, rankings: Sequence[Ranking], parts: Mapping[str, Part], interned: Interned
) -> PolicyPlan:
    return PolicyPlan(
        ttl=policy_ttl(parts),
        sticky4=policy.sticky.v4 if policy.sticky else None,
        sticky6=policy.sticky.v6 if policy.sticky else None,
        choices={
            rtype: choices_of(
                policy, rankings, rtype, {name: part.settled[rtype] for name, part in parts.items()}, interned
            )
            for rtype in DYNAMIC_TYPES
        },
    )
