"""EDNS (RFC 6891) and the options that a server may or may not know (items 54 to 60)."""

from __future__ import annotations

from functools import partial

import dns.edns

from tests.e2e.probes.case import Probes
from tests.e2e.probes.wire import COOKIE, KEEPALIVE, NSID, PADDING, Target, header, opt, query, question

probe = Probes()
MALFORMED = ("FORMERR",)


def _payload(target: Target, payload: int) -> None:
    reply = target.udp(query("above512", "A", edns=opt(payload=payload)), allowed=512)
    assert reply.rcode == "NOERROR", reply
    assert reply.tc, reply
    assert reply.message.edns == 0, reply
    assert target.udp(query("host", "A", edns=opt(payload=payload)), allowed=512).section("answer")


probe.each(54, "edns-payload", {str(size): partial(_payload, payload=size) for size in (0, 1, 511, 512)})


@probe(55, "edns-on-errors")
def edns_on_errors(target: Target) -> None:
    assert target.ask("absent", "A", payload=1232).rcode == "NXDOMAIN"
    assert target.ask("host", "MX", payload=1232).rcode == "NOERROR"
    foreign = target.udp(query(b"\x07example\x03org\x00", "A", edns=opt()), allowed=1232)
    assert foreign.rcode == "REFUSED"
    assert foreign.message.edns == 0


@probe(55, "edns-advertised-payload")
def advertised_payload(target: Target) -> None:
    payload = target.ask("host", "A", payload=4096).message.payload
    assert 512 <= payload <= 4096, payload


@probe(56, "edns-two-opt")
def two_opt(target: Target) -> None:
    target.error(header(counts=(1, 0, 0, 2)) + question("host", "A") + opt() + opt(), *MALFORMED)


def _cut_options(target: Target, rdata: bytes, length: int) -> None:
    record = opt()[:-2] + length.to_bytes(2, "big") + rdata
    target.refused_or_silent(header(counts=(1, 0, 0, 1)) + question("host", "A") + record, *MALFORMED)


probe.each(
    57, "edns-rdlen-lies",
    {
        "record": partial(_cut_options, rdata=b"", length=8),
        "option": partial(_cut_options, rdata=b"\x00\x03\x00\x10ab", length=6),
        "option-header": partial(_cut_options, rdata=b"\x00\x03\x00", length=3),
        "far": partial(_cut_options, rdata=b"\x00\x03\xff\xff", length=4),
    },
)  # fmt: skip


@probe(58, "edns-many-options")
def many_options(target: Target) -> None:
    options = [(65001 + number, bytes([number]) * (number % 5)) for number in range(100)]
    reply = target.ask("host", "A", *options, payload=1232)
    assert reply.rcode == "NOERROR", reply
    assert len(reply.section("answer")) == 2
    assert not reply.options, "an unknown option came back"


@probe(58, "edns-padding")
def padding_is_allowed(target: Target) -> None:
    assert len(target.ask("host", "A", (PADDING, bytes(64))).section("answer")) == 2


@probe(59, "edns-keepalive-udp")
def keepalive_over_udp(target: Target) -> None:
    reply = target.ask("host", "A", (KEEPALIVE, b""))
    assert reply.rcode in ("NOERROR", "FORMERR"), reply
    assert not [option for option in reply.options if int(option.otype) == KEEPALIVE]


@probe(60, "edns-quiet")
def only_what_was_asked(target: Target) -> None:
    for name, rtype in (("host", "A"), ("absent", "A"), ("host", "MX")):
        assert not target.ask(name, rtype, payload=1232).options


@probe(60, "edns-nsid", "nsid")
def nsid_when_asked(target: Target) -> None:
    for name in ("host", "absent", "www.sub"):
        options = target.ask(name, "A", (NSID, b"")).options
        assert [int(option.otype) for option in options] == [NSID], options
        (option,) = options
        assert isinstance(option, dns.edns.NSIDOption)
        assert option.nsid


@probe(60, "cookie-ignored-or-answered")
def client_cookie(target: Target) -> None:
    reply = target.ask("host", "A", (COOKIE, b"\x01\x02\x03\x04\x05\x06\x07\x08"))
    assert reply.rcode == "NOERROR", reply
    assert len(reply.section("answer")) == 2
    assert {int(option.otype) for option in reply.options} <= {COOKIE}


@probe(60, "edns-after-another-record")
def opt_need_not_come_last(target: Target) -> None:
    extra = b"\x01x\x00" + b"\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x7f\x00\x00\x01"
    packet = header(counts=(1, 0, 0, 2)) + question("host", "A") + opt() + extra
    reply = target.udp(packet, allowed=1232)
    assert reply.rcode in ("NOERROR", "FORMERR"), reply
    assert b"\x7f\x00\x00\x01" not in reply.wire
