"""The checks of RFC 8906 and its neighbours, by name, against the pure responder (both paths wherever both can answer)."""

from __future__ import annotations

from dataclasses import dataclass

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from gslb import __version__
from gslb.nameserver.answer import Responder
from gslb.nameserver.counters import ARRIVALS, OUTCOMES, Counter
from tests.nameserver.make import CLIENT, ask, bound, ecs, opt, query, records, responder, wire, zone

ZONE = """
$TTL 300
@ 3600 SOA ns1 hostmaster 2026010100 7200 3600 1209600 60
@ NS ns1
@ NS ns2
@ MX 10 mail
@ MX 20 elsewhere.net.
@ TXT "apex"
ns1 A 198.18.0.53
ns1 AAAA 2001:db8:53::1
ns2 A 198.18.0.54
mail A 192.0.2.25
MiXeD A 192.0.2.13
ttlmax 2147483647 A 192.0.2.15
a.b.c.ent A 192.0.2.16
*.wild A 192.0.2.30
*.wildalias CNAME mail
taken.wild TXT "sibling"
sub NS ns.sub
sub NS ns1.servers.example.
sub DS 1 13 2 0101010101010101010101010101010101010101010101010101010101010101
ns.sub A 192.0.2.40
alias CNAME www
far CNAME www.elsewhere.net.
dangling CNAME absent
loop1 CNAME loop2
loop2 CNAME loop1
intocut CNAME x.sub
old DNAME new
x.new A 192.0.2.50
svc SRV 0 5 443 mail
https HTTPS 1 mail alpn=h2
httpsself HTTPS 1 . alpn=h2
httpsself A 192.0.2.60
unknown TYPE65280 \\# 4 deadbeef
*.w4592 TXT "this is a wildcard"
*.w4592 MX 10 host1.w4592
sub.*.w4592 TXT "this is not a wildcard"
host1.w4592 A 192.0.2.20
_ssh._tcp.host1.w4592 SRV 0 0 22 host1.w4592
_ssh._tcp.host2.w4592 SRV 0 0 22 host1.w4592
subdel.w4592 NS ns.example.com.
"""
BIG = "".join(f'big TXT "{place:03} {"x" * 190}"\n' for place in range(4))
HUGE = "".join(f'huge TXT "{place:03} {"x" * 190}"\n' for place in range(20))
CROWD = "".join(
    f"crowd NS ns{place}.crowd\nns{place}.crowd A 192.0.2.{place}\nns{place}.crowd AAAA 2001:db8::{place:x}\n"
    for place in range(10)
)
MANY = "".join(
    f"many MX {place} mx{place}\nmx{place} A 192.0.2.{place}\nmx{place} AAAA 2001:db8::{place:x}\n"
    for place in range(10)
)
DYNAMIC = {
    **bound("www.z.test.", "*.dyn.z.test."),
    **bound("none.z.test.", policy="none"),
    **bound("dead.z.test.", policy="dead"),
}
SOA = "z.test. 60 IN SOA ns1.z.test. hostmaster.z.test. 2026010100 7200 3600 1209600 60"
ECS = opt(ecs("192.0.2.0/24"))


@pytest.fixture(scope="module")
def subject() -> Responder:
    return responder(zone("z.test.", ZONE + BIG + HUGE + CROWD + MANY, DYNAMIC), nsid=b"fra1")


@dataclass(frozen=True)
class Case:
    """A query, and what must come back; None does not matter."""

    message: bytes
    rcode: str = "NOERROR"
    aa: bool = True
    answer: tuple[str, ...] | None = None
    authority: tuple[str, ...] | None = ()
    additional: tuple[str, ...] | None = ()
    edns: int = -1
    tcp: bool = False


def nothing(message: bytes, rcode: str = "NOERROR", edns: int = -1) -> Case:
    """NODATA or NXDOMAIN: the SOA and no more."""
    return Case(message, rcode=rcode, answer=(), authority=(SOA,), edns=edns)


def refused(message: bytes, rcode: str = "REFUSED", edns: int = -1) -> Case:
    """A reply that tells nothing of any zone."""
    return Case(message, rcode=rcode, aa=False, answer=(), edns=edns)


def referral(message: bytes) -> Case:
    """To the servers of sub."""
    return Case(message, aa=False, answer=(), authority=SUB, additional=GLUE)


