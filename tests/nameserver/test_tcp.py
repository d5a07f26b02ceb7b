"""The TCP worker in a process of its own, with a fake of what answers."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path

import pytest

from gslb.nameserver import channel, orders, scoreboard
from gslb.nameserver.scoreboard import Tally
from gslb.nameserver.stream import Patience, frame
from gslb.nameserver.tcp import SHARE_MIN, TcpWorker, share_of
from tests.nameserver.echo import (
    CRASH,
    LARGE,
    LARGE_OCTETS,
    SILENT,
    Stage,
    bound,
    make_echo,
    running,
    wait_until,
)

QUERY = b"\x12\x34\x01\x00 query"
HASTY = Patience(idle_s=0.6, message_s=0.3, write_s=0.4)
CALM = Patience(idle_s=20.0, message_s=20.0, write_s=20.0)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    stage = Stage(tmp_path)
    stage.publish(b"one")
    return stage


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with bound(socket.SOCK_STREAM) as sock:
        yield sock


def serve(
    stage: Stage, listening: socket.socket, limit: int = 100, patience: Patience = CALM
) -> AbstractContextManager[tuple[int, socket.socket]]:
    def body(line: socket.socket) -> None:
        TcpWorker(stage.post, make_echo, line, limit, patience).run([listening.dup()])

    return running(body)


def connect(listening: socket.socket, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(listening.getsockname(), timeout=5, source_address=(source, 0))


def receive(connection: socket.socket) -> bytes:
    """One message; b"" at the end of the connection."""
    length = read_exactly(connection, 2)
    return read_exactly(connection, int.from_bytes(length, "big")) if length else b""


def read_exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            return found
        found += part
    return found


def tally(stage: Stage, pid: int, which: Tally) -> int:
    page = scoreboard.read(stage.run / f"tcp-{pid}.board")
    return page.tallies[which] if page is not None else 0


def closed_after_s(connection: socket.socket) -> float:
    began = time.monotonic()
    with suppress(ConnectionResetError):
        assert connection.recv(100) == b""
    return time.monotonic() - began


def test_several_queries_on_one_connection(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening), connect(listening) as one:
        for _ in range(5):
            one.sendall(frame(QUERY))
            assert receive(one) == b"one " + QUERY


def test_pipelined_queries_in_one_segment(stage: Stage, listening: socket.socket) -> None:
    queries = [QUERY + b" %d" % number for number in range(1000)]
    with serve(stage, listening), connect(listening) as one:
        one.sendall(b"".join(map(frame, queries)))
        assert [receive(one) for _ in queries] == [b"one " + query for query in queries]


def test_one_octet_at_a_time(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening), connect(listening) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in frame(QUERY):
            one.sendall(bytes((octet,)))
        assert receive(one) == b"one " + QUERY


def test_half_close_is_answered_and_then_closed(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening), connect(listening) as one:
        one.sendall(frame(QUERY) * 200 + b"\x00\x20half")
        one.shutdown(socket.SHUT_WR)
        assert [receive(one) for _ in range(201)] == [b"one " + QUERY] * 200 + [b""]


def test_an_empty_message_is_passed_over(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening), connect(listening) as one:
        one.sendall(frame(SILENT) + frame(SILENT) + frame(QUERY))
        assert receive(one) == b"one " + QUERY


def test_length_and_message_leave_in_one_segment(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening), connect(listening) as one:
        one.sendall(frame(QUERY))
        assert one.recv(100) == frame(b"one " + QUERY)


def test_a_defect_is_servfail_and_the_connection_stays(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening), connect(listening) as one:
        one.sendall(frame(CRASH) + frame(QUERY))
        assert receive(one)[3] & 15 == 2
        assert receive(one) == b"one " + QUERY


def test_a_new_generation_answers_the_next_query_of_an_old_connection(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening), connect(listening) as one:
        one.sendall(frame(QUERY))
        assert receive(one) == b"one " + QUERY
        stage.publish(b"two", 2)
        one.sendall(frame(QUERY))
        assert receive(one) == b"two " + QUERY


@pytest.mark.parametrize(
    ("sent", "at_least_s", "at_most_s"),
    [(b"", 0.5, 2.0), (b"\x00", 0.2, 2.0), (frame(SILENT), 0.4, 2.0)],
    ids=["idle", "a message begun", "garbage"],
)
def test_a_client_that_keeps_us_waiting_is_closed(
    stage: Stage, listening: socket.socket, sent: bytes, at_least_s: float, at_most_s: float
) -> None:
    with serve(stage, listening, patience=HASTY) as (pid, _), connect(listening) as one:
        one.sendall(sent)
        assert at_least_s <= closed_after_s(one) <= at_most_s
        wait_until(lambda: tally(stage, pid, Tally.TCP_TIMED_OUT) == 1, "it is counted")


def test_a_message_that_drips_ends_the_connection_in_time(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening, patience=HASTY), connect(listening) as one:
        began = time.monotonic()
        one.sendall(b"\x01\x00")
        with suppress(ConnectionError):
            while time.monotonic() - began < 5:
                one.sendall(b"x")
                select.select([], [], [], 0.02)
        assert time.monotonic() - began < 2


def test_a_client_that_does_not_read_is_closed_and_blocks_nobody(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening, patience=HASTY) as (pid, _), connect(listening) as slow, connect(listening) as quick:
        slow.settimeout(0)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        flood = frame(LARGE) * 500  # 20 MB of replies
        with suppress(BlockingIOError):
            slow.send(flood)
        for _ in range(3):
            quick.sendall(frame(QUERY))
            assert receive(quick) == b"one " + QUERY
        wait_until(lambda: tally(stage, pid, Tally.TCP_TIMED_OUT) >= 1, "the slow one is given up")


def test_a_client_that_reads_late_gets_everything(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening), connect(listening) as one:
        one.sendall(frame(LARGE) * 300)
        one.shutdown(socket.SHUT_WR)
        for _ in range(300):
            assert len(receive(one)) == LARGE_OCTETS
        assert receive(one) == b""


def test_one_client_has_no_more_than_its_share(stage: Stage, listening: socket.socket) -> None:
    assert share_of(1000) == 100
    assert share_of(20) == SHARE_MIN == 4
    assert share_of(3) == 3
    with serve(stage, listening, limit=40) as (pid, _), ExitStack() as stack:
        held = [stack.enter_context(connect(listening)) for _ in range(share_of(40))]
        for one in held:
            one.sendall(frame(QUERY))
            assert receive(one) == b"one " + QUERY
        refused = stack.enter_context(connect(listening))
        assert closed_after_s(refused) < 2
        another = stack.enter_context(connect(listening, "127.0.0.2"))
        another.sendall(frame(QUERY))
        assert receive(another) == b"one " + QUERY
        wait_until(lambda: tally(stage, pid, Tally.TCP_OVER_LIMIT) == 1, "it is counted")
        held[0].close()
        wait_until(lambda: asks(listening), "its place is free again")


def asks(listening: socket.socket) -> bool:
    with connect(listening) as one:
        try:
            one.sendall(frame(QUERY))
            return receive(one) == b"one " + QUERY
        except ConnectionError:
            return False


def test_a_new_client_takes_the_place_of_the_longest_idle(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening, limit=4), ExitStack() as stack:
        held = []
        for number in range(4):
            one = stack.enter_context(connect(listening, f"127.0.0.{number + 2}"))
            one.sendall(frame(QUERY))
            assert receive(one) == b"one " + QUERY
            held.append(one)
        held[0].sendall(frame(QUERY))
        assert receive(held[0]) == b"one " + QUERY
        newest = stack.enter_context(connect(listening))
        newest.sendall(frame(QUERY))
        assert receive(newest) == b"one " + QUERY
        assert closed_after_s(held[1]) < 2, "it was idle longest"
        held[0].sendall(frame(QUERY))
        assert receive(held[0]) == b"one " + QUERY


def test_busy_connections_keep_their_places(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening, limit=2), ExitStack() as stack:
        for number in range(2):
            one = stack.enter_context(connect(listening, f"127.0.0.{number + 2}"))
            one.sendall(frame(QUERY) + b"\x00")
            assert receive(one) == b"one " + QUERY
        assert not asks(listening), "no place is left"


def test_told_to_finish_it_answers_what_is_under_way(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening) as (_, line), connect(listening) as one:
        one.sendall(frame(QUERY))
        assert receive(one) == b"one " + QUERY
        channel.send(line, {"do": "finish"})
        one.sendall(frame(QUERY))
        assert receive(one) == b"one " + QUERY
        assert closed_after_s(one) < 5


def test_gives_its_sockets_and_serves_on(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening) as (pid, _), connect(listening) as one:
        one.sendall(frame(QUERY))
        assert receive(one) == b"one " + QUERY
        line = channel.connect(stage.run, f"tcp-{pid}.sock", 5)
        given = orders.ask_to_give(line)
        assert given is not None
        assert [sock.getsockname() for sock in given[1]] == [listening.getsockname()]
        for sock in given[1]:
            sock.close()
        line.close()
        assert asks(listening)


def test_sigterm_finishes_it(stage: Stage, listening: socket.socket) -> None:
    with serve(stage, listening) as (pid, _):
        assert asks(listening)
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None, "its end")
