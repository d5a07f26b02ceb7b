"""A site behind the balancer: client, router, a switch, the balancer with the real `gslb run`, and backends.  IO; needs root.

    client ── router ── switch ─┬─ balancer
                                ├─ a, b, c   (the VIPs on lo; replies go straight to the router)

Each backend is made by `gslb backend setup`, so what an operator types is what is tested.
"""

from __future__ import annotations

import contextlib
import json
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.lifecycle import GSLB, wait_until
from tests.e2e.probes.wire import Target, query
from tests.e2e.program import FEATURES, Program, running
from tests.namespaces import Namespace, World
from tests.xdp.harness import compiled

VIP4, VIP6 = "203.0.113.80", "2001:db8:80::80"
BALANCER, ROUTER, CLIENT = "10.1.0.10", "10.1.0.1", "198.51.100.2"
BACKENDS = {"a": "10.1.0.11", "b": "10.1.0.12", "c": "10.1.0.13"}
PORT = 9000
ANSWER_S = 15.0  # on a busy machine
CONFIG = """\
deployment: {deployment}
nodes:
  lb1: {{site: here, interfaces: [eth0]}}
datacenters:
  here: {{at: [50.11, 8.68]}}
monitors:
  line: {{type: tcp, port: 9000, interval: {interval}, timeout: {interval}, fall: 2, rise: 2, via: {via}}}
pools:
  web:
    datacenter: here
    monitor: line
    answers: [{answers}]
    capacity: {{conns_per_s: 1000}}
    load: {{from: balancer}}
    balance: {{listen: [tcp/80, tcp/9000, udp/9000], forward: {forward}, backends: [{backends}]}}
policies:
  web: {{rules: [{{pools: [web]}}]}}
balancer: {{attach: {attach}, flow_idle: {flow_idle}}}
dns: {{listen: ["10.1.0.10:53"], workers: 1}}
zones: [site.test.yaml]
"""
ZONE = """\
'':
  - type: SOA
    value: {mname: ns1.site.test., rname: hostmaster.site.test.}
  - type: NS
    values: [ns1.site.test.]
ns1: {type: A, value: 10.1.0.10}
www: {policy: web, ttl: 60, types: [A]}
"""


