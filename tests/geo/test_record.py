"""Our decoder says what maxminddb's says, and stays inside its bounds."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from maxminddb.decoder import Decoder
from mmdb_writer import Encoder, MmdbF32, MmdbI32, MmdbU16, MmdbU32, MmdbU64, MmdbU128

from gslb.geo.record import MAX_VALUES, MalformedRecord, Records

KEYS = ["a", "bb", "ccc", "a longer key than thirty characters"]
SCALARS = st.one_of(
    st.text(max_size=400),
    st.floats(allow_nan=False),
    st.booleans(),
    st.binary(max_size=40),
    st.integers(-(1 << 31), -1).map(MmdbI32),
    st.integers(0, (1 << 16) - 1).map(MmdbU16),
    st.integers(0, (1 << 32) - 1).map(MmdbU32),
    st.integers(0, (1 << 64) - 1).map(MmdbU64),
    st.integers(0, (1 << 128) - 1).map(MmdbU128),
    st.floats(width=32, allow_nan=False).map(MmdbF32),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(VALUES, min_size=1, max_size=4), st.booleans())
def test_equals_maxminddb(values: list[object], cache: bool) -> None:  # noqa: FBT001
    encoder = Encoder(cache=cache)
    if cache:
        offsets = [encoder.encode(value, return_offset=True) for value in values]
        section = b"".join(encoder.data_list)
    else:
        parts = [encoder.encode(value) for value in values]
        offsets, section = [sum(map(len, parts[:place])) for place in range(len(parts))], b"".join(parts)
    records = Records(section, KEYS)
    for offset in offsets:
        assert records.record(offset) == Decoder(section).decode(offset)[0]


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4), st.sampled_from(KEYS))
def test_other_keys_are_stepped_over(value: dict[str, object], wanted: str) -> None:
    section = Encoder(cache=False).encode([value, "behind"])
    record = Records(section, [wanted]).record(0)
    assert isinstance(record, list)
    assert record[1] == "behind"
    assert isinstance(record[0], dict)
    assert record[0].keys() == value.keys() & {wanted}


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_are_a_value_or_malformed(section: bytes, offset: int) -> None:
    with contextlib.suppress(MalformedRecord):
        Records(section, KEYS).record(offset)


def test_values_are_counted_however_they_are_reached() -> None:
    array = b"\x1e\x04" + struct.pack(">H", MAX_VALUES - 285)
    assert Records(array + b"\xa0" * MAX_VALUES, []).record(0) == [0] * MAX_VALUES
    with pytest.raises(MalformedRecord, match="more than 1000 values"):
        Records(b"\x02\x04" + array + b"\xa0" * (MAX_VALUES + 1), []).record(0)


def test_a_pointer_to_a_pointer_is_malformed() -> None:
    with pytest.raises(MalformedRecord, match="pointer leads to a pointer"):
        Records(b"\x20\x02\x20\x04\xa0", []).record(0)


def test_pointers_of_every_length() -> None:
    value = b"\x42hi"
    for pointer, target in (
        (b"\x20\x05", 5),
        (b"\x28\x00\x05", 2053),
        (b"\x30\x00\x00\x05", 526341),
        (b"\x38\x00\x00\x00\x05", 5),
    ):
        section = pointer.ljust(target, b"\0") + value
        assert Records(section, []).record(0) == Decoder(section).decode(0)[0] == "hi"
