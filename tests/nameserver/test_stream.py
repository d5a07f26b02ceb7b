"""TCP framing in every chunking, and the deadlines of a session at given times."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.nameserver.stream import Framer, Patience, Session, frame

PATIENCE = Patience(idle_s=10.0, message_s=5.0, write_s=8.0)

MESSAGES = [
    ("one", [b"abc"]),
    ("pipelined", [b"a" * 12, b"b" * 12, b"c" * 300]),
    ("empty", [b""]),
    ("empty between others", [b"first", b"", b"last"]),
    ("the longest", [b"x" * 65535]),
]


def feed(chunks: list[bytes]) -> list[bytes]:
    framer = Framer()
    found = []
    for chunk in chunks:
        framer.feed(chunk)
        while (message := framer.next()) is not None:
            found.append(message)
    return found


@pytest.mark.parametrize(("messages"), [case[1] for case in MESSAGES], ids=[case[0] for case in MESSAGES])
def test_messages_come_out_whole(messages: list[bytes]) -> None:
    data = b"".join(map(frame, messages))
    assert feed([data]) == messages
    assert feed([data[at : at + 1] for at in range(len(data))]) == messages
    assert feed([data + b"\x00"]) == messages  # half of the next message must wait
    assert feed([data + b"\x00\x05four"]) == messages


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 400), max_size=12))
def test_every_chunking_gives_the_same_messages(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(frame, messages))
    edges = [0, *sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    assert feed([data[start:end] for start, end in pairwise(edges)]) == messages


def test_what_was_handed_out_is_not_held() -> None:
    framer = Framer()
    framer.feed(frame(b"abc") + b"\x00")
    assert framer.held == 6
    assert framer.next() == b"abc"
    assert framer.next() is None
    assert framer.held == 1


def session(now: float = 100.0) -> Session:
    return Session(PATIENCE, now)


def test_a_client_that_asks_nothing_is_closed_after_the_idle_time() -> None:
    assert session(100.0).deadline() == 110.0


def test_a_message_that_has_begun_must_end_in_time_however_slowly_it_drips() -> None:
    one = session(100.0)
    for second in range(4):
        one.receive(b"\x00" if second == 0 else b"", 101.0 + second)
        assert one.next_query(101.0 + second) is None
    assert one.deadline() == 106.0


def test_an_answer_starts_the_idle_time_anew() -> None:
    one = session(100.0)
    one.receive(frame(b"query"), 105.0)
    assert one.next_query(105.0) == b"query"
    one.answered(105.0)
    assert one.next_query(105.0) is None
    assert one.idle
    assert one.deadline() == 115.0


def test_garbage_that_gets_no_answer_keeps_no_connection_open() -> None:
    one = session(100.0)
    for now in (103.0, 106.0, 109.0):
        one.receive(frame(b""), now)
        assert one.next_query(now) == b""
        assert one.next_query(now) is None
    assert one.deadline() == 110.0


def test_a_client_that_does_not_read_has_its_own_deadline() -> None:
    one = session(100.0)
    one.stalled(104.0)
    assert not one.idle
    assert one.deadline() == 112.0
    one.flowing(111.0)
    assert one.deadline() == 121.0


def test_queries_that_waited_for_us_are_not_held_against_the_client() -> None:
    one = session(100.0)
    one.receive(frame(b"first") + b"\x00", 101.0)
    one.next_query(101.0)
    one.next_query(101.0)
    one.stalled(101.0)
    one.flowing(108.0)
    assert one.deadline() == 113.0
