"""The addresses that could be answered, and what is known of each.  Pure.

Rule 1: of the overrides in force that cover an address, the most specific rules it (answer, then pool, then site),
among equals the newer.
Rule 2: an address with weight 0 is never answered, so it is no candidate.
Rule 3: a candidate belongs to one pool and one record type; whether it is usable depends on nothing but itself and
the other candidates of the same policy and type, never on the client.  So each policy settles its candidates once,
and clients differ only in the order in which pools are tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gslb.model.deployment import DYNAMIC_TYPES, Address, Deployment, PoolId, SiteId
from gslb.model.plan import Member
from gslb.model.world import Forced, Health, Override, Verdict, World

Candidates = Mapping[PoolId, tuple["Candidate", ...]]  # of one record type


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One address of one pool, with the override that rules it and the verdict on it.  Equal only to itself."""

    pool: PoolId
    member: Member
    override: Override | None = None
    verdict: Verdict | None = None

    @property
    def forced_up(self) -> bool:
        """An operator wants it answered whatever its health."""
        return self.override is not None and self.override.state is Forced.UP

    @property
    def taken_down(self) -> bool:
        """An operator wants it out of the answers: `down`, or a drain that was forced and so does not wait."""
        return self.override is not None and (
            self.override.state is Forced.DOWN or (self.override.state is Forced.DRAIN and self.override.force)
        )

    @property
    def draining(self) -> bool:
        """An operator wants it out of the answers as long as something else is left."""
        return self.override is not None and self.override.state is Forced.DRAIN and not self.override.force

    @property
    def failing(self) -> bool:
        """Its checks find it down."""
        return self.verdict is not None and self.verdict.health is Health.DOWN


def candidates_of(model: Deployment, world: World) -> Mapping[int, Candidates]:
    """Every candidate, by record type and pool; a pool without any of a type is absent there."""
    ruling = _newest(override for override in world.overrides if override.holds_at(world.now))
    found: dict[int, dict[PoolId, tuple[Candidate, ...]]] = {rtype: {} for rtype in DYNAMIC_TYPES}
    for pool in model.pools.values():
        of_pool = ruling.get(pool_target(pool.name)) or ruling.get(site_target(pool.datacenter))
        verdicts = world.verdicts.get(pool.name, {})
        for rtype, by_pool in found.items():
            candidates = tuple(
                Candidate(
                    pool=pool.name,
                    member=Member(str(answer.address), answer.weight, pool.name),
                    override=ruling.get(answer_target(pool.name, answer.address)) or of_pool,
                    verdict=verdicts.get(str(answer.address)),
                )
                for answer in pool.answers_of(rtype)
                if answer.weight > 0
            )
            if candidates:
                by_pool[pool.name] = candidates
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


def _newest(overrides: Iterable[Override]) -> Mapping[str, Override]:
    """The override that rules each target.  Ties are broken by content, so that the input's order does not matter."""
    ruling: dict[str, Override] = {}
    for override in sorted(overrides, key=_age):
        ruling[override.target] = override
    return ruling


def _age(override: Override) -> tuple[float, str, str, str, float, bool]:
    until = float("inf") if override.until is None else override.until
    return (override.since, override.state.value, override.who, override.why, until, override.force)
