"""Real resolvers in a namespace, set up to forward Client Subnet to the server under test.  IO; needs root.

A small world: the server at SERVER in one namespace, a resolver at RESOLVER in another, which also holds the clients'
addresses (on its loopback, so that a client of any network can ask).
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from tests.e2e.probes.wire import RD, Reply, Target, query
from tests.namespaces import Namespace, World

SERVER, RESOLVER, RESOLVER6 = "198.18.0.53", "198.18.0.1", "2001:db8:53::1"
START_S = 10.0

UNBOUND = f"""
server:
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  interface: {RESOLVER}
  interface: {RESOLVER6}
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  module-config: "subnetcache iterator"
  send-client-subnet: {SERVER}
  max-client-subnet-ipv4: 24
  max-client-subnet-ipv6: 56
  local-zone: "test." nodefault
  qname-minimisation-strict: yes
  use-caps-for-id: yes
remote-control:
  control-enable: no
stub-zone:
  name: "acceptance.test"
  stub-addr: {SERVER}
"""
RECURSOR = f"""
local-address={RESOLVER},{RESOLVER6}
socket-dir={{folder}}
setuid=
setgid=
daemon=no
dnssec=off
dont-query=
allow-from=0.0.0.0/0,::/0
forward-zones=acceptance.test={SERVER}
edns-subnet-allow-list=acceptance.test
ecs-add-for=0.0.0.0/0,::/0
ecs-ipv4-bits=24
ecs-ipv4-cache-bits=24
ecs-ipv6-bits=56
ecs-ipv6-cache-bits=56
ecs-minimum-ttl-override=1
threads=1
pdns-distributes-queries=no
disable-packetcache=yes
loglevel=4
webserver=no
security-poll-suffix=
"""
CONFIGS = {"unbound": ("unbound.conf", UNBOUND), "pdns_recursor": ("recursor.conf", RECURSOR)}


def command(program: str, path: str, folder: Path) -> Sequence[str]:
    """Write the resolver's config into `folder`; how to start it there."""
    name, text = CONFIGS[program]
    (folder / name).write_text(text.format(folder=folder) if program == "pdns_recursor" else text)
    if program == "unbound":
        return (path, "-d", "-c", str(folder / name))
    return (path, f"--config-dir={folder}")


class Resolver:
    """A running resolver and the clients around it."""

    def __init__(self, host: Namespace, output: Path) -> None:
        self._host = host
        self._output = output
        self._clients: set[str] = set()

    def ask(self, name: str, client: str) -> list[str]:
        """The addresses that the client at `client` is told for `name`."""
        version = ip_address(client).version
        if client not in self._clients:
            self._host.add_address("lo", f"{client}/{32 if version == 4 else 128}")
            self._clients.add(client)
        packet = query(name, "A", flags=RD)
        reply = self._host.call(lambda: self._exchange(packet, client, version))
        assert reply[3] & 15 == 0, f"rcode {reply[3] & 15} for {name} asked by {client}\n{self._output.read_text()}"
        # RA is what resolvers say, so it is cleared before the judge of authoritative replies reads the answer
        return [
            line.split()[3]
            for line in Reply(packet, reply[:3] + bytes([reply[3] & 0x7F]) + reply[4:]).section("answer")
        ]

    @staticmethod
    def _exchange(packet: bytes, client: str, version: int) -> bytes:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.bind((client, 0))
            sock.connect((RESOLVER if version == 4 else RESOLVER6, 53))
            sock.send(packet)
            return sock.recv(65535)

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Until it answers a name of the server."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            assert process.poll() is None, self._output.read_text()
            try:
                reply = self._host.call(lambda: self._exchange(query("leaf", "A", flags=RD), RESOLVER, 4))
            except OSError:
                reply = b""
            if reply and reply[3] & 15 == 0:
                return
            time.sleep(0.05)
        raise AssertionError(f"no answer within {START_S} s: {self._output.read_text()}")


def two_hosts(world: World, name: str) -> tuple[Namespace, Namespace]:
    """The host of the server and the host of the resolver, joined."""
    server, resolver = world.namespace(f"{name}-auth"), world.namespace(f"{name}-res")
    world.join(server, resolver, f"{SERVER}/24", f"{RESOLVER}/24")
    resolver.add_address("lo", f"{RESOLVER6}/128")
    return server, resolver


def start(host: Namespace, program: str, path: str, folder: Path) -> Resolver:
    """Start `program` on `host` and wait until it answers."""
    output = folder / "output"
    with output.open("wb") as sink:
        process = host.start(*command(program, path, folder), stdout=sink, stderr=sink)
    resolver = Resolver(host, output)
    resolver.wait(process)
    return resolver


TARGET = Target(SERVER, 53)
