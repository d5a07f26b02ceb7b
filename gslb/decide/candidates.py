"""The addresses that could be answered, and what is known of each.  Pure.

Rule 1: of the overrides in force that cover an address, the most specific rules it (answer, then pool, then site),
among equals the newer.
Rule 2: an address with weight 0 is never answered, so it is no candidate.
Rule 3: a candidate belongs to one pool and one record type; whether it is usable depends on nothing but itself and
the other candidates of the same policy and type, never on the client.  So each policy settles its candidates once,
and clients differ only in the order in which pools are tried.
Rule 4: all answers of a balanced pool fail when fewer than `min_healthy` of its backends serve, or when this node cannot balance
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from gslb.decide.routes import Same, same
from gslb.decide.targets import Ruling, Target
from gslb.model.deployment import DYNAMIC_TYPES, Address, Pool, PoolId, SiteId, WithoutBalancer
from gslb.model.history import Ejection
from gslb.model.plan import Member
from gslb.model.world import Verdict

Candidates = Mapping[PoolId, tuple["Candidate", ...]]  # of one record type
Ejections = Mapping[str, Ejection]  # in force, by `POOL/ADDRESS`


class Candidate(Target):
    """An answer of a pool."""

    __slots__ = ()


def backends_of(
    pool: Pool, ruling: Ruling, verdicts: Mapping[str, Verdict], ejections: Ejections
) -> tuple[Target, ...]:
    """The backends of a balanced pool; none where nothing is said of any, as on a node that cannot reach them."""
    if pool.balance is None:
        return ()
    names = _names(same(pool))
    if names.addresses.isdisjoint(verdicts) and names.targets.isdisjoint(ruling) and names.keys.isdisjoint(ejections):
        return ()
    return tuple(
        Target(
            pool=pool.name,
            member=member,
            override=ruling.get(target),
            verdict=verdicts.get(member.address),
            ejection=ejections.get(key),
        )
        for member, target, key in names.of_each
    )


def starved(pool: Pool, backends: tuple[Target, ...], unbalanced: str) -> str:
    """Why all answers of the pool fail: how few backends serve, or that this node cannot balance it; empty where they do not."""
    if pool.balance is None:
        return ""
    if unbalanced:
        return (
            "" if pool.balance.without_balancer is WithoutBalancer.SERVE else f"cannot be balanced here: {unbalanced}"
        )
    if not backends:
        return ""
    serving = sum(target.serves for target in backends)
    if serving >= pool.balance.min_healthy:
        return ""
    return f"{serving} of {len(backends)} backends serve, expected at least {pool.balance.min_healthy}"


def answers_of(
    pool: Pool, ruling: Ruling, verdicts: Mapping[str, Verdict], ejections: Ejections, starving: str
) -> Mapping[int, tuple[Candidate, ...]]:
    """The pool's candidates by record type; a type that it has none of is absent."""
    of_pool = ruling.get(pool_target(pool.name)) or ruling.get(site_target(pool.datacenter))
    found: dict[int, tuple[Candidate, ...]] = {}
    for rtype in DYNAMIC_TYPES:
        candidates = tuple(
            Candidate(
                pool=pool.name,
                member=Member(address, answer.weight, pool.name),
                override=ruling.get(answer_target(pool.name, answer.address)) or of_pool,
                verdict=verdicts.get(address),
                ejection=ejections.get(f"{pool.name}/{address}"),
                starved=starving,
            )
            for answer in pool.answers_of(rtype)
            for address in (str(answer.address),)
            if answer.weight > 0
        )
        if candidates:
            found[rtype] = candidates
    return found


@dataclass(frozen=True, slots=True)
class _Names:
    """What the backends of one pool are called: as targets of overrides, and as keys of the history of ejections."""

    of_each: tuple[tuple[Member, str, str], ...]
    addresses: frozenset[str]
    targets: frozenset[str]
    keys: frozenset[str]


@lru_cache(maxsize=4096)
def _names(pool: Same[Pool]) -> _Names:
    name, balance = pool.value.name, pool.value.balance
    of_each = tuple(
        (
            Member(str(backend.address), backend.weight, name),
            backend_target(name, backend.address),
            f"{name}/{backend.address}",
        )
        for backend in (balance.backends if balance else ())
    )
    return _Names(
        of_each,
        addresses=frozenset(member.address for member, _, _ in of_each),
        targets=frozenset(target for _, target, _ in of_each),
        keys=frozenset(key for _, _, key in of_each),
    )


def site_target(site: SiteId) -> str:
    """The target of an override of a datacenter."""
    return f"site/{site}"


def pool_target(pool: PoolId) -> str:
    """The target of an override of a pool."""
    return f"pool/{pool}"


def answer_target(pool: PoolId, address: Address) -> str:
    """The target of an override of one address of a pool."""
    return f"answer/{pool}/{address}"


def backend_target(pool: PoolId, address: Address) -> str:
    """The target of an override of one backend of a pool."""
    return f"backend/{pool}/{address}"
