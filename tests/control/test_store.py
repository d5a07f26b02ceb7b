"""The state folder: whole files, tolerant reads, nothing lost in silence."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.bus.stamps import Written
from gslb.control.overrides import (
    OverridesUnreadable,
    dump_overrides,
    parse_overrides,
    with_override,
    without_target,
)
from gslb.control.store import OverridesRead, StateError, Store
from gslb.control.words import MAX_OVERRIDES, Ended, Word
from gslb.model.deployment import PolicyId
from gslb.model.plan import Choice, Member, Mode, Plan, PolicyPlan
from gslb.model.world import Forced, Override

PLAN = Plan(
    deployment="test",
    version=7,
    geography="g",
    policies={PolicyId("web"): PolicyPlan(60, 24, 56, {1: (0,), 28: (0,)})},
    choices=(Choice(Mode.NORMAL, (Member("192.0.2.1", 1, None),), 1),),
)
DRAIN = Override("site/fra", Forced.DRAIN, who="alice", why="CHG-1", since=100.0, until=200.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "test", "fra1")


def test_a_plan_comes_back(store: Store) -> None:
    assert (store.load_plan().plan, store.load_plan().note) == (None, None)
    store.save_plan(PLAN)
    assert (store.load_plan().plan, store.load_plan().note) == (PLAN, None)
    assert store.read_plan() == store.load_plan()


def test_only_the_owner_may_look(store: Store) -> None:
    store.save_plan(PLAN)
    store.edit_overrides(lambda before: (*before, DRAIN), now=100)
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()} == {0o600}


@pytest.mark.root
def test_files_belong_to_the_owner_of_the_folder(store: Store) -> None:
    store.create()
    os.chown(store.folder, 4321, 4322)
    store.edit_overrides(lambda before: (*before, DRAIN), now=100)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in store.folder.iterdir()} == {(4321, 4322)}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a plan: line 1 column 1: not JSON"),
        (b"{\xff\xff\xff\xff", "not a plan: not UTF-8 text"),
        (b"[" * 100_000, "not a plan: nested too deeply"),
        (b"null", "not a plan: not a mapping"),
        (b"{}", "not a plan: the field 'format' is missing"),
        (PLAN.to_bytes()[:-9], "not a plan: line 1 column"),
        (PLAN.to_bytes().replace(b"192.0.2.1", b"192.0.2.9"), "check does not match"),
        (PLAN.to_bytes().replace(b'"format":3', b'"format":2'), "plan format 2, expected 3"),
        (replace(PLAN, deployment="other").to_bytes(), "of deployment 'other', expected 'test'"),
    ],
)
def test_a_plan_that_cannot_be_used_is_set_aside_once(store: Store, data: bytes, why: str) -> None:
    store.create()
    path = store.folder / "plan.json"
    path.write_bytes(data)
    assert store.read_plan().plan is None
    assert why in (store.read_plan().note or "")
    assert path.exists()
    read = store.load_plan()
    assert read.plan is None
    assert read.note is not None
    assert read.note.startswith(f"{path}: ")
    assert why in read.note
    assert read.note.endswith("set aside as plan.json.bad")
    assert (store.folder / "plan.json.bad").read_bytes() == data
    assert (store.load_plan().plan, store.load_plan().note) == (None, None)


def test_a_huge_file_is_none_of_ours(store: Store) -> None:
    store.create()
    with (store.folder / "plan.json").open("wb") as file:
        file.truncate(65 << 20)
    assert "larger than 64 MB" in (store.load_plan().note or "")


def test_a_plan_file_that_is_a_folder_is_a_note(store: Store) -> None:
    (store.folder / "plan.json").mkdir(parents=True)
    assert "Is a directory" in (store.load_plan().note or "")


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond `limit` bytes: as a full disk, but for one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file(store: Store) -> None:
    store.save_plan(PLAN)
    store.edit_overrides(lambda before: (*before, DRAIN), now=100)
    with file_size_limit(16):
        with pytest.raises(StateError, match=r"plan\.json: File too large; nothing was changed"):
            store.save_plan(replace(PLAN, version=8))
        with pytest.raises(StateError, match=r"overrides\.json: File too large; nothing was changed"):
            store.edit_overrides(lambda _: (), now=100)
    assert store.load_plan().plan == PLAN
    assert store.load_overrides().overrides == (DRAIN,)
    assert not list(store.folder.glob(".*.new"))


@pytest.mark.root
def test_a_full_file_system_leaves_the_old_file(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    try:
        store = Store(tmp_path, "test", "fra1")
        store.save_plan(PLAN)
        with pytest.raises(StateError, match="No space left on device"):
            store.save_plan(replace(PLAN, geography="g" * 100_000))
        assert store.load_plan().plan == PLAN
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "test").write_text("in the way")
    with pytest.raises(StateError, match=r"test/fra1: .*; nothing was changed"):
        Store(tmp_path, "test", "fra1").save_plan(PLAN)


def test_overrides_come_back_and_expired_ones_are_forgotten_by_the_next_edit(store: Store) -> None:
    assert store.load_overrides().overrides == ()
    lasting = Override("pool/web-fra", Forced.UP, who="bob", why="ok", since=1.0, force=True)
    store.edit_overrides(lambda before: with_override(before, DRAIN), now=100)
    assert store.edit_overrides(lambda before: with_override(before, lasting), now=199).overrides == (DRAIN, lasting)
    assert set(store.load_overrides().overrides or ()) == {DRAIN, lasting}
    assert store.edit_overrides(lambda before: before, now=200).overrides == (lasting,)


def test_one_override_a_target() -> None:
    newer = replace(DRAIN, state=Forced.UP)
    assert with_override((DRAIN,), newer) == (newer,)
    assert without_target((DRAIN,), "site/fra") == ()
    assert without_target((DRAIN,), "site/iad") == (DRAIN,)


def test_what_the_change_raises_leaves_the_file(store: Store) -> None:
    store.edit_overrides(lambda before: (*before, DRAIN), now=100)

    def refuse(_: tuple[Override, ...]) -> tuple[Override, ...]:
        raise LookupError

    with pytest.raises(LookupError):
        store.edit_overrides(refuse, now=100)
    assert store.load_overrides().overrides == (DRAIN,)


def _second(begun: str, ended: str) -> str:
    return f'{{"format":2,"deployment":"test","overrides":[{begun}],"ended":[{ended}]}}'


GOOD_LINE = json.dumps(
    {
        "force": False,
        "since": 100.0,
        "state": "drain",
        "target": "site/fra",
        "until": 200.0,
        "who": "alice",
        "why": "CHG-1",
    }
)
BEGUN, ENDED = (
    dump_overrides("test", [word]).decode().splitlines()[line]
    for word, line in (
        (Word("site/fra", DRAIN, Written(100_000, "fra1")), 1),
        (Word("site/fra", Ended("bob", "done", 150.0), Written(150_000, "iad1"), Written(100_000, "fra1")), 3),
    )
)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "not an overrides file: line 1 column 1: not JSON"),
        ("null", "not an overrides file: not a mapping"),
        ("{}", "not an overrides file: the field 'format' is missing"),
        ('{"format":1,"deployment":"test","overrides":[', "not an overrides file: line 1 column 46: not JSON"),
        ('{"format":1,"deployment":"test","overrides":{}}', "not an overrides file: 'overrides' is not a list"),
        ('{"format":1,"deployment":"test","overrides":[7]}', "an override is 7, expected a mapping"),
        (f'{{"format":"{"x" * 10_000}"}}', f"overrides format '{'x' * 60}', expected 1 or 2"),
        ('{"format":3,"deployment":"test","overrides":[]}', "overrides format 3, expected 1 or 2"),
        ('{"format":2,"deployment":"test","overrides":[]}', "the field 'ended' is missing"),
        (_second("", ENDED.replace("150000", "-1")), "expected milliseconds since the epoch"),
        (_second("", ENDED.replace("[150000", "[true")), "stamp [True, 'iad1'], expected milliseconds since the epoch"),
        (_second("", ENDED.replace('[100000,"fra1"]', "7")), "stamp 7, expected milliseconds and a node"),
        (_second(GOOD_LINE, ""), "an override has the keys"),
        (_second(BEGUN.replace("drain", "sleep"), ""), "state is 'sleep'"),
        (_second("", ",".join([ENDED] * 20_001)), "20001 ended, expected at most 20000"),
        ('{"format":1,"deployment":"other","overrides":[]}', "of deployment 'other', expected 'test'"),
        ('{"format":1,"deployment":"test","overrides":[{"target":"site/fra"}]}', "an override has the keys ['target']"),
        (
            f'{{"format":1,"deployment":"test","overrides":[{GOOD_LINE.replace("drain", "sleep")}]}}',
            "state is 'sleep', expected one of up, down, drain",
        ),
        (f'{{"format":1,"deployment":"test","overrides":[{GOOD_LINE.replace("100.0", "1e999")}]}}', "expected seconds"),
        (
            f'{{"format":1,"deployment":"test","overrides":[{GOOD_LINE.replace("false", "0")}]}}',
            "expected true or false",
        ),
        (f'{{"format":1,"deployment":"test","overrides":[{GOOD_LINE.replace("CHG-1", "x" * 1001)}]}}', "at most 1000"),
        (f'{{"format":1,"deployment":"test","overrides":[{",".join([GOOD_LINE] * 10_001)}]}}', "10001 overrides"),
    ],
)
def test_overrides_that_cannot_be_read_are_ignored_whole_and_never_lost(store: Store, body: str, why: str) -> None:
    store.create()
    store.overrides_path.write_text(body)
    read = store.load_overrides()
    assert read.overrides is None
    assert read.note is not None
    assert why in read.note
    assert "; there is no last good copy, so the whole file is ignored; " in read.note
    edited = store.edit_overrides(lambda before: with_override(before, DRAIN), now=100)
    assert edited.overrides == (DRAIN,)
    assert edited.note is not None
    assert why in edited.note
    assert edited.note.endswith("set aside as overrides.json.bad")
    assert (store.folder / "overrides.json.bad").read_text() == body
    assert store.load_overrides().overrides == (DRAIN,)


def test_a_damaged_overrides_file_brings_no_site_back(store: Store) -> None:
    """Neither a restart nor the next edit forgets what an operator said before the damage."""
    store.edit_overrides(lambda _: (DRAIN,), now=100)
    store.overrides_path.write_text("{")
    read = store.load_overrides()
    assert read.overrides == (DRAIN,)
    assert read.note == (
        f"{store.overrides_path}: not an overrides file: line 1 column 2: not JSON; the last good copy is used instead "
        "(overrides.json.last-good, overrides: 1); the next `gslb drain|up|down|auto` writes the file anew"
    )
    other = replace(DRAIN, target="site/iad")
    edited = store.edit_overrides(lambda before: with_override(before, other), now=100)
    assert edited.overrides == (DRAIN, other)
    assert "the last good copy is used instead" in (edited.note or "")
    assert (store.folder / "overrides.json.bad").read_text() == "{"
    assert store.load_overrides() == OverridesRead((DRAIN, other))


def test_a_last_good_copy_that_is_damaged_too_is_said(store: Store) -> None:
    store.edit_overrides(lambda _: (DRAIN,), now=100)
    store.overrides_path.write_text("{")
    (store.folder / "overrides.json.last-good").write_text("[]")
    read = store.load_overrides()
    assert read.overrides is None
    assert "its last good copy cannot be read either (not an overrides file: not a mapping)" in (read.note or "")


def test_an_edit_that_fails_leaves_the_damaged_file_and_its_last_good_copy(store: Store) -> None:
    store.edit_overrides(lambda _: (DRAIN,), now=100)
    store.overrides_path.write_text("{")
    with file_size_limit(16), pytest.raises(StateError, match="nothing was changed"):
        store.edit_overrides(lambda before: before, now=100)
    assert store.overrides_path.read_text() == "{"
    assert store.load_overrides().overrides == (DRAIN,)


def test_an_edit_without_its_copy_holds_and_says_so(store: Store) -> None:
    (store.folder / "overrides.json.last-good").mkdir(parents=True)
    edited = store.edit_overrides(lambda _: (DRAIN,), now=100)
    assert (edited.note or "").startswith("no copy of overrides.json is kept: ")
    assert store.load_overrides().overrides == (DRAIN,)


@pytest.mark.parametrize(
    "bad",
    [
        replace(DRAIN, since=float("nan")),
        replace(DRAIN, until=float("inf")),
        replace(DRAIN, why="\udc80"),
        replace(DRAIN, target="x" * 1001),
    ],
)
def test_what_could_not_be_read_back_is_not_written(store: Store, bad: Override) -> None:
    with pytest.raises(StateError, match="nothing was changed"):
        store.edit_overrides(lambda _: (bad,), now=100)
    assert store.load_overrides().overrides == ()


def test_overrides_are_bounded(store: Store) -> None:
    many = tuple(replace(DRAIN, target=f"pool/p{index}") for index in range(MAX_OVERRIDES))
    assert len(store.edit_overrides(lambda _: many, now=100).overrides) == MAX_OVERRIDES
    with pytest.raises(StateError, match="10001 overrides, expected at most 10000"):
        store.edit_overrides(lambda before: with_override(before, DRAIN), now=100)
    assert len(store.load_overrides().overrides or ()) == MAX_OVERRIDES


def test_writers_take_turns(store: Store) -> None:
    """Each of many writers adds one override; none is lost."""
    threads = [
        threading.Thread(
            target=store.edit_overrides,
            args=(lambda before, n=index: with_override(before, replace(DRAIN, target=f"pool/p{n}")), 100.0),
        )
        for index in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.load_overrides().overrides or ()) == 12


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    first = {"format": 1, "deployment": "test", "overrides": value}
    second = {"format": 2, "deployment": "test", "overrides": [], "ended": value}
    for data in map(json.dumps, (value, first, second)):
        try:
            parse_overrides(data.encode(), "test")
        except OverridesUnreadable:
            continue


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(OverridesUnreadable):
        parse_overrides(data, "test")


def test_a_writer_killed_in_the_middle_changes_nothing(store: Store) -> None:
    """A half-written file beside the real one is not looked at, and the next writer replaces it."""
    store.save_plan(PLAN)
    program = (
        "import os, sys; from pathlib import Path\n"
        "folder = Path(sys.argv[1]); (folder / '.plan.json.new').write_bytes(b'{'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, store.folder], check=False)
    assert store.load_plan().plan == PLAN
    store.save_plan(replace(PLAN, version=8))
    assert store.load_plan().plan == replace(PLAN, version=8)
    assert not (store.folder / ".plan.json.new").exists()
