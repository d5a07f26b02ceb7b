"""Orders over channels: what is asked, what is handed over, and what nonsense does."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gslb.nameserver import channel
from gslb.nameserver.orders import ask_to_give, hand_over, obey, take_back
from gslb.nameserver.sockets import Endpoint, endpoint_of
from tests.nameserver.echo import bound


class Recorder:
    """A worker that keeps what it is told."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.left: frozenset[Endpoint] = frozenset()
        self.finished = False

    def held(self) -> Sequence[socket.socket]:
        return self.sockets

    def serve(self, sock: socket.socket) -> None:
        self.sockets.append(sock)

    def leave(self, endpoints: frozenset[Endpoint]) -> None:
        self.left = endpoints

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = channel.pair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def worker() -> Iterator[Recorder]:
    one = Recorder()
    yield one
    for sock in one.sockets:
        sock.close()


def test_sockets_are_handed_over_and_given_back(line: tuple[socket.socket, socket.socket], worker: Recorder) -> None:
    ours, theirs = line
    with bound(socket.SOCK_DGRAM) as udp, bound(socket.SOCK_STREAM) as tcp:
        assert hand_over(ours, [udp, tcp])
        assert obey(worker, theirs)
        assert [endpoint_of(sock) for sock in worker.sockets] == [endpoint_of(udp), endpoint_of(tcp)]
        assert {endpoint_of(sock).transport for sock in worker.sockets} == {"udp", "tcp"}
        channel.send(ours, {"do": "give"})
        assert obey(worker, theirs)
        given = drain(ours)
        assert [endpoint_of(sock) for sock in given] == [endpoint_of(udp), endpoint_of(tcp)]
        for sock in given:
            sock.close()


def drain(line: socket.socket) -> list[socket.socket]:
    """What `ask_to_give` reads behind its question."""
    found = []
    while (received := channel.receive(line)) is not None:
        found += [socket.socket(fileno=descriptor) for descriptor in received[1]]
        if not received[0]["more"]:
            assert received[0]["pid"] == os.getpid()
            return found
    raise AssertionError("the channel ended")


def test_more_sockets_than_one_message_takes(line: tuple[socket.socket, socket.socket], worker: Recorder) -> None:
    ours, theirs = line
    with bound(socket.SOCK_DGRAM) as sock:
        many = [sock] * (channel.DESCRIPTORS_MAX + 10)
        assert hand_over(ours, many)
        assert obey(worker, theirs)
        assert obey(worker, theirs)
        assert len(worker.sockets) == len(many)


def test_endpoints_are_taken_back(line: tuple[socket.socket, socket.socket], worker: Recorder) -> None:
    endpoints = [Endpoint("udp", "192.0.2.1", 53), Endpoint("tcp", "fe80::1", 53, 3)]
    assert take_back(line[0], endpoints)
    assert obey(worker, line[1])
    assert worker.left == frozenset(endpoints)


def test_finish(line: tuple[socket.socket, socket.socket], worker: Recorder) -> None:
    channel.send(line[0], {"do": "finish"})
    assert obey(worker, line[1])
    assert worker.finished


def test_an_unknown_order_is_passed_over(line: tuple[socket.socket, socket.socket], worker: Recorder) -> None:
    channel.send(line[0], {"do": "dance"})
    assert obey(worker, line[1])


@pytest.mark.parametrize("nonsense", [b"{", b"[]", b"\xff", b"1"])
def test_nonsense_ends_the_line(line: tuple[socket.socket, socket.socket], worker: Recorder, nonsense: bytes) -> None:
    line[0].send(nonsense)
    assert not obey(worker, line[1])


def test_a_line_whose_other_end_is_gone(line: tuple[socket.socket, socket.socket], worker: Recorder) -> None:
    line[0].close()
    assert not obey(worker, line[1])
    assert not channel.send(line[1], {})


def test_who_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    with channel.listen(tmp_path, "udp-1.sock"), channel.connect(tmp_path, "udp-1.sock", 0.2) as line:
        assert ask_to_give(line) is None


def test_nobody_listens(tmp_path: Path) -> None:
    channel.listen(tmp_path, "udp-1.sock").close()
    with pytest.raises(ConnectionRefusedError):
        channel.connect(tmp_path, "udp-1.sock", 0.2)
