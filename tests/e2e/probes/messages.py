"""Messages that are not ordinary queries: responses, cut, lying, looping, of other classes and opcodes (items 38 to 53, 66, 67)."""

from __future__ import annotations

import contextlib
import struct
from functools import partial

import dns.message
import dns.name
import dns.tsig
import dns.tsigkeyring

from tests.e2e.probes.case import Probes
from tests.e2e.probes.wire import (
    AA,
    ORIGIN,
    QR,
    RD,
    Reply,
    Target,
    framed,
    header,
    octets_of,
    query,
    question,
    receive_framed,
)

probe = Probes()
MALFORMED = ("FORMERR",)
ZONE = octets_of(ORIGIN)


def named(labels: bytes) -> bytes:
    """A query of type A for a raw name of the zone: `labels` stand before the zone's own."""
    return header(counts=(1, 0, 0, 0)) + labels + b"\x00\x01\x00\x01"


def below_zone(*labels: bytes) -> bytes:
    """A raw wire name: `labels` below the apex."""
    return b"".join(bytes([len(label)]) + label for label in labels) + ZONE


# 38: two servers that answer answers would talk for ever
@probe(38, "qr1-own-reply")
def own_reply(target: Target) -> None:
    target.silent(target.raw_udp(query("host", "A")))


@probe(38, "qr1-query")
def response_without_answer(target: Target) -> None:
    target.silent(query("host", "A", flags=QR))


@probe(38, "qr1-opcode15")
def response_of_unknown_opcode(target: Target) -> None:
    target.silent(header(flags=QR | 15 << 11))


@probe(38, "qr1-ones")
def all_ones(target: Target) -> None:
    target.silent(b"\xff" * 12)


@probe(38, "qr1-tcp")
def response_over_tcp(target: Target) -> None:
    good = query("leaf", "A")
    with target.connect() as sock, contextlib.suppress(ConnectionError):  # a server may close on nonsense
        sock.sendall(framed(query("host", "A", flags=QR)))
        sock.sendall(framed(good))
        assert receive_framed(sock)[:2] == good[:2]


@probe(39, "short-header")
def short_header(target: Target) -> None:
    for length in range(12):
        target.silent(query("host", "A")[:length])


@probe(40, "qdcount0")
def no_question(target: Target) -> None:
    target.refused_or_silent(header(), *MALFORMED)


@probe(41, "qdcount2")
def two_questions(target: Target) -> None:
    target.error(header(counts=(2, 0, 0, 0)) + question("host", "A") + question("leaf", "A"), *MALFORMED)
    target.error(header(counts=(2, 0, 0, 0)) + question("host", "A") + question("host", "A"), *MALFORMED)


@probe(42, "qdcount-lies")
def too_few_questions(target: Target) -> None:
    for count in (2, 256, 65535):
        target.refused_or_silent(header(counts=(count, 0, 0, 0)) + question("host", "A"), *MALFORMED)


@probe(42, "qdcount1-empty")
def promised_question(target: Target) -> None:
    target.refused_or_silent(header(counts=(1, 0, 0, 0)), *MALFORMED)


@probe(43, "cut-question")
def cut_question(target: Target) -> None:
    whole = query("host", "A")
    for length in range(13, len(whole)):
        target.refused_or_silent(whole[:length], *MALFORMED)


@probe(44, "counts-lie")
def counts_lie(target: Target) -> None:
    for counts in ((1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1), (1, 0, 0, 65535), (1, 65535, 65535, 65535)):
        target.refused_or_silent(header(counts=counts) + question("host", "A"), *MALFORMED)


@probe(45, "trailing-garbage")
def trailing_garbage(target: Target) -> None:
    garbage = b"\xde\xad\xbe\xef" * 8
    for packet in (query("host", "A") + garbage, query("host", "A") + b"\0"):
        reply = target.raw_udp(packet)
        assert garbage[:4] not in reply
        if reply[3] & 15:
            target.judge_error(packet, reply, *MALFORMED)
        else:
            assert len(Reply(packet, reply).section("answer")) == 2


def _pointer(target: Target, name: bytes, rcodes: tuple[str, ...] = MALFORMED) -> None:
    target.refused_or_silent(header(counts=(1, 0, 0, 0)) + name + b"\x00\x01\x00\x01", *rcodes)


