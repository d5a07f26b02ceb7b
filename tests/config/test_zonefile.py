"""Master files: against dnspython's own zone reader, and where ours differs on purpose."""

from __future__ import annotations

import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.config.problem import Problems, Where
from gslb.config.source import Unreadable
from gslb.config.zonedraft import ZoneDraft, name_text, within, zone_of
from gslb.config.zonefile import (
    dump,
    name_wire,
    owner_text,
    rdata_text,
    rdata_wire,
    read_master,
    type_number,
    type_text,
)

FILES = {"sub.inc": "www A 192.0.2.1\n$ORIGIN other.example.com.\nx A 192.0.2.2\n"}
TRICKY = r"""
; a comment
$TTL 1h
$ORIGIN example.com.
@           IN SOA ns1 hostmaster.example.com. ( 2026010101
                7200 ; (refresh
                900 1209600
                60 )
            NS  ns1
ns1 300     A   192.0.2.1
ns1 IN 300  AAAA 2001:db8::1
            TXT "a ; b" "c ) d" e\;f "quote \" inside"
; ( not open
a\.b        A   192.0.2.2
\001\$x     A   192.0.2.3
*.wild      A   192.0.2.4
( paren     A 192.0.2.5 )
paren2      TXT ( "one"
   "two"    ; inside
   )
svc         SVCB 1 . alpn="h2,h3" port=8443
un          TYPE65280 \# 3 ( 0102
                       03 )
CaSe        CNAME NS1
$GENERATE 2-6/2 h${0,3,d} 60 A 192.0.2.$
$TTL 30
short       A   192.0.2.9
"""


def read(text: str, name: str = "example.com", problems: Problems | None = None) -> ZoneDraft:
    def fetch(including: str, wanted: str) -> tuple[str, str]:
        if wanted not in FILES:
            raise Unreadable(Where(including), "no such file")
        return wanted, FILES[wanted]

    problems = problems or Problems()
    draft = read_master(text, "f", name, fetch, problems)
    assert draft is not None
    return draft


def as_set(draft: ZoneDraft) -> set[tuple[bytes, int, int, bytes]]:
    return {(record.owner, record.rtype, record.ttl, record.rdata) for record in draft.records}


def by_dnspython(text: str) -> set[tuple[bytes, int, int, bytes]]:
    zone = dns.zone.from_text(text, "example.com", relativize=False)
    return {
        (name.to_wire() or b"", int(rdataset.rdtype), rdataset.ttl, rdata.to_wire() or b"")
        for name, rdataset in zone.iterate_rdatasets()
        for rdata in rdataset
    }


def test_as_dnspython_reads_it() -> None:
    problems = Problems()
    assert as_set(read(TRICKY, problems=problems)) == by_dnspython(TRICKY)
    assert problems.sorted() == ()


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_other_line_ends(ends: str) -> None:
    assert as_set(read(TRICKY.replace("\n", ends))) == as_set(read(TRICKY))


def test_places() -> None:
    lines = {record.where.line for record in read(TRICKY).records}
    assert {5, 9, 10, 18, 21} <= lines
    assert all(record.where.file == "f" for record in read(TRICKY).records)


def test_include_has_its_own_origin_and_changes_none_of_ours() -> None:
    draft = read("$TTL 60\n$INCLUDE sub.inc sub\nafter A 192.0.2.3\n$INCLUDE sub.inc\n")
    owners = [name_text(record.owner) for record in draft.records]
    assert owners == [
        "www.sub.example.com.", "x.other.example.com.", "after.example.com.", "www.example.com.", "x.other.example.com.",
    ]  # fmt: skip
    assert draft.records[0].where == Where("sub.inc", 1, 1)


@pytest.mark.parametrize(
    ("text", "name", "apex"),
    [
        ("@ 60 SOA a b 1 2 3 4 5", "example.com", "example.com."),
        ("$ORIGIN example.org.\n@ 60 SOA a b 1 2 3 4 5", "db", "example.org."),
        ("sub 60 SOA a b 1 2 3 4 5", "example.com", "sub.example.com."),
        ("$ORIGIN example.org.\n@ 60 NS ns1", "db", "example.org."),
        ("www 60 A 192.0.2.1", "example.com", "example.com."),
    ],
)
def test_apex(text: str, name: str, apex: str) -> None:
    assert name_text(read(text, name).apex) == apex


