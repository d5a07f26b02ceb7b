"""The sections that C reads say what the reference's sections say; both ways of making them make the same."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from gslb.geo.build import v4_line_sections
from gslb.geo.lines import LINE_KEYS, V4_LINE, level_keys, lines_of, v4_lines, v6_tree
from gslb.geo.table import V4_BITS, V6_BITS, LocationTable

END = 1 << V6_BITS
ENTRIES = [1 << 8 | 24, 2 << 8 | 23, 24]


def check_lines(table: LocationTable) -> None:
    """Every /24 has in the lines the entry that it has in the IPv4 section."""
    assert table.v4 is not None
    entries = np.frombuffer(table.v4, "<u4")
    lines = np.frombuffer(table.v4_lines, np.uint8).reshape(-1, V4_LINE.size)
    runs = np.frombuffer(table.v4_runs, "<u4")
    bits = np.unpackbits(lines[:, :32], axis=1, bitorder="little")
    assert not bits[:, 0].any()
    before = np.pad(bits.reshape(-1, 4, 64).sum(axis=2).cumsum(axis=1)[:, :3], ((0, 0), (1, 0)))
    assert np.array_equal(lines[:, 36:40], before)
    passed = bits.cumsum(axis=1, dtype=np.int64)
    run = lines[:, 32:36].copy().view("<u4").astype(np.int64) + passed
    assert np.array_equal(runs[run].reshape(-1), entries)


def range_of(levels: list[list[int]], key: int) -> int:
    """Down the tree, as C goes."""
    place = 0
    for level in levels:
        line = level[LINE_KEYS * place : LINE_KEYS * (place + 1)]
        place = LINE_KEYS * place + sum(start <= key for start in line[1:])
    return place


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


@given(runs())
@example([(0, 24)])
@example([(start, ENTRIES[start % 3]) for start in range(600)])
def test_few_and_many_runs_have_the_same_lines(found: list[tuple[int, int]]) -> None:
    lengths = np.diff([*(start for start, _ in found), 1 << V4_BITS])
    entries = np.repeat(np.array([entry for _, entry in found], np.uint32), lengths)
    lines, entries_of_runs = v4_line_sections(entries)
    assert v4_lines([start for start, _ in found]) == lines
    assert entries_of_runs.tolist() == [entry for _, entry in found]


@given(st.sets(st.integers(1, END - 1), max_size=700), st.lists(st.integers(0, END - 1), max_size=20))
def test_trees_lead_to_the_range(inner: set[int], keys: list[int]) -> None:
    starts = [0, *sorted(inner), END]
    lowest, above = v6_tree(np.array(starts, "<u8").tobytes())
    whole = np.frombuffer(above, "<u8").tolist()
    levels: list[list[int]] = []
    for count in level_keys(len(starts)):
        length = LINE_KEYS * lines_of(count)
        levels.append(whole[:length])
        assert levels[-1][count:] == [END] * (length - count)
        whole = whole[length:]
    assert not whole
    levels.append(np.frombuffer(lowest, "<u8").tolist())
    assert levels[-1][: len(starts)] == starts
    assert set(levels[-1][len(starts) :]) <= {END}
    assert len(levels[0]) == LINE_KEYS
    for key in [*keys, *starts[:-1], *(start - 1 for start in starts[1:])]:
        assert range_of(levels, key) == bisect_right(starts, key) - 1
