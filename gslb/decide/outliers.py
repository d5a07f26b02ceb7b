"""Which targets of a deployment are ejected: the peers of each pool, and what every policy that uses it may lose.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from gslb.decide.candidates import answers_of, backends_of
from gslb.decide.ejection import Ejected, Peers, began, eject, in_force
from gslb.decide.targets import Ruling
from gslb.decide.velocity import WINDOW_S, fits, parts_of
from gslb.model.deployment import Deployment, PolicyId, Pool, PoolId
from gslb.model.history import History
from gslb.model.world import Verdict, World

_PANIC = 0.5
Ruled = Mapping[PolicyId, tuple[PoolId, ...]]  # the pools that the rules of each policy name


def lost_lately(model: Deployment, ejected: Ejected, now: float) -> Mapping[PoolId, float]:
    """The share of each pool's targets that ejections within the window of velocity took."""
    lost: dict[PoolId, float] = {}
    for key, ejection in in_force(ejected, now).items():
        if now - began(ejection) < WINDOW_S:
            name, _, address = key.partition("/")
            pool = PoolId(name)
            lost[pool] = lost.get(pool, 0.0) + _weight_share(model.pools[pool], address)
    return lost


def is_target(model: Deployment, key: str) -> bool:
    """Whether `POOL/ADDRESS` is a target of this deployment."""
    name, _, address = key.partition("/")
    pool = model.pools.get(PoolId(name))
    return pool is not None and _weight_share(pool, address) > 0


def _weight_share(pool: Pool, address: str) -> float:
    """The part of its peers' weight that one target has."""
    backends = {str(one.address): one.weight for one in pool.balance.backends} if pool.balance else {}
    answers = {str(one.address): one.weight for one in pool.answers if (":" in str(one.address)) == (":" in address)}
    peers = backends if address in backends else answers
    return peers.get(address, 0) / max(sum(peers.values()), 1)


def ejections_of(model: Deployment, world: World, ruling: Ruling, ruled: Ruled, history: History) -> Ejected:
    """The ejections of this moment; `history` is cleared of what no longer holds."""
    standing_out = {
        pool
        for pool, verdicts in world.verdicts.items()
        if pool in model.pools and any(verdict.outlier for verdict in verdicts.values())
    }
    known = {PoolId(key.partition("/")[0]) for key in history.ejected}
    if not standing_out and not known:
        return history.ejected
    groups = [
        peers
        for name in sorted(standing_out | known)
        for peers in _peers(
            model.pools[name],
            world.verdicts.get(name, {}),
            ruling,
            in_force(history.ejected, world.now),
            _strictest(model, ruled, name),
        )
    ]
    return eject(groups, history.ejected, world.now, _may_lose(model, ruled, history, world.now))


def _strictest(model: Deployment, ruled: Ruled, pool: PoolId) -> float:
    """The panic threshold of the strictest policy that uses the pool; where none does, the default of policies."""
    using = (policy for policy in model.policies.values() if pool in ruled[policy.name] or pool in policy.spill.to)
    return max((policy.panic for policy in using), default=_PANIC)


def _peers(
    pool: Pool, verdicts: Mapping[str, Verdict], ruling: Ruling, ejected: Ejected, panic: float
) -> Iterable[Peers]:
    backends = backends_of(pool, ruling, verdicts, ejected)
    if backends:
        return (Peers(pool.name, tuple(replace(one, ejection=None) for one in backends), panic),)
    return tuple(Peers(pool.name, one, panic) for one in answers_of(pool, ruling, verdicts, {}, "").values())


def _may_lose(
    model: Deployment, ruled: Ruled, history: History, now: float
) -> Callable[[PoolId, float, Ejected], bool]:
    """Whether every policy may lose this share of a pool, beside what left it within the window."""

    def may_lose(pool: PoolId, share: float, ejected: Ejected) -> bool:
        lost = dict(lost_lately(model, ejected, now))
        lost[pool] = lost.get(pool, 0.0) + share
        return all(
            fits(
                sum(part * _gone(history, policy.name, name, lost, now) for name, part in parts.items()),
                policy.velocity,
            )
            for policy in model.policies.values()
            if pool in ruled[policy.name]
            for parts in (parts_of(model.pools[name] for name in ruled[policy.name]),)
        )

    return may_lose


def _gone(history: History, policy: PolicyId, pool: PoolId, lost: Mapping[PoolId, float], now: float) -> float:
    """The share of a pool that left a policy within the window."""
    out = history.out.get(policy, {}).get(pool)
    return 1.0 if out is not None and now - out.since < WINDOW_S else lost.get(pool, 0.0)
