"""The drill of too many users: more come to the primary than it can carry, and go again.

Capacities are made small, so that few clients do, and TTLs short: 20 s become 2.  With the pace of the lab's sheds that is a tenth of
the time that it would take elsewhere, and less.
"""

from __future__ import annotations

import re
from typing import Any

from compose.drills.result import Audience
from compose.drills.stage import Drill, Stage

CAPACITY = 40  # new connections a second
CROWDS = 3
HOME_S = 5.0  # until answers of the drill are forgotten: their TTL, and a moment for nodes to read their file
SEEN = 0.005  # a level that is told
USERS = 24  # of a crowd
PER_S = 17.0  # requests of a crowd; with all of them, and those who are always there, one and a half capacities


def scaled(text: str) -> str:
    """gslb.yaml for this drill: small capacities, short TTLs, each address a client of its own."""
    short = re.sub(r"ttl: {max: \d+, min: \d+}", "ttl: {max: 2, min: 1}", text)
    return short.replace("capacity: {conns_per_s: 100}", f"capacity: {{conns_per_s: {CAPACITY}}}").replace(
        "    spill:", "    sticky: {v4: 32}\n    spill:"
    )


def overload(stage: Stage) -> None:
    """Crowds come to europe one after the other; fra sheds to iad and to the cloud; they go, and all is as before."""
    before = stage.config(scaled((stage.wired.folder / "gslb" / "gslb.yaml").read_text()))
    for region in stage.wired.topology.regions:
        stage.expect(region.name)
    stage.say(f"capacities {CAPACITY} connections/s, TTL 2 s")
    stage.wait(5)
    crowds: list[Audience] = []
    network = next(region.network for region in stage.wired.topology.regions if region.name == "europe")
    for number in range(CROWDS):
        first = 100 + number * USERS
        sources = [network.address(last) for last in range(first, first + USERS)]
        crowds.append(stage.come("europe", f"crowd {number + 1}", sources, PER_S))
        stage.say(f"{PER_S:g} requests/s more in europe")
        _watch(stage, 12)
    stage.until(lambda: "web-cloud" in str(_shed(stage)["to"]), "fra sheds to the cloud", 90)
    _watch(stage, 15)
    for crowd in crowds:
        stage.leave(crowd)
        stage.say(f"{PER_S:g} requests/s less")
        _watch(stage, 4)
    stage.until(lambda: _shed(stage)["level"] < SEEN, "fra sheds nothing any more", 120)
    stage.config(before)
    stage.say("capacities and TTLs as before")
    for region in stage.wired.topology.regions:
        stage.expect(region.name, region.nearest, settle_s=HOME_S)
    stage.wait(HOME_S + 2)


def _shed(stage: Stage) -> dict[str, Any]:
    """What web-fra sheds, as a node tells it: how much, and to whom."""
    told = next(one for one in stage.wired.status("fra1")["pools"] if one["name"] == "web-fra")
    return told["shed"] or {"level": 0.0, "to": []}


def _watch(stage: Stage, seconds: float) -> None:
    stage.wait(seconds)
    shed = _shed(stage)
    stage.say(f"web-fra sheds {shed['level']:.0%} to {', '.join(shed['to']) or 'nobody'}")


DRILLS = (
    Drill("overload", "The primary is overloaded", "users are spilled to the next site, then to the cloud, then come back; no request fails", overload),
)  # fmt: skip