def test_reading_goes_on_after_an_error() -> None:
    problems = Problems()
    draft = read('$TTL 60\na A x\nb A 192.0.2.1\nc TXT "open\nd A 192.0.2.2\n$FOO\ne A 192.0.2.3\n', problems=problems)
    assert [name_text(record.owner)[0] for record in draft.records] == ["b", "d", "e"]
    assert [problem.where.line for problem in problems.sorted()] == [2, 4, 6]
    assert draft.broken


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a 60 IN NSS ns1", "f:1:9: a 60 IN NSS ns1 - unknown type NSS - did you mean NS?"),
        ("a 60 cnam b", "f:1:6: a 60 cnam b - unknown type cnam - did you mean CNAME?"),
        ("a 60 NOTHING b", "f:1:6: a 60 NOTHING b - unknown type NOTHING - expected a record type"),
        (
            "$GENERATE 1-2 a$ 60 AAAAA ::1",
            "f:1:21: $GENERATE 1-2 a$ 60 AAAAA ::1 - unknown type AAAAA - did you mean AAAA?",
        ),
        ("a ( 60\n  MXX 10 b )", "f:2:3: a ( 60 MXX 10 b ) - unknown type MXX - did you mean MX?"),
    ],
)
def test_an_unknown_type_has_its_column_and_the_nearest_known_one(line: str, expected: str) -> None:
    problems = Problems()
    read(line, problems=problems)
    assert [str(problem) for problem in problems.sorted()] == [expected]


def test_one_ttl_an_rrset_and_no_duplicates() -> None:
    draft = read("a 60 A 192.0.2.1\nA 30 A 192.0.2.2\na 60 A 192.0.2.1\n")
    (rrset,) = zone_of(draft, {}).rrsets
    assert (rrset.ttl, len(rrset.rdatas)) == (30, 2)


def test_dump_comes_back() -> None:
    zone = zone_of(read(TRICKY), {})
    text = "\n".join(dump(zone, lambda _policy, _rtype: ()))
    assert text.startswith("example.com. 3600 IN SOA ")
    assert as_set(read(text)) == as_set(read(TRICKY))


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=4))
def test_names_come_back(labels: list[bytes]) -> None:
    """Any octet may stand in a label (RFC 2181 section 11)."""
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    if len(wire) <= 255:
        assert name_wire(owner_text(wire)) == wire
        assert name_wire(name_text(wire)) == wire


@pytest.mark.parametrize("text", ["a..b.", "x" * 64 + ".", "\\256.", "\\", ".".join(["abcdefgh"] * 30) + "."])
def test_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="expected a domain name"):
        name_wire(text)


def test_types() -> None:
    assert (type_number("https"), type_number("TYPE65280")) == (65, 65280)
    assert (type_text(65), type_text(65280)) == ("HTTPS", "TYPE65280")
    with pytest.raises(ValueError, match="expected a record type"):
        type_number("NOTHING")


def test_rdata() -> None:
    origin = name_wire("example.com.")
    wire = rdata_wire(15, "10 mail", origin)
    assert rdata_text(15, wire) == "10 mail.example.com."
    with pytest.raises(ValueError, match="integer"):
        rdata_wire(15, "mail", origin)


@pytest.mark.parametrize(
    ("name", "apex", "inside"),
    [
        ("example.com.", "example.com.", True),
        ("www.example.com.", "example.com.", True),
        ("xexample.com.", "example.com.", False),
        ("com.", "example.com.", False),
        ("com.", ".", True),
    ],
)
def test_within(name: str, apex: str, inside: bool) -> None:  # noqa: FBT001
    assert within(name_wire(name), name_wire(apex)) is inside


def test_within_counts_labels_and_not_octets() -> None:
    """A label may hold what looks like the wire form of the apex."""
    assert not within(b"\x08a\x03b\x03com\x00"[:9] + b"\x00", b"\x03com\x00")
