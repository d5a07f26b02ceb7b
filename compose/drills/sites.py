"""Drills of whole sites: lost, drained for maintenance, cut off but alive."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Iterable
from dataclasses import replace

from compose.clients import FETCH_S, TIMEOUT_S
from compose.drills.promises import nobody_fails, nobody_fails_of_unicast, within
from compose.drills.result import Audience, Story
from compose.drills.stage import SHIFTED_S, Drill, Stage, now
from compose.topology import FALL_S, HOLD_S, Topology

SERVED = "seconds until all requests of new users were served elsewhere"
ANSWERED = "seconds until every query was answered"
TOLD_S = 1.0  # to all nodes, and in force
UNDER_WAY_S = FETCH_S + 1.0
BACK_S = 90.0  # at most, until a site that is back serves its users
SAFE_S = 240.0  # at most, until a drained site may be stopped
STOPPED_S = 3.0
_MAY_BE_KEPT = "answers that were given before may be kept"


def others(stage: Stage, site: str) -> list[str]:
    """The sites that are not it."""
    return [one.name for one in stage.wired.topology.sites if one.name != site]


def region_of(stage: Stage, site: str) -> str:
    """The region that is nearest to it."""
    return next(one.name for one in stage.wired.topology.regions if one.nearest == site)


def back(stage: Stage, site: str) -> None:
    """Its users are served there again, once what was answered meanwhile has been forgotten."""
    region = region_of(stage, site)
    stage.until(
        lambda: stage.wired.request(region).site == site, f"new users of {region} are served by {site} again", BACK_S
    )


def away(stage: Stage) -> float:
    """Within what time users go elsewhere: they are told so, and have forgotten what they were told before."""
    return FALL_S + TOLD_S + stage.wired.topology.ttl_s


def _served_elsewhere(stage: Stage, site: str, lost_at: float) -> None:
    region = region_of(stage, site)
    within_s = HOLD_S + away(stage)
    stage.until(lambda: stage.wired.request(region).failed == "", f"{region} is served elsewhere", within_s)
    stage.wait(lost_at + within_s - now())
    fetched = [one for one in stage.heard(Audience(region, "web")) if one.at >= lost_at]
    asked = [one for place in stage.wired.topology.regions for one in stage.heard(Audience(place.name, "dns"))]
    stage.facts[SERVED] = well_after(((one.at, not one.failed) for one in fetched), lost_at)
    stage.facts[ANSWERED] = well_after(  # what was answered only when asked again was not answered at first
        ((one.at, not one.failed and one.took_s < TIMEOUT_S) for one in asked if one.at >= lost_at), lost_at
    )


def well_after(heard: Iterable[tuple[float, bool]], since: float) -> float:
    """Of requests, when each began and whether it went well: seconds until the first of those after which all did; inf: never."""
    first = math.inf
    for at, well in sorted(heard, reverse=True):
        if not well:
            break
        first = at
    return round(first - since, 1)


def _found_again(story: Story, topology: Topology) -> list[str]:
    """What was slow after a loss, but for a request that waits for what is lost; who failed when it came back."""
    told_s = FALL_S + TOLD_S + topology.ttl_s
    slow = within(story, {SERVED: told_s + UNDER_WAY_S, ANSWERED: HOLD_S + UNDER_WAY_S})
    back_at = max(one.at for one in story.expected)
    heard = {audience: [one for one in told if one.at >= back_at] for audience, told in story.heard.items()}
    return slow + nobody_fails(replace(story, heard=heard), topology)


def come_back(stage: Stage, site: str) -> None:
    """From now on users may be served there again, and soon should."""
    stage.expect(region_of(stage, site), site, settle_s=BACK_S)


def lose_site(stage: Stage) -> None:
    """All of a site's machines lose power, and are set up anew later."""
    machines = stage.at("sin")
    stage.say(f"sin loses power: {', '.join(machine.name for machine in machines)}")
    stage.expect(region_of(stage, "sin"), *others(stage, "sin"), settle_s=away(stage))
    with stage.shifts(HOLD_S + SHIFTED_S):
        stage.wired.lose(machines)
    _served_elsewhere(stage, "sin", stage.marks[-1].at)
    come_back(stage, "sin")
    with stage.shifts():
        stage.wired.restore(machines)
        stage.say("sin: new machines in their places")
        back(stage, "sin")


