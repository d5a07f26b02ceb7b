"""The HTTP response, octet by octet and at random."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthcheck.probes.connection import Failed
from healthcheck.probes.response import HEAD_OCTETS, Response

HEAD = b"HTTP/1.1 200 OK\r\nServer: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
LENGTH = HEAD + b"Content-Length: 5\r\n\r\nabcde"
UNTIL_CLOSE = HEAD + b"\r\nabcde"
INTERIM = b"HTTP/1.1 103 Early\r\nContent-Length: 9\r\n\r\n" + UNTIL_CLOSE


def outcome(pieces: list[bytes], body_octets: int) -> tuple[object, ...]:
    """What a response is found to be when its octets come in these pieces, and then the end."""
    talk = Response(b"", body_octets)
    try:
        for piece in pieces:
            if talk.done:
                break
            talk.receive(piece)
        if not talk.done:
            talk.ended()
    except Failed as failed:
        return (str(failed),)
    return (talk.status, bytes(talk.body))


@pytest.mark.parametrize("data", [CHUNKED, LENGTH, UNTIL_CLOSE, INTERIM], ids=["chunked", "length", "close", "interim"])
def test_every_chunking_is_the_same(data: bytes) -> None:
    single = [data[at : at + 1] for at in range(len(data))]
    assert outcome([data], 10) == outcome(single, 10) == (200, b"abcde")
    assert outcome([data], 0) == outcome(single, 0) == (200, b"")


@pytest.mark.parametrize("data", [CHUNKED, LENGTH], ids=["chunked", "length"])
def test_a_body_that_ends_early(data: bytes) -> None:
    for size in range(1, len(data)):
        assert outcome([data[:size]], 10)[0] in ("closed within the headers", "closed within the body")


def test_a_body_beyond_the_bound() -> None:
    assert outcome([HEAD + b"\r\n", b"x" * 1000, b"x"], 1000) == ("a body of more than 1 kB",)
    assert outcome([HEAD + b"\r\n", b"x" * 1000], 1000) == (200, b"x" * 1000)


def test_a_broken_body() -> None:
    assert str(outcome([HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], 10)[0]).startswith("a broken body")


def test_the_bound_of_headers() -> None:
    filler = b"X: " + b"x" * (HEAD_OCTETS - len(HEAD) - 3 - 4)
    assert outcome([HEAD + filler + b"\r\n\r\n"], 0) == (200, b"")
    assert outcome([HEAD + filler + b"x\r\n\r\n"], 0) == ("headers of more than 16 kB",)


@given(
    st.lists(st.one_of(st.binary(max_size=80), st.sampled_from([CHUNKED, LENGTH, HEAD, INTERIM, b"\r\n"])), max_size=12)
)
def test_octets_at_random_raise_nothing_else(pieces: list[bytes]) -> None:
    whole = outcome([b"".join(pieces)], 10) if b"".join(pieces) else ("closed without an answer",)
    assert whole
    talk = Response(b"", 10)
    with suppress(Failed):
        for piece in pieces:
            if piece and not talk.done:
                talk.receive(piece)
    assert len(talk.body) <= 10 + 80 + len(CHUNKED)
