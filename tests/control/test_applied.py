"""Versions and proposals in the state folder: what is written comes back, what is damaged is none."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.control.applied import BEFORE, Applied, Record, RecordUnreadable, read, record_json, record_of, write
from gslb.control.bundle import digest_of
from gslb.control.proposal import Proposal, propose, take_proposal
from gslb.control.release import (
    Refusal,
    Release,
    dump_refusal,
    dump_release,
    parse_refusal,
    parse_release,
    refusal,
)
from gslb.control.store import Store

NOW = 1_000_000.0
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "test", "fra")


def test_a_record_comes_back_and_nothing_else_is_one() -> None:
    record = Record(7, "config-x-1", "0" * 32, "c", "eve", "CHG", NOW, "x")
    assert record_of(record_json(record)) == record
    assert parse_release(dump_release("test", Release(record, record)), "test") == Release(record, record)
    for name, value in (
        ("version", -1),
        ("version", True),
        ("since", "x"),
        ("who", 7),
        ("why", "x" * 1001),
        ("node", None),
    ):
        with pytest.raises(RecordUnreadable, match=name):
            record_of({**record_json(record), name: value})


def test_a_damaged_file_is_no_version(store: Store) -> None:
    data = b"bundle"
    applied = Applied(Record(7, "o", digest_of(data), "c", "eve", "CHG", NOW, "x"), data, "own", over=True)
    write(store, BEFORE, applied)
    assert read(store, BEFORE) == applied
    path = store.folder / BEFORE
    for damaged in (b"", b"{", b"[]", path.read_bytes().replace(b'"bundle": "Y', b'"bundle": "Z')):
        path.write_bytes(damaged)
        assert read(store, BEFORE) is None


def test_a_proposal_is_taken_once_and_a_damaged_one_never(store: Store) -> None:
    proposal = Proposal("a", 3, "alice", "CHG", NOW, b"\0\xff")
    propose(store, proposal)
    assert take_proposal(store) == proposal
    assert take_proposal(store) is None
    for damaged in (b"{", b"[]", b'{"format":1}', b'{"format":2}'):
        store.save_file("proposed.json", damaged)
        assert take_proposal(store) is None


@given(st.sampled_from(["format", "deployment", "record", "before", "version", "lines"]), JSON)
def test_what_comes_by_the_bus_is_read_or_refused(field: str, value: object) -> None:
    record = Record(7, "o", "0" * 32, "c", "eve", "CHG", NOW, "x")
    release = json.loads(dump_release("test", Release(record, record)))
    refused = json.loads(dump_refusal("test", Refusal(7, ("a", "b"))))
    for raw in (value, release | {field: value}, release | {"record": release["record"] | {field: value}}):
        with suppress(RecordUnreadable):
            assert parse_release(json.dumps(raw).encode(), "test").record.version >= 0
    for raw in (value, refused | {field: value}):
        with suppress(RecordUnreadable):
            assert all(line.isprintable() for line in parse_refusal(json.dumps(raw).encode(), "test").lines)


def test_a_long_refusal_is_cut() -> None:
    told = refusal(7, ["x" * 1000, *(f"line {number}" for number in range(30))])
    assert len(told.lines) == 21
    assert told.lines[0] == "x" * 500 + "..."
    assert told.lines[-1] == "and 11 more"
    assert parse_refusal(dump_refusal("test", told), "test").version == 7
