"""Nodes of three sites, each on a host of its own with its own files, over one real bus.  IO; needs root."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gslb.control import facts
from gslb.control.audit import NAME
from gslb.control.store import Store
from tests.bus.cluster import Cluster, Place
from tests.e2e.lifecycle import GSLB, Server, wait_until
from tests.namespaces import Namespace, World

PORT = 5399
BUS = "10.9.0.1"
FRA, IAD, SIN = "192.0.2.10", "198.51.100.10", "203.0.113.10"
CONFIG = """\
deployment: example
datacenters:
  fra: {at: [50.11, 8.68], continent: EU}
  iad: {at: [38.95, -77.45], continent: NA}
  sin: {at: [1.35, 103.82], continent: AS}
pools:
  web-fra: {datacenter: fra, answers: [192.0.2.10]}
  web-iad: {datacenter: iad, answers: [198.51.100.10]}
  web-sin: {datacenter: sin, answers: [203.0.113.10]}
policies:
  web: {rules: [{pools: [web-fra, web-iad, web-sin]}], ttl: {max: 60, min: 5}}
dns: {listen: ["127.0.0.1:5399"], workers: 1}
zones: [zones/*.yaml]
"""


class Node(Server):
    """A node of a site on a host of its own, so that all have the same configuration."""

    def __init__(self, folder: Path, site: str, config: str, host: Namespace) -> None:
        folder.mkdir()
        self.site = site
        self.host = host
        super().__init__(folder, config)
        self.port = PORT

    @property
    def store(self) -> Store:
        """Its state folder."""
        return Store(self.state, "example", self.site)

    def words(self, name: str, *arguments: str) -> list[str]:  # type: ignore[explicit-override]
        """The command line of a command for this node, on its host."""
        here = ("--config", str(self.config), "--node", self.site, "--state", str(self.state))
        return self.host.command([*GSLB, name, *arguments, *here])

    def answers(self) -> bool:  # type: ignore[explicit-override]
        """Whether it answers now, asked on its host."""
        return self.host.call(super().answers)

    def addresses(self, name: str = "www.example.com", *, subnet: str | None = None) -> list[str]:  # type: ignore[explicit-override]
        """The addresses of an A query, asked on its host."""
        return self.host.call(lambda: Server.addresses(self, name, subnet=subnet))

    def ttl(self) -> int:
        """The time to live of an answer."""
        return self.host.call(lambda: self.query().answer[-1].ttl)

    def fact(self, name: str) -> Any:
        """What its controller says of itself."""
        return facts.read(self.store.folder).get(name)

    def problems(self) -> dict[str, list[str]]:
        """What it says is wrong."""
        found: dict[str, list[str]] = self.fact("problems") or {}
        return found

    def overrides(self) -> dict[str, tuple[str, str]]:
        """State and node of each override, as it has stored them."""
        stored = self.store.load_overrides().overrides or ()
        return {one.target: (one.state.value, one.node) for one in stored}

    def audited(self, what: str) -> list[dict[str, Any]]:
        """The changes of a kind in its audit log."""
        lines = (self.store.folder / NAME).read_text().splitlines()
        return [found for found in map(json.loads, lines) if found["what"] == what]


class Sites:
    """A host for the bus, and one for the node of each site, joined with it."""

    def __init__(self, world: World, folder: Path, *, bus: bool = True) -> None:
        hub = world.namespace("bus")
        hub.add_address("lo", f"{BUS}/32")
        self.cluster = Cluster(folder / "nats", places=[Place(BUS, hub)])
        config = CONFIG + (f"bus: {{nats: ['{self.cluster.urls[0]}']}}\n" if bus else "")
        self.nodes = []
        for number, site in enumerate(("fra", "iad", "sin"), 1):
            host = world.namespace(site)
            world.join(hub, host, f"10.9.{number}.1/24", f"10.9.{number}.2/24")
            host.add_route(f"{BUS}/32", f"10.9.{number}.1")
            self.nodes.append(Node(folder / site, site, config, host))

    @contextmanager
    def running(self) -> Iterator[tuple[Node, Node, Node]]:
        """The bus and all nodes run."""
        try:
            with self.cluster:
                for node in self.nodes:
                    node.start(ready=False)
                for node in self.nodes:
                    wait_until(node.answers, f"an answer of {node.site}; it said: {node.said()}", 40)
                fra, iad, sin = self.nodes
                yield fra, iad, sin
        finally:
            for node in self.nodes:
                node.clear()
