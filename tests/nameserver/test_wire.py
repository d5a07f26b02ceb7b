"""Names on the wire, against dnspython."""

from __future__ import annotations

import dns.exception
import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.nameserver.wire import ROOT, Malformed, is_within, name_end, suffixes

label_lists = st.lists(st.binary(min_size=1, max_size=63), max_size=6).filter(
    lambda labels: sum(len(label) + 1 for label in labels) < 255
)


@given(label_lists, st.binary(max_size=20), st.binary(max_size=20))
def test_name_end_of_a_name(labels: list[bytes], before: bytes, behind: bytes) -> None:
    name = dns.name.Name([*labels, b""]).to_wire() or b""
    assert name_end(before + name + behind, len(before)) == len(before) + len(name)


@given(st.binary(max_size=300))
def test_name_end_agrees_with_dnspython(octets: bytes) -> None:
    try:
        end = name_end(octets, 0)
    except Malformed:
        end = None
    try:
        name, consumed = dns.name.from_wire(octets, 0)
        pointed = len(name.to_wire() or b"") != consumed
    except dns.exception.DNSException:
        assert end is None
    else:
        assert end == (None if pointed else consumed)


@pytest.mark.parametrize(
    "octets", [b"", b"\x01", b"\x01a", b"\xc0\x0c", b"\x40", b"\x80", (b"\x3f" + b"a" * 63) * 4 + ROOT]
)
def test_name_end_refuses(octets: bytes) -> None:
    with pytest.raises(Malformed):
        name_end(octets, 0)


@given(label_lists)
def test_suffixes_are_the_name_and_its_ancestors(labels: list[bytes]) -> None:
    name = dns.name.Name([*labels, b""])
    want = [name.split(depth)[1].to_wire() for depth in range(len(name), 0, -1)]
    assert list(suffixes(name.to_wire() or b"")) == want


@pytest.mark.parametrize(
    ("name", "ancestor", "within"),
    [
        (b"\x01a\x01z\0", b"\x01z\0", True),
        (b"\x01z\0", b"\x01z\0", True),
        (b"\x02az\0", b"\x01z\0", False),
        (b"\x03a\x01z\0", b"\x01z\0", False),  # a label that holds what looks like one
        (b"\x01z\0", ROOT, True),
        (b"\x01z\0", b"\x01a\x01z\0", False),
    ],
)
def test_is_within_goes_by_labels(name: bytes, ancestor: bytes, within: bool) -> None:  # noqa: FBT001
    assert is_within(name, ancestor) is within
