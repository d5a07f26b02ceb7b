"""DNS checks against name servers of every kind of manners."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import dns.message
import pytest
from dnslib import QTYPE, RCODE, RR, DNSHeader, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from healthcheck.check import Sample
from healthcheck.probes.dns import Question
from tests.healthcheck.probes.servers import LOCAL, SHORT_S, check, closed_port, sample

Reply = Callable[[DNSRecord], list[bytes]]  # what is sent for one query
SETTINGS = {"query": "www.example.com.", "record": "A"}


class _Responder(asyncio.DatagramProtocol):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # type: ignore[explicit-override]
        self._transport = cast("asyncio.DatagramTransport", transport)  # which is no subclass of it in 3.11

    def datagram_received(self, data: bytes, peer: tuple[str | int, ...]) -> None:  # type: ignore[explicit-override]
        for message in self._reply(DNSRecord.parse(data)):
            self._transport.sendto(message, peer)


@asynccontextmanager
async def answering(over_udp: Reply, over_tcp: Reply | None = None) -> AsyncIterator[int]:
    """A name server, over TCP as well where that is given; gives its port."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert over_tcp is not None
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        for message in over_tcp(DNSRecord.parse(query)):
            writer.write(message)
        writer.close()

    stream = socket.create_server((LOCAL, 0))
    port = stream.getsockname()[1]
    server = await asyncio.start_server(meet, sock=stream) if over_tcp else None
    if server is None:
        stream.close()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Responder(over_udp), (LOCAL, port))
    try:
        yield port
    finally:
        transport.close()
        if server is not None:
            server.close()
        await asyncio.sleep(0)


def asked(over_udp: Reply, over_tcp: Reply | None = None, timeout_s: float = 5.0, record: str = "A") -> Sample:
    async def main() -> Sample:
        async with answering(over_udp, over_tcp) as port:
            return await sample(check("dns", port, {**SETTINGS, "record": record}, timeout_s=timeout_s))

    return asyncio.run(main())


def answer(query: DNSRecord, *zone: str, rcode: str = "NOERROR", truncated: bool = False) -> bytes:
    reply = query.reply()
    reply.header.rcode = getattr(RCODE, rcode)
    reply.header.tc = int(truncated)
    for line in zone:
        reply.add_answer(*RR.fromZone(line))
    return bytes(reply.pack())


A = "www.example.com. 60 IN A 192.0.2.1"


def well(query: DNSRecord) -> list[bytes]:
    return [answer(query, A)]


def framed(*messages: bytes) -> list[bytes]:
    return [len(message).to_bytes(2, "big") + message for message in messages]


def test_a_record_is_there() -> None:
    assert asked(well).ok
    assert asked(lambda query: [answer(query, "www.example.com. 60 IN AAAA 2001:db8::1")], record="AAAA").ok
    alias = ("www.example.com. 60 IN CNAME a.example.com.", "a.example.com. 60 IN A 192.0.2.1")
    assert asked(lambda query: [answer(query, *alias)]).ok


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (lambda query: [answer(query)], "no A record in the answer"),
        (lambda query: [answer(query, "www.example.com. 60 IN CNAME a.example.com.")], "no A record in the answer"),
        (lambda query: [answer(query, rcode="NXDOMAIN")], "NXDOMAIN, expected NOERROR"),
        (lambda query: [answer(query, A, rcode="SERVFAIL")], "SERVFAIL, expected NOERROR"),
        (lambda query: [answer(query, rcode="REFUSED")], "REFUSED, expected NOERROR"),
    ],
    ids=["nothing", "alias", "nxdomain", "servfail", "refused"],
)
def test_another_answer(reply: Reply, why: str) -> None:
    assert asked(reply).why == why


def other_id(query: DNSRecord) -> list[bytes]:
    return [((query.header.id + 1) & 0xFFFF).to_bytes(2, "big") + answer(query, A)[2:]]


def other_question(query: DNSRecord) -> list[bytes]:
    return [answer(DNSRecord(DNSHeader(id=query.header.id), q=DNSRecord.question("x.example.com").q), A)]


STRAYS = [
    (lambda _query: [b"\xff" * 40], "what came is no DNS message"),
    (lambda _query: [b"x"], "what came is no DNS message"),
    (lambda query: [answer(query, A)[:30]], "what came is no DNS message"),
    (lambda query: [bytes(query.pack())], "what came answers another question"),
    (other_id, "what came answers another question"),
    (other_question, "what came answers another question"),
]


@pytest.mark.parametrize(("stray", "why"), STRAYS, ids=["octets", "octet", "cut", "query", "id", "question"])
def test_what_is_no_answer_is_passed_over(stray: Reply, why: str) -> None:
    """Anyone could have sent it: the answer behind it counts, and without one it is told what came."""
    assert asked(lambda query: [*stray(query), answer(query, A)]).ok
    assert asked(stray, timeout_s=SHORT_S).why.startswith(why)


def test_a_flood_of_strays_is_bounded() -> None:
    found = asked(lambda query: other_id(query) * 200)
    assert found.why == "64 datagrams came, and no answer: what came answers another question"


def test_a_truncated_answer_is_asked_for_over_tcp() -> None:
    def truncated(query: DNSRecord) -> list[bytes]:
        return [answer(query, truncated=True)]

    assert asked(truncated, lambda query: framed(answer(query, A))).ok
    assert asked(truncated, lambda query: framed(answer(query))).why == "no A record in the answer"
    assert asked(truncated, lambda query: framed(answer(query, A) + bytes(60000))).ok
    assert (
        asked(truncated, lambda query: framed(*other_id(query))).why == "what came answers another question, over TCP"
    )
    assert asked(truncated, lambda query: framed(answer(query, A))[:0]).why == "closed TCP without a whole answer"
    assert asked(truncated).why == "connection refused"


def test_no_answer() -> None:
    assert asked(lambda _query: [], timeout_s=SHORT_S).why == "no answer within 300ms"
    assert asyncio.run(sample(check("dns", closed_port(), SETTINGS))).why == "connection refused"


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"query": "a..b"}, "a..b A cannot be asked"), ({"query": "a", "record": "XYZZY"}, "a XYZZY cannot be asked")],
)
def test_what_cannot_be_asked(settings: dict[str, object], why: str) -> None:
    assert asyncio.run(sample(check("dns", 53, settings))).why.startswith(why)


def test_the_question_on_the_wire() -> None:
    query = DNSRecord.parse(Question("www.example.com.", "MX").wire)
    assert (str(query.q.qname), QTYPE[query.q.qtype], query.header.rd) == ("www.example.com.", "MX", 1)


QUESTION = Question("www.example.com.", "A")
ANSWER = dns.message.make_response(dns.message.from_wire(QUESTION.wire)).to_wire()


@given(st.binary(max_size=200), st.integers(0, len(ANSWER)))
def test_octets_at_random_are_strays(data: bytes, kept: int) -> None:
    """Whatever comes is a message or a stray, and never another exception."""
    question = Question("www.example.com.", "A")
    for message in (data, question.wire[:2] + ANSWER[2:kept] + data):
        assert question.reply(message) is not None or question.stray
