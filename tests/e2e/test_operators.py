"""What operators do and see: overrides by command and by API, in answers at once, told to audit log, events and metrics."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lifecycle import wait_until
from tests.e2e.pairs import Node, Pair, node_with
from tests.e2e.services import Service, services
from tests.ports import free_port

WWW, API = "127.0.6.1", "127.0.6.2"
AT_ONCE_S = 1.0
COUNTED_S = 5.0  # a worker shows its counts 0.2 s after the last query, and the controller looks once a second


@dataclass(frozen=True)
class Scene:
    """A node and the servers that it checks."""

    node: Node
    www: Service


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """For all tests of this file: each ends what it began."""
    port = free_port()
    monitor = f"type: http, port: {port}, path: /healthz"
    with (
        services(port, WWW, API) as (www, _),
        node_with(tmp_path_factory.mktemp("node"), Pair("www", WWW, monitor), Pair("api", API, monitor)) as node,
    ):
        wait_until(lambda: node.at_home("www") and node.at_home("api"), "all is well")
        yield Scene(node, www)


def by_command(node: Node, state: str, why: str) -> str:
    done = node.server.command(state, "pool/www-home", "--for", "1h", "--why", why)
    assert done.returncode == 0, done.stderr
    return os.environ.get("SUDO_USER") or getpass.getuser()


def by_api(node: Node, state: str, why: str) -> str:
    body = {"target": "pool/www-home", "state": state, "why": why, "who": "ada", "for": "1h"}
    got = node.api.post("/v1/overrides", body)
    assert got.status == 200, got
    return "ada"


def ended_by_command(node: Node) -> None:
    done = node.server.command("auto", "pool/www-home")
    assert done.returncode == 0, done.stderr


def ended_by_api(node: Node) -> None:
    got = node.api.delete("/v1/overrides?target=pool/www-home&who=ada")
    assert got.status == 200, got


WAYS: dict[str, tuple[Callable[[Node, str, str], str], Callable[[Node], None]]] = {
    "command": (by_command, ended_by_command),
    "api": (by_api, ended_by_api),
}


def overrides(lines: list[dict[str, Any]], why: str) -> list[Mapping[str, Any]]:
    """What is told of the override that was begun for this reason: that it began, and that it ended."""
    found = (line for line in lines if line["what"] == "override")
    return [line for line in found if (line["after"] or line["before"])["why"] == why]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("state", ["drain", "down"])
def test_a_pool_is_taken_out_and_given_back(scene: Scene, way: str, state: str) -> None:
    node, why = scene.node, f"CHG-7: {state} by {way}"
    begin, end = WAYS[way]
    with node.api.events() as events:
        who = begin(node, state, why)
        node.leaves("www", why, AT_ONCE_S)
        wait_until(lambda: node.pool("www")["override"] == state, "status shows what is forced")
        assert node.pool("www")["true_state"] == "up", "and beside it what is true"
        end(node)
        node.returns("www", "given back", AT_ONCE_S)
        wait_until(lambda: len(overrides(node.audit(), why)) == 2, "the audit log has both")
        wait_until(lambda: len(overrides(events, why)) == 2, "the events have both")
    began, ended = overrides(node.audit(), why)
    assert (began["subject"], began["who"], began["why"], began["before"]) == ("pool/www-home", who, why, None)
    assert began["after"]["state"] == state
    assert (ended["who"], ended["before"]["state"], ended["after"]) == (who, state, None)
    for line, event in zip((began, ended), overrides(events, why), strict=True):
        assert {key: event[key] for key in event if key != "time"} == {key: line[key] for key in line if key != "time"}
    assert [event for event in events if event["what"] == "plan"], "a change of answers is an event"


@pytest.mark.parametrize("way", WAYS)
def test_a_pool_that_is_down_is_forced_up(scene: Scene, way: str) -> None:
    node = scene.node
    begin, end = WAYS[way]
    scene.www.kill()
    node.leaves("www", "killed")
    begin(node, "up", "the monitor is wrong")
    node.returns("www", f"forced up by {way}", AT_ONCE_S)
    wait_until(lambda: node.pool("www")["override"] == "up", "status shows what is forced")
    assert node.pool("www")["true_state"] == "down"
    end(node)
    node.leaves("www", f"no longer forced by {way}", AT_ONCE_S)
    scene.www.start()
    node.returns("www", "started")
    wait_until(lambda: kept_as_up(node), "commands, which read the state folder, know it too")


def kept_as_up(node: Node) -> bool:
    return all(pool["true_state"] == "up" for pool in node.server.status()["pools"])


def test_a_service_is_not_left_without_an_answer(scene: Scene) -> None:
    node = scene.node
    assert node.server.command("drain", "site/iad", "--why", "works").returncode == 0
    refused = node.server.command("drain", "site/fra", "--why", "works too")
    assert refused.returncode == 1
    assert "nothing else to answer" in refused.stderr
    got = node.api.post("/v1/overrides", {"target": "site/fra", "state": "drain", "why": "works too"})
    assert (got.status, got.kind) == (409, "application/problem+json")
    assert node.answers() == {"www": [WWW], "api": [API]}
    assert node.server.command("auto", "site/iad").returncode == 0


def test_an_override_ends_by_itself(scene: Scene) -> None:
    node = scene.node
    got = node.api.post("/v1/overrides", {"target": "pool/www-home", "state": "drain", "why": "short", "for": "1s"})
    assert got.status == 200
    node.leaves("www", "drained", AT_ONCE_S)
    node.returns("www", "its time is over", 3.0)
    wait_until(lambda: len(overrides(node.audit(), "short")) == 2, "the audit log has both")
    assert overrides(node.audit(), "short")[1]["why"] == "its time is over"


def test_metrics_agree_with_what_was_asked(scene: Scene) -> None:
    node = scene.node
    node.server.command("drain", "pool/api-home", "--why", "CHG-8")
    node.leaves("api", "drained")
    before = _settled(node)
    for name, times in (("www.example.com", 30), ("api.example.com", 20), ("no.example.com", 7)):
        for _ in range(times):
            node.server.query(name)
    expected = {
        ("gslb_dns_answers_total", (("pool", "www-home"), ("site", "fra"), ("type", "A"))): 30,
        ("gslb_dns_answers_total", (("pool", "api-away"), ("site", "iad"), ("type", "A"))): 20,
        ("gslb_dns_responses_total", (("kind", "answer"), ("rcode", "NOERROR"))): 50,
        ("gslb_dns_responses_total", (("kind", "error"), ("rcode", "NXDOMAIN"))): 7,
    }

    def grown() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        after = node.api.samples()
        return {(name, labels): after[name][labels] - before[name].get(labels, 0.0) for name, labels in expected}

    wait_until(lambda: grown() == expected, f"metrics have {expected}", COUNTED_S)
    now = node.api.samples()
    assert now["gslb_pool_up"][(("pool", "api-home"), ("site", "fra"))] == 1, "what is true"
    assert now["gslb_override_active"] == {(("state", "drain"), ("target", "pool/api-home")): 1}
    version = node.api.get("/v1/status").json["generation"]["plan_version"]
    assert now["gslb_plan_version"] == {(): version}
    assert now["gslb_policy_ttl_seconds"][(("policy", "www"),)] == 60
    checks = now["gslb_checks_total"]
    assert checks[(("monitor", "www"), ("result", "passed"))] > 0
    assert node.server.command("auto", "pool/api-home").returncode == 0
    node.returns("api", "given back")


def _settled(node: Node) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The metrics once nothing is counted any more."""
    seen: list[object] = [None]

    def still() -> bool:
        last, seen[0] = seen[0], node.api.samples()["gslb_dns_responses_total"]
        time.sleep(1.2)  # longer than it takes what was asked to be counted
        return last == seen[0]

    wait_until(still, "the counters rest")
    return node.api.samples()


