"""That responses are limited, told in the log at most once a minute."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from gslb.nameserver.counters import Counter

TELL_S = 60.0


class OverLimit:
    """What one worker, or the one who counts for the driver, told last."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._told = 0
        self._due_s = 0.0

    def look(self, counts: Sequence[int], client: str, now: float) -> None:
        """Tell how many responses were over the limit since the last time; `client` was (where known) the last, `now` is monotonic."""
        over = counts[Counter.OVER_LIMIT] if len(counts) > Counter.OVER_LIMIT else 0
        if over == self._told or now < self._due_s:
            return
        fields: dict[str, object] = {"pid": os.getpid(), "responses": over - self._told}
        if client:
            fields["client"] = client
        self._log.warning("responses over the limit of their network (limits.responses_per_s)", extra=fields)
        self._told, self._due_s = over, now + TELL_S
