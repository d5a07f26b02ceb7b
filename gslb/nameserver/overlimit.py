"""That responses are limited, told in the log at most once a minute."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from gslb.nameserver.counters import Counter

TELL_S = 60.0

log = logging.getLogger("gslb.worker")


class OverLimit:
    """What one worker told last."""

    def __init__(self) -> None:
        self._told = 0
        self._due_s = 0.0

    def look(self, counts: Sequence[int], client: str, now: float) -> None:
        """Tell how many responses were over the limit since the last time; `client` is the last of them, `now` monotonic."""
        over = counts[Counter.OVER_LIMIT] if len(counts) > Counter.OVER_LIMIT else 0
        if over == self._told or now < self._due_s:
            return
        fields = {"pid": os.getpid(), "responses": over - self._told, "client": client}
        log.warning("responses over the limit of their network (limits.responses_per_s)", extra=fields)
        self._told, self._due_s = over, now + TELL_S
