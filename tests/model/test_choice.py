"""Consistent hashing: even, steady under change, and the same on every node."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.model.choice import CHOICE_SLOTS, epoch_slot, maglev, members_from, sticky_keys, sticky_slot

Members = list[tuple[str, int]]

members = st.lists(
    st.tuples(st.integers(0, 10_000).map(lambda n: f"192.0.2.{n}"), st.integers(1, 10)),
    min_size=1,
    max_size=12,
    unique_by=lambda member: member[0],
)


def filled(given: Members, slots: int = CHOICE_SLOTS) -> list[str]:
    """The identity in each slot."""
    return [given[index][0] for index in maglev(given, slots)]


@given(members)
def test_slots_follow_weights(given: Members) -> None:
    """Each member has its share of the slots, to within the turn that each round may cut short."""
    held = Counter(filled(given))
    whole = sum(weight for _, weight in given)
    for name, weight in given:
        assert abs(held[name] - CHOICE_SLOTS * weight / whole) <= 1 + len(given)


def test_equal_weights_are_even_to_one_slot() -> None:
    held = Counter(filled([(f"192.0.2.{index}", 1) for index in range(20)]))
    assert set(held.values()) == {51, 52}


@given(members.flatmap(lambda given: st.tuples(st.just(given), st.permutations(given))))
def test_the_order_of_the_input_does_not_matter(orders: tuple[Members, Members]) -> None:
    assert filled(orders[0]) == filled(orders[1])


@pytest.mark.parametrize("count", [2, 3, 5, 10, 20])
def test_a_member_that_leaves_moves_few_others(count: int) -> None:
    """Beside the slots of the one that leaves, Maglev moves a few percent (paper, section 5.3)."""
    given = [(f"192.0.2.{index}", 1) for index in range(count)]
    before = filled(given)
    moved = []
    for gone in range(count):
        after = filled(given[:gone] + given[gone + 1 :])
        stayed = [(a, b) for a, b in zip(before, after, strict=True) if a != given[gone][0]]
        moved.append(sum(a != b for a, b in stayed) / len(stayed))
    assert sum(moved) / len(moved) < 0.12
    assert max(moved) < 0.25


def test_a_small_change_of_weight_moves_little() -> None:
    given = [(f"192.0.2.{index}", 10) for index in range(10)]
    before, after = filled(given), filled([(given[0][0], 11), *given[1:]])
    assert sum(a != b for a, b in zip(before, after, strict=True)) / CHOICE_SLOTS < 0.15


def test_a_table_without_members_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one member"):
        maglev([], CHOICE_SLOTS)


@given(members, st.integers(0, CHOICE_SLOTS - 1), st.integers(1, 14))
def test_an_answer_set_holds_distinct_members_as_many_as_there_are(given: Members, slot: int, count: int) -> None:
    table = maglev(given, CHOICE_SLOTS)
    found = members_from(table, slot, count)
    assert len(set(found)) == len(found) == min(count, len(set(table)))
    assert found[0] == table[slot]


@given(st.integers(0, 2**64 - 1), st.binary(max_size=80), st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_slot_is_a_slot(network: int, secret: bytes, policy: str) -> None:
    assert 0 <= sticky_slot(network, sticky_keys(secret, policy)) < CHOICE_SLOTS


@pytest.mark.parametrize("step", [1, 256, 1 << 32], ids=["neighbours", "every 256th", "high bits only"])
def test_networks_spread_evenly_over_the_slots(step: int) -> None:
    """Chi squared over 100 networks a slot, for the regular patterns that real client networks have."""
    keys = sticky_keys(b"secret", "web")
    count = 100 * CHOICE_SLOTS
    held = Counter(sticky_slot(index * step, keys) for index in range(count))
    chi2 = sum((held[slot] - 100) ** 2 / 100 for slot in range(CHOICE_SLOTS))
    assert chi2 < CHOICE_SLOTS + 6 * sqrt(2 * CHOICE_SLOTS)


def test_policies_spread_the_same_clients_independently() -> None:
    one, two = sticky_keys(b"secret", "web"), sticky_keys(b"secret", "shop")
    same = sum(sticky_slot(network, one) == sticky_slot(network, two) for network in range(10_000))
    assert same < 40  # 10 are expected


def test_a_heavy_network_is_as_long_in_each_slot_as_in_any_other() -> None:
    """Chi-squared over consecutive epochs, with as much room as for networks above."""
    keys = sticky_keys(b"secret", "web")
    for network in (0, 0xC00002, (1 << 64) - 1):
        held = [0] * CHOICE_SLOTS
        for epoch in range(30_000_000, 30_000_000 + 100 * CHOICE_SLOTS):
            held[epoch_slot(network, epoch, keys)] += 1
        chi2 = sum((count - 100) ** 2 / 100 for count in held)
        assert chi2 < CHOICE_SLOTS + 6 * sqrt(2 * CHOICE_SLOTS)


PINNED = """
(1585187796022059007, 7101506770453692513)
[82, 431, 398]
[336, 909, 671]
(0, 2, 2, 1, 0, 2, 0, 1, 2, 2, 1, 2)
(0, 2)
"""
PROGRAM = """
from gslb.model.choice import *
keys = sticky_keys(b"secret", "web")
table = maglev([("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.3", 2)], CHOICE_SLOTS)
print()
print(keys)
print([sticky_slot(network, keys) for network in (0, 0xC00002, 0x20010DB8000100)])
print([epoch_slot(0xC00002, epoch, keys) for epoch in (30000000, 30000001, 30000002)])
print(table[:12])
print(members_from(table, 0, 2))
"""


@pytest.mark.parametrize("seed", ["1", "2"])
def test_every_node_computes_alike(seed: str) -> None:
    """Changing these numbers moves users from one address to another on upgrade."""
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == PINNED
