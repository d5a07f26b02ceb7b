"""Drills of backends: one is killed under its clients, one flaps."""

from __future__ import annotations

from compose.drills.result import Death
from compose.drills.stage import Drill, Stage, now
from compose.topology import CHECK_S, FALLS, Machine

FLAPS = 5


def _kill(stage: Stage, victim: Machine) -> None:
    stage.say(f"nginx killed on {victim.name}")
    began = now()
    stage.end(victim.name)
    stage.deaths.append(Death(began, now(), victim.name, stage.wired.topology.site(victim.place).vip or ""))


def kill_backend(stage: Stage) -> None:
    """The web server of one of two backends ends; its machine lives."""
    victim = stage.machine("web-fra1")
    _kill(stage, victim)
    stage.wait(8)
    stage.wired.start(victim)
    stage.say(f"nginx runs again on {victim.name}")
    stage.wait(3)


def flap(stage: Stage) -> None:
    """One of two backends goes and comes, again and again."""
    victim = stage.machine("web-iad2")
    for _ in range(FLAPS):
        _kill(stage, victim)
        stage.wait(2)
        stage.wired.start(victim)
        stage.say(f"nginx runs again on {victim.name}")
        stage.wait(3)
    before = stage.marks[0].at
    stage.facts["changes of its state"] = sum(
        change["what"] == "target" and change["subject"].endswith(f"/{victim.address}")
        for change in stage.changes("iad1", before)
    )


DRILLS = (
    Drill(
        "backend-killed",
        "A backend's web server is killed",
        "no request fails but those in flight on it: the lab's backends drop what would refuse a client at the service's address, "
        f"so that it asks again after a second, and {FALLS} checks {CHECK_S * 1000:.0f} ms apart have taken the backend out by then",
        kill_backend,
    ),
    Drill(
        "flap",
        "A backend flaps",
        "no request fails but those in flight on it; after some falls it stays out longer than it is well",
        flap,
    ),
)
