"""Octets in a line of text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.model.escape import octets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PING", b"PING"),
        (r"EHLO x\r\n", b"EHLO x\r\n"),
        (r"\x00\xfF\0\t\\n", b"\x00\xff\0\t\\n"),
        ("gr\u00fc\u00df", "gr\u00fc\u00df".encode()),
        ("", b""),
    ],
)
def test_octets(text: str, expected: bytes) -> None:
    assert octets(text) == expected


@pytest.mark.parametrize("text", [r"\q", "\\", r"\x1", r"\xzz", "a\\\n"])
def test_what_is_no_escape(text: str) -> None:
    with pytest.raises(ValueError, match="is no escape - expected"):
        octets(text)


@given(st.binary(max_size=40))
def test_all_octets_can_be_written(data: bytes) -> None:
    assert octets("".join(f"\\x{octet:02x}" for octet in data)) == data
