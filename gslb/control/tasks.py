"""What runs beside the decisions may have a defect: that is told once, and begun again, and the decisions go on.  IO.

Rule 1: an unexpected exception of a part ends neither the controller nor another part.
Rule 2: a defect is logged with its traceback once, not each time that it comes back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gslb.control.children import Restarts

log = logging.getLogger("gslb.node")


class Defects:
    """Exceptions that nobody expected, by what they happened to; only the last of each part is remembered."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def tell(self, part: str, error: Exception) -> None:
        """Log `error` with its traceback, unless it is what was told of `part` last."""
        text = f"{type(error).__name__}: {error}"
        if self._told.get(part) != text:
            self._told[part] = text
            log.error("a defect; the rest goes on", extra={"part": part}, exc_info=error)


async def keep_running(begin: Callable[[], Awaitable[None]], part: str, stop: asyncio.Event) -> None:
    """Run what `begin` gives until it returns or `stop` is set; what an exception ends is begun again.

    At once after a steady life, later with each quick end (`gslb.control.children.Restarts`).
    """
    defects, restarts = Defects(), Restarts()
    while not stop.is_set():
        began = time.monotonic()
        try:
            await begin()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is no reason to stop deciding
            defects.tell(part, error)
        else:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), restarts.delay_s(time.monotonic() - began))
