"""DNS cookies (RFC 7873, RFC 9018; item 61)."""

from __future__ import annotations

from functools import partial

from tests.e2e.probes.case import Probes
from tests.e2e.probes.wire import COOKIE, QR, RD, Reply, Target, header, opt, query

probe = Probes()
CLIENT = b"\x01\x02\x03\x04\x05\x06\x07\x08"
SERVER_OCTETS = 16  # RFC 9018 section 4


def _cookie(reply: Reply) -> bytes:
    """The one cookie of a reply."""
    found = [option.to_wire() for option in reply.options if option.otype == COOKIE]
    assert len(found) == 1, reply
    (data,) = found
    assert data is not None
    assert len(data) == len(CLIENT) + SERVER_OCTETS, reply
    assert data[: len(CLIENT)] == CLIENT, reply
    return data


def _given(target: Target) -> bytes:
    reply = target.ask("host", "A", (COOKIE, CLIENT))
    assert reply.rcode == "NOERROR", reply
    return _cookie(reply)


def _wrong(cookie: bytes) -> bytes:
    return cookie[:-1] + bytes((cookie[-1] ^ 1,))


def _bad_length(length: int, target: Target) -> None:
    reply = target.udp(query("host", "A", edns=opt((COOKIE, bytes(range(length))))), allowed=1232)
    assert reply.rcode == "FORMERR", reply
    assert not reply.section("answer"), reply


probe.each(
    61, "cookie-length", {str(length): partial(_bad_length, length) for length in (0, 1, 7, 9, 15, 41)}, "cookies"
)


@probe(61, "cookie-round", "cookies")
def comes_back(target: Target) -> None:
    given = _given(target)
    for name, rcode in (("host", "NOERROR"), ("absent", "NXDOMAIN"), ("www.sub", "NOERROR")):
        reply = target.ask(name, "A", (COOKIE, given))
        assert reply.rcode == rcode, reply
        assert _cookie(reply) == given
    by_tcp = target.tcp(query("host", "A", edns=opt((COOKIE, given))))
    assert _cookie(by_tcp) == given


@probe(61, "cookie-bad-server", "cookies")
def wrong_server_cookie(target: Target) -> None:
    for server in (_wrong(_given(target))[len(CLIENT) :], bytes(8), bytes(16), bytes(32)):
        reply = target.ask("host", "A", (COOKIE, CLIENT + server))
        assert reply.rcode in ("NOERROR", "BADCOOKIE"), reply
        fresh = target.ask("host", "A", (COOKIE, _cookie(reply)))
        assert fresh.rcode == "NOERROR", fresh
        assert _cookie(fresh) == _cookie(reply)


@probe(61, "cookie-two", "cookies")
def the_first_of_two_counts(target: Target) -> None:
    _cookie(target.ask("host", "A", (COOKIE, CLIENT), (COOKIE, b"abcdefgh")))


def _bare(target: Target, cookie: bytes) -> Reply:
    """The reply to a message with a cookie and no question (RFC 7873 section 5.4)."""
    packet = header(flags=RD, counts=(0, 0, 0, 1)) + opt((COOKIE, cookie))
    reply = target.udp(packet, allowed=1232)
    assert not reply.section("question") + reply.section("answer") + reply.section("authority"), reply
    assert int.from_bytes(reply.wire[2:4], "big") & ~15 == QR | RD, reply
    return reply


@probe(61, "cookie-qdcount0", "cookies")
def no_question(target: Target) -> None:
    reply = _bare(target, CLIENT)
    assert reply.rcode == "NOERROR", reply
    given = _cookie(reply)
    good = _bare(target, given)
    assert good.rcode == "NOERROR", good
    assert _cookie(good) == given


@probe(61, "cookie-qdcount0-wrong", "cookies")
def no_question_and_a_wrong_cookie(target: Target) -> None:
    given = _given(target)
    bad = _bare(target, _wrong(given))
    assert bad.rcode == "BADCOOKIE", bad
    assert _cookie(bad) != _wrong(given)


@probe(61, "cookie-subnet", "cookies", "ecs")
def beside_a_subnet(target: Target) -> None:
    subnet = (8, b"\0\1\x18\0\xc0\0\2")
    for options in (((COOKIE, CLIENT), subnet), (subnet, (COOKIE, CLIENT))):
        reply = target.ask("host", "A", *options)
        assert sorted(int(option.otype) for option in reply.options) == [8, COOKIE], reply
        assert len(reply.subnets()) == 1
        _cookie(reply)
