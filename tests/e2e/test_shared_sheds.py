"""Three nodes of three sites on a real bus: one steers what a pool sheds, and when it dies another goes on from there."""

# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gslb.control.store import Store
from gslb.model.deployment import PoolId
from gslb.model.history import Shed
from tests.bus.cluster import Cluster, installed
from tests.e2e.lifecycle import Server, wait_until
from tests.ports import free_port

CONFIG = """\
deployment: example
datacenters:
  fra: {at: [50.11, 8.68], continent: EU}
  iad: {at: [38.95, -77.45], continent: NA}
  sin: {at: [1.35, 103.82], continent: AS}
nodes: {fra: {site: fra}, iad: {site: iad}, sin: {site: sin}}
pools:
  web-fra:
    datacenter: fra
    answers: [192.0.2.10]
    capacity: {conns_per_s: 1000, soft: 60%, hard: 95%}
    load: {from: push}
  web-iad: {datacenter: iad, answers: [198.51.100.10], capacity: {conns_per_s: 1000}, load: {from: push}}
policies:
  web:
    rules: [{pools: [web-fra, web-iad]}]
    spill: {step: 20%/min, recover: 20%/min}
    ttl: {max: 20, min: 5}
dns: {listen: ["ADDRESS:PORT"], workers: 1}
api: {listen: "127.0.0.1:API", token_file: token}
bus: {nats: [URL]}
zones: [zones/*.yaml]
"""
TOKEN = "a token of this test"
FRA = PoolId("web-fra")


class Node(Server):
    """A node of a site."""

    def __init__(self, folder: Path, site: str, url: str) -> None:
        folder.mkdir()
        self.api_port = free_port()
        (folder / "token").write_text(TOKEN)
        super().__init__(folder, CONFIG.replace("API", str(self.api_port)).replace("URL", url))
        self.site = site

    def words(self, name: str, *arguments: str) -> list[str]:
        here = ("--config", str(self.config), "--node", self.site, "--state", str(self.state))
        return [*super().words(name)[:3], name, *arguments, *here]

    def push(self, value: float) -> bool:
        """Tell it the load of the pool; whether it took that."""
        body = json.dumps({"pool": FRA, "value": value}).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.api_port}/v1/load", body, headers)
        with suppress(OSError), urllib.request.urlopen(request, timeout=5) as done:
            return bool(done.status == 204)
        return False

    @property
    def shed(self) -> Shed | None:
        """What the pool sheds, by the plan in force."""
        plan = Store(self.state, "example", self.site).read_plan().plan
        return plan.history.sheds.get(FRA) if plan is not None else None

    def level(self) -> float:
        return self.shed.level if self.shed is not None else 0.0


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    with Cluster(tmp_path / "nats") as cluster:
        made = [Node(tmp_path / site, site, cluster.urls[0]) for site in ("fra", "iad", "sin")]
        try:
            for node in made:
                node.start(ready=False)
            for node in made:
                wait_until(node.answers, f"{node.site} answers", 40)
            yield made
        finally:
            for node in made:
                node.clear()


def alike(nodes: list[Node]) -> bool:
    """Whether all of them shed something, and the same."""
    sheds = [node.shed for node in nodes]
    return all(shed is not None and shed.level for shed in sheds) and len({shed and shed.moved for shed in sheds}) == 1


@pytest.mark.slow
@pytest.mark.skipif(installed() is None, reason="needs nats-server")
def test_one_node_steers_and_another_takes_over(nodes: list[Node]) -> None:
    fra, *others = nodes
    wait_until(lambda: "steered_here" in fra.said(), "fra steers its pool", 30)
    wait_until(lambda: fra.push(800), "it takes a load")
    wait_until(lambda: fra.level() > 0, "it sheds")
    wait_until(lambda: alike(nodes), "the others shed the same", 5)
    assert not any(FRA in line for node in others for line in _begun(node))

    level = fra.level()
    fra.stop()
    wait_until(lambda: any(FRA in line for node in others for line in _begun(node)), "another takes over", 10)
    assert [node.level() for node in others] == [level, level]
    wait_until(lambda: others[0].push(900), "it takes a load")
    wait_until(lambda: others[0].level() > level, "it goes on", 40)
    wait_until(lambda: alike(others), "both shed the same", 5)
    assert others[0].level() <= level + 2 * 20 / 60 * 0.2 + 0.02


def _begun(node: Node) -> list[str]:
    """Lines of its log that say which levels it steers."""
    return [line.partition("steered_here=")[2] for line in node.said().splitlines() if "steered_here=" in line]
