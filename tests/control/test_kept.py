"""The configuration in force, kept in the state folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gslb.config.origin import Copy
from gslb.control import kept
from gslb.control.store import CONFIGURATION, Store

COPY = Copy(
    Path("/etc/gslb/gslb.yaml"),
    {"/etc/gslb/gslb.yaml": "\ufeffdeployment: für\r\n".encode(), "/etc/gslb/zones/a.yaml": b""},
    {"zones/*.yaml": ("/etc/gslb/zones/a.yaml",)},
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "test", "fra")


def test_it_is_read_as_it_was_kept_and_is_private(store: Store) -> None:
    kept.keep(store, COPY)
    assert kept.kept(store) == COPY
    assert (store.folder / CONFIGURATION).stat().st_mode & 0o777 == 0o600


def test_names_that_are_no_text_are_kept(store: Store) -> None:
    name = os.fsdecode(b"/etc/\xff.yaml")
    copy = Copy(Path(name), {name: b"a"}, {"*": (name,)})
    kept.keep(store, copy)
    assert kept.kept(store) == copy


def test_none_is_kept_before_there_is_one(store: Store) -> None:
    assert kept.kept(store) is None


@pytest.mark.parametrize("damaged", ["", "{", "[]", "null", '{"format": 1}', '{"format": 2}', "[" * 100_000])
def test_a_damaged_copy_is_none(store: Store, damaged: str) -> None:
    kept.keep(store, COPY)
    (store.folder / CONFIGURATION).write_text(damaged)
    assert kept.kept(store) is None


def test_values_of_other_kinds_are_none(store: Store) -> None:
    kept.keep(store, COPY)
    whole = json.loads((store.folder / CONFIGURATION).read_text())
    for key in ("config", "files", "matched"):
        (store.folder / CONFIGURATION).write_text(json.dumps({**whole, key: 7}))
        assert kept.kept(store) is None


def test_an_older_copy_does_not_outlive_what_cannot_be_kept(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    kept.keep(store, COPY)
    kept.keep(store, Copy(COPY.config, {"/a": b"\xff"}, {}))
    assert kept.kept(store) is None
    assert "no copy of the configuration is kept" in caplog.text
