"""A client behind one router, and sites that announce to it; packets counted and routes timed.  IO; needs root.

    client ── router ─┬─ site a
                      ├─ site b
                      └─ ...

Flows are spread by ports over equal paths.  The client is behind the router because the kernel does not spread what it sends
itself when the address of one of the links was chosen as the source.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.namespaces import Namespace, World
from xdp.netlink import Netlink

OURS, THEIRS = 65010, 65001  # AS numbers: of all sites, of the router
CLIENT4, CLIENT6 = "198.51.100.2", "2001:db8:c::2"
FLOWS = 32  # source ports of the probes
PROBE_S = 0.001
LATE_S = 0.5  # what did not come back by then is lost
_GROUPS = 0x40 | 0x400  # RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE
_NEW, _GONE = 24, 25  # RTM_NEWROUTE, RTM_DELROUTE
_DST = 1  # RTA_DST
_IP_FREEBIND = 15


class Lab:
    """The hosts of one test.  Site number n (from 1) is 10.99.n.2 and fd99:n::2, its router 10.99.n.1 and fd99:n::1."""

    def __init__(self, world: World, *sites: str) -> None:
        self.client, self.router = world.namespace("client"), world.namespace("router")
        self.sites = {name: world.namespace(name) for name in sites}
        for member in (self.client, self.router, *self.sites.values()):
            _set(member, "net.ipv6.conf.default.accept_dad=0", "net.ipv4.conf.all.rp_filter=0")
        self._join(world, self.client, "198.51.100.{}/24", "2001:db8:c::{}/64")
        for number, member in enumerate(self.sites.values(), start=1):
            self._join(world, member, f"10.99.{number}.{{}}/24", f"fd99:{number}::{{}}/64")
        _set(self.router, "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        _set(self.router, "net.ipv4.fib_multipath_hash_policy=1", "net.ipv6.fib_multipath_hash_policy=1")

    def _join(self, world: World, member: Namespace, four: str, six: str) -> None:
        ends = world.join(self.router, member, four.format(1), four.format(2))
        self.router.add_address(ends[0], six.format(1))
        member.add_address(ends[1], six.format(2))
        member.add_route("default", four.format(1).split("/")[0])
        member.run("ip", "-6", "route", "add", "default", "via", six.format(1).split("/")[0])

    def address(self, site: str, version: int = 4) -> str:
        """The address of a site's own link."""
        number = list(self.sites).index(site) + 1
        return f"10.99.{number}.2" if version == 4 else f"fd99:{number}::2"

    def gateway(self, site: str, version: int = 4) -> str:
        """The address of the router on that link."""
        return self.address(site, version)[:-1] + "1"

    def bind(self, *vips: str) -> None:
        """Give every site these prefixes on its loopback."""
        for member in self.sites.values():
            for vip in vips:
                member.add_address("lo", vip)

    def reached(self, prefix: str) -> set[str]:
        """The sites to which the router's kernel sends what goes to `prefix`."""
        version = ipaddress.ip_network(prefix).version
        found = json.loads(self.router.run("ip", f"-{version}", "-j", "route", "show", prefix))
        hops = [hop for route in found for hop in route.get("nexthops", [route])]
        links = {hop["dev"] for hop in hops}
        by_link = {f"v{number}l": site for number, site in enumerate(self.sites, start=1)}
        return {by_link[link] for link in links if link in by_link}


@dataclass(frozen=True, slots=True)
class RouteEvent:
    """A route of the router's kernel came (or changed) or went, at a time of the monotonic clock."""

    at: float
    prefix: str
    there: bool


class RouteClock:
    """When routes come and go in a namespace, in the order in which its kernel tells."""

    def __init__(self, member: Namespace) -> None:
        self._socket = member.call(lambda: Netlink(_GROUPS))
        self._seen: list[RouteEvent] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def events(self) -> list[RouteEvent]:
        """All so far.  Those that waited in the socket get the time of this call."""
        self._read(0.0)
        return list(self._seen)

    def wait(self, prefix: str, *, there: bool | None, within_s: float, since: float = 0.0) -> float:
        """When `prefix` came or went (None: either), at `since` or later.  AssertionError where it does not `within_s`."""
        what = {True: "came", False: "went", None: "came or went"}[there]
        until = time.monotonic() + within_s
        while True:
            for event in self._seen:
                if event.at >= since and event.prefix == prefix and there in (None, event.there):
                    return event.at
            left = until - time.monotonic()
            assert left > 0, f"not within {within_s} s: {prefix} {what}; seen {self._seen}"
            self._read(left)

    def _read(self, patience_s: float) -> None:
        while select.select([self._socket], [], [], patience_s)[0]:
            now = time.monotonic()
            for kind, body in self._socket.changes():
                prefix = _prefix_of(body)
                if kind in (_NEW, _GONE) and prefix is not None:
                    self._seen.append(RouteEvent(now, prefix, there=kind == _NEW))
            patience_s = 0.0


