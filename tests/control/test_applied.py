"""Versions and proposals in the state folder: what is written comes back, what is damaged is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from gslb.control.applied import BEFORE, Applied, Record, RecordUnreadable, read, record_json, record_of, write
from gslb.control.bundle import digest_of
from gslb.control.proposal import Proposal, propose, take_proposal
from gslb.control.release import Release, dump_release, parse_release
from gslb.control.store import Store

NOW = 1_000_000.0


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
