"""Wildcards (RFC 4592) and zone cuts (items 75 and 76)."""

from __future__ import annotations

from functools import partial

from tests.e2e.probes.case import Probes
from tests.e2e.probes.records import found, nodata, nxdomain
from tests.e2e.probes.wire import Reply, Target

probe = Probes()


@probe(75, "rfc4592")
def the_eight_queries(target: Target) -> None:
    """RFC 4592 section 2.2.1, in its order."""
    found(target.ask("host3.w4592", "MX"), "host3.w4592 300 MX 10 host1.w4592")
    nodata(target.ask("host3.w4592", "A"))
    found(target.ask("foo.bar.w4592", "TXT"), 'foo.bar.w4592 300 TXT "this is a wildcard"')
    nodata(target.ask("host1.w4592", "MX"))
    nodata(target.ask("sub.*.w4592", "MX"))
    nxdomain(target.ask("_telnet._tcp.host1.w4592", "SRV"))
    referral(target.ask("host.subdel.w4592", "A"), "subdel.w4592", "ns1.servers.example.", "ns2.servers.example.")
    nxdomain(target.ask("ghost.*.w4592", "MX"))


@probe(75, "wild-itself")
def the_star_itself(target: Target) -> None:
    found(target.ask("*.w4592", "TXT"), '*.w4592 300 TXT "this is a wildcard"')
    found(target.ask("*.wild", "A"), "*.wild 300 A 192.0.2.30")
    nodata(target.ask("*.w4592", "A"))


@probe(75, "wild-star-in-the-middle")
def star_in_the_middle(target: Target) -> None:
    found(target.ask("sub.*.w4592", "TXT"), 'sub.*.w4592 300 TXT "this is not a wildcard"')
    found(target.ask("sub.x.w4592", "TXT"), 'sub.x.w4592 300 TXT "this is a wildcard"')


@probe(75, "wild-ent")
def blocked_by_an_empty_non_terminal(target: Target) -> None:
    """host2 exists as an empty non-terminal, so the wildcard stops there."""
    nodata(target.ask("host2.w4592", "MX"))
    nodata(target.ask("_tcp.host2.w4592", "TXT"))
    nxdomain(target.ask("x.host2.w4592", "TXT"))


@probe(75, "wild-sibling")
def blocked_by_a_sibling(target: Target) -> None:
    nodata(target.ask("taken.wild", "A"))
    nxdomain(target.ask("x.taken.wild", "A"))
    found(target.ask("a.b.c.wild", "A"), "a.b.c.wild 300 A 192.0.2.30")
    found(target.ask("a.b.c.wild", "AAAA"), "a.b.c.wild 300 AAAA 2001:db8::30")


@probe(75, "wild-cname")
def wildcard_alias(target: Target) -> None:
    reply = target.ask("x.y.wildalias", "A")
    assert reply.section("answer")[0] == "x.y.wildalias 300 CNAME host", reply
    assert len(reply.section("answer")) == 3
    found(target.ask("x.wildalias", "CNAME"), "x.wildalias 300 CNAME host")


@probe(75, "wild-case")
def wildcard_owner_as_asked(target: Target) -> None:
    reply = target.ask("MiXed.WILD", "A")
    assert [line.lower() for line in reply.section("answer")] == ["mixed.wild 300 a 192.0.2.30"]


def referral(reply: Reply, cut: str, *servers: str) -> None:
    """NOERROR without AA: the NS of the cut in authority, no SOA, no answer."""
    assert reply.rcode == "NOERROR", reply
    assert not reply.aa, reply
    assert not reply.section("answer"), reply
    lines = [line for line in reply.section("authority") if " DS " not in line]
    assert sorted(lines) == sorted(f"{cut} 300 NS {server}" for server in servers), reply


def _referred(target: Target, name: str, rtype: str) -> None:
    reply = target.ask(name, rtype)
    referral(reply, "sub", "ns.sub", "ns1.servers.example.")
    glue = {"ns.sub 300 A 192.0.2.40", "ns.sub 300 AAAA 2001:db8::40"}
    assert set(reply.section("additional")) == glue, reply


probe.each(
    76, "referral",
    {
        f"{where}-{rtype.lower()}": partial(_referred, name=name, rtype=rtype)
        for where, name in (("at", "sub"), ("below", "www.sub"), ("far-below", "a.b.c.sub"), ("glue", "ns.sub"))
        for rtype in ("A", "MX", "NS", "SOA", "ANY", "CNAME")
    },
)  # fmt: skip


@probe(76, "referral-without-glue")
def servers_elsewhere(target: Target) -> None:
    reply = target.ask("www.far", "A")
    referral(reply, "far", "ns1.servers.example.", "ns2.servers.example.")
    assert not reply.section("additional")


@probe(76, "referral-edns")
def referral_with_edns(target: Target) -> None:
    reply = target.ask("www.sub", "A", payload=1232)
    referral(reply, "sub", "ns.sub", "ns1.servers.example.")
    assert len(reply.section("additional")) == 2


@probe(76, "referral-ds-below")
def ds_below_the_cut(target: Target) -> None:
    referral(target.ask("www.sub", "DS"), "sub", "ns.sub", "ns1.servers.example.")


@probe(76, "ds-at-cut")
def ds_at_the_cut(target: Target) -> None:
    """RFC 4035 section 3.1.4.1: DS is the parent's, so it is answered with authority."""
    digest = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    found(target.ask("secure", "DS"), f"secure 300 DS 12345 13 2 {digest}")
    nodata(target.ask("sub", "DS"))


@probe(76, "apex-ds")
def ds_at_the_own_apex(target: Target) -> None:
    nodata(target.ask("@", "DS"))
