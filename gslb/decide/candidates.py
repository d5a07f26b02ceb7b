"""The addresses that could be answered, and what is known of each.  Pure.

Rule 1: of the overrides in force that cover an address, the most specific rules it (answer, then pool, then site),
among equals the newer.
Rule 2: an address with weight 0 is never answered, so it is no candidate.
Rule 3: a candidate belongs to one pool and one record type; whether it is usable depends on nothing but itself and
the other candidates of the same policy and type, never on the client.  So each policy settles its candidates once,
and clients differ only in the order in which pools are tried.
Rule 4: all answers of a balanced pool fail when fewer than `min_healthy` of its backends serve.
"""

from __future__ import annotations

from collections.abc import Mapping

from gslb.decide.targets import Ruling, Target
from gslb.model.deployment import DYNAMIC_TYPES, Address, Pool, PoolId, SiteId
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
    found = tuple(
        Target(
            pool=pool.name,
            member=Member(address, backend.weight, pool.name),
            override=ruling.get(backend_target(pool.name, backend.address)),
            verdict=verdicts.get(address),
            ejection=ejections.get(f"{pool.name}/{address}"),
        )
        for backend in pool.balance.backends
        for address in (str(backend.address),)
    )
    return found if any(target.verdict or target.override for target in found) else ()


def starved(pool: Pool, backends: tuple[Target, ...]) -> str:
    """How few backends serve, in words; empty where they are enough or nothing is said of them."""
    if pool.balance is None or not backends:
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