SOA_ANSWER = (SOA.replace("60 IN", "3600 IN", 1),)
APEX = "z.test."
WWW = ("www.z.test. 60 IN A 192.0.2.1",)
GLUE = ("ns.sub.z.test. 300 IN A 192.0.2.40",)
SUB = ("sub.z.test. 300 IN NS ns.sub.z.test.", "sub.z.test. 300 IN NS ns1.servers.example.")
SUBDEL = ("subdel.w4592.z.test. 300 IN NS ns.example.com.",)

RFC8906 = {
    "8.1.1 soa": Case(query(APEX, "SOA"), answer=SOA_ANSWER),
    "8.1.2 type1000": nothing(query(APEX, 1000)),
    "8.1.3.1 cd": Case(query(APEX, "SOA", flags=0x0010), answer=SOA_ANSWER),
    "8.1.3.2 ad": Case(query(APEX, "SOA", flags=0x0020), answer=SOA_ANSWER),
    "8.1.3.3 z": Case(query(APEX, "SOA", flags=0x0040), answer=SOA_ANSWER),
    "8.1.3.4 rd": Case(query(APEX, "SOA", flags=0x0100), answer=SOA_ANSWER),
    "8.1.5 tcp": Case(query(APEX, "SOA"), answer=SOA_ANSWER, tcp=True),
    "8.2.1 edns": Case(query(APEX, "SOA", opt()), answer=SOA_ANSWER, edns=0),
    "8.2.2 version 1": refused(query(APEX, "SOA", opt(version=1)), "BADVERS", edns=0),
    "8.2.3 option 100": Case(query(APEX, "SOA", opt((100, b""))), answer=SOA_ANSWER, edns=0),
    "8.2.4 edns z": Case(query(APEX, "SOA", opt(flags=0x40)), answer=SOA_ANSWER, edns=0),
    "8.2.5 version 1, z": refused(query(APEX, "SOA", opt(version=1, flags=0x40)), "BADVERS", edns=0),
    "8.2.6 version 1, option": refused(query(APEX, "SOA", opt((100, b""), version=1)), "BADVERS", edns=0),
    "8.2.7 dnskey, do, 512": nothing(query(APEX, "DNSKEY", opt(payload=512, flags=0x8000)), edns=0),
    "8.2.8 do": Case(query(APEX, "SOA", opt(flags=0x8000)), answer=SOA_ANSWER, edns=0),
    "8.2.9 do, version 1": refused(query(APEX, "SOA", opt(version=1, flags=0x8000)), "BADVERS", edns=0),
    "8.2.10 many options": Case(
        query(APEX, "SOA", opt((10, bytes(8)), (3, b""), (9, b""), (8, b"\0\x01\0\0"))), answer=SOA_ANSWER, edns=0
    ),
    "19 aa in query": Case(query(APEX, "SOA", flags=0x0400), answer=SOA_ANSWER),
    "20 ra in query": Case(query(APEX, "SOA", flags=0x0080), answer=SOA_ANSWER),
    "21 tc in query": Case(query(APEX, "SOA", flags=0x0200), answer=SOA_ANSWER),
    "23 type666": nothing(query(APEX, 666)),
    "24 do and cd": Case(query(APEX, "SOA", opt(flags=0x8000), flags=0x0010), answer=SOA_ANSWER, edns=0),
    "31 ecs, version 1": refused(query(APEX, "SOA", opt(ecs("192.0.2.0/24"), version=1)), "BADVERS", edns=0),
}
NAMES = {
    "dynamic": Case(query("www.z.test."), answer=WWW),
    "dynamic AAAA": Case(query("www.z.test.", "AAAA"), answer=("www.z.test. 60 IN AAAA 2001:db8::1",)),
    "dynamic, other type": nothing(query("www.z.test.", "TXT")),
    "dynamic wildcard": Case(query("anything.dyn.z.test."), answer=("anything.dyn.z.test. 60 IN A 192.0.2.1",)),
    "dynamic nodata": nothing(query("none.z.test.")),
    "dynamic servfail": Case(query("dead.z.test."), rcode="SERVFAIL", aa=False, answer=()),
    "any of a dynamic name": Case(query("www.z.test.", "ANY"), answer=('www.z.test. 3600 IN HINFO "RFC8482" ""',)),
    "case-stored": Case(query("mixed.z.test."), answer=("mixed.z.test. 300 IN A 192.0.2.13",)),
    "ttl-edge": Case(query("ttlmax.z.test."), answer=("ttlmax.z.test. 2147483647 IN A 192.0.2.15",)),
    "ent": nothing(query("b.c.ent.z.test.")),
    "any-ent": nothing(query("b.c.ent.z.test.", "ANY")),
    "any-absent": nothing(query("absent.z.test.", "ANY"), "NXDOMAIN"),
    "any-alias": Case(query("alias.z.test.", "ANY"), answer=("alias.z.test. 300 IN CNAME www.z.test.",)),
    "nxdomain": nothing(query("absent.z.test."), "NXDOMAIN"),
    "below a leaf": nothing(query("x.mail.z.test."), "NXDOMAIN"),
    "name-255": nothing(
        query(b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 63 + b"\x3f" + b"c" * 63 + b"\x36" + b"d" * 54 + wire(APEX)),
        "NXDOMAIN",
    ),
    "wildcard": Case(query("any.wild.z.test."), answer=("any.wild.z.test. 300 IN A 192.0.2.30",)),
    "wildcard, two labels": Case(query("x.y.wild.z.test."), answer=("x.y.wild.z.test. 300 IN A 192.0.2.30",)),
    "wildcard nodata": nothing(query("any.wild.z.test.", "TXT")),
    "wildcard blocked by a sibling": nothing(query("taken.wild.z.test.")),
    "wildcard blocked below a sibling": nothing(query("x.taken.wild.z.test."), "NXDOMAIN"),
    "wildcard cname": Case(
        query("any.wildalias.z.test."),
        answer=("any.wildalias.z.test. 300 IN CNAME mail.z.test.", "mail.z.test. 300 IN A 192.0.2.25"),
    ),
    "wildcard itself": Case(query("*.wild.z.test."), answer=("*.wild.z.test. 300 IN A 192.0.2.30",)),
    "refused-foreign": refused(query("example.org.")),
    "refused root": refused(query(".")),
    "refused parent": refused(query("test.")),
    "refused by labels, not by suffix": refused(query("xz.test.")),
    "refused axfr": Case(query(APEX, "AXFR"), rcode="REFUSED", aa=False, answer=(), tcp=True),
    "unknown-rr": Case(query("unknown.z.test.", 65280), answer=(r"unknown.z.test. 300 IN TYPE65280 \# 4 deadbeef",)),
    "apex-ds": nothing(query(APEX, "DS")),
}
CHAINS = {
    "cname to a dynamic name": Case(query("alias.z.test."), answer=("alias.z.test. 300 IN CNAME www.z.test.", *WWW)),
    "cname, nodata end": Case(
        query("alias.z.test.", "TXT"), answer=("alias.z.test. 300 IN CNAME www.z.test.",), authority=(SOA,)
    ),
    "cname asked": Case(query("alias.z.test.", "CNAME"), answer=("alias.z.test. 300 IN CNAME www.z.test.",)),
    "cname out of zone": Case(query("far.z.test."), answer=("far.z.test. 300 IN CNAME www.elsewhere.net.",)),
    "cname dangling": Case(
        query("dangling.z.test."),
        rcode="NXDOMAIN",
        answer=("dangling.z.test. 300 IN CNAME absent.z.test.",),
        authority=(SOA,),
    ),
    "cname loop": Case(
        query("loop1.z.test."),
        answer=("loop1.z.test. 300 IN CNAME loop2.z.test.", "loop2.z.test. 300 IN CNAME loop1.z.test."),
    ),
    "cname into a cut": Case(
        query("intocut.z.test."), answer=("intocut.z.test. 300 IN CNAME x.sub.z.test.",), authority=SUB, additional=GLUE
    ),
    "dname": Case(
        query("x.old.z.test."),
        answer=(
            "old.z.test. 300 IN DNAME new.z.test.",
            "x.old.z.test. 300 IN CNAME x.new.z.test.",
            "x.new.z.test. 300 IN A 192.0.2.50",
        ),
    ),
    "dname owner": nothing(query("old.z.test.")),
    "dname asked": Case(query("old.z.test.", "DNAME"), answer=("old.z.test. 300 IN DNAME new.z.test.",)),
    "dname to nowhere": Case(
        query("y.old.z.test."),
        rcode="NXDOMAIN",
        answer=("old.z.test. 300 IN DNAME new.z.test.", "y.old.z.test. 300 IN CNAME y.new.z.test."),
        authority=(SOA,),
    ),
    "referral at the cut": referral(query("sub.z.test.", "NS")),
    "referral soa": referral(query("sub.z.test.", "SOA")),
    "referral below": referral(query("a.b.sub.z.test.", "MX")),
    "referral for the glue": referral(query("ns.sub.z.test.")),
    "ds at the cut": Case(query("sub.z.test.", "DS"), answer=("sub.z.test. 300 IN DS 1 13 2 " + "01" * 32,)),
    "mx": Case(
        query(APEX, "MX"),
        answer=("z.test. 300 IN MX 10 mail.z.test.", "z.test. 300 IN MX 20 elsewhere.net."),
        additional=("mail.z.test. 300 IN A 192.0.2.25",),
    ),
    "srv": Case(
        query("svc.z.test.", "SRV"),
        answer=("svc.z.test. 300 IN SRV 0 5 443 mail.z.test.",),
        additional=("mail.z.test. 300 IN A 192.0.2.25",),
    ),
    "https": Case(
        query("https.z.test.", "HTTPS"),
        answer=('https.z.test. 300 IN HTTPS 1 mail.z.test. alpn="h2"',),
        additional=("mail.z.test. 300 IN A 192.0.2.25",),
    ),
    "https of the owner": Case(
        query("httpsself.z.test.", "HTTPS"),
        answer=('httpsself.z.test. 300 IN HTTPS 1 . alpn="h2"',),
        additional=("httpsself.z.test. 300 IN A 192.0.2.60",),
    ),
}
RFC4592 = {  # section 2.2.1, in its order
    "host3 mx": Case(
        query("host3.w4592.z.test.", "MX"),
        answer=("host3.w4592.z.test. 300 IN MX 10 host1.w4592.z.test.",),
        additional=("host1.w4592.z.test. 300 IN A 192.0.2.20",),
    ),
    "host3 a": nothing(query("host3.w4592.z.test.")),
    "foo.bar txt": Case(
        query("foo.bar.w4592.z.test.", "TXT"), answer=('foo.bar.w4592.z.test. 300 IN TXT "this is a wildcard"',)
    ),
    "host1 mx": nothing(query("host1.w4592.z.test.", "MX")),
    "sub.* mx": nothing(query("sub.*.w4592.z.test.", "MX")),
    "_telnet mx": nothing(query("_telnet._tcp.host1.w4592.z.test.", "SRV"), "NXDOMAIN"),
    "host.subdel a": Case(query("host.subdel.w4592.z.test."), aa=False, answer=(), authority=SUBDEL),
    "ghost.* mx": nothing(query("ghost.*.w4592.z.test.", "MX"), "NXDOMAIN"),
}
CASES = {**RFC8906, **NAMES, **CHAINS, **RFC4592}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_reply(subject: Responder, case: Case) -> None:
    reply = ask(subject, case.message, tcp=case.tcp)
    assert dns.rcode.to_text(reply.rcode()) == case.rcode
    assert bool(reply.flags & dns.flags.AA) == case.aa
    assert bool(reply.flags & dns.flags.RD) == bool(case.message[2] & 1)
    assert reply.edns == case.edns
    for section, want in (
        (reply.answer, case.answer),
        (reply.authority, case.authority),
        (reply.additional, case.additional),
    ):
        if want is not None:
            assert records(section) == sorted(want)
    if case.edns >= 0:
        asked = dns.message.from_wire(case.message)
        assert reply.ednsflags & 0xFFFF == asked.ednsflags & dns.flags.DO
        assert reply.payload == 1232


