"""What the writer makes, dnspython reads: names compressed, RDATA whole, counts right."""

from __future__ import annotations

import dns.message
import dns.name
import dns.rdata
import dns.rdatatype
from hypothesis import given
from hypothesis import strategies as st

from gslb.model.zone import RRset
from gslb.nameserver.lookup import Resolved
from gslb.nameserver.message import Finished, finish
from tests.nameserver.make import query, wire

labels = st.sampled_from([b"a", b"bb", b"CCC", b"x" * 40])
names = st.lists(labels, max_size=5).map(lambda path: dns.name.Name([*path, b"example", b""]))
RTYPES = {
    1: st.just("192.0.2.1"),
    2: names.map(str),
    5: names.map(str),
    6: st.builds(lambda server, mailbox: f"{server} {mailbox} 1 2 3 4 5", names, names),
    12: names.map(str),
    15: names.map(lambda name: f"10 {name}"),
    16: st.just('"some text" "more"'),
    33: names.map(lambda name: f"1 2 3 {name}"),
    35: names.map(lambda name: f'1 2 "u" "sip" "" {name}'),
    39: names.map(str),
    65: names.map(lambda name: f"1 {name} alpn=h2"),
    65280: st.just(r"\# 3 c00c00"),
}
NOT_COMPRESSED = (33, 35, 39, 65, 65280)


@st.composite
def rrsets(draw: st.DrawFn) -> RRset:
    """An RRset of one or two records."""
    rtype = draw(st.sampled_from(sorted(RTYPES)))
    texts = draw(st.lists(RTYPES[rtype], min_size=1, max_size=2, unique=True))
    rdatas = tuple(
        dns.rdata.from_text("IN", dns.rdatatype.RdataType.make(rtype), text).to_wire() or b"" for text in texts
    )
    return RRset(draw(names).to_wire() or b"", rtype, draw(st.integers(0, 2**31 - 1)), rdatas)


sections = st.lists(rrsets(), max_size=4).map(tuple)


def whole(name: bytes, made: Finished) -> bytes:
    """The reply to a plain query."""
    heads, body, _, _ = made
    return b"\x12\x34" + heads[0] + query(name)[12:] + body


def flat(sets: tuple[RRset, ...]) -> list[tuple[bytes, int, int, bytes]]:
    return [(rrset.owner, rrset.rtype, rrset.ttl, rdata) for rrset in sets for rdata in rrset.rdatas]


def read(section: list[dns.rrset.RRset]) -> list[tuple[bytes, int, int, bytes]]:
    return [
        (rrset.name.to_wire() or b"", int(rrset.rdtype), rrset.ttl, rdata.to_wire() or b"")
        for rrset in section
        for rdata in rrset
    ]


def lowered(records: list[tuple[bytes, int, int, bytes]]) -> list[tuple[bytes, int, int, bytes]]:
    """Compression may change the case of names."""
    return [(owner.lower(), rtype, ttl, rdata.lower()) for owner, rtype, ttl, rdata in records]


@given(names, sections, sections, sections)
def test_dnspython_reads_what_is_written(
    name: dns.name.Name, answer: tuple[RRset, ...], authority: tuple[RRset, ...], additional: tuple[RRset, ...]
) -> None:
    made = finish(Resolved(answer=answer, authority=authority, additional=additional), name.to_wire() or b"", 65535)
    reply = dns.message.from_wire(whole(name.to_wire() or b"", made), one_rr_per_rrset=True)
    assert lowered(read(reply.answer)) == lowered(flat(answer))
    assert lowered(read(reply.authority)) == lowered(flat(authority))
    assert lowered(read(reply.additional)) == lowered(flat(additional))


@given(names, sections)
def test_new_types_stand_as_they_are(name: dns.name.Name, answer: tuple[RRset, ...]) -> None:
    _, body, _, _ = finish(Resolved(answer=answer), name.to_wire() or b"", 65535)
    for rrset in answer:
        if rrset.rtype in NOT_COMPRESSED:
            assert all(rdata in body for rdata in rrset.rdatas)


@given(names, sections, sections, st.integers(0, 600))
def test_room(name: dns.name.Name, answer: tuple[RRset, ...], additional: tuple[RRset, ...], room: int) -> None:
    wanted = name.to_wire() or b""
    made = finish(Resolved(answer=answer, additional=additional), wanted, room)
    _, needed, _, _ = finish(Resolved(answer=answer), wanted, 65535)
    reply = dns.message.from_wire(whole(wanted, made), one_rr_per_rrset=True)
    assert len(made[1]) <= room
    assert bool(reply.flags & dns.flags.TC) == (len(needed) > room)
    assert made[1].startswith(needed) != bool(reply.flags & dns.flags.TC)
    assert lowered(read(reply.additional)) == lowered(flat(additional))[: len(reply.additional)]


def test_names_are_shortened() -> None:
    mx = RRset(
        wire("example.com."), 15, 60, (b"\0\x0a" + wire("mail.example.com."), b"\0\x14" + wire("mail.example.com."))
    )
    _, body, _, _ = finish(Resolved(answer=(mx,)), wire("example.com."), 65535)
    head = b"\xc0\x0c\0\x0f\0\1\0\0\0\x3c"
    first = head + b"\0\x09\0\x0a\x04mail\xc0\x0c"
    assert body == first + head + b"\0\x04\0\x14" + bytes([0xC0, 12 + 13 + 4 + 14])


def test_a_name_beyond_the_reach_of_pointers_is_written_out() -> None:
    padding = tuple(RRset(wire("example.com."), 16, 0, (b"\xff" + b"x" * 255,)) for _ in range(64))
    late = RRset(wire("late.test."), 1, 0, (bytes(4), bytes(4)))
    made = finish(Resolved(answer=(*padding, late)), wire("example.com."), 65535)
    reply = dns.message.from_wire(whole(wire("example.com."), made))
    assert str(reply.answer[-1].name) == "late.test."
    assert made[1].count(b"\x04late\x04test\0") == 2
