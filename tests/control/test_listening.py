"""The supervisor's sockets: opened all or none, adopted once, dealt out to workers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gslb.control.addresses import Present
from gslb.control.listening import Listening
from gslb.control.wanted import Wanted
from gslb.nameserver.sockets import CannotListen, endpoint_of
from tests.ports import free_port

HERE = frozenset({Present("127.0.0.1"), Present("127.0.0.2")})


@contextmanager
def former_run(port: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets that share a port, as a run left them."""
    with socket.socket(type=socket.SOCK_DGRAM) as first, socket.socket(type=socket.SOCK_DGRAM) as second:
        for sock in (first, second):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(("127.0.0.1", port))
        yield first, second


def orders(*ports: int, address: str = "127.0.0.1") -> Wanted:
    return Wanted("example", "fra", tuple((address, port) for port in ports), (), None, 1000)


@pytest.fixture
def listening() -> Iterator[Listening]:
    one = Listening()
    yield one
    one.close(one.endpoints)


def test_each_worker_has_its_own_socket(listening: Listening) -> None:
    port = free_port()
    new = listening.cover(orders(port), 3, HERE)
    assert new == listening.endpoints
    dealt = [listening.of_slot(slot, 3) for slot in range(3)]
    assert [len(group) for group in dealt] == [1, 1, 1]
    assert len({sock.fileno() for group in dealt for sock in group}) == 3
    assert [endpoint_of(sock).port for sock in listening.of_tcp()] == [port]


def test_fewer_workers_share_the_sockets_of_more(listening: Listening) -> None:
    listening.cover(orders(free_port()), 5, HERE)
    dealt = [listening.of_slot(slot, 2) for slot in range(2)]
    assert sorted(len(group) for group in dealt) == [2, 3]


def test_more_workers_get_more_sockets(listening: Listening) -> None:
    one = orders(free_port())
    listening.cover(one, 1, HERE)
    assert listening.cover(one, 4, HERE) == frozenset()
    assert all(len(listening.of_slot(slot, 4)) == 1 for slot in range(4))


def test_all_or_none(listening: Listening) -> None:
    free, port = free_port(), free_port()
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port}/udp: the port is in use"):
            listening.cover(orders(free, port), 2, HERE)
    assert listening.endpoints == frozenset()
    with socket.socket(type=socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", free))


def test_a_socket_that_two_processes_gave_is_one(listening: Listening) -> None:
    port = free_port()
    with former_run(port) as (first, second):
        listening.adopt([first.dup(), second.dup(), first.dup()])
        assert len(listening.of_slot(0, 1)) == 2
        listening.cover(orders(port), 2, HERE)
        assert len(listening.of_slot(0, 1)) == 2, "nothing is opened beside what was adopted"


def test_adopted_sockets_of_other_endpoints_are_surplus(listening: Listening) -> None:
    port = free_port()
    with former_run(port) as (first, second):
        listening.adopt([first.dup(), second.dup()])
        new = listening.cover(orders(free_port()), 1, HERE)
        assert {one.port for one in listening.endpoints - new} == {port}
