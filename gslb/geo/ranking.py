"""One client's place -> one policy's order of pools.  Pure, without numpy.

Rule 1: rules are tried as written; a rule with several conditions matches when any one of them does (as in octoDNS).
Rule 2: each type has its own order, over the pools that have an address of that type.
Rule 3: a `nearest` rule remembers the first `nearest_limit` pools; equal distances keep the configured order.
"""

from __future__ import annotations

from collections.abc import Sequence

from gslb.model.deployment import TYPE_A, TYPE_AAAA, Deployment, Policy, PoolId, Rule
from gslb.model.location import Ranking


def ranking(deployment: Deployment, index: int, rule: Rule, closeness: Sequence[int]) -> Ranking:
    """The outcome of `rule`, the policy's `index`-th, where pool i of the rule has the rank `closeness[i]` (0: nearest).

    The closeness counts for a `nearest` rule only.
    """
    pools = rule.pools
    if rule.nearest:
        pools = tuple(pool for _, pool in sorted(zip(closeness, pools, strict=True), key=lambda pair: pair[0]))
    return Ranking(index, _of_type(deployment, rule, pools, TYPE_A), _of_type(deployment, rule, pools, TYPE_AAAA))


def unknown_ranking(deployment: Deployment, policy: Policy) -> Ranking:
    """What `policy` gives a client whose place is not known: its catch-all, pools as configured."""
    index, rule = next((index, rule) for index, rule in enumerate(policy.rules) if rule.catches_all)
    return ranking(deployment, index, rule, [0] * len(rule.pools))


def _of_type(deployment: Deployment, rule: Rule, pools: Sequence[PoolId], rtype: int) -> tuple[PoolId, ...]:
    having = tuple(pool for pool in pools if deployment.pools[pool].answers_of(rtype))
    return having[: deployment.geo.nearest_limit] if rule.nearest else having
