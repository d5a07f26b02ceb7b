"""Probes with a mark, over real links: they reach the backend that the mark names, as clients' packets would."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from gslb.layout import Backend, BackendFlags, Mode, Settings
from healthcheck.check import MARK as MARKED
from healthcheck.check import Check, Sample
from healthcheck.probes import PROBES
from tests.namespaces import Namespace, World
from xdp import build, decap, loading, tc
from xdp.decap import DecapCount
from xdp.libbpf import Object

MARK, OTHER = 0x67000001, 0x67000002
ID = 5
VIPS = {4: "192.0.2.10", 6: "2001:db8:a::10"}
ENDS = {4: "10.1.0.11", 6: "2001:db8:1::11"}
NODES = {4: "10.1.0.1", 6: "2001:db8:1::1"}
NOWHERE = "02:00:00:00:00:99"  # the router, as far as the node knows: nobody has it
HEARD = b"x" * 100_000
SHORT_S = 0.4


@dataclass
class Ground:
    """A node with the program, a backend that serves both VIPs, one link between them."""

    node: Namespace
    backend: Namespace
    node_end: str
    backend_end: str
    program: Object
    home: Path

    def go(self, mode: Mode, version: int = 4, *, mark: int = MARK, flags: int = 0) -> None:
        """Probes with `mark` go to the backend so."""
        address = ip_address(ENDS[version])
        record = Backend(
            address=tuple(address.packed if version == 6 else bytes(10) + b"\xff\xff" + address.packed),
            next_hop=self.mac(self.backend, self.backend_end),
            source=self.mac(self.node, self.node_end),
            ifindex=self.node.call(lambda: socket.if_nametoindex(self.node_end)),
            mtu=1500,
            mode=mode,
            flags=flags,
        )
        self.program.map("backends").update(word(ID), bytes(record))
        self.program.map("marks").update(word(mark), word(ID))

    def mac(self, host: Namespace, interface: str) -> tuple[int, ...]:
        text = host.run("ip", "-o", "link", "show", interface)
        return tuple(bytes.fromhex(text.split("link/ether ")[1].split()[0].replace(":", "")))

    def ask(self, vip: str, mark: int | None, *, timeout_s: float = 5.0, octets: bytes = HEARD) -> str:
        """What the server at the VIP makes of so many octets, by TCP."""

        def client() -> str:
            family = socket.AF_INET6 if ":" in vip else socket.AF_INET
            with socket.socket(family, socket.SOCK_STREAM) as channel:
                channel.settimeout(timeout_s)
                channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1300)
                if mark is not None:
                    channel.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
                channel.connect((vip, 80))
                channel.sendall(octets)
                channel.shutdown(socket.SHUT_WR)
                return channel.recv(200).decode()

        return self.node.call(client)

    def echo(self, vip: str) -> Sample:
        """What the health check by echo requests makes of the VIP."""
        check = Check("echo", "icmp", vip, None, 3.0, {MARKED: MARK})

        async def asked() -> Sample:
            (sample,) = await PROBES["icmp"](check)
            return sample

        return self.node.call(lambda: asyncio.run(asked()))

    def counted(self) -> dict[DecapCount, int]:
        found = self.backend.call(decap.read)
        assert found is not None
        return dict(found.counts)


def word(value: int) -> bytes:
    return value.to_bytes(4, sys.byteorder)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    build.build()
    with World() as world, contextlib.ExitStack() as after:
        node, backend = world.namespace("node"), world.namespace("backend")
        node.run("sysctl", "-w", "net.ipv4.ping_group_range=0 2147483647")
        ends = world.join(node, backend, "10.1.0.1/24", "10.1.0.11/24")
        for host, end, version6 in ((node, ends[0], NODES[6]), (backend, ends[1], ENDS[6])):
            host.add_address(end, f"{version6}/64")
        for version, vip in VIPS.items():
            router = {4: "10.1.0.254", 6: "2001:db8:1::254"}[version]
            node.run("ip", "neigh", "add", router, "lladdr", NOWHERE, "dev", ends[0], "nud", "permanent")
            node.add_route(vip, router)
            backend.add_address("lo", f"{vip}/{32 if version == 4 else 128}")
        networks = [ip_network(vip) for vip in VIPS.values()]
        backend.call(lambda: decap.install(ends[1], networks, [ip_address(end) for end in ENDS.values()]))
        after.callback(backend.call, decap.remove)
        program = loading.load(loading.DIRECTORY / "probe.bpf.o", {})
        after.callback(program.close)
        home = Path("/probe") / node.name
        node.call(lambda: tc.attach(home, program.program_fd("probe"), ends[0]))
        program.map("settings").update(word(0), bytes(_settings()))
        for version, vip in VIPS.items():
            _serve(backend, vip, version, after)
        yield Ground(node, backend, *ends, program, home)


def _settings() -> Settings:
    made = Settings(
        source6=tuple(ip_address("100::").packed),
        spread6=tuple(bytes(8) + b"\xff" * 8),
        source4=int(ip_address("198.18.0.0")),
        spread4=0x1FFFF,
        own6=tuple(ip_address(NODES[6]).packed),
        own4=int(ip_address(NODES[4])),
        gue_port=6080,
    )
    ctypes.memmove(ctypes.addressof(made), b"0123456789abcdef", 16)
    return made


def _serve(backend: Namespace, vip: str, version: int, after: contextlib.ExitStack) -> None:
    """Says what it heard."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET

    def listen() -> socket.socket:
        made = socket.create_server((vip, 80), family=family, backlog=16)
        made.settimeout(0.2)
        return made

    server = backend.call(listen)
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                channel, _ = server.accept()
                with channel:
                    channel.settimeout(5)
                    hashed = hashlib.blake2b(digest_size=8)
                    while data := channel.recv(65536):
                        hashed.update(data)
                    channel.sendall(hashed.hexdigest().encode())

    thread = threading.Thread(target=run)
    thread.start()

    def end() -> None:
        over.set()
        thread.join()
        server.close()

    after.callback(end)


