"""Overrides in the state folder with the order in which they were made: edited here, and taken from others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gslb.bus.stamps import Written
from gslb.control.overrides import with_override
from gslb.control.store import OverridesRead, Store
from gslb.control.words import Ended, Word
from gslb.model.world import Forced, Override

DRAIN = Override("site/fra", Forced.DRAIN, who="alice", why="CHG-1", since=100.0, until=200.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "test", "fra1")


def test_a_file_without_stamps_is_read_and_written_anew(store: Store) -> None:
    store.create()
    fields = {"target": "site/fra", "state": "drain", "who": "alice", "why": "CHG-1"}
    line = json.dumps({**fields, "since": 100.0, "until": 200.0, "force": False})
    store.overrides_path.write_text(f'{{"format":1,"deployment":"test","overrides":[{line}]}}')
    assert store.load_overrides() == OverridesRead((DRAIN,))
    assert store.load_words() == {"site/fra": Word("site/fra", DRAIN, Written(100_000, ""))}
    other = replace(DRAIN, target="site/iad")
    store.edit_overrides(lambda before: with_override(before, other), now=100)
    assert store.load_words() == {
        "site/fra": Word("site/fra", DRAIN, Written(100_000, "")),
        "site/iad": Word("site/iad", other, Written(100_001, "fra1")),
    }
    assert [one.node for one in store.load_overrides().overrides or ()] == ["", "fra1"]


def test_what_ends_is_known_as_ended(store: Store) -> None:
    store.edit_overrides(lambda _: (DRAIN,), now=100)
    store.edit_overrides(lambda _: (), now=150, who="bob", why="done")
    assert store.load_overrides().overrides == ()
    end = Word("site/fra", Ended("bob", "done", 150), Written(150_000, "fra1"), Written(100_000, "fra1"))
    assert store.load_words() == {"site/fra": end}


def test_what_others_told_is_taken_where_it_is_later(store: Store) -> None:
    store.edit_overrides(lambda _: (DRAIN,), now=100)
    before = store.overrides_stamp()
    older = Word("site/fra", replace(DRAIN, state=Forced.UP), Written(99_000, "iad1"))
    took = store.merge_overrides([older], now=100)
    assert (took.changed, len(took.lost), store.overrides_stamp()) == (False, 1, before)
    newer = replace(older, stamp=Written(101_000, "iad1"), after=Written(100_000, "fra1"))
    took = store.merge_overrides([newer], now=100)
    assert (took.changed, took.lost, took.words) == (True, (), {"site/fra": newer})
    assert store.load_words() == {"site/fra": newer}


def test_others_bring_back_what_a_damaged_file_held(store: Store) -> None:
    store.create()
    store.overrides_path.write_text("{")
    word = Word("site/fra", DRAIN, Written(100_000, "iad1"))
    assert "set aside as overrides.json.bad" in (store.merge_overrides([word], now=100).note or "")
    assert store.load_overrides() == OverridesRead((DRAIN,))
