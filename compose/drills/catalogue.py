"""All drills, in the order in which they are run."""

from __future__ import annotations

from compose.drills import backends, operators, overload, processes, sites
from compose.drills.stage import Drill

DRILLS: dict[str, Drill] = {
    drill.name: drill
    for drill in (*backends.DRILLS, *sites.DRILLS, *processes.DRILLS, *overload.DRILLS, *operators.DRILLS)
}
