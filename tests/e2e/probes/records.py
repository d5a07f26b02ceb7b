"""Negative answers, ANY, TTLs, unknown and modern types (items 68 to 72)."""

from __future__ import annotations

from functools import partial

from tests.e2e.probes.case import Probes
from tests.e2e.probes.wire import Reply, Target, query, wire_name

probe = Probes()

# TTL = min(SOA TTL 3600, MINIMUM 60), RFC 2308 section 5
NEGATIVE = ["@ 60 SOA ns1 hostmaster 2026010100 7200 3600 1209600 60"]


def nodata(reply: Reply) -> None:
    """NOERROR, nothing found, one SOA and no NS."""
    assert reply.rcode == "NOERROR", reply
    assert reply.aa, reply
    assert not reply.section("answer"), reply
    assert reply.section("authority") == NEGATIVE, reply


def nxdomain(reply: Reply) -> None:
    """No such name: one SOA and no NS."""
    assert reply.rcode == "NXDOMAIN", reply
    assert reply.aa, reply
    assert not reply.section("answer"), reply
    assert reply.section("authority") == NEGATIVE, reply


def found(reply: Reply, *lines: str) -> None:
    """An authoritative answer of exactly these records, in any order."""
    assert reply.rcode == "NOERROR", reply
    assert reply.aa, reply
    assert sorted(reply.section("answer")) == sorted(lines), reply


def _nodata(target: Target, name: str, rtype: str) -> None:
    nodata(target.ask(name, rtype))
    nodata(target.ask(name, rtype, payload=1232))


def _nxdomain(target: Target, name: str, rtype: str) -> None:
    nxdomain(target.ask(name, rtype))
    nxdomain(target.ask(name, rtype, payload=1232))


probe.each(
    68, "nodata",
    {
        "type": partial(_nodata, name="host", rtype="MX"),
        "unknown-type": partial(_nodata, name="host", rtype="TYPE65300"),
        "apex": partial(_nodata, name="@", rtype="SRV"),
        "soa-below": partial(_nodata, name="host", rtype="SOA"),
        "ns-below": partial(_nodata, name="host", rtype="NS"),
        "cname-at-data": partial(_nodata, name="host", rtype="CNAME"),
        "ds-at-data": partial(_nodata, name="host", rtype="DS"),
    },
)  # fmt: skip
probe.each(
    68, "nxdomain",
    {
        "name": partial(_nxdomain, name="absent", rtype="A"),
        "below-absent": partial(_nxdomain, name="a.b.absent", rtype="A"),
        "below-leaf": partial(_nxdomain, name="below.leaf", rtype="A"),
        "any": partial(_nxdomain, name="absent", rtype="ANY"),
        "ns": partial(_nxdomain, name="absent", rtype="NS"),
        "prefix-of-a-name": partial(_nxdomain, name="hos", rtype="A"),
        "beside-ent": partial(_nxdomain, name="x.ent", rtype="A"),
        "literal-star": partial(_nxdomain, name="*", rtype="A"),
    },
)  # fmt: skip


@probe(68, "ent")
def empty_non_terminals(target: Target) -> None:
    for name in ("b.c.ent", "c.ent", "d.c.ent", "ent", "_tcp"):
        for rtype in ("A", "AAAA", "TXT", "NS", "SOA", "CNAME", "MX", "DS", "TYPE65300"):
            nodata(target.ask(name, rtype))


@probe(68, "ent-below")
def below_an_empty_non_terminal(target: Target) -> None:
    found(target.ask("a.b.c.ent", "A"), "a.b.c.ent 300 A 192.0.2.16")
    nxdomain(target.ask("x.c.ent", "A"))


@probe(68, "qname-min")
def query_name_minimisation(target: Target) -> None:
    """RFC 9156: each name on the way down has NOERROR for NS and A (RFC 8020: else nothing below it exists)."""
    for name in ("ent", "c.ent", "b.c.ent", "a.b.c.ent", "_tcp", "_tcp.host2.w4592", "host2.w4592", "w4592"):
        for rtype in ("NS", "A"):
            assert target.ask(name, rtype).rcode == "NOERROR", name


