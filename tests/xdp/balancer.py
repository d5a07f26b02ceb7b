"""A balancer as `gslb run` leaves it in the kernel, pinned and filled but with no process, for what looks at it.  IO; needs root.

Its tables are what `decide` makes of a configuration; frames come by BPF test runs of the pinned program.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from gslb.config.load import load
from gslb.control.secret import NAME as SECRET
from gslb.control.store import Store
from gslb.decide.decide import decide
from gslb.inspect.basis import from_files
from gslb.inspect.situation import Situation
from gslb.layout import LAYOUT_HASH
from gslb.model.deployment import Attach, NodeId
from gslb.model.plan import Plan
from gslb.model.world import Override
from tests.namespaces import World
from xdp import build, loader, pins
from xdp.counters import read_counts
from xdp.libbpf import Map, run_on
from xdp.loader import DataPlane
from xdp.messages import TableState, Want
from xdp.tables import Tables

NODE = NodeId("lb1")
WEB, API, CLIENT = "192.0.2.10", "192.0.2.20", "198.51.100.2"
CONFIG = """
deployment: {deployment}
nodes: {{lb1: {{site: fra}}}}
datacenters: {{fra: {{at: [50.11, 8.68]}}}}
pools:
  web:
    datacenter: fra
    answers: [192.0.2.10]
    balance: {{listen: [tcp/80, udp/443], forward: l2, backends: [{{address: 10.7.0.2, id: 5}}, 10.7.0.3]}}
  api:
    datacenter: fra
    answers: [192.0.2.20]
    balance: {{listen: [tcp/80], forward: l2, backends: [{{address: 10.7.0.2, id: 5}}, 10.7.0.3]}}
policies:
  web: {{rules: [{{pools: [web]}}]}}
  api: {{rules: [{{pools: [api]}}]}}
zones: [example.com.yaml]
"""
ZONE = """
'':
  - {type: SOA, value: {mname: ns1.example.com., rname: hostmaster.example.com.}}
  - {type: NS, values: [ns1.example.com.]}
ns1: {type: A, value: 127.0.0.1}
www: {policy: web, ttl: 60, types: [A]}
api: {policy: api, ttl: 60, types: [A]}
"""
_WAIT_S = 10.0
_FRAME = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
_numbers = itertools.count()


class Balancer:
    """Two pools of the same two backends: web (TCP and UDP) and api."""

    def __init__(self, world: World, folder: Path) -> None:
        build.build()
        self.name = f"look{os.getpid()}-{next(_numbers)}"
        self.config, self.state = folder / "gslb.yaml", folder / "state"
        self.config.write_text(CONFIG.format(deployment=self.name))
        (folder / "example.com.yaml").write_text(ZONE)
        self.store = Store(self.state, self.name, NODE)
        self.store.create()
        (self.store.folder / SECRET).write_bytes(bytes(32))
        self.home = pins.folder(self.name, NODE)
        self.folder = self.home / LAYOUT_HASH
        self.host, backends = world.namespace("balancer"), world.namespace("backends")
        self.device, end = world.join(self.host, backends, "10.7.0.1/24", "10.7.0.2/24")
        backends.add_address(end, "10.7.0.3/24")
        self._plane = self.host.call(lambda: DataPlane.open(self.home))
        self._tables = self.host.call(lambda: Tables(self._plane))
        self.put(self.decided())
        self.attach(Attach.NATIVE)

    def decided(self, *words: Override, now: float = 1_000.0) -> Plan:
        """The plan by these words of operators, kept as the node's last one."""
        loaded = load(self.config)
        situation = Situation(self.config, loaded, loaded.deployment.nodes[NODE], self.store)
        basis = from_files(situation, now)
        plan = decide(basis.model, basis.geography, replace(basis.world, overrides=words), basis.previous)
        self.store.save_plan(plan)
        return plan

    def attach(self, how: Attach) -> None:
        """Have the program run on the machine's interface."""
        self.host.call(lambda: self._plane.attach(self.device, how))

    def put(self, plan: Plan) -> None:
        """Have the tables of a plan in force."""
        tables = {str(name): table for name, table in plan.balancers.items()}
        sources = ("198.18.0.0/15", "100::/64")
        interfaces = (self.device,)
        key = bytes(range(16)).hex()
        want = Want(plan.version, self.name, plan.version, interfaces, Attach.NATIVE, key, *sources, 30.0, tables)
        self.host.call(lambda: self._tables.want(want))

    def tables(self) -> Mapping[str, TableState]:
        """What its process would say of each table."""
        return self._tables.state()

    @property
    def maps(self) -> Mapping[str, Map]:
        """Every map by name."""
        return self._plane.maps

    def packets_to(self, backend: int) -> int:
        """How many packets the backend of this id was sent."""
        return read_counts(self.maps["backend_counts"], [backend])[backend][0]

    def send(self, *packets: Packet) -> None:
        """Have the program see these packets."""
        program = pins.opened(self.folder / pins.PROGRAMS / loader.ENTRY)
        try:
            for packet in packets:
                run_on(program, bytes(_FRAME / packet))
        finally:
            os.close(program)

    @contextmanager
    def sending(self, *packets: Packet) -> Iterator[None]:
        """These packets come one after the other all the time within."""
        stop = threading.Event()

        def send() -> None:
            while not stop.wait(0.001):
                self.send(*packets)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(_WAIT_S)

    @property
    def options(self) -> Sequence[str]:
        """The options by which commands find it."""
        return ("--config", str(self.config), "--state", str(self.state))

    def close(self) -> None:
        """Take it out of the kernel."""
        self._tables.close()
        self._plane.close()
        self.host.call(lambda: loader.remove(self.home))


def tcp(port: int, vip: str = WEB, flags: str = "A") -> Packet:
    """A packet of the client's connection from this port."""
    return IP(src=CLIENT, dst=vip) / TCP(sport=port, dport=80, flags=flags)


def udp(port: int, vip: str = WEB) -> Packet:
    """A datagram of the client from this port."""
    return IP(src=CLIENT, dst=vip) / UDP(sport=port, dport=443)
