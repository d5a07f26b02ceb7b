"""Which location table a configuration goes by: a new one, or what there is while none can be made.  IO."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gslb.control import geography
from gslb.control.facts import Facts
from gslb.control.geography import GeographyFailed, Located
from gslb.control.planner import Planner, geography_of
from gslb.decide.order import fits
from gslb.model.deployment import Deployment
from gslb.model.location import Geography

RETRY_S = 60.0  # after a table could not be made; a changed file is looked at without waiting
Table = tuple[Located, Geography]

log = logging.getLogger("gslb.node")


class Locator:
    """Finds the table of one configuration after another."""

    def __init__(
        self,
        planner: Planner,
        facts: Facts,
        folders: tuple[Path, Path],
        progress: Callable[[str, float], None],
        again: Callable[[float], None],
    ) -> None:
        """`folders`: the cache of tables, and what workers serve from; `again(seconds)` has the files considered later."""
        self._planner = planner
        self._facts = facts
        self._cache, self._serving = folders
        self._progress = progress
        self._again = again
        self._noted: frozenset[str] = frozenset()
        self._read: frozenset[Path] = frozenset()  # the databases that the table in force was made of

    async def table(self, deployment: Deployment) -> Table | None:
        """The location table; without it, the one that serves, or (with nothing serving) one without databases."""
        databases = frozenset(map(Path, deployment.geo.databases))
        there = frozenset(path for path in databases if path.exists())
        if gone := sorted((self._read & databases) - there):
            self._facts.problem("geography", (f"{gone[0]}: the geo database is gone; its table serves on",))
            return self.substitute(deployment)
        try:
            located = await geography.locate(deployment, self._cache, self._progress)
            known = geography_of(located)
        except (GeographyFailed, OSError, ValueError) as error:
            self._facts.problem("geography", (str(error),))
            self._again(RETRY_S)
            return self.substitute(deployment)
        self._read = there
        self._facts.problem("geography", ())
        for note in located.notes:
            if note not in self._noted:
                log.warning(note)
        self._noted = frozenset(located.notes)
        return located, known

    def substitute(self, deployment: Deployment) -> Table | None:
        """What to go on with when no table can be made; None: as before."""
        serving = self._planner.serving_table(self._serving)
        try:
            if serving is not None and fits(deployment, serving[1]):
                return serving
            if serving is not None:
                return None
            bare = replace(deployment, geo=replace(deployment.geo, databases=()))
            located = geography.at_once(bare, self._cache)
            return located, geography_of(located)
        except (GeographyFailed, OSError, ValueError) as error:
            self._facts.problem("geography", (str(error),))
            return None
