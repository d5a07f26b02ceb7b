"""Targets and pages of load that hang, flood, send garbage or have no end: they are down, or keep their last load, and nothing
else suffers.  Asked over DNS."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from tests.e2e.daemons import Daemon, module
from tests.e2e.hostile import LOADS, MANNERS, address_of
from tests.e2e.lifecycle import wait_until
from tests.e2e.pairs import INTERVAL_S, Node, Pair, node_with
from tests.e2e.services import Service, services
from tests.ports import free_port

PAGES_AT, GOOD = "127.0.4.1", "127.0.4.2"
GROWTH = 32 << 20  # octets; a probe that kept what a flood sends would have ten times that after one check
FLOODED_S = 5.0
STALE_S = 15.0  # docs/config.md, Load
KINDS = {
    "http": "type: http, port: {port}",
    "tcp": 'type: tcp, port: {port}, expect: "never said"',
    "grpc": "type: grpc, port: {port}",
}
WHY = {
    "http-hang": "no answer within 300ms",
    "http-flood": "headers of more than 16 kB",
    "http-garbage": "not HTTP",
    "http-drip": "no whole answer within 300ms",
    "http-close": "clos",
    "tcp-hang": "no answer within 300ms",
    "tcp-flood": "the expected text is not in the first 64 kB",
    "tcp-garbage": "no whole answer within 300ms",
    "tcp-endless": "the expected text is not in the first 64 kB",
    "tcp-drip": "no whole answer within 300ms",
    "tcp-close": "closed without the expected text",
    "grpc-hang": "no answer within 300ms",
    "grpc-flood": "not HTTP/2",
    "grpc-garbage": "not HTTP/2",
    "grpc-endless": "not HTTP/2",
    "grpc-drip": "not HTTP/2",
    "grpc-close": "clos",
}
UP = {"http-endless", "good"}  # the body of a good answer is not waited for
LOAD_WHY = {
    "nan": "NaN is no load",
    "negative": "-1 is no load",
    "huge": "is no load - expected 0 to",
    "text": "is no number",
    "nothing": "is no number",
    "hang": "no answer within 2s",
    "flood": "headers of more than 16 kB",
    "garbage": "not HTTP",
    "endless": "a body of more than 1000 kB",
    "drip": "no whole answer within 2s",
    "close": "closed without an answer",
    "gone": "status 404, expected 200",
}


@dataclass(frozen=True)
class Scene:
    """Bad servers, a good one, and a node that checks them all."""

    node: Node
    bad: Daemon
    good: Service


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("hostile")
    port = free_port()
    checked = [
        Pair(f"{kind}-{manner}", address_of(manner), monitor.format(port=port))
        for kind, monitor in KINDS.items()
        for manner in MANNERS
    ]
    loaded = [
        Pair(
            f"load-{name}",
            GOOD,
            f"type: tcp, port: {port}, interval: 5s",
            f'capacity: {{conns_per_s: 1000}}, load: {{from: {{url: "http://{PAGES_AT}:{port}/{name}", json: $.rps}}}}',
        )
        for name in LOAD_WHY
    ]
    home = folder / "node"
    home.mkdir()
    with (
        services(port, GOOD) as (good,),
        module("hostile", PAGES_AT, port, folder / "hostile") as bad,
        node_with(home, Pair("good", GOOD, KINDS["http"].format(port=port)), *checked, *loaded) as node,
    ):
        yield Scene(node, bad, good)


def test_every_manner_is_met() -> None:
    assert WHY.keys() | UP == {f"{kind}-{manner}" for kind in KINDS for manner in MANNERS} | {"good"}
    assert LOAD_WHY.keys() == LOADS.keys() | MANNERS.keys() | {"gone"}


@pytest.mark.parametrize("name", WHY)
def test_a_bad_target_is_down_and_it_is_said_why(scene: Scene, name: str) -> None:
    wait_until(lambda: not scene.node.at_home(name), f"{name} is down")
    scene.node.down(name, WHY[name])


def test_others_are_checked_in_time_and_memory_stays(scene: Scene) -> None:
    status = scene.node.server.status
    wait_until(lambda: bool(status()["checks"].get("pid")), "the checking process is known")
    checking = psutil.Process(status()["checks"]["pid"])
    wait_until(lambda: not any(scene.node.at_home(name) for name in WHY), "all bad ones are down")
    seen, memory = scene.good.seen(), checking.memory_info().rss
    until = time.monotonic() + FLOODED_S
    while time.monotonic() < until:
        assert all(scene.node.at_home(name) for name in UP)
        time.sleep(0.1)
    checks = scene.good.seen() - seen
    grown = checking.memory_info().rss - memory
    assert checks >= 0.7 * FLOODED_S / INTERVAL_S
    assert grown < GROWTH
    assert checking.is_running(), "it is the same process all the time"
    assert "\x1b" not in scene.node.server.said()


@pytest.mark.slow
def test_a_bad_page_of_load_keeps_the_last_one(scene: Scene) -> None:
    def loads() -> dict[str, dict[str, object]]:
        pools = scene.node.api.get("/v1/status").json["pools"]
        return {one["name"][5:-5]: one["load"] for one in pools if one["name"] in names}

    names = {f"load-{name}-home" for name in LOAD_WHY}
    wait_until(lambda: all(load["share"] == 0.1 for load in loads().values()), "all loads are known")
    before = {name: scene.node.server.addresses(f"load-{name}.example.com") for name in LOAD_WHY}
    scene.bad.signal(signal.SIGUSR1)
    wait_until(lambda: all(load["stale"] for load in loads().values()), "all loads are stale", STALE_S + 12)
    assert {load["share"] for load in loads().values()} == {0.1}
    assert {name: scene.node.server.addresses(f"load-{name}.example.com") for name in LOAD_WHY} == before
    for name, why in LOAD_WHY.items():
        scene.node.shows(f"load        load-{name}-home: ")
        errors = scene.node.server.status()["checks"]["loads"]
        assert why in errors[f"load-{name}-home"]["error"], errors[f"load-{name}-home"]
    said = scene.node.server.said()
    for name in LOAD_WHY:
        assert said.count(f"pool=load-{name}-home ") == 1, f"one line in the log of load-{name}"