MALFORMED = {
    "qdcount0": b"\x12\x34\0\0\0\0\0\0\0\0\0\0",
    "qdcount2": b"\x12\x34\0\0\0\2\0\0\0\0\0\0" + wire(APEX) + b"\0\1\0\1" + wire(APEX) + b"\0\1\0\1",
    "qdcount-lies": b"\x12\x34\0\0\xff\xff\0\0\0\0\0\0" + wire(APEX) + b"\0\1\0\1",
    "qdcount1-empty": b"\x12\x34\0\0\0\1\0\0\0\0\0\0",
    "ancount-lies": b"\x12\x34\0\0\0\1\0\1\0\0\0\0" + wire(APEX) + b"\0\1\0\1",
    "nscount-lies": b"\x12\x34\0\0\0\1\0\0\0\1\0\0" + wire(APEX) + b"\0\1\0\1",
    "arcount-lies": b"\x12\x34\0\0\0\1\0\0\0\0\0\1" + wire(APEX) + b"\0\1\0\1",
    "counts of thousands": b"\x12\x34\0\0\0\1\xff\xff\xff\xff\xff\xff" + wire(APEX) + b"\0\1\0\1" + bytes(500),
    "trailing-garbage": query(APEX) + b"garbage",
    "trailing garbage behind OPT": query(APEX, opt=opt()) + b"garbage",
    "pointer-self": query(b"\xc0\x0c"),
    "pointer-loop": query(b"\xc0\x0e\xc0\x0c"),
    "label and pointer": query(b"\x01a\xc0\x0c"),
    "pointer-header": query(b"\xc0\x00"),
    "label-type 0x40": query(b"\x40" + wire(APEX)),
    "label-type 0x41": query(b"\x41" + wire(APEX)),
    "label-type 0x80": query(b"\x80" + wire(APEX)),
    "label-type 0xbf": query(b"\xbf" + wire(APEX)),
    "name-256": query(
        b"\x3f" + b"a" * 63 + b"\x3f" + b"b" * 63 + b"\x3f" + b"c" * 63 + b"\x37" + b"d" * 55 + wire(APEX)
    ),
    "name-400": query((b"\x3f" + b"a" * 63) * 6 + wire(APEX)),
    "edns-two-opt": query(APEX, opt=opt() + opt())[:11] + b"\2" + query(APEX, opt=opt() + opt())[12:],
    "edns-rdlen-lies": query(APEX, opt=opt()[:-1] + b"\x09"),
    "option length past the end": query(APEX, opt=b"\0\0\x29\x04\xd0\0\0\0\0\0\x05\0\x64\0\x09x"),
    "half an option": query(APEX, opt=b"\0\0\x29\x04\xd0\0\0\0\0\0\x02\0\x64"),
    "owner of OPT": query(APEX, opt=b"\x01a" + opt()),
    "ecs-bad-family 3": query(APEX, opt=opt((8, b"\0\x03\x18\0\xc0\0\2"))),
    "ecs-bad-family 65535": query(APEX, opt=opt((8, b"\xff\xff\x18\0\xc0\0\2"))),
    "ecs-bad-family 0 with prefix": query(APEX, opt=opt((8, b"\0\0\x18\0\xc0\0\2"))),
    "ecs-bad-prefix 33": query(APEX, opt=opt((8, b"\0\1\x21\0\xc0\0\2\1\0"))),
    "ecs-bad-prefix 129": query(APEX, opt=opt((8, b"\0\2\x81\0" + bytes(17)))),
    "ecs-bad-prefix 255": query(APEX, opt=opt((8, b"\0\1\xff\0" + bytes(32)))),
    "ecs of 0 octets": query(APEX, opt=opt((8, b""))),
    "ecs of 3 octets": query(APEX, opt=opt((8, b"\0\1\x18"))),
    "ecs trailing bits": query(APEX, opt=opt((8, b"\0\1\x17\0\xc0\0\3"))),
    "ecs scope in query": query(APEX, opt=opt((8, b"\0\1\x18\x18\xc0\0\2"))),
    "ecs too many octets": query(APEX, opt=opt((8, b"\0\1\x18\0\xc0\0\2\0"))),
    "ecs too few octets": query(APEX, opt=opt((8, b"\0\1\x18\0\xc0\0"))),
    "two ecs": query(APEX, opt=opt(ecs("192.0.2.0/24"), ecs("192.0.2.0/24"))),
}


