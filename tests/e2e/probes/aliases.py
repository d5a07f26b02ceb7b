"""CNAME and DNAME (RFC 1034 section 4.3.2, RFC 6604, RFC 6672; items 73 and 74)."""

from __future__ import annotations

from tests.e2e.probes.case import Probes
from tests.e2e.probes.records import NEGATIVE, found
from tests.e2e.probes.wire import Target, query

probe = Probes()
HOST = ["host 300 A 192.0.2.10", "host 300 A 192.0.2.11"]
CHAIN = ["chain1 100 CNAME chain2", "chain2 200 CNAME chain3", "chain3 300 CNAME host"]


@probe(73, "cname-chain")
def chain_in_order(target: Target) -> None:
    reply = target.ask("chain1", "A")
    assert reply.rcode == "NOERROR"
    assert reply.aa
    assert reply.section("answer")[:3] == CHAIN, reply
    assert sorted(reply.section("answer")[3:]) == HOST, reply


@probe(73, "cname-itself")
def the_alias_itself(target: Target) -> None:
    found(target.ask("chain1", "CNAME"), CHAIN[0])


@probe(73, "cname-nodata")
def chain_to_no_data(target: Target) -> None:
    reply = target.ask("chain1", "MX")
    assert reply.rcode == "NOERROR"
    assert reply.section("answer") == CHAIN
    assert reply.section("authority") == NEGATIVE
    ent = target.ask("toent", "A")
    assert ent.rcode == "NOERROR"
    assert ent.section("answer") == ["toent 300 CNAME c.ent"]
    assert ent.section("authority") == NEGATIVE


@probe(73, "cname-dangling")
def chain_to_nothing(target: Target) -> None:
    """RFC 2308 section 2.1 and RFC 6604: the RCODE is that of the end of the chain."""
    reply = target.ask("dangling", "A")
    assert reply.rcode == "NXDOMAIN", reply
    assert reply.section("answer") == ["dangling 300 CNAME absent"]
    assert reply.section("authority") == NEGATIVE


@probe(73, "cname-outside")
def chain_out_of_the_zone(target: Target) -> None:
    reply = target.ask("outside", "A")
    assert reply.rcode == "NOERROR", reply
    assert reply.aa
    assert reply.section("answer") == ["outside 300 CNAME www.example.net."]
    assert not [line for line in reply.section("authority") if " SOA " in line]


@probe(73, "cname-loop")
def loops_end(target: Target) -> None:
    for name, members in (("loop1", {"loop1", "loop2"}), ("selfloop", {"selfloop"})):
        reply = target.ask(name, "A")
        assert reply.rcode in ("NOERROR", "SERVFAIL"), reply
        assert {line.split()[0] for line in reply.section("answer")} <= members
        assert len(reply.section("answer")) <= 2 * len(members)


@probe(73, "cname-into-cut")
def chain_into_a_cut(target: Target) -> None:
    reply = target.ask("intocut", "A")
    assert reply.rcode == "NOERROR", reply
    assert reply.section("answer") == ["intocut 300 CNAME www.sub"]
    assert {line for line in reply.section("authority") if " NS " in line} == {
        "sub 300 NS ns.sub",
        "sub 300 NS ns1.servers.example.",
    }


@probe(73, "cname-into-wildcard")
def chain_into_a_wildcard(target: Target) -> None:
    reply = target.ask("intowild", "A")
    assert reply.section("answer") == ["intowild 300 CNAME any.wild", "any.wild 300 A 192.0.2.30"]


@probe(73, "cname-any")
def any_is_not_followed(target: Target) -> None:
    reply = target.tcp(query("chain1", "ANY"))
    assert reply.rcode == "NOERROR"
    assert not [line for line in reply.section("answer") if not line.startswith("chain1 ")], reply


@probe(74, "dname")
def redirected(target: Target) -> None:
    reply = target.ask("www.moved", "A")
    assert reply.rcode == "NOERROR", reply
    assert reply.aa
    first, second, *rest = reply.section("answer")
    assert first == "moved 120 DNAME here"
    assert second in ("www.moved 120 CNAME www.here", "www.moved 0 CNAME www.here")  # RFC 6672 section 3.1
    assert rest == ["www.here 300 A 192.0.2.50"]


@probe(74, "dname-chain")
def redirected_then_alias(target: Target) -> None:
    reply = target.ask("intodname", "A")
    owners = [line.split()[0] for line in reply.section("answer")]
    assert owners == ["intodname", "moved", "www.moved", "www.here"], reply
    reply = target.ask("alias.moved", "A")
    owners = [line.split()[0] for line in reply.section("answer")]
    assert owners == ["moved", "alias.moved", "alias.here", "host", "host"], reply


@probe(74, "dname-nxdomain")
def redirected_to_nothing(target: Target) -> None:
    reply = target.ask("absent.moved", "A")
    assert reply.rcode == "NXDOMAIN", reply
    assert [line.split()[0] for line in reply.section("answer")] == ["moved", "absent.moved"]
    assert reply.section("authority") == NEGATIVE


@probe(74, "dname-owner")
def owner_is_not_redirected(target: Target) -> None:
    found(target.ask("moved", "TXT"), 'moved 300 TXT "the owner is not redirected"')
    found(target.ask("moved", "DNAME"), "moved 120 DNAME here")
    reply = target.ask("moved", "A")
    assert not reply.section("answer"), reply
    assert reply.section("authority") == NEGATIVE


@probe(74, "dname-type-below")
def dname_asked_below(target: Target) -> None:
    """A query for type CNAME below the owner is answered by the synthesised CNAME."""
    reply = target.ask("www.moved", "CNAME")
    assert [line.split()[2:] for line in reply.section("answer")] == [["DNAME", "here"], ["CNAME", "www.here"]], reply


@probe(74, "dname-outside")
def redirected_out_of_the_zone(target: Target) -> None:
    reply = target.ask("www.movedout", "A")
    assert reply.rcode == "NOERROR", reply
    assert [line.split()[2:] for line in reply.section("answer")] == [
        ["DNAME", "example.net."],
        ["CNAME", "www.example.net."],
    ]


@probe(74, "dname-yxdomain")
def redirected_name_too_long(target: Target) -> None:
    """RFC 6672 section 2.2: YXDOMAIN, with the DNAME that made the name."""
    reply = target.ask("d" * 60 + ".long", "A")
    assert reply.rcode == "YXDOMAIN", reply
    assert [line.split()[2] for line in reply.section("answer")] == ["DNAME"]


@probe(74, "dname-fits")
def redirected_name_just_fits(target: Target) -> None:
    room = 255 - (3 * 64 + len("\x0aacceptance\x04test\x00"))
    assert target.ask("d" * (room - 1) + ".long", "A").rcode == "NXDOMAIN"
    assert target.ask("d" * room + ".long", "A").rcode == "YXDOMAIN"
