"""A pool that fills up sheds a share of its users over DNS, as its own load page says, and takes them back."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lifecycle import Server, wait_until
from tests.e2e.services import Service, services
from tests.ports import free_port

FRA, IAD, CLOUD = "127.0.1.1", "127.0.1.2", "127.0.1.3"
NETWORKS = [f"100.{64 + index // 250}.{index % 250}.0/24" for index in range(400)]
WITHIN_S = 20.0
CONFIG = """\
deployment: example
datacenters:
  fra: {at: [50.11, 8.68], continent: EU}
  iad: {at: [38.95, -77.45], continent: NA}
  cloud: {at: [53.34, -6.27], continent: EU, burst: true}
monitors:
  web: {type: http, port: SERVICE, path: /healthz, interval: 500ms, timeout: 400ms}
pools:
  web-fra:
    datacenter: fra
    monitor: web
    answers: [127.0.1.1]
    capacity: {conns_per_s: 1000, soft: 60%, hard: 80%}
    load: {from: {url: "http://127.0.1.1:SERVICE/load", json: $.rps}}
  web-iad:
    datacenter: iad
    monitor: web
    answers: [127.0.1.2]
    capacity: {conns_per_s: 1000, soft: 60%, hard: 80%}
    load: {from: push}
  web-cloud: {datacenter: cloud, monitor: web, answers: [127.0.1.3], capacity: {conns_per_s: 5000}}
policies:
  web:
    rules: [{pools: [web-fra, web-iad]}]
    spill: {to: [web-cloud], step: 600%/min, recover: 600%/min}
    ttl: {max: 1, min: 1}
dns: {listen: ["ADDRESS:PORT"], workers: 1}
api: {listen: "127.0.0.1:API", token_file: token}
zones: [zones/*.yaml]
"""
TOKEN = "a token of this test"


class Node:
    """A node with its API."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.api = f"http://127.0.0.1:{port}"

    def shares(self) -> Mapping[str, float]:
        """The share of client networks that each address is given to."""
        given = [self.server.addresses(subnet=network)[0] for network in NETWORKS]
        return {address: given.count(address) / len(given) for address in (FRA, IAD, CLOUD)}

    def push(self, pool: str, value: float) -> int:
        """POST /v1/load; the status."""
        body = json.dumps({"pool": pool, "value": value}).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"{self.api}/v1/load", body, headers), timeout=5
            ) as done:
                return int(done.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def pool(self, name: str) -> Mapping[str, Any]:
        """A pool as `gslb status` shows it."""
        found: Mapping[str, Any] = next(one for one in self.server.status()["pools"] if one["name"] == name)
        return found


@pytest.fixture
def sites() -> Iterator[list[Service]]:
    """Three services."""
    with services(free_port(), FRA, IAD, CLOUD) as made:
        yield made


@pytest.fixture
def node(tmp_path: Path, sites: list[Service]) -> Iterator[Node]:
    """A node whose pools tell their load."""
    port = free_port()
    (tmp_path / "token").write_text(TOKEN)
    text = CONFIG.replace("SERVICE", str(sites[0].port)).replace(":API", f":{port}")
    server = Server(tmp_path, text)
    try:
        server.start()
        wait_until(lambda: server.addresses() == [FRA], "the first pool answers")
        node = Node(server, port)
        wait_until(lambda: node.push("web-iad", 100) == 204, "the API takes a load")
        yield node
    finally:
        server.clear()


def test_a_full_pool_sheds_and_recovers(node: Node, sites: list[Service]) -> None:
    assert node.shares()[FRA] == 1.0
    sites[0].set("/x", load=1000)  # twice what it takes before it sheds
    wait_until(lambda: node.pool("web-fra")["shed"] is not None, "it sheds", WITHIN_S)
    wait_until(lambda: 0.1 < node.shares()[IAD] < 0.9, "some go to the next site", WITHIN_S)
    level = node.pool("web-fra")["shed"]["level"]
    moved = node.shares()
    assert moved[CLOUD] == 0.0
    told = node.server.command("explain", "www.example.com", "--client", _moved(node))
    assert "web-fra" in told.stdout, told.stderr
    assert level > 0
    sites[0].set("/x", load=100)
    wait_until(lambda: node.shares()[FRA] == 1.0, "all are back", WITHIN_S * 2)


def test_a_receiver_that_is_full_passes_to_the_cloud(node: Node, sites: list[Service]) -> None:
    wait_until(lambda: node.push("web-iad", 3000) == 204 and _share(node, "web-iad") > 0.7, "it is full", WITHIN_S)
    sites[0].set("/x", load=1000)
    wait_until(lambda: node.shares()[CLOUD] > 0.1, "the cloud takes them", WITHIN_S)
    assert node.shares()[IAD] == 0.0


@pytest.mark.parametrize("value", [float("nan"), -1.0, 1e308])
def test_a_load_that_cannot_be_changes_nothing(node: Node, value: float) -> None:
    wait_until(lambda: node.pool("web-iad")["load"]["share"] == pytest.approx(0.1), "the load is known", WITHIN_S)
    before = node.shares()
    assert 400 <= node.push("web-iad", value) < 500
    assert node.pool("web-iad")["load"]["share"] == pytest.approx(0.1)
    assert node.shares() == before


def test_a_restart_in_the_middle_of_shedding_changes_nothing(node: Node, sites: list[Service]) -> None:
    sites[0].set("/x", load=1000)
    wait_until(lambda: 0.1 < node.shares()[FRA] < 0.9, "it sheds", WITHIN_S)
    sites[0].set("/load", status=500)  # no new reading: the level stays
    wait_until(lambda: bool(node.pool("web-fra")["load"]["stale"]), "the load is stale", 3 * WITHIN_S)
    before = [node.server.addresses(subnet=network) for network in NETWORKS]
    assert node.server.stop() == 0
    node.server.start()
    assert [node.server.addresses(subnet=network) for network in NETWORKS] == before


def _share(node: Node, pool: str) -> float:
    share: float | None = node.pool(pool)["load"]["share"]
    return share or 0.0


def _moved(node: Node) -> str:
    return next(network for network in NETWORKS if node.server.addresses(subnet=network) == [IAD])
