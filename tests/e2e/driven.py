"""A node that answers DNS in the driver, with two clients on links of their own: one asks by sockets, one generates load.  IO; needs root.

    client ── eth0 ── node ── eth1 ── gun

The client's end has a program that passes all, and the generator brings its own: else nothing takes what a driver sends back.
"""

# typing.override arrives with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.query

from gslb.control.indriver import UNKNOWN
from tests.e2e.apiclient import ApiClient
from tests.e2e.lifecycle import GSLB, wait_until
from tests.e2e.probes.wire import Target, query
from tests.e2e.program import FEATURES, Program, running
from tests.namespaces import Namespace, World
from tests.ports import free_port
from tests.xdp.harness import compiled

SERVER4, SERVER6, GUN4 = "10.1.0.10", "fd00:1::10", "10.2.0.10"
HOME, AWAY = "192.0.2.10", "198.51.100.10"  # what `www` is answered
TOKEN = "of this test"
CONFIG = """\
deployment: {deployment}
nodes:
  one: {{site: here{interfaces}}}
datacenters:
  here: {{at: [50.11, 8.68]}}
  there: {{at: [38.95, -77.45]}}
pools:
  home: {{datacenter: here, answers: [192.0.2.10, "2001:db8::10"]}}
  away: {{datacenter: there, answers: [198.51.100.10, "2001:db8::a"]}}
policies:
  web: {{rules: [{{subnets: [203.0.113.0/24, "2001:db8:5::/48"], pools: [away, home]}}, {{pools: [home, away]}}], velocity: 100%}}
dns: {{listen: {listen}, workers: 1, xdp: {xdp}}}
api: {{listen: "127.0.0.1:{api}", token_file: {token}}}
limits: {{exempt: [10.0.0.0/8, "fd00::/8"]}}
zones: [site.test.yaml]
"""
ZONE = """\
'':
  - type: SOA
    value: {mname: ns1.site.test., rname: hostmaster.site.test.}
  - type: NS
    values: [ns1.site.test.]
ns1: {type: A, value: 10.1.0.10}
www: {policy: web, ttl: 60, types: [A, AAAA]}
'*.wild': {type: A, value: 192.0.2.99}
"""


@dataclass(frozen=True)
class Shot:
    """What the generator said at its end."""

    sent: int
    replied: int
    text: str


class _By(Namespace):
    """A namespace in which a command runs by way of another one."""

    def __init__(self, of: Namespace, before: Sequence[str]) -> None:
        super().__init__(of.name)
        self._before = before

    def command(self, argv: Sequence[str]) -> list[str]:
        return super().command([*self._before, *argv])


