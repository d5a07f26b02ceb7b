"""A pool of which too few targets are healthy.  Pure.

Below `panic` (the healthy share, by weight, of what operators left in) a pool's last healthy targets would be run over by
what the others no longer take.  So it first fails over whole to another pool that has headroom; only when there is none
is it spread over all its targets, also those that fail.  A pool without any healthy target is down, and not in panic.

So that a pool does not come and go with the load of the others: once failed over, it comes back for want of room only when
all others are at their hard mark; once spread, it stays so for SPREAD_S unless its health changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum

from gslb.decide.targets import Target

SPREAD_S = 300.0
_ROUNDING = 1e-9


class State(Enum):
    """How a pool stands by its own targets.  TAKEN: operators took all of its answers out."""

    FINE = "fine"
    PANIC = "panic"
    DOWN = "down"
    TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class Share:
    """How much weight of a pool's targets is healthy, of how much that operators left in."""

    healthy: int
    total: int

    def below(self, panic: float) -> bool:
        """Whether that is too little."""
        return self.healthy < panic * self.total - _ROUNDING


def share_of(targets: Iterable[Target]) -> Share:
    """The share of these targets, without those that operators took out."""
    left = [target for target in targets if not (target.taken_down or target.draining)]
    return Share(
        healthy=sum(target.member.weight for target in left if target.serves),
        total=sum(target.member.weight for target in left),
    )


@dataclass(frozen=True, slots=True)
class Grade:
    """How a pool's answers of one record type stand, whatever a policy's panic threshold.

    `state` is never PANIC.  `forced`: an operator's `up` covers one of them.
    """

    share: Share
    state: State
    forced: bool

    def under(self, panic: float) -> State:
        """How they stand under this threshold; what an operator forces up is FINE."""
        panics = self.state is State.FINE and not self.forced and self.share.below(panic)
        return State.PANIC if panics else self.state


def grade_of(answers: Collection[Target], backends: Collection[Target]) -> Grade:
    """The grade of a pool's answers of one type; `backends` where those are what is checked."""
    share, forced = share_of(backends or answers), any(one.forced_up for one in answers)
    if forced or any(one.serves for one in answers):
        return Grade(share, State.FINE, forced)
    left = any(one.override is None for one in answers)
    return Grade(share, State.DOWN if left else State.TAKEN, forced)
