"""Drills of a node's processes, and of what nodes speak by: each is killed alone, then all together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from compose.drills.promises import nobody_fails, only_at
from compose.drills.stage import Drill, Stage

NODE = "iad1"  # the only node of its site
PARTS = {"controller": "The controller", "worker": "A DNS worker", "exabgp": "ExaBGP", "bridge": "The bridge"}
SEEN_S = 3.0


def _replaced(stage: Stage, part: str, before: list[int]) -> bool:
    try:
        there = stage.part(NODE, part)
        return bool(there) and not set(there) & set(before)
    except (OSError, ValueError, KeyError, TypeError):  # a moment in which nobody tells
        return False


def kill_part(part: str, stage: Stage) -> None:
    """One of them."""
    before = stage.part(NODE, part)
    stage.say(f"{part} of {NODE} is killed")
    with _without(stage, part):
        stage.strike(NODE, before)
        stage.wait(SEEN_S)
        stage.until(lambda: _replaced(stage, part, before), f"another {part} on {NODE}")
        _home(stage)


def kill_nats(stage: Stage) -> None:
    """One server of the bus, then the others too; all come back."""
    servers = stage.wired.topology.running("nats")
    for server in servers:
        stage.say(f"{server.name} killed")
        stage.end(server.name)
        stage.wait(SEEN_S)
    for server in servers:
        stage.wired.start(server)
    stage.say("all servers of the bus run again")
    stage.wait(SEEN_S)


def kill_all(stage: Stage) -> None:
    """All of these at once."""
    before = {part: stage.part(NODE, part) for part in PARTS}
    servers = stage.wired.topology.running("nats")
    stage.say(f"{', '.join(PARTS)} of {NODE} and all servers of the bus killed")
    with _without(stage, "exabgp"):
        stage.strike(NODE, [pid for pids in before.values() for pid in pids])
        for server in servers:
            stage.end(server.name)
        stage.wait(SEEN_S)
        for server in servers:
            stage.wired.start(server)
        stage.say("all servers of the bus run again")
        for part, pids in before.items():
            stage.until(partial(_replaced, stage, part, pids), f"another {part} on {NODE}")
        _home(stage)


@contextmanager
def _without(stage: Stage, part: str) -> Iterator[None]:
    """Without ExaBGP the site has no routes, and its users are answered elsewhere until it has, and a TTL longer."""
    if part != "exabgp":
        yield
        return
    stage.expect("america")
    with stage.shifts():
        yield
    forgotten_s = stage.wired.topology.ttl_s + 1.0
    stage.expect("america", "iad", settle_s=forgotten_s)
    stage.wait(forgotten_s)


def _home(stage: Stage) -> None:
    stage.until(lambda: stage.wired.request("america").site == "iad", "new users of america are served by iad", 90)


_NOBODY = "no request fails, and each query is answered within one retry of a second"
_ROUTES = "the router drops the site's routes until {how}; who comes to the site's own address by then fails, all others are served"
_ONLY_THERE = partial(only_at, "iad")
_PROMISES = {"exabgp": _ROUTES.format(how="another ExaBGP is there, about a second")}

DRILLS = (
    *(
        Drill(
            f"{part}-killed", f"{title} of a node is killed", _PROMISES.get(part, _NOBODY), partial(kill_part, part),
            _ONLY_THERE if part == "exabgp" else nobody_fails,
        )
        for part, title in PARTS.items()
    ),
    Drill("nats-killed", "The bus is killed, server by server", _NOBODY, kill_nats),
    Drill("all-killed", "All that a node runs, and the bus, is killed together", _ROUTES.format(how="another controller has started another ExaBGP, some 10 s"), kill_all, _ONLY_THERE),
)  # fmt: skip
