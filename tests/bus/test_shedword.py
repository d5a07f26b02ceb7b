"""What a pool sheds, as octets: read whole or not at all."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.bus.bus import KEY, VALUE_MOST
from gslb.bus.shedword import UNPACKED_MOST, Word, WordUnreadable, key_of, octets_of, pool_of, word_of
from gslb.bus.stamps import Written
from gslb.model.deployment import PolicyId, PoolId
from gslb.model.history import Cause, Moved, Shed

SHED = Shed(
    cause=Cause.LOAD,
    level=0.25,
    stepped_at=1000.5,
    geography="a" * 32,
    moved=(Moved(PolicyId("web"), 1, 7, PoolId("web-iad"), 511),),
    fresh={PoolId("web-iad"): 0.1},
    demand=0.9,
    out=((PolicyId("web"), 28),),
)
WORD = Word(SHED, Written(1_700_000_000_000, "fra1"), 12)


@pytest.mark.parametrize("word", [WORD, replace(WORD, shed=None)])
def test_what_is_written_is_read(word: Word) -> None:
    assert word_of(octets_of(word, "example"), "example") == word


def test_keys() -> None:
    assert KEY.fullmatch(key_of(PoolId("web-fra")))
    assert pool_of(key_of(PoolId("web-fra"))) == "web-fra"
    assert pool_of("lease.bgp") is None


def packed(**changes: object) -> bytes:
    raw = json.loads(zlib.decompress(octets_of(WORD, "example")))
    shed = {key.removeprefix("shed_"): changes.pop(key) for key in list(changes) if key.startswith("shed_")}
    return zlib.compress(json.dumps({**raw, "shed": {**raw["shed"], **shed}, **changes}).encode())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "does not end"),
        (b"garbage", "not packed"),
        (zlib.compress(b"garbage"), "not JSON"),
        (zlib.compress(b"[]"), "kind expected"),
        (zlib.compress(b"[" * 100_000), "deeply"),
        (octets_of(WORD, "example")[:-1], "does not end"),
        (zlib.compress(b" " * (UNPACKED_MOST + 1)), "does not end"),
        (octets_of(WORD, "another"), "of deployment 'another', expected 'example'"),
        (packed(format=2), "format 2, expected 1"),
        (packed(node="a b"), "stamp"),
        (packed(ms=-1), "stamp"),
        (packed(ms=True), "stamp"),
        (packed(ms=1 << 60), "stamp"),
        (packed(shed_level=1.5), "level of 1.5"),
        (packed(shed_level=float("nan")), "level of nan"),
        (packed(shed_demand=float("inf")), "a number"),
        (packed(shed_cause="mood"), "kind expected"),
        (packed(shed_moved=[[1, 2]]), "kind expected"),
        (packed(shed_moved=7), "kind expected"),
    ],
)
def test_refused(data: bytes, why: str) -> None:
    with pytest.raises(WordUnreadable, match=why):
        word_of(data, "example")


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_octets_of_all_kinds_are_read_or_refused(data: bytes, place: int, value: int) -> None:
    changed = bytearray(octets_of(WORD, "example"))
    changed[place % len(changed)] = value
    for octets in (data, zlib.compress(data), bytes(changed)):
        try:
            word_of(octets, "example")
        except WordUnreadable:
            continue


def test_a_shed_of_too_many_parts_is_told_as_a_level() -> None:
    parts = tuple(
        Moved(PolicyId(f"p{n * 7919 % 99991}"), 1, n * 104729 % 999983, PoolId(f"r{n * 31 % 997}"), n % 1021)
        for n in range(200_000)
    )
    octets = octets_of(replace(WORD, shed=replace(SHED, moved=parts)), "example")
    assert len(octets) <= VALUE_MOST
    found = word_of(octets, "example").shed
    assert found is not None
    assert (found.level, found.moved, found.geography) == (SHED.level, (), "")
