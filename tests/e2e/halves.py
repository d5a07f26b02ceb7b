"""A deployment of three sites with a server of the bus in each, joined by one router that can cut and slow them.  IO; needs root.

fra1 (n0)  fra2     iad (n1)     sin (n2)       hosts; n0 to n2 are the servers of the bus
  |  |     |  |      |  |         |  |
  +--|-----+--|------+--|---------+  |          10.9.N.0/24: users, checks
     +--------+---------+------------+          10.8.N.0/24: the bus; the line of sin can take a second
                   hub                          the router, and what all reach as long as they have any network
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

from gslb.control.sharedfile import read_sharing
from tests.bus.cluster import Cluster, Place
from tests.e2e.asking import Asker
from tests.e2e.lifecycle import ZONE, wait_until
from tests.e2e.sites import Node
from tests.namespaces import Namespace, World, stop

HOSTS = {"fra1": 1, "iad": 2, "sin": 3, "fra2": 4}
SITES = {"fra": ("fra1", "fra2"), "iad": ("iad",), "sin": ("sin",)}
NETWORKS = {"fra1": "192.0.2", "iad": "198.51.100", "sin": "203.0.113"}  # of targets, at the hosts that have them
FRA, IAD, SIN = (f"{network}.10" for network in NETWORKS.values())
ANY_FRA = "192.0.2.11"
REFERENCE = "10.9.0.1"
BUSY = "busy-fra"
ZONES = {
    "example.com.yaml": ZONE + "any: {policy: any, ttl: 60, types: [A]}\nbusy: {policy: busy, ttl: 20, types: [A]}\n"
}
CONFIG = """\
deployment: example
nodes: {fra1: {site: fra}, fra2: {site: fra}, iad: {site: iad}, sin: {site: sin}}
datacenters:
  fra: {at: [50.11, 8.68], continent: EU}
  iad: {at: [38.95, -77.45], continent: NA}
  sin: {at: [1.35, 103.82], continent: AS}
healthcheck: {reference: ["10.9.0.1:80"]}
monitors:
  web: {type: http, port: 80, path: /, interval: 1s, timeout: 900ms, fall: 2, rise: 2, quorum: 50%}
  any: {type: http, port: 80, path: /, interval: 1s, timeout: 900ms, fall: 2, rise: 2, quorum: 100%}
pools:
  web-fra: {datacenter: fra, monitor: web, return: at_once, answers: [192.0.2.10]}
  web-iad: {datacenter: iad, monitor: web, return: at_once, answers: [198.51.100.10]}
  web-sin: {datacenter: sin, monitor: web, return: at_once, answers: [203.0.113.10]}
  any-fra: {datacenter: fra, monitor: any, return: at_once, answers: [192.0.2.11]}
  any-iad: {datacenter: iad, answers: [198.51.100.11]}
  any-sin: {datacenter: sin, answers: [203.0.113.11]}
  busy-fra:
    datacenter: fra
    answers: [192.0.2.12]
    capacity: {conns_per_s: 1000, soft: 60%, hard: 95%}
    load: {from: {url: "http://10.9.0.1/fra", json: $.load}}
  busy-iad:
    datacenter: iad
    answers: [198.51.100.12]
    capacity: {conns_per_s: 1000}
    load: {from: {url: "http://10.9.0.1/iad", json: $.load}}
policies:
  web: {rules: [{pools: [web-fra, web-iad, web-sin]}], velocity: 100%, ttl: {max: 60, min: 5}}
  any: {rules: [{pools: [any-fra, any-iad, any-sin]}]}
  busy: {rules: [{pools: [busy-fra, busy-iad]}], spill: {step: 20%/min, recover: 20%/min}, ttl: {max: 20, min: 5}}
