"""Differences between an object and gslb/layout.py are named by struct and member."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gslb import dnslayout, layout
from xdp import agreement, btf
from xdp.btf import Btf, MapDefinition, Member, Struct

QUIC = Struct("quic_key", 8, (Member("ring", 0, 4, "__u32"), Member("server", 4, 4, "__u32")))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Btf({"quic_key": QUIC}), []),
        (Btf({"nobody_knows": QUIC}, {"other": {"A": 1}}, {"mine": MapDefinition("mine", 1)}), []),
        (
            Btf({"quic_key": replace(QUIC, members=(QUIC.members[0], Member("server", 4, 2, "__u16")))}),
            ["struct quic_key, member server: __u16 at octet 4, 2 octets, in the object, expected 4 octets at 4"],
        ),
        (
            Btf({"quic_key": replace(QUIC, members=QUIC.members[:1])}),
            ["struct quic_key, member server: none in the object, expected 4 octets at 4"],
        ),
        (
            Btf({"quic_key": replace(QUIC, size=12, members=(*QUIC.members, Member("more", 8, 4, "__u32")))}),
            ["struct quic_key, member more: __u32 at octet 8, 4 octets, in the object, expected none"],
        ),
        (
            Btf({"quic_key": replace(QUIC, size=16)}),
            ["struct quic_key: 16 octets in the object, expected 8"],
        ),
        (
            Btf({}, {"mode": {"MODE_L2": 2, "MODE_NEW": 9}}),
            [
                "enum mode, MODE_L2: 2 in the object, expected 1",
                "enum mode, MODE_NEW: 9 in the object, expected none",
            ],
        ),
        (
            Btf({}, {}, {"marks": MapDefinition("marks", 1, 4, 8, 16384)}),
            [
                "map marks: the object has type 1, 4 octets a key, 8 a value, 16384 entries, flags 0, inner values of 0, "
                "expected type 1, 4 octets a key, 4 a value, 16384 entries, flags 0, inner values of 0"
            ],
        ),
    ],
    ids=["alike", "not shared", "size", "missing", "more", "padded", "enum", "map"],
)
def test_differences(found: Btf, said: list[str]) -> None:
    assert agreement.differences(found, layout) == said


def test_every_built_object_agrees(objects: Path) -> None:
    for path in objects.glob("*.bpf.o"):
        for module in (layout, dnslayout):
            assert agreement.differences(btf.read(path), module) == []
