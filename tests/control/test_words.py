"""The merge of operators' words: any order, any repetition, the same words at every node."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.bus.stamps import Written
from gslb.control.overrides import OverridesUnreadable, dump_overrides, dump_word, key_of, parse_overrides, parse_word
from gslb.control.words import (
    KEEP_S,
    MAX_OVERRIDES,
    OVER,
    Edit,
    Ended,
    Lost,
    Word,
    edited,
    merged,
    overrides_of,
    tidied,
)
from gslb.model.world import Forced, Override

NODES = ("fra1", "iad1", "sin1")
TARGETS = ("site/fra", "site/iad", "pool/web-fra")
STAMPS = st.builds(Written, st.integers(0, 12), st.sampled_from(NODES))


@st.composite
def words(draw: st.DrawFn) -> Word:
    """A word of a small world, so that many meet; also two of one stamp, as only a defect would write them."""
    target, stamp = draw(st.sampled_from(TARGETS)), draw(STAMPS)
    who = draw(st.sampled_from(["alice", "bob"]))
    said: Override | Ended
    if draw(st.booleans()):
        said = Ended(who, "", float(stamp.ms))
    else:
        said = Override(target, draw(st.sampled_from(Forced)), who, "CHG", float(stamp.ms))
    return Word(target, said, stamp, draw(st.none() | STAMPS))


def all_of(*told: list[Word]) -> dict[str, Word]:
    """What a node knows that was told these, one after the other."""
    known: dict[str, Word] = {}
    for some in told:
        known = dict(merged(known, some).words)
    return known


@given(st.lists(words()), st.lists(words()), st.lists(words()))
def test_any_order_leads_to_the_same_words(one: list[Word], two: list[Word], three: list[Word]) -> None:
    together = all_of(one + two + three)
    assert all_of(three, one, two) == together
    assert all_of(two + three, one) == all_of(one, two + three) == together
    for left, right in ((one, two), (two, one)):
        assert dict(merged(all_of(left), all_of(right).values()).words) == all_of(one + two)


@given(st.lists(words()))
def test_what_is_told_twice_changes_nothing(told: list[Word]) -> None:
    known = all_of(told)
    again = merged(known, [*told, *known.values()])
    assert again.words == known
    assert merged(known, known.values()).lost == ()


@given(st.lists(words()))
def test_words_come_back_from_file_and_key(told: list[Word]) -> None:
    known = all_of(told)
    assert {one.target: one for one in parse_overrides(dump_overrides("test", known.values()), "test")} == known
    for word in known.values():
        key = key_of(word.target)
        assert parse_word(key, dump_word("test", word), "test") == word


@given(
    st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from([*TARGETS, "meet"]), st.booleans(), st.integers(-9, 9)))
)
def test_nodes_that_edit_and_meet_agree(steps: list[tuple[str, str, bool, int]]) -> None:
    """Clocks differ by seconds; the one who says a thing after it has heard another has the last word on it."""
    known: dict[str, dict[str, Word]] = {node: {} for node in NODES}
    for count, (node, target, begins, skew) in enumerate(steps):
        if target == "meet":
            told = [word for words in known.values() for word in words.values()]
            known = {one: dict(merged(mine, told).words) for one, mine in known.items()}
            continue
        before = tuple(one for one in overrides_of(known[node].values()) if one.target != target)
        override = Override(target, Forced.DRAIN, "alice", str(count), float(count))
        now = 1_000_000.0 + skew
        after = (*before, override) if begins else before
        heard = known[node].get(target)
        known[node] = edited(known[node], after, Edit(now, node, "bob", "CHG"))
        new = known[node].get(target)
        if new is not None and new != heard:
            assert heard is None or new.stamp > heard.stamp
            assert new.after == (heard.stamp if heard is not None else None)
            assert isinstance(new.said, Override) is begins
    told = [word for words in known.values() for word in words.values()]
    final = [dict(merged(mine, told).words) for mine in known.values()]
    assert all(one == final[0] for one in final)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


@given(
    words(), st.sampled_from(["format", "deployment", "target", "state", "who", "at", "since", "stamp", "after"]), JSON
)
def test_what_comes_by_the_bus_is_read_or_refused(word: Word, field: str, value: object) -> None:
    raw = json.loads(dump_word("test", word))
    for one in (value, raw | {field: value}, {key: raw[key] for key in raw if key != field}):
        try:
            found = parse_word(key_of(word.target), json.dumps(one).encode(), "test")
        except OverridesUnreadable:
            continue
        assert found.target == word.target


def test_what_would_move_the_cursor_is_refused() -> None:
    word = drain("site/fra", 100, "fra1")
    assert isinstance(word.said, Override)
    bad = replace(word, said=replace(word.said, why="x\x1b[2J"))
    with pytest.raises(OverridesUnreadable, match="cannot be shown"):
        parse_word(key_of("site/fra"), dump_word("test", bad), "test")


def drain(target: str, ms: int, node: str, after: Written | None = None) -> Word:
    return Word(target, Override(target, Forced.DRAIN, "alice", "CHG", ms / 1000), Written(ms, node), after)


def test_a_word_that_its_successor_did_not_know_is_lost() -> None:
    mine, theirs = drain("site/fra", 100, "fra1"), drain("site/fra", 200, "iad1")
    assert merged({"site/fra": mine}, [theirs]).lost == (Lost(mine, theirs),)
    assert merged({"site/fra": theirs}, [mine]).lost == (Lost(mine, theirs),)
    assert merged({"site/fra": mine}, [replace(theirs, after=mine.stamp)]).lost == ()


def test_what_expired_is_an_end_and_old_ends_are_forgotten() -> None:
    word = drain("site/fra", 100_000, "fra1")
    assert isinstance(word.said, Override)
    short = replace(word, said=replace(word.said, until=200.0))
    assert tidied({"site/fra": short}, 199.0) == {"site/fra": short}
    over = tidied({"site/fra": short}, 200.0)
    assert over == {"site/fra": replace(short, said=Ended("gslb", OVER, 200.0))}
    assert merged({"site/fra": short}, over.values()).words == over
    assert tidied(over, 199.0 + KEEP_S) == over
    assert tidied(over, 200.0 + KEEP_S) == {}
    assert tidied({"site/fra": word}, 100.0 + KEEP_S * 20) == {"site/fra": word}


def test_words_are_bounded_and_the_newest_stay() -> None:
    many = [drain(f"pool/p{number}", number, "fra1") for number in range(MAX_OVERRIDES + 5)]
    kept = merged({}, many).words
    assert len(kept) == MAX_OVERRIDES
    assert "pool/p4" not in kept
    assert merged(kept, many).words == kept
    ends = [
        Word(f"pool/e{number}", Ended("bob", "", 1.0), Written(number, "iad1")) for number in range(MAX_OVERRIDES + 9)
    ]
    both = merged(kept, ends).words
    assert len(both) == 2 * MAX_OVERRIDES
    parse_overrides(dump_overrides("test", both.values()), "test")
