"""What `bgp.when` decides from: the rules that the configuration has for prefixes, and what is known here and of others.  Pure.

Rule 1: the cause to leave is here: health counts as this node's own checks found it, and its pool is that of its own site.
Rule 2: a plan serves the least bad where all backends fail, so that it alone does not show that a pool is healthy.
Rule 3: of others counts what they said in this run, aged by the longest that it can have taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from bgp.routes import State
from bgp.when import Local, Operator, Other, Remote, Rule, Timing
from gslb.bus.peers import Living
from gslb.decide.candidates import answer_target, backend_target, pool_target, site_target
from gslb.decide.targets import Ruling, ruling_of
from gslb.model.deployment import Anycast, Balance, Deployment, Network, Node, NodeId, Pool, PoolId, WithoutBalancer
from gslb.model.plan import Plan, Serving
from gslb.model.world import Forced, Health, Override, Verdicts, World

ON_THE_WAY_S = 1.0  # what the quickest messages may take: delays of others are measured against these

ANNOUNCED, DRAINED, WITHDRAWN = "announced", "drained", "withdrawn"  # as nodes tell it: `gslb.bus.messages.Life.routes`
WORDS = {State.ANNOUNCED: ANNOUNCED, State.DRAIN: DRAINED, State.OFF: WITHDRAWN}
_STATES = {word: state for state, word in WORDS.items()}


@dataclass(frozen=True, slots=True)
class Known:
    """What this node knows at `now` (seconds since the epoch).

    `verdicts` are its own; `unbalanced`: the pools of its site that it cannot balance, None while its balancer has not said;
    `dns`: whether it answers at the prefix, None while that is not known; `old`: nothing was decided for too long.
    """

    plan: Plan | None
    verdicts: Verdicts
    unbalanced: Mapping[PoolId, str] | None
    overrides: tuple[Override, ...]
    dns: bool | None
    now: float
    old: bool = False


@dataclass(frozen=True, slots=True)
class Since:
    """For how long, in seconds, there was no newer word of others, and this run has listened to them."""

    lives_s: float
    run_s: float


def rules_of(deployment: Deployment) -> Mapping[Network, Rule]:
    """When each prefix of the configuration is announced."""
    return {prefix: _rule(anycast) for anycast in deployment.anycast for prefix in anycast.prefixes}


def announced_here(deployment: Deployment, node: Node) -> Mapping[Network, Anycast]:
    """The prefixes that are for a node: it has a speaker, and a pool at its site where pools stand behind the prefix."""
    if deployment.speaker(node) is None:
        return {}
    return {
        prefix: anycast
        for anycast in deployment.anycast
        if not anycast.pools or any(pools_here(anycast, deployment, node))
        for prefix in anycast.prefixes
    }


def pools_here(anycast: Anycast, deployment: Deployment, node: Node) -> Iterator[Pool]:
    """The pools behind the prefixes that are at the node's site."""
    for name in anycast.pools:
        pool = deployment.pools[name]
        if pool.datacenter == node.site:
            yield pool


def local(anycast: Anycast, deployment: Deployment, node: Node, known: Known) -> Local:
    """What speaks for or against the prefixes here."""
    ruling = ruling_of(World(known.now, overrides=known.overrides))
    standing = (_stands(pool, known, ruling) for pool in pools_here(anycast, deployment, node))
    return Local(
        dns=known.dns,
        pools=_all(standing) if known.plan is not None else None,
        operator=_operator(ruling.get(site_target(node.site))),
        old=known.old,
    )


def remote(
    prefix: Network, lives: Mapping[NodeId, Living], nodes: Mapping[NodeId, Node], lease_left_s: float, since: Since
) -> Remote:
    """How the prefix stands at the other nodes of the configuration, each at the site that the configuration says."""
    others = []
    for one in lives.values():
        node, age_s = nodes.get(one.node), one.age_s + since.lives_s
        if node is None or node.site != one.site or one.life is None or age_s > since.run_s:
            continue
        state = _STATES.get(one.life.routes.get(str(prefix), ""))
        if state is not None:
            others.append(Other(one.node, one.site, state, age_s + ON_THE_WAY_S))
    return Remote(tuple(others), lease_left_s)


def _rule(anycast: Anycast) -> Rule:
    timing = Timing(
        rise_s=anycast.rise_s,
        least_s=anycast.least_s,
        drain_s=anycast.drain_s,
        hold_s=anycast.hold_s,
        longest_hold_s=anycast.longest_hold_s,
    )
    return Rule(anycast.announce_when, anycast.min_sites, timing)


def _operator(override: Override | None) -> Operator:
    if override is None:
        return Operator.NONE
    if override.state is Forced.DOWN:
        return Operator.FORCED_DOWN if override.force else Operator.DOWN
    return Operator.UP if override.state is Forced.UP else Operator.DRAIN


def _stands(pool: Pool, known: Known, ruling: Ruling) -> bool | None:
    """Whether the pool serves who comes by the prefix; None where that is not known yet."""
    balance, unbalanced = pool.balance, known.unbalanced
    lacking = unbalanced is not None and pool.name in unbalanced
    if balance is None or (lacking and balance.without_balancer is WithoutBalancer.SERVE):
        return _enough(_answers(pool, known, ruling), 1)
    if lacking:
        return False
    enough = _enough(_backends(pool, balance, known, ruling), balance.min_healthy)
    return None if enough and unbalanced is None else enough


def _answers(pool: Pool, known: Known, ruling: Ruling) -> Iterator[bool | None]:
    """Of an operator's words on answers only `up` counts: the others move clients of DNS, and who comes by the prefix is served on."""
    of_pool = ruling.get(pool_target(pool.name))
    for answer in pool.answers:
        override = ruling.get(answer_target(pool.name, answer.address)) or of_pool
        if override is not None and override.state is Forced.UP:
            yield True
        elif answer.weight > 0:
            yield _healthy(pool, str(answer.address), known)


def _backends(pool: Pool, balance: Balance, known: Known, ruling: Ruling) -> Iterator[bool | None]:
    """A backend counts that the balancer gives new flows, and that its checks or an operator say is up."""
    table = known.plan.balancers.get(pool.name) if known.plan is not None else None
    served = {one.address: one.serving for one in table.backends} if table is not None else {}
    for backend in balance.backends:
        address, override = str(backend.address), ruling.get(backend_target(pool.name, backend.address))
        if address not in served:
            yield None  # the plan is of an older configuration
        elif served[address] is not Serving.UP:
            yield False
        elif override is not None:
            yield override.state is Forced.UP
        else:
            yield _healthy(pool, address, known)


def _healthy(pool: Pool, address: str, known: Known) -> bool | None:
    if pool.monitor is None:
        return True
    verdict = known.verdicts.get(pool.name, {}).get(address)
    return None if verdict is None else verdict.health is Health.UP


def _enough(found: Iterable[bool | None], least: int) -> bool | None:
    """Whether at least so many are good; None where it hangs on those that are not known."""
    each = list(found)
    if each.count(True) >= least:
        return True
    return None if each.count(True) + each.count(None) >= least else False


def _all(found: Iterable[bool | None]) -> bool | None:
    """Whether all are good; None where that is not known, and for none at all."""
    each = list(found)
    if False in each:
        return False
    return None if None in each or not each else True