@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_is_formerr(subject: Responder, message: bytes) -> None:
    reply = ask(subject, message)
    assert reply.rcode() == dns.rcode.FORMERR
    assert not reply.flags & dns.flags.AA
    assert reply.answer + reply.authority + reply.additional == []
    assert not reply.options


def test_formerr_for_an_option_shows_that_edns_is_known(subject: Responder) -> None:
    assert ask(subject, MALFORMED["ecs trailing bits"]).edns == 0
    assert ask(subject, MALFORMED["half an option"]).edns == 0
    assert ask(subject, MALFORMED["edns-rdlen-lies"]).edns == -1


def test_question_cut_at_each_octet_is_formerr(subject: Responder) -> None:
    whole = query("www.z.test.", opt=ECS)
    for length in range(12, len(whole)):
        assert ask(subject, whole[:length]).rcode() == dns.rcode.FORMERR


def test_less_than_a_header_and_responses_get_no_reply(subject: Responder) -> None:
    response = subject.general(query("www.z.test."), CLIENT)
    assert response is not None
    silent = [query(APEX)[:length] for length in range(12)]
    silent += [
        response,
        b"\xff" * 12,
        query(APEX, flags=0x8000),
        query(APEX, flags=0xF800),
        b"\x12\x34\xff\xff" + bytes(8),
    ]
    for message in silent:
        assert subject.udp(message, CLIENT) is None
        assert subject.general(message, CLIENT) is None
        assert subject.tcp(message, CLIENT) is None


