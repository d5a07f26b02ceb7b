"""What the balancers of each site do with each backend of their pools.  Pure.

Rule 1: an operator's word on a backend rules it; then its checks (failing: its flows move at once); then an ejection: its checks
pass, so it keeps its flows and is given no new ones.
Rule 2: where any policy answers a pool of which less than `panic` is healthy, nobody relieves its last healthy backends, and all
that no operator rules serve.
Rule 3: where none is up, those serve who are the least bad (`_LAST`): an empty table serves nobody.
Rule 4: words on answers, pools and sites change answers only: a pool that leaves them still serves who comes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_network

from gslb.decide.routes import Same, same
from gslb.decide.settle import Settled
from gslb.decide.situation import Situation
from gslb.decide.targets import Target
from gslb.model.deployment import Anycast, Deployment, PolicyId, Pool, PoolId
from gslb.model.history import policy_of
from gslb.model.plan import BackendPlan, BalancerTable, Serving, Vip
from gslb.model.world import Forced

PROTOCOLS = {"tcp": 6, "udp": 17}  # IANA protocol numbers
KEPT = 4096  # pools

_LAST: tuple[Callable[[Target], bool], ...] = (
    lambda one: one.override is None and not one.failing,  # ejected
    lambda one: one.draining and not one.failing,  # a drain waits until something else can serve
    lambda one: one.override is None,  # failing: it may serve all the same
    lambda one: one.draining,
)
_FORCED = {Forced.UP: Serving.UP, Forced.DOWN: Serving.DOWN, Forced.DRAIN: Serving.DRAIN}


def balancers_of(
    model: Deployment, situation: Situation, settled: Mapping[PolicyId, Mapping[int, Settled]]
) -> Mapping[PoolId, BalancerTable]:
    """The table of every balanced pool; `settled` is what the steps left of all parts of policies."""
    overrun = _overrun(model, situation, settled)
    anycast = same(model.anycast)
    return {
        name: _table(same(condition.pool), anycast, serving_of(condition.behind, whole=name in overrun))
        for name, condition in sorted(situation.conditions.items())
        if condition.pool.balance is not None
    }


def serving_of(backends: Sequence[Target], *, whole: bool) -> tuple[Serving, ...]:
    """What is done with each backend; `whole`: all serve that no operator rules."""
    found = tuple(_serving(one, whole=whole) for one in backends)
    if Serving.UP in found or not found:
        return found
    for last in _LAST:
        if any(map(last, backends)):
            return tuple(Serving.UP if last(one) else other for one, other in zip(backends, found, strict=True))
    return found


def _serving(backend: Target, *, whole: bool) -> Serving:
    if backend.override is not None:
        return _FORCED[backend.override.state]
    if whole:
        return Serving.UP
    if backend.failing:
        return Serving.DOWN
    return Serving.UP if backend.ejection is None else Serving.DRAIN


def _overrun(
    model: Deployment, situation: Situation, settled: Mapping[PolicyId, Mapping[int, Settled]]
) -> frozenset[PoolId]:
    """The pools whose healthy backends would be run over: a policy answers them though they are below its panic."""
    shares = {
        name: grade.share
        for name, condition in situation.conditions.items()
        if condition.backends
        for grade in condition.grades.values()
        if 0 < grade.share.healthy < grade.share.total
    }
    return frozenset(
        name
        for policy, of_policy in settled.items()
        for one in of_policy.values()
        for name in shares.keys() & one.by_pool.keys()
        if shares[name].below(model.policies[policy_of(policy)].panic)
    )


def _table(pool: Same[Pool], anycast: Same[tuple[Anycast, ...]], servings: Sequence[Serving]) -> BalancerTable:
    table = _all_up(pool, anycast)
    if all(one is Serving.UP for one in servings):
        return table
    return replace(
        table,
        backends=tuple(
            backend if serving is Serving.UP else replace(backend, serving=serving)
            for backend, serving in zip(table.backends, servings, strict=True)
        ),
    )


@lru_cache(maxsize=KEPT)
def _all_up(pool: Same[Pool], anycast: Same[tuple[Anycast, ...]]) -> BalancerTable:
    """The table while all backends serve: what most decisions say of most pools, so it is the same object each time."""
    balance = pool.value.balance
    assert balance is not None  # only asked of balanced pools
    prefixes = {str(ip_network(answer.address)) for answer in pool.value.answers}
    for one in anycast.value:
        if pool.value.name in one.pools:
            prefixes.update(map(str, one.prefixes))
    listens = {(PROTOCOLS[listen.protocol], listen.port) for listen in balance.listen}
    return BalancerTable(
        site=pool.value.datacenter,
        vips=tuple(sorted(Vip(prefix, protocol, port) for prefix in prefixes for protocol, port in listens)),
        backends=tuple(
            BackendPlan(str(backend.address), backend.weight, backend.forward, server=backend.id)
            for backend in balance.backends
        ),
    )