EXPECTED = hashlib.blake2b(HEARD, digest_size=8).hexdigest()
TUNNELS = [(mode, end, vip) for mode in (Mode.MODE_IP, Mode.MODE_GUE) for end in (4, 6) for vip in (4, 6)]


@pytest.mark.root
@pytest.mark.parametrize("version", [4, 6])
def test_new_ethernet_addresses(ground: Ground, version: int) -> None:
    ground.go(Mode.MODE_L2, version)
    before = ground.counted()
    assert ground.ask(VIPS[version], MARK) == EXPECTED
    assert ground.counted() == before


@pytest.mark.root
@pytest.mark.parametrize(
    ("mode", "end", "vip"), TUNNELS, ids=lambda value: value.name if isinstance(value, Mode) else value
)
def test_tunnels(ground: Ground, mode: Mode, end: int, vip: int) -> None:
    ground.go(mode, end)
    before = ground.counted()
    assert ground.ask(VIPS[vip], MARK) == EXPECTED
    kind = DecapCount.DECAP_IP if mode is Mode.MODE_IP else DecapCount.DECAP_GUE
    changed = {one for one, count in ground.counted().items() if count > before[one]}
    assert changed == {kind}


@pytest.mark.root
def test_without_a_mark_or_with_anothers_it_leaves_as_it_came(ground: Ground) -> None:
    ground.go(Mode.MODE_L2)
    for mark in (None, OTHER):
        with pytest.raises(TimeoutError):
            ground.ask(VIPS[4], mark, timeout_s=SHORT_S)


@pytest.mark.root
def test_a_backend_that_is_down_is_asked_and_one_that_cannot_be_reached_is_not(ground: Ground) -> None:
    ground.go(Mode.MODE_IP, flags=BackendFlags.BACKEND_DOWN)
    assert ground.ask(VIPS[4], MARK) == EXPECTED
    for mode, flags in ((Mode.MODE_IP, BackendFlags.BACKEND_UNREACHABLE), (Mode.MODE_NONE, 0)):
        ground.go(mode, flags=flags)
        with pytest.raises(TimeoutError):
            ground.ask(VIPS[4], MARK, timeout_s=SHORT_S)


@pytest.mark.root
@pytest.mark.parametrize("mode", [Mode.MODE_L2, Mode.MODE_IP, Mode.MODE_GUE])
@pytest.mark.parametrize("version", [4, 6])
def test_echo_requests(ground: Ground, mode: Mode, version: int) -> None:
    ground.go(mode)
    assert ground.echo(VIPS[version]).ok


@pytest.mark.root
def test_by_another_interface_than_the_routes(ground: Ground) -> None:
    """The route to the VIP leaves by an interface that leads nowhere; the mark ends, so that the other one leaves it alone."""
    node = ground.node
    node.run("ip", "link", "add", "stray", "type", "veth", "peer", "name", "end")
    try:
        for name in ("stray", "end"):
            node.run("ip", "link", "set", name, "up")
        node.run("ip", "route", "add", "203.0.113.5", "dev", "stray", "src", NODES[4])
        node.run("ip", "neigh", "add", "203.0.113.5", "lladdr", NOWHERE, "dev", "stray", "nud", "permanent")
        node.call(lambda: tc.attach(ground.home, ground.program.program_fd("probe"), "stray"))
        ground.backend.add_address("lo", "203.0.113.5/32")
        ground.backend.call(
            lambda: decap.install(
                ground.backend_end,
                [ip_network("203.0.113.5"), *map(ip_network, VIPS.values())],
                [*map(ip_address, ENDS.values())],
            )
        )
        ground.go(Mode.MODE_IP)
        assert ground.echo("203.0.113.5").ok
        assert ground.counted() == dict.fromkeys(DecapCount, 0) | {DecapCount.DECAP_IP: 1}
    finally:
        node.run("ip", "link", "del", "stray")