@pytest.mark.parametrize("opcode", range(1, 16))
def test_other_opcodes(subject: Responder, opcode: int) -> None:
    reply = ask(subject, query(APEX, "SOA", flags=opcode << 11 | 0x0130))
    assert reply.opcode() == opcode
    known = opcode in (4, 5)
    assert reply.rcode() == (dns.rcode.REFUSED if known else dns.rcode.NOTIMP)
    assert not reply.flags & (dns.flags.AA | dns.flags.RD)
    octets = subject.udp(query(APEX, "SOA", flags=opcode << 11), CLIENT)
    assert octets is not None
    assert octets[4:12] == (b"\0\1" if known else b"\0\0") + bytes(6)


def test_header_only_of_an_unknown_opcode_is_notimp(subject: Responder) -> None:
    assert subject.udp(b"\x12\x34\x7f\x7f" + bytes(8), CLIENT) == b"\x12\x34\xf8\x04" + bytes(8)


CHAOS = {
    "version.bind.": f"gslb {__version__}",
    "VERSION.server.": f"gslb {__version__}",
    "hostname.bind.": "fra1",
    "id.server.": "fra1",
}


@pytest.mark.parametrize("name", CHAOS)
def test_class_chaos(subject: Responder, name: str) -> None:
    reply = ask(subject, query(name, "TXT", ECS, rclass=3))
    assert reply.rcode() == dns.rcode.NOERROR
    assert [str(rrset[0]) for rrset in reply.answer] == [f'"{CHAOS[name]}"']
    assert reply.answer[0].name == reply.question[0].name


