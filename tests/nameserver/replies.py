"""Queries and the replies that the RFCs want, as data: RFC 8906 section 8, names, chains, RFC 4592 section 2.2.1."""

from __future__ import annotations

from dataclasses import dataclass

from tests.nameserver.make import bound, ecs, opt, query, wire

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
    "below the server that the SOA names": nothing(query("x.ns1.z.test."), "NXDOMAIN"),
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
