"""What a worker tells of the reference's queries: nothing to nobody, a share, and no more than it may."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator

import pytest

from gslb.nameserver import channel
from gslb.nameserver.counters import Counter
from gslb.nameserver.queryevent import RECORD_OCTETS
from gslb.nameserver.sample import PER_S, Sample
from tests.nameserver.make import query

ASK = query("www.z.test.", "A")
COUNTS = [0] * len(Counter)


def answer(message: bytes, _client: str) -> bytes | None:
    return message[:2] + b"\x84\x00" + message[4:]


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = channel.pair()
    with ours, theirs:
        ours.settimeout(5)
        yield ours, theirs


def told(ours: socket.socket) -> tuple[int, object]:
    received = channel.receive(ours)
    assert received is not None
    message, _ = received
    return len(base64.b64decode(str(message["queries"]))) // RECORD_OCTETS, message["lost"]


def test_the_reference_is_called_directly_while_nobody_listens() -> None:
    assert Sample().around(answer, COUNTS) is answer


def test_a_share_is_told(line: tuple[socket.socket, socket.socket]) -> None:
    sample = Sample()
    sample.listen(line[1], 10)
    wrapped = sample.around(answer, COUNTS)
    for _ in range(100):
        assert wrapped(ASK, "192.0.2.1") == answer(ASK, "192.0.2.1")
    sample.say(None)
    assert told(line[0]) == (10, 0)


def test_what_is_over_the_bound_is_counted(line: tuple[socket.socket, socket.socket]) -> None:
    sample = Sample()
    sample.listen(line[1], 1)
    wrapped = sample.around(answer, COUNTS)
    for _ in range(1_000):
        wrapped(ASK, "192.0.2.1")
    sample.say(None)
    count, lost = told(line[0])
    assert count >= PER_S
    assert lost == 1_000 - count


def test_a_line_that_is_gone_is_told_nothing(line: tuple[socket.socket, socket.socket]) -> None:
    sample = Sample()
    sample.listen(line[1], 1)
    sample.gone(line[0])
    assert sample.one_in == 1, "another line"
    sample.gone(line[1])
    assert sample.around(answer, COUNTS) is answer


def test_who_does_not_read_is_not_waited_for(line: tuple[socket.socket, socket.socket]) -> None:
    sample = Sample()
    sample.listen(line[1], 1)
    wrapped = sample.around(answer, COUNTS)
    line[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    for _ in range(100):
        wrapped(ASK, "192.0.2.1")
        sample.say(None)
    found = lost = 0
    while found + lost < 100:
        count, missing = told(line[0])
        found, lost = found + count, lost + int(str(missing))
        sample.say(None)  # what is lost is told as soon as there is room
    assert 0 < found < 100
