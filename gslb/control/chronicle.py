"""What a node tells of itself: each change once to the log, to the audit log, and to those who follow events.  IO."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gslb.control import endings
from gslb.control.audit import AuditLog
from gslb.control.changes import Change, Moment, changes
from gslb.control.events import Hub
from gslb.control.lines import lines
from gslb.control.routechanges import route_changes

log = logging.getLogger("gslb.node")


class Chronicle:
    """Compares each moment with the one before."""

    def __init__(self, folder: Path, events: Hub, began: Moment) -> None:
        """`began` is what an earlier run left: what is as it was is not told again."""
        self._folder = folder
        self._events = events
        self._audit = AuditLog(folder)
        self._last = began
        self._routes: Mapping[str, Any] | None = None

    def take(self, moment: Moment) -> None:
        """Tell what is different at this moment."""
        before, self._last = self._last, moment
        gone = before.overrides != moment.overrides
        self.tell(moment.now, changes(before, moment, endings.endings(self._folder) if gone else ()))

    def routes(self, now: float, state: Mapping[str, Any] | None) -> None:
        """Tell what is different among routes and sessions; `state` is what a report has under `announcing`.

        Until ExaBGP has told its table for the first time nothing is known of them.
        """
        if self._routes is None and (state is None or not state["speaker"]["ready"]):
            return
        before = self._routes
        if state is not None and before is not None and state["speaker"]["pid"] and not state["speaker"]["ready"]:
            state = {**state, "neighbors": before["neighbors"]}  # ExaBGP runs, and nobody knows how they are
        self._routes = state
        if before is not None:
            self.tell(now, route_changes(before, state))

    def tell(self, now: float, found: Sequence[Change]) -> None:
        """Tell of changes that no two moments show."""
        for line in lines(found):
            log.info(line.text, extra=dict(line.fields))
        for change in found:
            body = change.to_json()
            self._audit.write(now, body)
            self._events.publish(now, body)

    def close(self) -> None:
        """Write what waits."""
        self._audit.close()
