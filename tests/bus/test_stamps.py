"""Stamps order what nodes write, whatever their clocks say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gslb.bus.stamps import FUTURE_MS, Written, new

NOW = 1_000_000.0
STAMPS = st.builds(Written, st.integers(0, int(NOW * 1000) + FUTURE_MS), st.sampled_from(["fra1", "iad1", ""]))


def test_the_clock_where_it_is_ahead_of_all_that_was_seen() -> None:
    assert new(NOW, [], "fra1") == Written(1_000_000_000, "fra1")
    assert new(NOW, [Written(5, "iad1")], "fra1") == Written(1_000_000_000, "fra1")


@given(st.lists(STAMPS))
def test_a_new_stamp_is_later_than_all_that_were_seen(seen: list[Written]) -> None:
    stamp = new(NOW, seen, "fra1")
    assert all(stamp > one for one in seen)
    assert not stamp.ahead(NOW) or stamp.ms == NOW * 1000 + FUTURE_MS + 1


def test_what_is_far_in_the_future_moves_no_clock() -> None:
    far = Written(int(NOW * 1000) + FUTURE_MS + 1, "iad1")
    assert far.ahead(NOW)
    assert not Written(far.ms - 1, "iad1").ahead(NOW)
    assert new(NOW, [far], "fra1") == Written(1_000_000_000, "fra1")


def test_two_nodes_in_one_millisecond_are_ordered_by_name() -> None:
    assert Written(7, "fra1") < Written(7, "iad1")
