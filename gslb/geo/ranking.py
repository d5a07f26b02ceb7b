"""What a policy's rule gives where distance does not count: the pools of each type, as written.  Pure, without numpy.

Rule 1: rules are tried as written; a rule with several conditions matches when any one of them does (as in octoDNS).
Rule 2: each type has its own order, over the pools that have an address of that type.
Rule 3: a `nearest` rule remembers the first `nearest_limit` pools; equal distances keep the configured order.
"""

from __future__ import annotations

from gslb.model.deployment import TYPE_A, TYPE_AAAA, Deployment, Policy, PoolId, Rule, View
from gslb.model.location import Ranking


def viewing(deployment: Deployment) -> tuple[str, ...]:
    """The continents whose clients a policy of `view: regional` must know: those that have a site; none without such a policy."""
    if all(policy.view is not View.REGIONAL for policy in deployment.policies.values()):
        return ()
    return tuple(sorted({site.continent for site in deployment.datacenters.values() if site.continent}))


def pools_of_type(deployment: Deployment, rule: Rule, rtype: int) -> tuple[PoolId, ...]:
    """The rule's pools that have an address of `rtype`, as written."""
    return tuple(pool for pool in rule.pools if deployment.pools[pool].answers_of(rtype))


def written_ranking(deployment: Deployment, index: int, rule: Rule) -> Ranking:
    """The outcome of `rule`, the policy's `index`-th, for clients whose distance does not count or is not known."""
    most = deployment.geo.nearest_limit if rule.nearest else len(rule.pools)
    pools4, pools6 = (pools_of_type(deployment, rule, rtype)[:most] for rtype in (TYPE_A, TYPE_AAAA))
    return Ranking(index, pools4, pools6)


def unknown_ranking(deployment: Deployment, policy: Policy) -> Ranking:
    """What `policy` gives a client whose place is not known: its catch-all, pools as configured."""
    index, rule = next((index, rule) for index, rule in enumerate(policy.rules) if rule.catches_all)
    return written_ranking(deployment, index, rule)
