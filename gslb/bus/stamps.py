"""When something was written, and at which node: a hybrid logical clock, so that all nodes order writings alike.  Pure.

Rule 1: a new stamp is later than every stamp that its writer has seen, whatever the writer's clock says.
Rule 2: two writings never have one stamp, since each node has a name of its own.
Rule 3: a stamp far in the future is refused: with it one wrong clock would outrank everybody for as long.
Source: Kulkarni et al., Logical Physical Clocks, 2014; the counter stands in the milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

FUTURE_MS = 300_000  # a stamp that is further ahead of our clock is refused
MOST_MS = 1 << 53  # what JSON keeps exactly


@dataclass(frozen=True, slots=True, order=True)
class Written:
    """Written at `ms` milliseconds since the epoch, or just after what its writer had seen, on `node`."""

    ms: int
    node: str

    def ahead(self, now: float) -> bool:
        """Whether it is from the future, for one whose clock says `now` (seconds since the epoch)."""
        return self.ms > now * 1000 + FUTURE_MS


def new(now: float, seen: Iterable[Written], node: str) -> Written:
    """A stamp for what `node` writes at `now` (seconds since the epoch), having seen `seen`; what is ahead does not count."""
    highest = max((one.ms for one in seen if not one.ahead(now)), default=-1)
    return Written(max(int(now * 1000), highest + 1), node)