def test_readiness(scene: Scene) -> None:
    node = scene.node
    assert node.api.get("/readyz").status == 200
    assert node.api.get("/healthz").status == 200
    assert node.api.get("/v1/nothing").status == 404


def test_loads_that_go_back_in_time_are_refused(tmp_path: Path) -> None:
    port = free_port()
    pool = "capacity: {conns_per_s: 1000}, load: {from: push}"
    with (
        services(port, WWW),
        node_with(tmp_path, Pair("www", WWW, f"type: http, port: {port}", pool)) as node,
    ):
        wait_until(lambda: node.at_home("www"), "all is well")
        load = {"pool": "www-home", "value": 100.0}
        assert node.api.post("/v1/load", {**load, "at": 1_000_000}).status == 204
        for bad in (
            {"value": 900.0, "at": 999_999},
            {"value": float("nan")},
            {"value": float("inf")},
            {"value": -1},
            {"value": 1e308},
            {"value": "many"},
            {"at": "yesterday"},
        ):
            got = node.api.post("/v1/load", {**load, **bad})
            assert 400 <= got.status < 500, (bad, got)
            assert got.kind == "application/problem+json"
            assert got.json["detail"], bad
        wait_until(lambda: node.pool("www")["load"]["share"] is not None, "the load is known")
        assert node.pool("www")["load"]["share"] == 0.1
        assert node.at_home("www")
