"""Drills of what operators do: a bad configuration is pushed, all nodes are upgraded one after the other."""

from __future__ import annotations

import subprocess

from compose.drills.promises import nobody_fails, nobody_fails_of_unicast
from compose.drills.result import Story
from compose.drills.sites import announces, answers_end, away, back, come_back, others, region_of
from compose.drills.stage import Drill, Stage
from compose.topology import Machine, Topology

SEEN_S = 5.0
_TAKEN = "took it"


def push_bad(stage: Stage) -> None:
    """A file with a mistake is applied, then written over every node's own."""
    good = (stage.wired.folder / "gslb" / "gslb.yaml").read_text()
    bad = good.replace("pools: nearest, of: [web-fra", "pools: nearest, of: [web-far", 1)
    assert bad != good, "the lab's file has no such line"
    tried = stage.wired.folder / "gslb" / "tried.yaml"
    tried.write_text(bad)
    try:
        stage.wired.gslb("fra1", "apply", str(tried), "--yes", "--why", "a drill")
        stage.facts["gslb apply"] = _TAKEN
    except subprocess.CalledProcessError as error:
        stage.facts["gslb apply"] = next(
            (line for line in error.stderr.splitlines() if "web-far" in line), error.stderr
        )
    stage.say("gslb apply of a file with a mistake")
    stage.wait(SEEN_S)
    stage.config(bad)
    stage.say("the file with the mistake written on all nodes")
    stage.until(lambda: "web-far" in stage.wired.gslb("sin1", "status"), "sin1 says what is wrong with it")
    stage.wait(SEEN_S)
    stage.config(good)
    stage.say("the good file written on all nodes")
    tried.unlink()
    stage.until(lambda: "web-far" not in stage.wired.gslb("sin1", "status"), "sin1 has nothing to say of it any more")


def _nobody_takes_it(story: Story, topology: Topology) -> list[str]:
    taken = [f"gslb apply {_TAKEN}"] if story.facts["gslb apply"] == _TAKEN else []
    return taken + nobody_fails(story, topology)


def upgrade(stage: Stage) -> None:
    """Each node is stopped and started; where it is the only one of its site, the site is drained first."""
    for node in stage.wired.topology.running("gslb"):
        with stage.shifts():
            _restart(stage, node, alone=len(stage.wired.topology.at(node.place, "gslb")) == 1)


def _restart(stage: Stage, node: Machine, *, alone: bool) -> None:
    if alone:
        stage.say(f"gslb drain site/{node.place}")
        stage.expect(region_of(stage, node.place), *others(stage, node.place), settle_s=away(stage))
        stage.wired.gslb(node.name, "drain", f"site/{node.place}", "--why", "upgrade")
        answers_end(stage, node.name)
    stage.say(f"{node.name} is stopped")
    stage.stop(node.name)
    stage.wired.start(node)
    stage.say(f"{node.name} started")
    stage.until(lambda: announces(stage, node.name), f"{node.name} announces", 90)
    if alone:
        stage.say(f"gslb auto site/{node.place}")
        come_back(stage, node.place)
        stage.wired.gslb(node.name, "auto", f"site/{node.place}")
        back(stage, node.place)


DRILLS = (
    Drill(
        "config-bad",
        "A bad configuration is pushed",
        "no request fails, and every node says what is wrong",
        push_bad,
        _nobody_takes_it,
    ),
    Drill(
        "upgrade",
        "All nodes are stopped and started, one after the other, as for an upgrade",
        "no request for unicast pools fails; what starts is the version that was stopped",
        upgrade,
        nobody_fails_of_unicast,
    ),
)
