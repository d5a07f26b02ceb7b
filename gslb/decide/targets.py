"""What overrides, verdicts and ejections say of one target of a pool: an answer, or a backend behind it.  Pure.

Rule 1: of two overrides of one name in force the newer rules; ties are broken by content, so that the order of the
overrides does not matter.
Rule 2: a target without a verdict is taken as up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gslb.model.deployment import PoolId
from gslb.model.history import Ejection
from gslb.model.plan import Member
from gslb.model.world import Forced, Health, Override, Verdict, World

Ruling = Mapping[str, Override]  # the override that rules each name


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One address of one pool, with what is said of it.  Equal only to itself.

    `ejection` is one in force.  `starved` says why it fails whatever its own checks say: too few of the backends behind it serve, or
    none can be reached from here.
    """

    pool: PoolId
    member: Member
    override: Override | None = None
    verdict: Verdict | None = None
    ejection: Ejection | None = None
    starved: str = ""

    @property
    def key(self) -> str:
        """Its name in the history of ejections."""
        return f"{self.pool}/{self.member.address}"

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
        """Its checks find it down, or what is behind it does not serve."""
        return bool(self.starved) or (self.verdict is not None and self.verdict.health is Health.DOWN)

    @property
    def serves(self) -> bool:
        """Neither an operator, nor its checks, nor an ejection keep it from serving."""
        if self.override is not None:
            return self.forced_up
        return not self.failing and self.ejection is None


def ruling_of(world: World) -> Ruling:
    """The overrides in force, by what they name."""
    in_force = (override for override in world.overrides if override.holds_at(world.now))
    return {override.target: override for override in sorted(in_force, key=_age)}


def _age(override: Override) -> tuple[float, str, str, str, float, bool]:
    until = float("inf") if override.until is None else override.until
    return (override.since, override.state.value, override.who, override.why, until, override.force)
