"""The sections that C reads say what the reference's sections say; both ways of making them make the same."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gslb.geo.build import v4_packed
from gslb.geo.lines import (
    BEYOND,
    LEAF_RANGES,
    LEAF_SHIFT_AT,
    LINE_KEYS,
    NO_ENTRY,
    V4_BITMAP_AT,
    V4_RUN_AT,
    V6_LEAF,
    V4Sections,
    level_keys,
    lines_of,
    v4_sections,
    v6_leaves,
)
from gslb.geo.table import V4_BITS, V6_BITS, LocationTable

END = 1 << V6_BITS
ENTRIES = [1 << 8 | 24, 2 << 8 | 23, 24]


def check_lines(table: LocationTable) -> None:
    """Every /24 has in the lines the entry that it has in the IPv4 section."""
    assert table.v4 is not None
    sections = V4Sections(
        *(bytes(part) for part in (table.v4_index, table.v4_bitmaps, table.v4_runs, table.v4_entries))
    )
    assert np.array_equal(unpacked(sections), np.frombuffer(table.v4, "<u4"))


def unpacked(sections: V4Sections) -> NDArray[np.uint32]:
    """The entry of every /24, as C finds it."""
    index = np.frombuffer(sections.index, "<u8")
    bitmaps = np.frombuffer(sections.bitmaps, np.uint8).reshape(-1, 32)
    bits = np.unpackbits(bitmaps, axis=1, bitorder="little")[index >> np.uint64(V4_BITMAP_AT) & np.uint64(0xFFFF)]
    assert not bits[:, 0].any()
    before = bits.reshape(-1, 4, 64).sum(axis=2).cumsum(axis=1)[:, :3]
    assert np.array_equal(index[:, None] >> np.array([0, 8, 16], np.uint64) & np.uint64(0xFF), before)
    run = (index >> np.uint64(V4_RUN_AT)).astype(np.int64)[:, None] + bits.cumsum(axis=1, dtype=np.int64)
    found: NDArray[np.uint32] = np.frombuffer(sections.entries, "<u4")[np.frombuffer(sections.runs, "<u2")[run]]
    return found.reshape(-1)


def range_of(levels: list[list[int]], leaves: bytes, key: int) -> tuple[int, int, int]:
    """First key, class and end of the range of a key: down the tree, as C goes."""
    place = 0
    for level in levels:
        line = level[LINE_KEYS * place : LINE_KEYS * (place + 1)]
        place = LINE_KEYS * place + sum(start <= key for start in line[1:])
    first, end, *numbers = V6_LEAF.unpack_from(leaves, V6_LEAF.size * place)
    first, shift = first & ((1 << LEAF_SHIFT_AT) - 1), first >> LEAF_SHIFT_AT
    steps, classes = numbers[:LEAF_RANGES], numbers[LEAF_RANGES:]
    far = (key - first) >> shift
    place = sum(step <= far for step in steps[1:])
    following = first + (steps[place + 1] << shift) if place + 1 < LEAF_RANGES else end
    return first + (steps[place] << shift), classes[place], following


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[int, int]]:
    """First /24s and entries without equal neighbours, near the edges of words and lines."""
    near = st.builds(
        lambda line, at: min(max(256 * line + at, 0), (1 << V4_BITS) - 1),
        st.sampled_from([0, 1, 2, 300, (1 << 16) - 1]),
        st.integers(-2, 258),
    )
    starts = sorted({0, *draw(st.lists(near, max_size=40))})
    return [(start, ENTRIES[number % len(ENTRIES)]) for number, start in enumerate(starts)]


@settings(max_examples=max(20, settings().max_examples // 10))  # a table of 2^24 entries each
@given(runs())
@example([(0, 24)])
@example([(start, ENTRIES[start % 3]) for start in range(600)])
def test_few_and_many_runs_are_packed_the_same(found: list[tuple[int, int]]) -> None:
    lengths = np.diff([*(start for start, _ in found), 1 << V4_BITS])
    entries = np.repeat(np.array([entry for _, entry in found], np.uint32), lengths)
    sections = v4_packed(entries)
    assert v4_sections(found) == sections
    assert np.array_equal(unpacked(sections), entries)


def test_more_entries_than_numbers_can_name() -> None:
    found = [(256 * number, number << 8) for number in range(BEYOND + 1)]
    entries = np.repeat(np.arange(BEYOND + 1, dtype=np.uint32) << np.uint32(8), 256)
    sections = v4_packed(entries)
    assert v4_sections(found) == sections
    entries[256 * BEYOND :] = NO_ENTRY
    assert np.array_equal(unpacked(sections), entries)


KEYS = st.one_of(
    st.integers(1, END - 1),
    st.builds(lambda site, network: site << 24 | network << 8, st.integers(0x2A00, 0x2A03), st.integers(0, 300)),
)


@given(st.sets(KEYS, max_size=700), st.lists(st.integers(0, END - 1), max_size=20))
@example({place << 8 for place in range(1, 200)}, [])
@example({place << 55 for place in range(1, 2)}, [])
@example({BEYOND << 8, (BEYOND + 1) << 8, (2 * BEYOND + 3) << 8}, [])
def test_trees_lead_to_the_range(inner: set[int], keys: list[int]) -> None:
    starts = [0, *sorted(inner), END]
    classes = [BEYOND - 300 + place for place in range(len(starts) - 1)]
    above, leaves = v6_leaves(starts, classes)
    whole = np.frombuffer(above, "<u8").tolist()
    levels: list[list[int]] = []
    for count in level_keys(len(leaves) // V6_LEAF.size):
        length = LINE_KEYS * lines_of(count)
        levels.append(whole[:length])
        assert levels[-1][count:] == [END] * (length - count)
        whole = whole[length:]
    assert not whole
    assert len(levels[0]) == LINE_KEYS
    for key in [*keys, *starts[:-1], *(start - 1 for start in starts[1:])]:
        place = bisect_right(starts, key) - 1
        expected = starts[place], min(classes[place], BEYOND), starts[place + 1]
        assert range_of(levels, leaves, key) == expected
