"""`decide`: deployment, geography and world in, a plan out.  Pure and total.

Rule 1: equal inputs give equal bytes; the order of mappings and of overrides does not matter.
Rule 2: the steps (gslb.decide.steps) settle the candidates of a policy and record type once; a client's ranking only
says in which order the pools left are tried, and the first of them answers: with fewer addresses than the policy's
`answers` where it has fewer, since addresses of a farther pool are no substitute for one more of the nearest.
Rule 3: content that did not change is the previous plan, with its version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from gslb.decide.candidates import Candidate, Candidates, candidates_of
from gslb.decide.field import Field, Reason
from gslb.decide.guard import all_down
from gslb.decide.order import Reach, order, ranked, reach_of
from gslb.decide.steps import run
from gslb.decide.ttl import ttl_of
from gslb.model.deployment import DYNAMIC_TYPES, Deployment, Policy, PolicyId, PoolId
from gslb.model.location import Geography, Ranking
from gslb.model.plan import Choice, Member, Mode, Plan, PolicyPlan
from gslb.model.world import World

_GOOD = (Mode.NORMAL, Mode.KEPT, Mode.LAST_GOOD)  # members were healthy, or what operators left


@dataclass(frozen=True, slots=True)
class Settled:
    """What the steps left of a policy and record type: members by pool, or some that stand for all clients."""

    mode: Mode
    by_pool: Mapping[PoolId, tuple[Member, ...]]
    for_all: tuple[Member, ...]
    reach: Reach
    reasons: tuple[Reason, ...]


def decide(model: Deployment, geography: Geography, world: World, previous: Plan | None) -> Plan:
    """The plan for this world; `geography` holds the rankings of this `model`.

    `previous` is what the next plan is a successor of: it gives the version and the last good members.  A plan of another
    deployment is no predecessor.
    """
    if previous is not None and previous.deployment != model.name:
        previous = None
    candidates = candidates_of(model, world)
    interned: dict[Choice, int] = {}
    policies = {
        name: _policy_plan(model.policies[name], geography.rankings[name], candidates, previous, interned)
        for name in sorted(model.policies)
    }
    plan = Plan(
        deployment=model.name,
        version=previous.version if previous else 1,
        geography=geography.digest,
        policies=policies,
        choices=tuple(interned),
    )
    if previous is None:
        return plan
    return previous if plan == previous else replace(plan, version=previous.version + 1)


def settle(policy: Policy, rtype: int, candidates: Candidates, previous: Plan | None) -> Settled:
    """Run the steps over a policy's candidates of one record type; with nothing left, its all-down mode."""
    reach = reach_of(policy, candidates)
    if not reach.pools:
        return Settled(Mode.NODATA, {}, (), reach, ())
    everyone = tuple(chain.from_iterable(candidates[pool] for pool in sorted(reach.pools)))
    field, reasons = run(Field(policy, rtype, everyone))
    mode, members = field.mode, tuple(c.member for c in field.usable)
    if not members:
        mode, members = all_down(field, last_good(previous, policy.name, rtype))
    if mode is Mode.LAST_RESORT:
        return Settled(mode, {}, members, reach, reasons)
    return Settled(mode, _by_pool(everyone, frozenset(members)), (), reach, reasons)


def last_good(previous: Plan | None, policy: PolicyId, rtype: int) -> frozenset[Member]:
    """The members that the previous plan answered for the policy while they were good.

    All rankings together: rankings may have changed since, and since a pool is usable for every client or for none,
    trying these members' pools in a client's order finds the one that this client was given.
    """
    if previous is None or policy not in previous.policies:
        return frozenset()
    indexes = set(previous.policies[policy].choices.get(rtype, ()))
    choices = (previous.choices[index] for index in indexes)
    return frozenset(member for choice in choices if choice.mode in _GOOD for member in choice.members)


def _policy_plan(
    policy: Policy,
    rankings: Sequence[Ranking],
    candidates: Mapping[int, Candidates],
    previous: Plan | None,
    interned: dict[Choice, int],
) -> PolicyPlan:
    choices = {}
    for rtype in DYNAMIC_TYPES:
        settled = settle(policy, rtype, candidates[rtype], previous)
        choices[rtype] = _choices(policy, rankings, rtype, settled, interned)
    return PolicyPlan(
        ttl=ttl_of(policy),
        sticky4=policy.sticky.v4 if policy.sticky else None,
        sticky6=policy.sticky.v6 if policy.sticky else None,
        choices=choices,
    )


def _choices(
    policy: Policy, rankings: Sequence[Ranking], rtype: int, settled: Settled, interned: dict[Choice, int]
) -> tuple[int, ...]:
    """The index of each ranking's choice; equal choices share one."""

    def intern(members: tuple[Member, ...]) -> int:
        return interned.setdefault(Choice(settled.mode, members, policy.answers), len(interned))

    if not settled.by_pool:
        return (intern(settled.for_all),) * len(rankings)
    index_of: dict[PoolId, int] = {}
    found = []
    for ranking in rankings:
        pool = first_pool(policy, ranking, rtype, settled)
        if pool not in index_of:
            index_of[pool] = intern(settled.by_pool[pool])
        found.append(index_of[pool])
    return tuple(found)


def first_pool(policy: Policy, ranking: Ranking, rtype: int, settled: Settled) -> PoolId:
    """The pool that answers a client of this ranking: the first in its order that is left.  One is."""
    for pool in ranked(ranking, rtype):  # what `order` begins with, and nearly always enough
        if pool in settled.by_pool:
            return pool
    return next(filter(settled.by_pool.__contains__, order(policy.rules[ranking.rule], ranking, rtype, settled.reach)))


def _by_pool(everyone: Iterable[Candidate], left: frozenset[Member]) -> Mapping[PoolId, tuple[Member, ...]]:
    """The members left, as the operator ordered them, and not as steps settled them: so that an override which
    changes no answer changes no plan."""
    found: dict[PoolId, list[Member]] = {}
    for candidate in everyone:
        if candidate.member in left:
            found.setdefault(candidate.pool, []).append(candidate.member)
    return {pool: tuple(of_pool) for pool, of_pool in found.items()}
