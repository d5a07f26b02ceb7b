"""`decide`: deployment, geography and world in, a plan out.  Pure and total.

Rule 1: equal inputs give equal bytes; the order of mappings and of overrides does not matter.
Rule 2: the steps (gslb.decide.steps) settle the candidates of a policy and record type once; a client's ranking only
says in which order the pools left are tried, and the first of them answers: with fewer addresses than the policy's
`answers` where it has fewer, since addresses of a farther pool are no substitute for one more of the nearest.
Rule 3: what pools shed (gslb.decide.spill) is worked out from what the steps left, and moves clients by ranking and slot.
Rule 4: content that did not change is the previous plan, with its version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gslb.decide.balancers import balancers_of
from gslb.decide.choices import Interned, choices_of, moved_of
from gslb.decide.inheritance import inherited
from gslb.decide.returning import kept_of, outs_of
from gslb.decide.scene import scene_of
from gslb.decide.settle import Settled, settle
from gslb.decide.situation import Situation, situation_of
from gslb.decide.spill import sheds_of
from gslb.decide.ttl import ttl_of
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
    settled = {
        name: {rtype: settle(policy, rtype, situation, previous) for rtype in DYNAMIC_TYPES}
        for name, policy in sorted(model.policies.items())
    }
    sheds = sheds_of(scene_of(model, geography, world, situation, settled))
    interned = Interned(moved_of(sheds, geography.digest))
    policies = {
        name: _policy_plan(model.policies[name], geography.rankings[name], of_policy, situation, interned)
        for name, of_policy in settled.items()
    }
    plan = Plan(
        deployment=model.name,
        version=previous.version if previous else 1,
        geography=geography.digest,
        policies=policies,
        choices=tuple(interned.indexes),
        heavy=tuple(sorted({*world.heavy})) if any(choice.shed for choice in interned.indexes) else (),
        history=_history(settled, situation, sheds),
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
    settled: Mapping[PolicyId, Mapping[int, Settled]], situation: Situation, sheds: Mapping[PoolId, Shed]
) -> History:
    standings = {name: {rtype: one.standing for rtype, one in of_policy.items()} for name, of_policy in settled.items()}
    outs = {name: outs_of(name, of_policy, situation) for name, of_policy in standings.items()}
    kept = {name: kept_of(name, of_policy, situation) for name, of_policy in standings.items()}
    return History(
        sheds=sheds,
        out={name: out for name, out in outs.items() if out},
        ejected=situation.history.ejected,
        kept={name: one for name, one in kept.items() if one},
    )


def _policy_plan(
    policy: Policy,
    rankings: Sequence[Ranking],
    settled: Mapping[int, Settled],
    situation: Situation,
    interned: Interned,
) -> PolicyPlan:
    return PolicyPlan(
        ttl=ttl_of(policy, situation, {rtype: one.standing for rtype, one in settled.items()}),
        sticky4=policy.sticky.v4 if policy.sticky else None,
        sticky6=policy.sticky.v6 if policy.sticky else None,
        choices={rtype: choices_of(policy, rankings, rtype, one, interned) for rtype, one in settled.items()},
    )
