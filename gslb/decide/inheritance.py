"""What a decision takes over from the plan before it when policies were renamed, split or removed in between.  Pure.

Rule 1: as long as a policy uses a pool, what is known of the pool there stays there.
Rule 2: a pool that is out of a policy which uses it no more is out of every policy that uses it now, unless the previous
plan answered it there.  Otherwise a reload would let in at once what waits for an operator's word or comes back gradually.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

from gslb.model.deployment import Deployment, PolicyId, PoolId, View
from gslb.model.history import History, Out, continent_of, part_of, policy_of
from gslb.model.plan import Plan

Outs = Mapping[PolicyId, Mapping[PoolId, Out]]


def inherited(model: Deployment, previous: Plan | None) -> History:
    """The history that a decision for `model` begins with; `previous` is a plan of the same deployment."""
    if previous is None or not previous.history.out:
        return previous.history if previous is not None else History()
    before = previous.history.out
    after = _inherited(model, previous, {name: one for name, one in before.items() if not continent_of(name)})
    own = {}
    for continent in sorted({continent_of(name) for name in before} - {""}):
        seen = {policy_of(name): one for name, one in before.items() if continent_of(name) in ("", continent)}
        seen |= {policy_of(name): one for name, one in before.items() if continent_of(name) == continent}
        heirs = _inherited(model, previous, seen)
        for name in sorted(heirs.keys() & model.policies.keys()):
            part = part_of(name, continent)
            if model.policies[name].view is View.REGIONAL and (part in before or heirs[name] != after.get(name, {})):
                own[part] = heirs[name]
    after = {**after, **own}
    return previous.history if after == before else replace(previous.history, out=after)


def _inherited(model: Deployment, previous: Plan, before: Outs) -> Outs:
    """What is out of each policy, as the clients of one part see it."""
    used = {name: {*policy.pools, *policy.spill.to} for name, policy in model.policies.items()}
    after = {name: dict(pools) for name, pools in before.items()}
    for name, pools in sorted(before.items()):
        for pool in sorted(pools.keys() - used.get(name, set())):
            for heir in (heir for heir in used if pool in used[heir] and pool not in before.get(heir, {})):
                if not _answers(previous, heir, pool):
                    known = after.setdefault(heir, {})
                    known[pool] = _both(known.get(pool, pools[pool]), pools[pool])
    return after


def _answers(plan: Plan, policy: PolicyId, pool: PoolId) -> bool:
    if policy not in plan.policies:
        return False
    choices = (plan.choices[index] for index in {*chain.from_iterable(plan.policies[policy].choices.values())})
    members = (one for choice in choices for one in chain(choice.members, *(part.members for part in choice.shed)))
    return any(one.pool == pool for one in members)


def _both(one: Out, other: Out) -> Out:
    """Of two policies that had it out: since the later, and of all record types that either had out."""
    types = tuple(sorted({*one.types, *other.types}))
    return Out(max(one.since, other.since), one.held or other.held, types)
