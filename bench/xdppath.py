"""Packets a second through the balancer over veth, beside a program that only sends each frame back.  IO: namespaces; needs root.

The generator is the kernel's: live frames of a test run, redirected into the client's end.  The backends' Ethernet address is the client's,
so that all comes back to it and is dropped there.  All of it runs on one core, so a rate is that of generator, two veth
crossings and program together; the ways take turns, and the ratio to the reflector is what tells.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from bench.xdpruns import Programs, Reach, Runs, compiled, frame
from gslb import layout
from tests.namespaces import Namespace, World
from xdp import libbpf

CLIENT, VIP = "198.18.0.1", "198.18.0.2"
FLOWS = 65536
BURST = 1 << 18  # packets a call
ROUNDS = 5
REFLECTOR = "reflector"
WAYS = {
    "L2": Reach("10.1.0.1", layout.Mode.MODE_L2),
    "IPv4 in IPv4": Reach("10.1.0.1", layout.Mode.MODE_IP),
    "GUE over IPv4": Reach("10.1.0.1", layout.Mode.MODE_GUE),
}
_BPF_XDP = 37  # attach type


@dataclass(frozen=True, slots=True)
class Rate:
    """Packets a second, the share of the reflector's, and of what was sent what came to the program."""

    name: str
    packets: float
    share: float
    seen: float


@dataclass(frozen=True, slots=True)
class Link:
    """Two hosts, and the index of each one's end of the link between them."""

    client: Namespace
    balancer: Namespace
    near: int
    far: int


def rates(seconds: float) -> list[Rate]:
    """Each way in turn, ROUNDS times; medians.  Raises OSError, NotBuilt, CalledProcessError."""
    found: dict[str, list[tuple[float, float]]] = {REFLECTOR: [], **{name: [] for name in WAYS}}
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        with World() as world, ExitStack() as stack:
            client, balancer = world.namespace("client"), world.namespace("balancer")
            near, far = world.join(client, balancer, f"{CLIENT}/24", f"{VIP}/24")
            link = Link(client, balancer, index_of(client, near), index_of(balancer, far))
            runs = Runs()
            stack.callback(runs.close)
            stack.enter_context(attached(client, link.near, runs.program("drop")))
            ways = {REFLECTOR: stack.enter_context(_reflector()), **_balancers(stack, link)}
            for _ in range(ROUNDS):
                for name, (program, count) in ways.items():
                    with attached(balancer, link.far, program):
                        found[name].append(client.call(lambda: _rate(runs, link.near, count, seconds)))  # noqa: B023  called at once
    finally:
        os.sched_setaffinity(0, before)
    floor = median(rate for rate, _ in found[REFLECTOR])
    middles = {name: median(rate for rate, _ in each) for name, each in found.items()}
    return [Rate(name, rate, rate / floor, median(seen for _, seen in found[name])) for name, rate in middles.items()]


Way = tuple[int, Callable[[], int]]  # a program, and how many packets it had


@contextmanager
def _reflector() -> Iterator[Way]:
    with compiled() as folder:
        loaded = libbpf.Object(folder / "reflect.bpf.o")
        loaded.load()
    count = loaded.map("reflected")
    try:
        yield loaded.program_fd("reflect"), lambda: _sum(count)
    finally:
        loaded.close()


def _balancers(stack: ExitStack, link: Link) -> dict[str, Way]:
    found: dict[str, Way] = {}
    for name, reach in WAYS.items():
        programs = Programs()
        stack.callback(programs.close)
        programs.settle()
        programs.ring(1, reach, index=link.far)
        programs.vip(VIP, socket.IPPROTO_TCP, 80, 1, 1)
        found[name] = programs.fd, lambda programs=programs: programs.packets(1)  # type: ignore[misc]
    return found


@contextmanager
def attached(host: Namespace, index: int, program: int) -> Iterator[None]:
    """Have a program on an interface.  Raises OSError."""

    def attach() -> int:
        return libbpf.require(libbpf.library().bpf_link_create(program, index, _BPF_XDP, None), "attach a program")

    link = host.call(attach)
    try:
        yield
    finally:
        os.close(link)


def _rate(runs: Runs, near: int, count: Callable[[], int], seconds: float) -> tuple[float, float]:
    """Packets a second that the program had, and their share of those sent."""
    wanted = frame(CLIENT, VIP, socket.IPPROTO_TCP, 80)
    runs.send(wanted, FLOWS, near, BURST)
    sent, before, began = 0, count(), time.monotonic()
    while time.monotonic() - began < seconds:
        runs.send(wanted, FLOWS, near, BURST)
        sent += BURST
    had = count() - before
    return had / (time.monotonic() - began), had / sent


def index_of(host: Namespace, interface: str) -> int:
    """The number of a host's interface."""
    return host.call(lambda: socket.if_nametoindex(interface))


def _sum(count: libbpf.Map) -> int:
    raw = count.lookup(bytes(4)) or b""
    return sum(value for (value,) in struct.iter_unpack("=Q", raw))