@probe(68, "positive")
def positive(target: Target) -> None:
    found(target.ask("host", "A"), "host 300 A 192.0.2.10", "host 300 A 192.0.2.11")
    found(target.ask("host", "AAAA"), "host 300 AAAA 2001:db8::10")
    found(target.ask("@", "NS"), "@ 300 NS ns1", "@ 300 NS ns2")
    found(target.ask("mailbox", "MX"), "mailbox 300 MX 10 mail", "mailbox 300 MX 10 mail2")
    found(target.ask("long-text", "TXT"), 'long-text 300 TXT "first" "second" ""')


@probe(69, "any")
def any_has_something(target: Target) -> None:
    """RFC 8482: some RRset of the name, or a made HINFO; never nothing and never REFUSED."""
    for name in ("host", "@", "any.wild"):
        reply = target.tcp(query(name, "ANY"))
        assert reply.rcode == "NOERROR", reply
        assert reply.aa
        assert reply.section("answer"), reply
        small = target.ask(name, "ANY")
        assert small.section("answer") or small.tc, small


@probe(69, "any-ent")
def any_at_nothing(target: Target) -> None:
    nodata(target.ask("c.ent", "ANY"))


@probe(70, "ttl-edge")
def ttl_edges(target: Target) -> None:
    found(target.ask("ttl0", "A"), "ttl0 0 A 192.0.2.14")
    found(target.ask("ttlmax", "A"), "ttlmax 2147483647 A 192.0.2.15")


@probe(71, "unknown-rr")
def unknown_type(target: Target) -> None:
    """RFC 3597: the data is opaque, even where it looks like a compression pointer."""
    reply = target.ask("unknown", "TYPE65280")
    assert b"\xff\x00\x00\x01\x00\x00\x01\x2c\x00\x05\xc0\x0c\xde\xad\xbe" in reply.wire, reply
    empty = target.ask("unknown-empty", "TYPE65281")
    assert b"\xff\x01\x00\x01\x00\x00\x01\x2c\x00\x00" in empty.wire, empty
    assert len(empty.section("answer")) == 1


def _uncompressed(target: Target, name: str, rtype: str, inside: str) -> None:
    assert wire_name(inside) in target.ask(name, rtype, payload=1232).wire, f"{inside} was compressed inside {rtype}"


@probe(72, "svcb")
def service_binding(target: Target) -> None:
    found(
        target.ask("svc", "SVCB"),
        'svc 300 SVCB 1 host alpn="h2,h3" port="8443"',
        'svc 300 SVCB 2 . port="9443"',
    )
    found(target.ask("web", "HTTPS"), "web 300 HTTPS 0 host")
    for name, rtype in (("svc", "SVCB"), ("web", "HTTPS")):
        _uncompressed(target, name, rtype, "host")


@probe(72, "srv-uncompressed")
def service(target: Target) -> None:
    found(target.ask("_sip._udp", "SRV"), "_sip._udp 300 SRV 10 20 5060 host")
    _uncompressed(target, "_sip._udp", "SRV", "host")


@probe(72, "types")
def other_types(target: Target) -> None:
    digest = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    found(target.ask("finger", "SSHFP"), f"finger 300 SSHFP 4 2 {digest}")
    found(target.ask("_443._tcp", "TLSA"), f"_443._tcp 300 TLSA 3 1 1 {digest}")
    found(target.ask("@", "CAA"), '@ 300 CAA 0 issue "ca.example.net"')
    found(target.ask("naptr", "NAPTR"), 'naptr 300 NAPTR 100 10 "u" "E2U+sip" "!^.*$!sip:info@acceptance.test!" .')


@probe(72, "additional")
def additional_data(target: Target) -> None:
    """Additional records, where given, are true, of one TTL, and not in the answer as well."""
    servers = {"ns1 300 A 198.18.0.53", "ns1 300 AAAA 2001:db8:53::1", "ns2 300 A 198.18.0.54"}
    truth = servers | {"host 300 A 192.0.2.10", "host 300 A 192.0.2.11", "host 300 AAAA 2001:db8::10"}
    for name, rtype in (("_sip._udp", "SRV"), ("svc", "SVCB"), ("web", "HTTPS")):
        assert set(target.ask(name, rtype, payload=1232).section("additional")) <= truth
    mail = servers | {"mail 300 A 192.0.2.25", "mail 300 AAAA 2001:db8::25", "mail2 300 A 192.0.2.26"}
    assert set(target.ask("mailbox", "MX", payload=1232).section("additional")) <= mail
