"""An event loop in which seconds pass at once: it waits for nothing, and all clocks of the process show its time."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

TURN_S = 1e-6  # what a turn of the loop takes: who wakes a rounding error too early must not wait for ever
BEGAN = 1_700_000_000.0  # the calendar at second 0


class VirtualTime(selectors.SelectSelector):
    """The time, and what a loop waits with: where nothing is ready, time goes on to what is due next."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.calendar_s = 0.0  # by which somebody set the calendar forward

    def select(  # type: ignore[explicit-override]
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        """As a selector; it asks what is ready without waiting."""
        found = super().select(0)
        if not found:
            assert timeout is not None, "nothing will ever happen"
            self.now += max(0.0, timeout)
        self.now += TURN_S
        return found

    def wall(self) -> float:
        """The calendar: seconds since the epoch."""
        return BEGAN + self.now + self.calendar_s


@contextmanager
def virtual_time() -> Iterator[VirtualTime]:
    """The clocks show virtual time meanwhile."""
    shown = VirtualTime()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: shown.now)
        patch.setattr(time, "time", shown.wall)
        patch.setattr(time, "clock_gettime", lambda _: shown.now)
        yield shown


def run(shown: VirtualTime, work: Coroutine[Any, Any, None]) -> None:
    """As `asyncio.run`, in virtual time."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(shown)) as runner:
        runner.run(work)