dns: {listen: ["127.0.0.1:5399"], workers: 1}
bus: {nats: ["nats://10.8.1.2:4222", "nats://10.8.2.2:4222", "nats://10.8.3.2:4222"]}
zones: [zones/*.yaml]
"""
FAKETIME = "/usr/$LIB/faketime/libfaketime.so.1"


class Member(Node):
    """A node whose calendar may be another than this machine's: `clock_s` ahead of it."""

    clock_s = 0

    def words(self, name: str, *arguments: str) -> list[str]:  # type: ignore[explicit-override]
        """The command line of a command, on its host; the node itself goes by its clock."""
        words = super().words(name, *arguments)
        if not self.clock_s or name != "run":
            return words
        where = words.index("--") + 1
        fake = [f"LD_PRELOAD={FAKETIME}", f"FAKETIME={self.clock_s:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
        return [*words[:where], "env", *fake, *words[where:]]

    def sharing(self) -> dict[str, Any]:
        """What it knows of the bus and the other nodes."""
        return read_sharing(self.store, time.time() + self.clock_s) or {}

    def knows(self, other: str) -> dict[str, Any]:
        """What it knows of another node."""
        return next((one for one in self.sharing().get("nodes", ()) if one["node"] == other), {})

    def alive(self) -> set[str]:
        """The nodes that live, as it knows."""
        return {one["node"] for one in self.sharing().get("nodes", ()) if one["alive"]}

    def zone(self) -> str:
        """Its zone file."""
        return (self.folder / "zones" / "example.com.yaml").read_text()

    def status_now(self) -> dict[str, Any]:
        """What `gslb status --json` prints."""
        found: dict[str, Any] = json.loads(self.command("status", "--json").stdout)
        return found

    def writer(self) -> str | None:
        """The node that steers what the busy pool sheds, as it knows."""
        found: str | None = self.sharing().get("sheds", {}).get("writers", {}).get(BUSY)
        return found

    def level(self) -> float:
        """What the busy pool sheds, by the plan in force."""
        plan = self.store.read_plan().plan
        shed = next((shed for pool, shed in plan.history.sheds.items() if pool == BUSY), None) if plan else None
        return shed.level if shed is not None else 0.0


class Targets:
    """What is checked: fails for the hosts and addresses in `failing`, and tells when it answered whom.  Also a page of loads."""

    def __init__(self) -> None:
        self.failing: set[tuple[str, str]] = set()
        self.loads = {"/fra": 100, "/iad": 100}
        self.failed: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._servers: list[ThreadingHTTPServer] = []

    def serve(self, host: Namespace, address: str, name: str = "") -> None:
        """Answer at an address of `host`; a check that comes from the address itself comes from the node `name`."""
        server = host.call(lambda: _Server((address, 80), partial(_Answer, self, name)))
        self._servers.append(server)
        threading.Thread(target=partial(server.serve_forever, 0.05), name=f"target {address}").start()

    def fail(self, address: str, *nodes: str) -> None:
        """From now on the checks of these nodes fail."""
        for node in nodes:
            self.failed.pop((node, address), None)
        self.failing |= {(node, address) for node in nodes}

    def last_opinion(self, address: str, *nodes: str, by: float) -> float:
        """When the last of these nodes had the failed check that made it say down, `by` when that was known to all.

        That is its second, or its first where failures of before were not forgotten yet.
        """
        failed = [[at for at in self.failed.get((node, address), [])[:2] if at <= by] for node in nodes]
        return max(times[-1] for times in failed)

    def close(self) -> None:
        """End all."""
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True

    def server_bind(self) -> None:  # type: ignore[explicit-override]
        """Without asking DNS for a name."""
        TCPServer.server_bind(self)


class _Answer(BaseHTTPRequestHandler):
    def __init__(self, targets: Targets, name: str, *arguments: Any) -> None:
        self._targets, self._name = targets, name
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answer a check, or tell a load."""
        address = self.connection.getsockname()[0]
        source = self.client_address[0]
        node = next((name for name, number in HOSTS.items() if source == f"10.9.{number}.2"), self._name)
        failing = (node, address) in self._targets.failing
        load = self._targets.loads.get(self.path)
        body = b"ok" if load is None else b'{"load": %d}' % load
        self.send_response(503 if failing else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if failing:
            self._targets.failed[node, address].append(time.monotonic())

    def log_message(self, *_: object) -> None:  # type: ignore[explicit-override]
        """Nothing is logged."""


class Deployment:
    """All of it."""

    def __init__(self, world: World, folder: Path) -> None:
        self.folder = folder
        self.targets = Targets()
        self.hub = world.namespace("hub")
        self.hub.add_address("lo", f"{REFERENCE}/32")
        self.hub.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.hosts = {name: world.namespace(name) for name in HOSTS}
        self._wire = world.namespace("wire")
        self._relay: Any = None
        self._lines: dict[str, tuple[str, str]] = {}
        for name, number in HOSTS.items():
            self._connect(world, name, number)
        places = [Place(f"10.8.{number}.2", self.hosts[name]) for name, number in HOSTS.items() if name in NETWORKS]
        self.cluster = Cluster(folder / "nats", places=places)
        self.nodes = {name: Member(folder / name, name, CONFIG, host) for name, host in self.hosts.items()}
        for node in self.nodes.values():
            (node.folder / "zones" / "example.com.yaml").write_text(ZONES["example.com.yaml"])
        self.askers = {name: Asker(node) for name, node in self.nodes.items()}

    def _connect(self, world: World, name: str, number: int) -> None:
        host = self.hosts[name]
        end, _ = world.join(self.hub, host, f"10.9.{number}.1/24", f"10.9.{number}.2/24")
        if name == "sin":
            bus, left = world.join(self.hub, self._wire, f"10.8.{number}.1/24", "10.8.200.1/24")
            right, last = world.join(self._wire, host, "10.8.201.1/24", f"10.8.{number}.2/24")
            for member, device in ((self.hub, bus), (host, last)):
                member.run("ethtool", "-K", device, "tx", "off")  # the relay takes frames as they are
            self._ends = left, right
            self._wire.run("ip", "link", "add", "br0", "type", "bridge")
            self._wire.run("ip", "link", "set", "br0", "up")
            self._bridge("master", "br0")
        else:
            bus, _ = world.join(self.hub, host, f"10.8.{number}.1/24", f"10.8.{number}.2/24")
        self._lines[name] = end, bus
        host.add_route("default", f"10.9.{number}.1")
        host.add_route("10.8.0.0/16", f"10.8.{number}.1")
        if name in NETWORKS:
            self.hub.add_route(f"{NETWORKS[name]}.0/24", f"10.9.{number}.2")
            for last_octet in (10, 11):
                host.add_address("lo", f"{NETWORKS[name]}.{last_octet}/32")

    def _bridge(self, *words: str) -> None:
        for end in self._ends:
            self._wire.run("ip", "link", "set", end, *words)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Servers, targets and nodes run, and each node is asked.

        The targets are threads of this process: a look through all that thousands of tests left would stop them for as long as
        a check waits, at all sites at once.  So what is there now is left out of collections meanwhile.
        """
        gc.collect()
        gc.freeze()
        try:
            self.targets.serve(self.hub, REFERENCE)
            for name, network in NETWORKS.items():
                for last_octet in (10, 11):
                    self.targets.serve(self.hosts[name], f"{network}.{last_octet}", name)
            with self.cluster:
                for node in self.nodes.values():
                    node.start(ready=False)
                for name, node in self.nodes.items():
                    wait_until(node.answers, f"an answer of {name}; it said: {node.said()}", 40)
                    self.askers[name].start()
                yield
        finally:
            for asker in self.askers.values():
                asker.close()
            for node in self.nodes.values():
                node.clear()
            self.targets.close()
            gc.unfreeze()

    def answers(self, name: str, address: str) -> bool:
        """Whether a node answered with the address last."""
        return self.askers[name].last == (address,)

    def said(self, name: str) -> str:
        """What a node wrote last."""
        return f"it said: {self.nodes[name].said()[-3000:]}"

    @contextmanager
    def cut(self, *names: str, wholly: bool = False) -> Iterator[None]:
        """No packet passes between these hosts and all others; `wholly`: nor to what everybody reaches."""
        lines = "{" + ", ".join(line for name in names for line in self._lines[name]) + "}"
        rules = [
            "add table inet cut",
            "add chain inet cut between { type filter hook forward priority 0; }",
            f"add rule inet cut between iifname {lines} oifname != {lines} drop",
            f"add rule inet cut between oifname {lines} iifname != {lines} drop",
        ]
        if wholly:
            rules += [
                "add chain inet cut here { type filter hook input priority 0; }",
                f"add rule inet cut here iifname {lines} drop",
            ]
        self.hub.run("nft", "; ".join(rules))
        try:
            yield
        finally:
            self.hub.run("nft", "delete table inet cut")

    @contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Each packet of the bus from and to sin takes so long."""
        self._bridge("nomaster")
        relay = self._wire.start(sys.executable, "-m", "tests.relay", *self._ends, str(seconds))
        try:
            yield
        finally:
            stop(relay)
            self._bridge("master", "br0")


def moments(askers: Mapping[str, Asker], name: str, address: str, within_s: float = 20) -> dict[str, float]:
    """When each node first answered `name` with the address, by the monotonic clock."""
    found: dict[str, float] = {}

    def look(node: str) -> None:
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if askers[node].ask(name) == (address,):
                found[node] = time.monotonic()
                return
            time.sleep(0.005)

    threads = [threading.Thread(target=look, args=(node,)) for node in askers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