class Balanced:
    """The world of one test, without the program yet."""

    def __init__(
        self, world: World, folder: Path, deployment: str, *, forward: str = "l2", distance_s: float = 0.0
    ) -> None:
        """`distance_s` is how long a packet takes between the client and the router, each way."""
        self.folder = folder
        self.deployment = deployment
        self.forward = forward
        self.weights = dict.fromkeys(BACKENDS, 1)
        self.interval, self.flow_idle = "200ms", "5m"
        self.via, self.attach = "address", "native"
        self.answers = VIP4 if forward == "l2" else f'{VIP4}, "{VIP6}"'
        self.config = folder / "gslb.yaml"
        self.client = world.namespace("client")
        self.router = world.namespace("router")
        self.switch = world.namespace("switch")
        self.balancer = world.namespace("balancer")
        self.backends = {name: world.namespace(name) for name in BACKENDS}
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self._flows: list[Flows] = []
        self._connect()
        if distance_s:
            wire = world.namespace("wire")
            _link(self.client, "eth0", wire, "left")
            _link(self.router, "eth1", wire, "right")
            wire.start(sys.executable, "-m", "tests.relay", "left", "right", str(distance_s))
        else:
            _link(self.client, "eth0", self.router, "eth1")
        self._address()

    def _connect(self) -> None:
        passing = compiled(Path(__file__).with_name("pass.bpf.c"), self.folder)
        self.switch.run("ip", "link", "add", "br0", "type", "bridge")
        self.switch.run("ip", "link", "set", "br0", "up")
        for number, (member, address) in enumerate(
            (
                (self.router, ROUTER),
                (self.balancer, BALANCER),
                *((self.backends[name], address) for name, address in BACKENDS.items()),
            )
        ):
            _link(member, "eth0", self.switch, f"port{number}")
            self.switch.run("ip", "link", "set", f"port{number}", "master", "br0")
            self.switch.run("ip", "link", "set", "dev", f"port{number}", "xdpdrv", "obj", str(passing), "sec", "xdp")
            member.add_address("eth0", f"{address}/24")
            member.add_address("eth0", f"fd00:1::{address.rpartition('.')[2]}/64")
            member.run("ethtool", "-K", "eth0", "tx", "off")

    def _address(self) -> None:
        for member, device, last in ((self.client, "eth0", 2), (self.router, "eth1", 1)):
            member.add_address(device, f"198.51.100.{last}/24")
            member.add_address(device, f"2001:db8:c::{last}/64")
            member.run("ethtool", "-K", device, "tx", "off")
        for family in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            self.router.run("sysctl", "-qw", f"net.{family}=1")
        self.client.add_route("default", "198.51.100.1")
        self.client.run("ip", "-6", "route", "add", "default", "via", "2001:db8:c::1")
        self.router.add_route(f"{VIP4}/32", BALANCER)
        self.router.run("ip", "-6", "route", "add", f"{VIP6}/128", "via", "fd00:1::10")
        for member in (self.balancer, *self.backends.values()):
            member.add_route("default", ROUTER)
            member.run("ip", "-6", "route", "add", "default", "via", "fd00:1::1")

    def write(self, **overridden: str) -> None:
        """Write the configuration as it is now, whole: a running program sees the old one or the new one."""
        backends = ", ".join(f"{{address: {BACKENDS[name]}, weight: {w}}}" for name, w in self.weights.items())
        values = {
            "deployment": self.deployment, "forward": self.forward, "backends": backends, "answers": self.answers,
            "interval": self.interval, "flow_idle": self.flow_idle, "via": self.via, "attach": self.attach, **overridden,
        }  # fmt: skip
        (self.folder / "site.test.yaml").write_text(ZONE)
        new = self.folder / "gslb.new"
        new.write_text(CONFIG.format(**values))
        new.rename(self.config)

    def serve(self, name: str) -> None:
        """Start the server of one backend."""
        addresses = [VIP4, BACKENDS[name], *([VIP6] if VIP6 in self.answers else [])]
        command = (sys.executable, "-m", "tests.e2e.named_server", name, str(PORT), *addresses)
        self._servers[name] = self.backends[name].start(*command)

    def kill(self, name: str) -> None:
        """SIGKILL to the server of one backend, which the backend's kernel answers with resets from then on."""
        self._servers[name].kill()
        self._servers[name].wait()

    def set_up(self, name: str) -> None:
        """Make a backend and start its server; nothing where that was done."""
        if name not in self._servers:
            self.prepare(name)
            self.serve(name)

    def prepare(self, name: str) -> None:
        """Make a backend, as an operator does, or mend it."""
        done = subprocess.run(
            self.backends[name].command([*GSLB, "backend", "setup", "--config", str(self.config)]),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    @contextlib.contextmanager
    def running(self) -> Iterator[Program]:
        """Backends and balancer, until all are in use."""
        with self.started() as program:
            self.settle(program, BACKENDS)
            yield program

    @contextlib.contextmanager
    def started(self) -> Iterator[Program]:
        """Backends and balancer, answering.  What it made on the backends stays until `close`."""
        self.write()
        for name in BACKENDS:
            self.set_up(name)
        first = query("www.site.test.", "A")
        target = Target(BALANCER, 53, FEATURES)
        with running(self.folder, self.config, "lb1", target, first=first, inside=self.balancer) as program:
            yield program

    def flows(self, count: int) -> Flows:
        """Connections of the client, open until the end of the test."""
        self._flows.append(Flows(self.client, count))
        return self._flows[-1]

    def close(self) -> None:
        """Take back what was made on the backends: pins outlive namespaces."""
        for flows in self._flows:
            flows.close()
        for name in self._servers:
            remove = [*GSLB, "backend", "remove", "--config", str(self.config)]
            subprocess.run(self.backends[name].command(remove), capture_output=True, timeout=60, check=False)

    def lb(self, program: Program, *words: str) -> Any:
        """`gslb lb ... --json` on the balancer."""
        where = ("--config", str(program.config), "--node", program.node, "--state", str(program.state))
        done = subprocess.run(
            self.balancer.command([*GSLB, "lb", *words, *where]),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def slots(self, program: Program) -> dict[str, int]:
        """How many slots each backend (by name) has in the table in force, by `gslb status`."""
        table = ((program.status().get("balancer") or {}).get("tables") or {}).get("web", {})
        return {name: table.get("slots", {}).get(address, 0) for name, address in BACKENDS.items()}

    def settle(self, program: Program, serving: Sequence[str] | Mapping[str, str]) -> None:
        """Wait until exactly these backends are in the table."""
        wait_until(
            lambda: {name for name, count in self.slots(program).items() if count} == set(serving),
            f"the table holds {sorted(serving)}",
            20.0,
        )


class Flows:
    """TCP connections of a client, each of which knows the backend that holds it."""

    def __init__(self, client: Namespace, count: int, address: str = VIP4) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        self._sockets = client.call(lambda: [_connecting(address) for _ in range(count)])
        self.names = self.ask()
        assert all(self.names), Counter(self.names)

    @classmethod
    def gone(cls, client: Namespace, count: int) -> list[str]:
        """The names that so many connections found, which are closed again."""
        flows = cls(client, count)
        flows.close()
        return flows.names

    def ask(self, within_s: float = ANSWER_S) -> list[str]:
        """The name that each connection's server says now; "" for those that are gone or silent."""
        names = dict.fromkeys(range(len(self._sockets)), "")
        until = time.monotonic() + within_s
        with selectors.DefaultSelector() as waiting:
            for number, one in enumerate(self._sockets):
                waiting.register(one, selectors.EVENT_WRITE, number)
            while waiting.get_map() and (left := until - time.monotonic()) > 0:
                for key, events in waiting.select(left):
                    self._go_on(waiting, key.data, names, writable=bool(events & selectors.EVENT_WRITE))
        return list(names.values())

    def _go_on(self, waiting: selectors.BaseSelector, number: int, names: dict[int, str], *, writable: bool) -> None:
        """One connection: connected, so it asks; or answered, or gone."""
        one = self._sockets[number]
        try:
            if writable:
                one.send(b"?\n")
                waiting.modify(one, selectors.EVENT_READ, number)
                return
            names[number] = one.recv(100).decode().strip()
        except OSError:
            names[number] = ""
        waiting.unregister(one)

    def close(self) -> None:
        """Close them all."""
        for one in self._sockets:
            one.close()


def datagrams(client: Namespace, count: int, address: str = VIP4, first_port: int = 20_000) -> Counter[str]:
    """Who answers one datagram of each of `count` flows."""

    def ask() -> Counter[str]:
        found: Counter[str] = Counter()
        for start in range(0, count, 500):
            batch = [_asking(address, first_port + number) for number in range(start, min(start + 500, count))]
            for one in batch:
                with contextlib.suppress(OSError):
                    found[one.recv(100).decode().split()[-1]] += 1
                one.close()
        return found

    return client.call(ask)


def _asking(address: str, port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("", port))
    one.connect((address, PORT))
    one.settimeout(ANSWER_S)
    one.send(b"?")
    return one


def _connecting(address: str) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    one.settimeout(0)
    one.connect_ex((address, PORT))
    return one


def _link(left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
    left.run("ip", "link", "add", left_name, "type", "veth", "peer", "name", right_name, "netns", right.name)
    for member, name in ((left, left_name), (right, right_name)):
        member.run("ip", "link", "set", name, "up")
