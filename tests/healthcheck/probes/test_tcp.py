"""TCP checks: connect, send, expect."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthcheck.check import Sample
from healthcheck.probes.connection import Failed
from healthcheck.probes.tcp import MOST_OCTETS, Banner
from tests.healthcheck.probes.servers import (
    SHORT_S,
    Handler,
    check,
    closed_port,
    closing,
    dripping,
    flooding,
    full_port,
    sample,
    serving,
    silent,
)

EXPECT = {"expect": "220 "}


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(b"you said " + line)


def asked(handler: Handler, settings: Mapping[str, object], timeout_s: float = 5.0) -> Sample:
    async def main() -> Sample:
        async with serving(handler) as port:
            return await sample(check("tcp", port, settings, timeout_s=timeout_s))

    return asyncio.run(main())


@pytest.mark.parametrize("handler", [echo, silent, closing, flooding(b"", b"x" * 4096)])
def test_a_connection_is_enough(handler: Handler) -> None:
    assert asked(handler, {}).ok


def test_send_and_expect() -> None:
    assert asked(echo, {"send": r"PING\x20me\r\n", "expect": r"said PING me\r\n"}).ok


def test_a_banner_that_drips_in() -> None:
    assert asked(dripping(b"220 mail ESMTP\r\n", 0.001), EXPECT).ok


def test_another_banner() -> None:
    async def busy(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"421 too busy\r\n\xff")
        writer.close()

    assert asked(busy, EXPECT).why == r"closed without the expected text (first came 421 too busy\r\n\xff)"


def test_failures() -> None:
    assert asked(closing, EXPECT).why == "closed without the expected text (nothing came)"
    assert asked(silent, EXPECT, SHORT_S).why == "no answer within 300ms"
    assert asked(echo, {**EXPECT, "send": "hello\\n"}, SHORT_S).why == "no whole answer within 300ms"
    assert asyncio.run(sample(check("tcp", closed_port()))).why == "connection refused"
    assert asyncio.run(sample(check("tcp", None))).why == "no port to connect to"
    with full_port() as port:
        assert asyncio.run(sample(check("tcp", port, timeout_s=SHORT_S))).why == "no connection within 300ms"


def test_a_flood_is_bounded() -> None:
    found = asked(flooding(b"", b"spam" * 4096), EXPECT)
    assert found.why.startswith("the expected text is not in the first 64 kB (first came spamspam")


@given(st.binary(min_size=1, max_size=6), st.lists(st.binary(max_size=12), max_size=12))
def test_the_text_is_found_across_every_border(expect: bytes, pieces: list[bytes]) -> None:
    talk = Banner(b"", expect)
    for piece in pieces:
        talk.receive(piece)
        if talk.done:
            break
    assert talk.done == (expect in b"".join(pieces))


def test_no_more_is_looked_at_than_the_bound() -> None:
    talk = Banner(b"", b"END")
    talk.receive(b"x" * (MOST_OCTETS - 2))
    with pytest.raises(Failed, match="not in the first 64 kB"):
        talk.receive(b"xxEND")
