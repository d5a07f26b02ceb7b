"""The sockets of a nameserver: one per address, so that a reply leaves from the address that was asked.  IO.

Each worker has its own UDP socket for each address (SO_REUSEPORT spreads the clients over them); TCP has one
listening socket an address.  Standards: RFC 2181 section 4 (reply source), RFC 9715 (no fragments), RFC 7766.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import Literal

RECEIVE_BUFFER = 8 << 20  # octets a UDP socket: 50 ms of small queries at a million a second; the kernel may cap it
TCP_BUFFERS = 128 << 10  # octets each way a connection: slow readers hold no more of the kernel's memory
BACKLOG = 512

# Linux; the socket module of 3.11 does not name them
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER = 10, 23
_PMTUDISC_PROBE = 3  # DF set, and no ICMP message can talk us into fragments or tiny packets
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78
_SO_RCVBUFFORCE = 33

Transport = Literal["udp", "tcp"]


class CannotListen(Exception):
    """An address and port that cannot be listened on, with the cause and what to do."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where a nameserver listens.  `scope_id` is the interface of an IPv6 link-local address, else 0."""

    transport: Transport
    address: str
    port: int
    scope_id: int = 0

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return socket.AF_INET6 if ":" in self.address else socket.AF_INET

    @property
    def label(self) -> str:
        """For people: `[::1]:53/udp`."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}/{self.transport}"

    def to_json(self) -> list[object]:
        """For a message to a worker."""
        return [self.transport, self.address, self.port, self.scope_id]


def bind(endpoint: Endpoint, count: int) -> list[socket.socket]:
    """Open `count` sockets on `endpoint`, which share its traffic.  Raises CannotListen.

    SO_REUSEPORT alone would silently share a port with any other process of our user, so one exclusive bind is tried first.
    """
    try:
        with _open(endpoint, shared=False):
            pass
        opened: list[socket.socket] = []
        try:
            for _ in range(count):
                opened.append(_open(endpoint, shared=True))  # noqa: PERF401  # a list of what to close on failure
        except OSError:
            for sock in opened:
                sock.close()
            raise
    except OSError as error:
        raise CannotListen(explain(endpoint, error)) from error
    return opened


def share(endpoint: Endpoint, count: int) -> list[socket.socket]:
    """`count` more sockets beside those that we hold already.  Raises CannotListen."""
    try:
        return [_open(endpoint, shared=True) for _ in range(count)]
    except OSError as error:
        raise CannotListen(explain(endpoint, error)) from error


def explain(endpoint: Endpoint, error: OSError) -> str:
    """One line on why `endpoint` cannot be listened on and what to do about it."""
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen on {endpoint.label}: the port is in use by another program (`ss -lpn sport = :{endpoint.port}` shows it)"
    if error.errno in (errno.EACCES, errno.EPERM) and endpoint.port < 1024:
        return (
            f"cannot listen on {endpoint.label}: ports below 1024 need a privilege: start by systemd with "
            "AmbientCapabilities=CAP_NET_BIND_SERVICE (packaging/gslb.service), or once "
            "`sudo setcap cap_net_bind_service=+ep $(readlink -f .venv/bin/python)`"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"cannot listen on {endpoint.label}: no interface of this node has that address"
    return f"cannot listen on {endpoint.label}: {error.strerror or error}"


def endpoint_of(sock: socket.socket) -> Endpoint:
    """Where a bound socket listens."""
    host, port, *rest = sock.getsockname()
    transport: Transport = "udp" if sock.type == socket.SOCK_DGRAM else "tcp"
    return Endpoint(transport, str(host).partition("%")[0], port, rest[1] if rest else 0)


def _open(endpoint: Endpoint, *, shared: bool) -> socket.socket:
    udp = endpoint.transport == "udp"
    sock = socket.socket(endpoint.family, (socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) | socket.SOCK_NONBLOCK)
    try:
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if endpoint.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        (_tune_udp if udp else _tune_tcp)(sock)
        if endpoint.family == socket.AF_INET6:
            sock.bind((endpoint.address, endpoint.port, 0, endpoint.scope_id))
        else:
            sock.bind((endpoint.address, endpoint.port))
        if not udp:
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _tune_udp(sock: socket.socket) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _tune_tcp(sock: socket.socket) -> None:
    # without it a restart waits for the old connections' TIME_WAIT; a listening stranger still makes the bind fail
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TCP_BUFFERS)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TCP_BUFFERS)
