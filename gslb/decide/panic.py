"""A pool of which too few targets are healthy.  Pure.

Below `panic` (the healthy share, by weight, of what operators left in) a pool's last healthy targets would be run over by
what the others no longer take.  So it first fails over whole to another pool that has headroom; only when there is none
is it spread over all its targets, also those that fail.  A pool without any healthy target is down, and not in panic.

So that a pool does not come and go with the load of the others: once failed over, it comes back for want of room only when
all others are at their hard mark; once spread, it stays so for SPREAD_S unless its health changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gslb.decide.targets import Target

SPREAD_S = 300.0
_ROUNDING = 1e-9


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