# a pointer into the header goes backwards, so a lenient reader finds a name there, but none of ours
INTO_HEADER = ("FORMERR", "REFUSED")


probe.each(
    46, "pointer",
    {
        "self": partial(_pointer, name=b"\xc0\x0c"),
        "loop": partial(_pointer, name=b"\xc0\x0e\xc0\x0c"),
        "label-loop": partial(_pointer, name=b"\x01a\xc0\x0c"),
        "header": partial(_pointer, name=b"\xc0\x00", rcodes=INTO_HEADER),
        "into-id": partial(_pointer, name=b"\x04host\xc0\x04", rcodes=INTO_HEADER),
        "forward": partial(_pointer, name=b"\xc0\x12"),
        "past-end": partial(_pointer, name=b"\xff\xff"),
        "cut": partial(_pointer, name=b"\xc0"),
    },
)  # fmt: skip


def _label_type(target: Target, octet: int) -> None:
    target.refused_or_silent(named(bytes([octet]) + b"a" * 64 + ZONE), *MALFORMED)


probe.each(47, "label-type", {f"{octet:02x}": partial(_label_type, octet=octet) for octet in (0x40, 0x41, 0x80, 0xBF)})


@probe(48, "name-255")
def longest_name(target: Target) -> None:
    room = 255 - len(ZONE)
    labels = [b"a" * 63] * (room // 64)
    rest = room - 64 * len(labels)
    name = below_zone(b"b" * (rest - 1), *labels)
    assert len(name) == 255
    assert target.udp(named(name)).rcode == "NXDOMAIN"


@probe(48, "name-256")
def name_too_long(target: Target) -> None:
    for labels in ([b"a" * 63] * 4, [b"a" * 63] * 6 + [b"b" * 15], [b"c"] * 127):
        target.refused_or_silent(named(below_zone(*labels)), *MALFORMED)


def _binary_label(target: Target, label: bytes) -> None:
    reply = target.udp(named(below_zone(label)))
    assert reply.rcode == "NXDOMAIN", reply
    assert reply.wire[12 : 13 + len(label)] == bytes([len(label)]) + label


probe.each(
    49, "binary-label",
    {
        "nul": partial(_binary_label, label=b"ho\0st"),
        "dot": partial(_binary_label, label=b"a.host"),
        "ff": partial(_binary_label, label=b"\xff\xfe\x80"),
        "quote": partial(_binary_label, label=b'"host"'),
        "like-a-name": partial(_binary_label, label=b"x\x04host"),
    },
)  # fmt: skip


@probe(49, "dot-in-a-label-found")
def dot_in_a_label(target: Target) -> None:
    reply = target.udp(header(counts=(1, 0, 0, 0)) + below_zone(b"dot.in.label") + b"\x00\x10\x00\x01")
    assert reply.rcode == "NOERROR", reply
    assert [line.split(" ", 1)[1] for line in reply.section("answer")] == ['300 TXT "one label"']


@probe(50, "case-0x20")
def case_is_kept(target: Target) -> None:
    for name in ("HoSt", "hOsT", "HOST"):
        packet = query(name, "A")
        reply = target.udp(packet)
        assert reply.wire[12 : len(packet)] == packet[12:], f"the question came back in another case:\n{reply}"
        assert len(reply.section("answer")) == 2


@probe(50, "case-of-the-zone")
def case_of_the_zone(target: Target) -> None:
    packet = query(b"\x04HOST\x0aAcCePtAnCe\x04TEST\x00", "A")
    reply = target.udp(packet)
    assert reply.wire[12 : len(packet)] == packet[12:]
    assert reply.aa
    assert len(reply.message.answer[0]) == 2


@probe(50, "case-stored")
def case_stored(target: Target) -> None:
    for name in ("mixed", "MIXED", "MiXeD"):
        reply = target.ask(name, "A")
        assert [line.lower() for line in reply.section("answer")] == ["mixed 300 a 192.0.2.13"]


def _chaos(target: Target, name: str) -> None:
    packet = query(octets_of(dns.name.from_text(name)), "TXT", rclass=3)
    assert Reply(packet, target.raw_udp(packet)).rcode in ("NOERROR", "REFUSED")


probe.each(
    51, "class-ch",
    {name: partial(_chaos, name=name) for name in ("version.bind", "version.server", "hostname.bind", "id.server")},
)  # fmt: skip


def _class(target: Target, rclass: int) -> None:
    meta = ("FORMERR",) if rclass == 254 else ()  # NONE never stands in a query (RFC 2136 section 1.3)
    target.error(query("host", "A", rclass=rclass), "REFUSED", "NOTIMP", "NOTAUTH", *meta)


probe.each(51, "class-unknown", {str(number): partial(_class, rclass=number) for number in (4, 22, 254, 65535)})


@probe(51, "chaos-zone")
def chaos_zone(target: Target) -> None:
    packet = query("@", "SOA", rclass=3)
    reply = target.raw_udp(packet)
    assert b"hostmaster" not in reply
    assert struct.unpack("!H", reply[6:8]) == (0,)


def _opcode(target: Target, opcode: int, rcodes: tuple[str, ...]) -> None:
    target.error(query("@", "SOA", flags=opcode << 11), *rcodes)


probe.each(
    52, "opcodes",
    {str(number): partial(_opcode, opcode=number, rcodes=("NOTIMP",)) for number in (1, 2, 3, *range(6, 15))},
)  # fmt: skip
probe.each(52, "opcode", {"notify": partial(_opcode, opcode=4, rcodes=("NOTAUTH", "REFUSED", "NOTIMP"))})


@probe(52, "opcode-update")
def update(target: Target) -> None:
    added = b"\x04evil" + ZONE + struct.pack("!HHIH", 1, 1, 60, 4) + b"\xc0\x00\x02\xfe"
    packet = header(flags=5 << 11, counts=(1, 0, 1, 0)) + question("@", "SOA") + added
    target.error(packet, "NOTAUTH", "REFUSED", "NOTIMP")
    assert target.ask("evil", "A").rcode == "NXDOMAIN"


@probe(53, "tsig-unknown-key")
def unknown_key(target: Target) -> None:
    message = dns.message.make_query(ORIGIN, "SOA")
    message.use_tsig(dns.tsigkeyring.from_text({"stranger.": "c3RyYW5nZXI="}), algorithm=dns.tsig.HMAC_SHA256)
    packet = message.to_wire()
    target.error(packet, "NOTAUTH")


@probe(66, "axfr")
def transfer(target: Target) -> None:
    packet = query("@", "AXFR")
    with target.connect() as sock:
        sock.sendall(framed(packet))
        try:
            reply = receive_framed(sock)
        except ConnectionError:
            raise AssertionError("the connection was closed where REFUSED or a transfer was due") from None
    assert reply[3] & 15 in (5, 9) or struct.unpack("!H", reply[6:8])[0] > 1, reply.hex()


@probe(66, "axfr-udp")
def transfer_over_udp(target: Target) -> None:
    target.error(query("@", "AXFR"), "REFUSED", "FORMERR", "NOTIMP", "NOTAUTH")


@probe(66, "ixfr-udp")
def incremental_over_udp(target: Target) -> None:
    soa = b"\0\0" + struct.pack("!5I", 2026010099, 1, 1, 1, 1)
    packet = header(counts=(1, 0, 1, 0)) + question("@", "IXFR") + ZONE + struct.pack("!HHIH", 6, 1, 0, len(soa)) + soa
    reply = target.raw_udp(packet)
    assert reply[3] & 15 in (1, 4, 5, 9) or Reply(packet, reply).section("answer")


def _foreign(target: Target, name: str, rtype: str = "A") -> None:
    packet = query(octets_of(dns.name.from_text(name)), rtype, flags=RD)
    reply = target.raw_udp(packet)
    target.judge_error(packet, reply, "REFUSED")
    flags, *counts = struct.unpack("!5H", reply[2:12])
    assert not flags & AA
    assert flags & RD, "RD is copied"
    assert counts[1:] == [0, 0, 0]


probe.each(
    67, "refused-foreign",
    {
        "name": partial(_foreign, name="www.example.org."),
        "root": partial(_foreign, name=".", rtype="NS"),
        "parent": partial(_foreign, name="test."),
        "suffix": partial(_foreign, name="xacceptance.test."),
        "suffix-below": partial(_foreign, name="www.xacceptance.test."),
        "com": partial(_foreign, name="com.", rtype="NS"),
        "zone-in-the-middle": partial(_foreign, name="acceptance.test.example."),
        "parent-ds": partial(_foreign, name="test.", rtype="DS"),
    },
)  # fmt: skip