def test_class_chaos_tells_nothing_else(subject: Responder) -> None:
    for name, rtype in ((APEX, "SOA"), ("www.z.test.", "A"), ("other.bind.", "TXT")):
        assert ask(subject, query(name, rtype, rclass=3)).rcode() == dns.rcode.REFUSED
    assert records(ask(subject, query("version.bind.", "A", rclass=3)).answer) == []
    nameless = responder(zone("z.test.", ZONE, DYNAMIC))
    assert ask(nameless, query("id.server.", "TXT", rclass=3)).rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize("rclass", [0, 4, 22, 254, 255, 65535])
def test_other_classes_are_refused(subject: Responder, rclass: int) -> None:
    reply = ask(subject, query(APEX, "SOA", rclass=rclass))
    assert reply.rcode() == dns.rcode.REFUSED
    assert not reply.answer


@pytest.mark.parametrize("label", [b"\0", b".", b"\xff", b'"', b" ", b"a\0\0b"])
def test_any_octet_may_stand_in_a_label(subject: Responder, label: bytes) -> None:
    message = query(bytes([len(label)]) + label + wire(APEX))
    assert ask(subject, message).rcode() == dns.rcode.NXDOMAIN


def test_the_case_asked_comes_back(subject: Responder) -> None:
    message = query("wWw.Z.tEST.")
    reply = subject.udp(message, CLIENT)
    assert reply is not None
    assert reply[12:28] == message[12:28]
    assert reply[28:30] == b"\xc0\x0c"
    assert records(ask(subject, message).answer) == ["wWw.Z.tEST. 60 IN A 192.0.2.1"]


@dataclass(frozen=True)
class Room:
    """A query, and how long its reply may be; `cut`: TC is set."""

    message: bytes
    most: int
    cut: bool
    tcp: bool = False


