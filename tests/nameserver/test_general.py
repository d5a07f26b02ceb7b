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
from tests.nameserver.make import CLIENT, ask, ecs, opt, query, records, responder, wire, zone
from tests.nameserver.replies import APEX, BIG, CASES, CROWD, DYNAMIC, ECS, HUGE, MANY, ZONE, Case


@pytest.fixture(scope="module")
def subject() -> Responder:
    return responder(zone("z.test.", ZONE + BIG + HUGE + CROWD + MANY, DYNAMIC), nsid=b"fra1")


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


GREETED = opt((10, b"12345678"))


def greet(subject: Responder, record: bytes, *, flags: int = 0, tcp: bool = False) -> dns.message.Message:
    """The reply to a message without a question."""
    message = b"\x12\x34" + flags.to_bytes(2, "big") + bytes(7) + b"\1" + record
    return ask(subject, message, tcp=tcp)


@pytest.mark.parametrize("tcp", [False, True])
def test_a_cookie_without_a_question(subject: Responder, tcp: bool) -> None:  # noqa: FBT001
    """RFC 7873 section 5.4."""
    reply = greet(subject, GREETED, flags=0x100, tcp=tcp)
    assert (reply.rcode(), reply.question, reply.answer) == (0, [], [])
    assert reply.flags == dns.flags.QR | dns.flags.RD
    (option,) = reply.options
    data = option.to_wire()
    assert data is not None
    assert data[:8] == b"12345678"
    again = greet(subject, opt((10, data)), tcp=tcp)
    assert again.rcode() == 0
    assert again.options[0].to_wire() == data
    forged = greet(subject, opt((10, data[:-1] + bytes((data[-1] ^ 1,)))), tcp=tcp)
    assert forged.rcode() == 23
    assert forged.options[0].to_wire() == data  # a fresh one, of the same second


@pytest.mark.parametrize("record", [opt(), opt((3, b"")), opt((10, b"1234567")), opt((10, b"12345678"), version=1)])
def test_no_question_and_no_cookie(subject: Responder, record: bytes) -> None:
    assert greet(subject, record).rcode() == 1


@pytest.mark.parametrize("length", [0, 7, 9, 15, 41])
def test_cookies_of_wrong_lengths(subject: Responder, length: int) -> None:
    assert ask(subject, query("www.z.test.", opt=opt((10, bytes(length))))).rcode() == 1


def test_cookies_stand_before_the_subnet_and_behind_the_rest(subject: Responder) -> None:
    message = query("www.z.test.", opt=opt(ecs("192.0.2.0/24"), (10, bytes(8)), (11, b""), (3, b"")))
    assert [int(option.otype) for option in ask(subject, message).options] == [3, 10, 8]
    assert [int(option.otype) for option in ask(subject, message, tcp=True).options] == [3, 11, 10, 8]


@pytest.mark.parametrize("client", ["192.0.2.77", "2001:db8::1"])
def test_a_cookie_comes_back_good(subject: Responder, client: str) -> None:
    given = ask(subject, query("www.z.test.", opt=opt((10, b"abcdefgh"))), client).options[0].to_wire()
    assert given is not None
    before = list(subject.counts)
    assert ask(subject, query("www.z.test.", opt=opt((10, given))), client).options[0].to_wire() == given
    assert subject.counts[Counter.COOKIES_VALID] - before[Counter.COOKIES_VALID] >= 2  # by both paths
    assert subject.counts[Counter.COOKIES_VALID] - before[Counter.COOKIES_VALID] == (
        subject.counts[Counter.COOKIES] - before[Counter.COOKIES]
    )