@dataclass(slots=True)
class Losses:
    """What became of the probes.  Times are of the monotonic clock."""

    sent: dict[int, float] = field(default_factory=dict)  # by number of the probe
    answered: dict[int, tuple[str, float]] = field(default_factory=dict)

    @property
    def lost(self) -> list[float]:
        """When each lost probe was sent."""
        return [at for number, at in list(self.sent.items()) if number not in self.answered]

    def by_site(self, since: float = 0.0, until: float = float("inf")) -> Counter[str]:
        """Answers by site, of the probes that were sent between."""
        return Counter(site for number, (site, _) in list(self.answered.items()) if since <= self.sent[number] < until)

    def last_from(self, site: str) -> float:
        """When the last answer of a site came."""
        return max(at for name, at in list(self.answered.values()) if name == site)


class Meter:
    """Probes from the client to `vip`, from many source ports, for as long as the block lasts."""

    def __init__(self, lab: Lab, vip: str, port: int, pace_s: float = PROBE_S) -> None:
        self._family = socket.AF_INET if ipaddress.ip_address(vip).version == 4 else socket.AF_INET6
        self._pace_s = pace_s
        self._clients = [lab.client.call(lambda: _connected(self._family, vip, port)) for _ in range(FLOWS)]
        self._ending = threading.Event()
        self._prober = threading.Thread(target=self._probe, name=f"probes {vip}")
        self.losses = Losses()

    def __enter__(self) -> Self:
        self._prober.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._prober.join()
        for made in self._clients:
            made.close()

    def answers_from(self, *sites: str, within_s: float = 5.0) -> None:
        """Wait until new probes are answered by exactly these sites."""
        until = time.monotonic() + within_s
        while True:
            since, patience_s = time.monotonic(), 2 * FLOWS * self._pace_s
            while len(self.losses.by_site(since)) < len(sites) and time.monotonic() < since + patience_s:
                time.sleep(patience_s / 2)
            found = dict(self.losses.by_site(since))
            if set(found) == set(sites):
                return
            assert time.monotonic() < until, f"not within {within_s} s: answers from {sites}; the last were {found}"

    def _asked(self, number: int) -> bytes:
        """What the probe of this number is."""
        return struct.pack("!Q", number)

    def _answered(self, data: bytes) -> tuple[int, str] | None:
        """The number of the probe that was answered so, and by which site; None for what is no answer."""
        return struct.unpack("!Q", data[:8])[0], data[8:].decode().strip()

    def _probe(self) -> None:
        due, number = time.monotonic(), 0
        while not self._ending.is_set():
            with contextlib.suppress(OSError):  # the ICMP error of an earlier probe: this one is lost as well
                self._clients[number % FLOWS].send(self._asked(number))
            self.losses.sent[number] = time.monotonic()
            number, due = number + 1, due + self._pace_s
            self._hear(max(0.0, due - time.monotonic()))
        until = time.monotonic() + LATE_S
        while time.monotonic() < until and len(self.losses.answered) < number:
            self._hear(0.01)

    def _hear(self, patience_s: float) -> None:
        until = time.monotonic() + patience_s
        while True:
            for made in select.select(self._clients, [], [], max(0.0, until - time.monotonic()))[0]:
                _drain(made, self._answer)
            if time.monotonic() >= until:
                return

    def _answer(self, data: bytes, _: object) -> None:
        if (answered := self._answered(data)) is not None:
            self.losses.answered.setdefault(answered[0], (answered[1], time.monotonic()))


class LossMeter(Meter):
    """Probes that each site answers with its name, by a server of the meter's own."""

    def __init__(self, lab: Lab, vip: str, port: int = 7007, pace_s: float = PROBE_S) -> None:
        super().__init__(lab, vip, port, pace_s)
        self._servers = {name: host.call(lambda: _server(self._family, vip, port)) for name, host in lab.sites.items()}
        self._over = threading.Event()
        self._server = threading.Thread(target=self._serve, name=f"answers {vip}")

    def __enter__(self) -> Self:  # type: ignore[explicit-override]
        self._server.start()
        return super().__enter__()

    def __exit__(  # type: ignore[explicit-override]
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._over.set()
        self._server.join()
        for made in self._servers.values():
            made.close()

    def _serve(self) -> None:
        names = {made: name.encode() for name, made in self._servers.items()}
        while not self._over.is_set():
            for made in select.select(list(names), [], [], 0.05)[0]:
                _drain(made, lambda data, sender, made=made: made.sendto(data + names[made], sender))  # type: ignore[misc]


def _drain(made: socket.socket, take: Callable[[bytes, object], object]) -> None:
    while True:
        try:
            take(*made.recvfrom(512))
        except BlockingIOError:
            return
        except OSError:
            continue  # the ICMP error of a probe


def _server(family: int, vip: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    level, option = (socket.IPPROTO_IP, _IP_FREEBIND) if family == socket.AF_INET else (socket.IPPROTO_IPV6, 78)
    made.setsockopt(level, option, 1)
    made.bind((vip, port))
    return made


def _connected(family: int, vip: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    made.connect((vip, port))
    return made


def _prefix_of(body: bytes) -> str | None:
    """The destination of a route message (rtnetlink(7), struct rtmsg), None for the default route."""
    length, offset = body[1], 12
    while offset + 4 <= len(body):
        size, kind = struct.unpack_from("=HH", body, offset)
        if kind == _DST:
            return str(ipaddress.ip_network((body[offset + 4 : offset + size], length)))
        offset += max(4, (size + 3) & ~3)
    return None


def _set(member: Namespace, *settings: str) -> None:
    member.run("sysctl", "-q", "-w", *settings)