ROOMS = {
    "512 without EDNS": Room(query("big.z.test.", "TXT"), 512, cut=True),
    "EDNS 512": Room(query("big.z.test.", "TXT", opt(payload=512)), 512, cut=True),
    "EDNS 0 is 512": Room(query("big.z.test.", "TXT", opt(payload=0)), 512, cut=True),
    "EDNS 1 is 512": Room(query("big.z.test.", "TXT", opt(payload=1)), 512, cut=True),
    "fits-1232": Room(query("big.z.test.", "TXT", opt()), 1232, cut=False),
    "EDNS 4096 is 1232": Room(query("huge.z.test.", "TXT", opt(payload=4096)), 1232, cut=True),
    "tcp-whole": Room(query("huge.z.test.", "TXT"), 65535, cut=False, tcp=True),
    "additional is dropped without TC": Room(query("many.z.test.", "MX"), 512, cut=False),
    "glue is needed": Room(query("x.crowd.z.test."), 512, cut=True),
    "glue fits": Room(query("x.crowd.z.test.", opt=opt()), 1232, cut=False),
}


@pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS.keys())
def test_room(subject: Responder, room: Room) -> None:
    reply = ask(subject, room.message, tcp=room.tcp)
    octets = subject.tcp(room.message, CLIENT) if room.tcp else subject.udp(room.message, CLIENT)
    assert octets is not None
    assert len(octets) <= room.most
    assert bool(reply.flags & dns.flags.TC) == room.cut
    assert (not reply.answer and not reply.authority) == room.cut
    assert reply.edns == (0 if room.message[11] else -1)


def test_nsid_only_when_asked(subject: Responder) -> None:
    assert ask(subject, query(APEX, "SOA", opt((3, b"")))).options == (dns.edns.NSIDOption(b"fra1"),)
    nameless = responder(zone("z.test.", ZONE, DYNAMIC))
    assert ask(nameless, query(APEX, "SOA", opt((3, b"")))).options == ()


def test_keepalive_over_tcp_only(subject: Responder) -> None:
    message = query(APEX, "SOA", opt((11, b"")))
    assert ask(subject, message).options == ()
    (option,) = ask(subject, message, tcp=True).options
    assert (int(option.otype), option.to_wire()) == (11, b"\0\x64")


def test_hundred_unknown_options(subject: Responder) -> None:
    message = query("www.z.test.", opt=opt(*((code, b"x") for code in range(100, 200))))
    assert ask(subject, message).options == ()


SUBNETS = (
    "192.0.2.0/24",
    "192.0.2.1/32",
    "192.0.2.0/25",
    "128.0.0.0/1",
    "2001:db8::/56",
    "2001:db8::1/128",
    "2001:db8::/48",
    "0.0.0.0/0",
    "::/0",
)


@pytest.mark.parametrize("subnet", SUBNETS)
@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("www.z.test.", 0),
        ("none.z.test.", 0),
        ("absent.z.test.", 3),
        ("mail.z.test.", 0),
        ("www.test.", 5),
        ("sub.z.test.", 0),
    ],
)
def test_ecs_is_echoed(subject: Responder, subnet: str, name: str, rcode: int) -> None:
    reply = ask(subject, query(name, opt=opt(ecs(subnet))))
    (option,) = reply.options
    assert isinstance(option, dns.edns.ECSOption)
    assert f"{option.address}/{option.srclen}" == subnet
    assert option.scopelen == 0  # one class, and one member
    assert reply.rcode() == rcode


def test_ecs_of_no_family_is_echoed(subject: Responder) -> None:
    reply = subject.general(query("www.z.test.", opt=opt((8, bytes(4)))), CLIENT)
    assert reply is not None
    assert reply.endswith(b"\0\x08\0\x04" + bytes(4))


def test_every_message_is_counted_once_by_arrival_and_once_by_outcome(subject: Responder) -> None:
    before = list(subject.counts)
    messages = [*(case.message for case in CASES.values()), *MALFORMED.values(), query(APEX, flags=0x8000)]
    for message in messages:
        subject.udp(message, CLIENT)
        subject.tcp(message, CLIENT)
    moved = [now - then for now, then in zip(subject.counts, before, strict=True)]
    assert sum(moved[arrival] for arrival in ARRIVALS) == 2 * len(messages)
    assert sum(moved[outcome] for outcome in OUTCOMES) == 2 * len(messages)
    assert moved[Counter.TCP] == len(messages)
    assert moved[Counter.FORMERR] == 2 * len(MALFORMED)
    assert moved[Counter.DROPPED] == 2
