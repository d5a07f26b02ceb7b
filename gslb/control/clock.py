"""The time by which a node decides: the system's clock, unless that jumps.  IO.

A jump (a wrong clock at boot, a resumed machine, an operator's hand) must move no answer at once: dwell times, velocity
windows and overrides are measured with it.  So the time goes on by the steady clock, the jump is said, and the system's
clock is believed again when it has stood by its word for BELIEVED_S.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

JUMP_S = 2.0  # a difference that slewing does not make
BELIEVED_S = 60.0

log = logging.getLogger("gslb.node")


class Clock:
    """Seconds since the epoch that run on when the system's clock jumps."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,  # noqa: TID251  # the one clock of a node
        steady: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()  # of the time that is believed
        self._other: tuple[float, float] | None = None  # another offset, and since when (steady) it is met

    def now(self) -> float:
        """The time that is believed."""
        steady = self._steady()
        offset = self._wall() - steady
        if abs(offset - self._offset) < JUMP_S:
            self._offset, self._other = offset, None
        elif self._other is None or abs(offset - self._other[0]) >= JUMP_S:
            self._other = offset, steady
            log.warning(
                "the system clock jumped; decisions go on by the steady clock",
                extra={"by_s": round(offset - self._offset, 1), "believed_in_s": BELIEVED_S},
            )
        elif steady - self._other[1] >= BELIEVED_S:
            log.warning("the system clock is believed again", extra={"moved_s": round(offset - self._offset, 1)})
            self._offset, self._other = offset, None
        return steady + self._offset