def drain_site(stage: Stage, *, until_safe: bool = True) -> None:
    """A site is drained until gslb says that it may be stopped; its node and its servers are stopped, started, taken back.

    Without `until_safe` only until answers of before may be kept no longer, which a lab's clients go by.
    """
    node = stage.machine("iad1")
    stage.say("gslb drain site/iad")
    stage.expect(region_of(stage, "iad"), *others(stage, "iad"), settle_s=away(stage))
    with stage.shifts():
        stage.wired.gslb(node.name, "drain", "site/iad", "--why", "maintenance")
        if until_safe:
            stage.until(lambda: _is_safe(stage, node.name), f"{node.name} says that it is safe to stop", SAFE_S)
        else:
            answers_end(stage, node.name)
    servers = [machine for machine in stage.at("iad") if machine.runs == "backend"]
    stage.say(f"stopped: {', '.join(one.name for one in (node, *servers))}")
    stage.stop(node.name)
    for server in servers:
        stage.end(server.name)
    stage.wait(STOPPED_S)
    with stage.shifts():
        for machine in (*servers, node):
            stage.wired.start(machine)
        stage.say("they run again")
        stage.until(lambda: announces(stage, node.name), f"{node.name} announces", BACK_S)
        stage.say("gslb auto site/iad")
        come_back(stage, "iad")
        stage.wired.gslb(node.name, "auto", "site/iad")
        back(stage, "iad")


def cut_site(stage: Stage) -> None:
    """A site's lines to the transit take nothing more, and all that is there goes on."""
    router = stage.machine("router-sin")
    lines = [line.network for line in router.interfaces if line.network.startswith("exchange")]
    stage.say("sin is cut off, and alive")
    stage.expect(region_of(stage, "sin"), *others(stage, "sin"), settle_s=away(stage))
    with stage.shifts(HOLD_S + SHIFTED_S):
        stage.wired.cut(router, lines)
    _served_elsewhere(stage, "sin", stage.marks[-1].at)
    come_back(stage, "sin")
    with stage.shifts():
        stage.wired.mend(router, lines)
        stage.say("sin: its lines work again")
        back(stage, "sin")


def answers_end(stage: Stage, node: str) -> None:
    """Wait until no answer that was given before the drain may be kept, as the node says, and a little longer."""
    stage.wait(2 * TOLD_S)
    stage.until(
        lambda: _MAY_BE_KEPT not in stage.wired.gslb(node, "status"), "no answer of before is kept any more", 60
    )
    stage.wait(TOLD_S + 3)


def _is_safe(stage: Stage, node: str) -> bool:
    draining = stage.wired.status(node)["draining"]
    return bool(draining and draining["safe"])


def announces(stage: Stage, node: str) -> bool:
    """Whether all that a node has to announce is in its router."""
    try:
        told = stage.wired.gslb(node, "status")
    except subprocess.CalledProcessError:  # it has told nothing yet
        return False
    return len(re.findall(r"^route +\S+ \(\S+\): (?:announced|drain) ", told, re.M)) >= 3


DRILLS = (
    Drill(
        "site-lost",
        "A site loses power",
        "each query is answered again within the hold time, and new users go elsewhere within fall time, a second and TTL; "
        "who was sent to the site before waits in vain until then, and nobody fails when it comes back; "
        "the lab's transits are equally near to all sites and spread queries over them, so only those that came to the lost one can fail",
        lose_site,
        _found_again,
    ),
    Drill(
        "site-drained",
        "A site is drained for maintenance",
        "it gets safe to stop, and no request for unicast pools fails",
        drain_site,
        nobody_fails_of_unicast,
    ),
    Drill("site-cut", "A site is cut off, and alive", "as a lost site", cut_site, _found_again),
)
