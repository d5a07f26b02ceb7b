"""What stands behind a question, beside an OPT record: checked, bounded, and answered by the book."""

from __future__ import annotations

import dns.message
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.nameserver import unusual
from gslb.nameserver.answer import Responder
from gslb.nameserver.wire import Malformed
from tests.nameserver.make import CLIENT, ask, bound, opt, query, records, responder, zone

ZONE = "@ 3600 SOA ns1 hostmaster 1 7200 3600 1209600 60\n@ 300 NS ns1\nns1 300 A 198.18.0.53\n"
NAME = "www.z.test."
A_RECORD = b"\0\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01"  # owner: the root


@pytest.fixture(scope="module")
def subject() -> Responder:
    return responder(zone("z.test.", ZONE, bound(NAME)))


def with_records(answers: int, authorities: int, additionals: int, octets: bytes) -> bytes:
    """A query for NAME with records behind its question."""
    counts = b"".join(count.to_bytes(2, "big") for count in (1, answers, authorities, additionals))
    return query(NAME)[:4] + counts + query(NAME)[12:] + octets


def signed(name: str = NAME) -> bytes:
    """A query with a TSIG of a key that nobody has, as dnspython writes it."""
    keyring = dns.tsigkeyring.from_text({"nobody.": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="})
    message = dns.message.make_query(name, "SOA", id=0x1234)
    message.use_tsig(keyring, "nobody.")
    return message.to_wire()


@pytest.mark.parametrize(
    "message",
    [
        with_records(1, 0, 0, A_RECORD),
        with_records(0, 1, 0, A_RECORD),
        with_records(0, 0, 1, A_RECORD),
        with_records(1, 1, 2, A_RECORD * 3 + opt()),
        with_records(0, 0, 2, opt() + A_RECORD),
    ],
    ids=["answer", "authority", "additional", "all, and OPT last", "OPT first"],
)
def test_well_formed_records_are_ignored(subject: Responder, message: bytes) -> None:
    reply = ask(subject, message)
    assert records(reply.answer) == ["www.z.test. 60 IN A 192.0.2.1"]
    assert reply.edns == (0 if opt() in message else -1)


@pytest.mark.parametrize(
    "message",
    [
        with_records(0, 0, 2, opt() + opt()),
        with_records(1, 0, 0, opt()),
        with_records(2, 0, 0, A_RECORD),
        with_records(1, 0, 0, A_RECORD + b"x"),
        with_records(1, 0, 0, b"\xc0\xff" + A_RECORD[1:]),
        with_records(1, 0, 0, A_RECORD[:-1]),
        with_records(0, 0, 17, A_RECORD * 17),
        with_records(0, 0, 2, A_RECORD + opt()[:-1] + b"\x05"),
        with_records(1, 0, 0, b"\0\0\x10\0\x01\0\0\0\0\x0f\xff" + bytes(4095)),
    ],
    ids=["two OPT", "OPT as answer", "lie", "garbage", "forward pointer", "cut", "too many", "OPT length", "too long"],
)
def test_others_are_formerr(subject: Responder, message: bytes) -> None:
    assert ask(subject, message).rcode() == dns.rcode.FORMERR


def test_tsig_of_an_unknown_key_is_notauth_badkey(subject: Responder) -> None:
    octets = subject.udp(signed(), CLIENT)
    assert octets is not None
    assert octets[3] & 15 == dns.rcode.NOTAUTH
    assert octets[6:12] == b"\0\0\0\0\0\1"  # no records but the TSIG
    record = octets[12 + 12 + 4 :]
    assert record.startswith(b"\x06nobody\0\0\xfa\0\xff\0\0\0\0")
    assert record.endswith(b"\0\0\x12\x34\0\x11\0\0")  # no MAC, original id, BADKEY, nothing else
    with pytest.raises(dns.tsig.PeerBadKey):
        dns.message.from_wire(octets, keyring=dns.tsigkeyring.from_text({"nobody.": "AAAA"}), request_mac=b"x")


def test_tsig_that_is_not_last_is_formerr(subject: Responder) -> None:
    whole = signed()
    tsig = whole[12 + 12 + 4 :]
    assert ask(subject, with_records(0, 0, 2, tsig + A_RECORD)).rcode() == dns.rcode.FORMERR


def test_ixfr_with_its_soa_is_refused(subject: Responder) -> None:
    message = dns.message.make_query("z.test.", dns.rdatatype.IXFR, id=0x1234)
    message.authority.append(dns.rrset.from_text("z.test.", 0, "IN", "SOA", "ns1.z.test. h.z.test. 1 2 3 4 5"))
    assert ask(subject, message.to_wire()).rcode() == dns.rcode.REFUSED


@given(st.binary(max_size=300), st.tuples(*[st.integers(0, 5)] * 3))
def test_reading_raises_malformed_and_nothing_else(octets: bytes, counts: tuple[int, int, int]) -> None:
    try:
        unusual.read_extras(octets, 0, counts)
    except Malformed:
        return
    assert sum(counts) <= len(octets) // 11
