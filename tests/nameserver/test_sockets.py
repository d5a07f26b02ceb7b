"""Sockets of endpoints: shared among ours and with nobody else, and errors that say what to do."""

from __future__ import annotations

import errno
import socket

import pytest

from gslb.nameserver.sockets import CannotListen, Endpoint, Transport, bind, endpoint_of, explain, share
from tests.ports import free_port


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_ours_share_an_endpoint(transport: Transport) -> None:
    endpoint = Endpoint(transport, "127.0.0.1", free_port())
    group = [*bind(endpoint, 2), *share(endpoint, 1)]
    assert [endpoint_of(sock) for sock in group] == [endpoint] * 3
    for sock in group:
        assert not sock.getblocking()
        sock.close()


def test_a_strangers_reuseport_is_not_shared() -> None:
    endpoint = Endpoint("udp", "127.0.0.1", free_port())
    with socket.socket(type=socket.SOCK_DGRAM) as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind((endpoint.address, endpoint.port))
        with pytest.raises(CannotListen, match="in use by another program"):
            bind(endpoint, 1)


def test_connections_of_before_do_not_keep_a_port() -> None:
    endpoint = Endpoint("tcp", "127.0.0.1", free_port())
    (first,) = bind(endpoint, 1)
    first.settimeout(5)
    with socket.create_connection((endpoint.address, endpoint.port)) as client:
        served, _ = first.accept()
        served.close()  # our side waits in TIME_WAIT now
        assert client.recv(1) == b""
    first.close()
    for sock in bind(endpoint, 1):
        sock.close()


def test_replies_are_not_fragmented() -> None:
    (sock,) = bind(Endpoint("udp", "127.0.0.1", free_port()), 1)
    with sock:
        assert sock.getsockopt(socket.IPPROTO_IP, 10) == 3  # IP_MTU_DISCOVER: IP_PMTUDISC_PROBE


ERRORS = [
    (errno.EADDRINUSE, 5300, "the port is in use by another program (`ss -lpn sport = :5300` shows it)"),
    (
        errno.EACCES,
        53,
        "ports below 1024 need a privilege: start by systemd with AmbientCapabilities=CAP_NET_BIND_SERVICE",
    ),
    (errno.EACCES, 5300, "Permission denied"),
    (errno.EADDRNOTAVAIL, 53, "no interface of this node has that address"),
    (errno.EMFILE, 53, "Too many open files"),
]


@pytest.mark.parametrize(("number", "port", "expected"), ERRORS)
def test_errors_say_what_to_do(number: int, port: int, expected: str) -> None:
    line = explain(
        Endpoint("udp", "2001:db8::1", port),
        OSError(number, "Permission denied" if number == errno.EACCES else "Too many open files"),
    )
    assert line.startswith(f"cannot listen on [2001:db8::1]:{port}/udp: ")
    assert expected in line
    assert "\n" not in line
