"""A query to a program: a frame as the kernel would take it, and what is an answer."""

from __future__ import annotations

import struct

import pytest

from xdp import asking
from xdp.libbpf import XDP_DROP, XDP_PASS, XDP_TX

QUERY = bytes.fromhex("1234010000010000000000000000060001")


def total(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    found: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while found >> 16:
        found = (found & 0xFFFF) + (found >> 16)
    return found


def test_over_ipv4_the_header_sums_up() -> None:
    frame = asking.frame(QUERY, "198.51.100.53", 5353)
    assert frame[12:14] == b"\x08\x00"
    assert total(frame[14:34]) == 0xFFFF
    assert frame[30:34] == bytes((198, 51, 100, 53))
    assert struct.unpack("!4H", frame[34:42]) == (asking.PORT, 5353, 8 + len(QUERY), 0)
    assert frame[42:] == QUERY


def test_over_ipv6_the_datagram_sums_up() -> None:
    frame = asking.frame(QUERY + b"\0", "2001:db8::1:53", 53)
    assert frame[12:14] == b"\x86\xdd"
    octets = 8 + len(QUERY) + 1
    assert total(frame[22:54] + struct.pack("!II", octets, 17) + frame[54:]) == 0xFFFF


@pytest.mark.parametrize("address", ["198.51.100.53", "2001:db8::1:53"])
@pytest.mark.parametrize(
    ("verdict", "answer", "wrong"),
    [
        (XDP_TX, QUERY[:2] + b"\x85\x00" + QUERY[4:], ""),
        (XDP_PASS, QUERY, "passes on"),
        (XDP_DROP, QUERY, ""),
        (XDP_TX, QUERY, "flags 0x0100"),
        (XDP_TX, QUERY[:2] + b"\x85\x02" + QUERY[4:], "flags 0x8502"),
        (XDP_TX, b"\x12\x35" + QUERY[2:], "no message"),
        (XDP_TX, b"\x12", "no message"),
    ],
)
def test_what_is_wrong(address: str, verdict: int, answer: bytes, wrong: str) -> None:
    found = asking.wrong(QUERY, verdict, asking.frame(answer, address, 53))
    assert (wrong in found) if wrong else not found