class Driven:
    """The world of one test, without the program yet."""

    def __init__(self, world: World, folder: Path, deployment: str, *, xdp: str = "native") -> None:
        self.folder = folder
        self.deployment = deployment
        self.client, self.node, self.gun = (world.namespace(name) for name in ("client", "node", "gun"))
        self.api_port = free_port()
        self.config = folder / "gslb.yaml"
        _link(self.client, self.node, "eth0")
        _link(self.gun, self.node, "eth1")
        for member, device, last in ((self.client, "eth0", 2), (self.node, "eth0", 10)):
            member.add_address(device, f"10.1.0.{last}/24")
            member.add_address(device, f"fd00:1::{last}/64")
        for member, device, last in ((self.gun, "eth0", 2), (self.node, "eth1", 10)):
            member.add_address(device, f"10.2.0.{last}/24")
        for member, device in ((self.client, "eth0"), (self.gun, "eth0"), (self.node, "eth0"), (self.node, "eth1")):
            member.run("ethtool", "-K", device, "tx", "off")
        passing = str(compiled(Path(__file__).with_name("pass.bpf.c"), folder))
        self.client.run("ip", "link", "set", "dev", "eth0", "xdpdrv", "obj", passing, "sec", "xdp")
        (folder / "site.test.yaml").write_text(ZONE)
        self._token = folder / "token"
        self._token.write_text(TOKEN)
        self._token.chmod(0o600)
        self.configure(xdp)

    def configure(
        self,
        xdp: str,
        interfaces: str = ", interfaces: [eth0, eth1]",
        *,
        native: bool | None = None,
        listen: Sequence[str] = ("0.0.0.0:53", "[::]:53"),
    ) -> None:
        """Write the configuration.  `native`: whether DNS is expected in the driver; where `xdp` says so, unless told."""
        self._native = xdp == "native" if native is None else native
        self.config.write_text(
            CONFIG.format(
                deployment=self.deployment,
                xdp=xdp,
                api=self.api_port,
                interfaces=interfaces,
                token=self._token,
                listen=json.dumps(listen),
            )
        )

    @contextlib.contextmanager
    def running(self, before: Sequence[str] = ()) -> Iterator[Program]:
        """The program, started by way of `before`; it answers in the driver where it is told to natively, and else has said why not."""
        first = query("www.site.test.", "A")
        with running(
            self.folder, self.config, "one", Target(SERVER4, 53, FEATURES), first=first, inside=_By(self.node, before)
        ) as program:
            wait_until(lambda: self._stands(program), "DNS in the driver")
            yield program

    def _stands(self, program: Program) -> bool:
        why = self.driver(program)["why"]
        return not why if self._native else why != UNKNOWN

    def status(self, program: Program) -> dict[str, Any]:
        """`gslb status --json`."""
        words = [
            *GSLB,
            "status",
            "--json",
            "--config",
            str(program.config),
            "--node",
            "one",
            "--state",
            str(program.state),
        ]
        done = subprocess.run(self.node.command(words), capture_output=True, text=True, timeout=60, check=False)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def driver(self, program: Program) -> dict[str, Any]:
        """What it says of DNS in the driver."""
        found: dict[str, Any] = self.status(program)["driver"] or {"why": UNKNOWN}
        return found

    def inside(self, program: Program) -> int:
        """How many queries were answered in the driver."""
        return int(self.status(program)["counters"]["xdp"])

    def ask(self, server: str = SERVER4, name: str = "www.site.test", rtype: str = "A", subnet: str = "") -> list[str]:
        """Ask with dnspython; the addresses of the answer.  2 s of patience."""
        options: list[dns.edns.Option] = []
        if subnet:
            address, _, bits = subnet.partition("/")
            options.append(dns.edns.ECSOption(address, int(bits)))
        message = dns.message.make_query(name, rtype, use_edns=0, options=options)
        reply = self.client.call(lambda: dns.query.udp(message, server, timeout=2))
        return [record.address for record in reply.answer[-1]] if reply.answer else []

    def shoot(self, *words: str, per_s: int, seconds: int) -> Shot:
        """Queries for `www` from the generator."""
        queries = self.folder / "queries"
        queries.write_text("www.site.test. A\n")
        command = ["kxdpgun", "-i", str(queries), "-Q", str(per_s), "-t", str(seconds), *words, GUN4]
        said = self.gun.run(*command, timeout=60 + seconds)
        sent, replied = (re.search(rf"total {what}: +([\d,]+)", said) for what in ("queries", "replies"))
        assert sent, said
        assert replied, said
        return Shot(int(sent[1].replace(",", "")), int(replied[1].replace(",", "")), said)

    def ready(self) -> str:
        """What /readyz says."""
        return self.node.call(lambda: ApiClient(self.api_port, TOKEN).get("/readyz")).body.decode()

    def change_plans(self, seconds: float, per_s: float = 10.0) -> int:
        """Drain a pool and end that, again and again; how many plans there were."""
        api = ApiClient(self.api_port, TOKEN)

        def change() -> int:
            body = {"target": "pool/home", "state": "drain", "why": "a test", "who": "ada", "for": "1h"}
            began, done = time.monotonic(), 0
            while time.monotonic() - began < seconds:
                got = (
                    api.delete("/v1/overrides?target=pool/home&who=ada")
                    if done % 2
                    else api.post("/v1/overrides", body)
                )
                assert got.status == 200, got
                done += 1
                time.sleep(max(0.0, began + done / per_s - time.monotonic()))
            return done

        return self.node.call(change)


def _link(client: Namespace, node: Namespace, name: str) -> None:
    """A veth pair, `eth0` at the client, up."""
    client.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", node.name)
    client.run("ip", "link", "set", "eth0", "up")
    node.run("ip", "link", "set", name, "up")
