"""The history of anycast prefixes over restarts, and the file that `gslb status` reads."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.routes import State
from bgp.when import Local, Past, Remote, Rule, adopted, decide
from gslb.control.anycastfile import (
    AHEAD_S,
    BELIEVED_S,
    HISTORY,
    PREFIXES_MOST,
    STATE,
    load_history,
    read_state,
    resumed,
    save_history,
    save_state,
)
from gslb.control.store import StateError, Store
from gslb.model.deployment import Network

NOW, WALL = 5_000.0, 1_700_000_000.0
V4, V6 = ip_network("192.0.2.10/32"), ip_network("2001:db8::53/128")
HELD = Past(State.DRAIN, NOW - 60, NOW - 3000, NOW - 20, 3)
LEFT = Past(State.OFF, NOW - 5, NOW - 900, None, 1, left=True)
AGES = st.floats(0, 1e6)
PASTS = st.builds(
    lambda state, since, present, good, failures, left: Past(
        state,
        NOW - since,
        NOW - since - present,
        None if good is None else NOW - good,
        failures,
        left and state is State.OFF,
    ),
    st.sampled_from(State),
    AGES,
    AGES,
    st.none() | AGES,
    st.integers(0, 8),
    st.booleans(),
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "example", "fra")


def kept(store: Store, *, passed: float = 0.0, now: float = NOW) -> dict[Network, Past]:
    return load_history(store, now, WALL + passed)


@given(st.dictionaries(st.sampled_from([V4, V6]), PASTS), st.floats(0, BELIEVED_S - 1), st.floats(0, 1e7))
def test_what_was_kept_comes_back_older_by_the_time_between(
    pasts: dict[Network, Past], passed: float, now: float
) -> None:
    with TemporaryDirectory() as folder:
        store = Store(Path(folder), "example", "fra")
        save_history(store, pasts, NOW, WALL)
        found = kept(store, passed=passed, now=now)
    assert found.keys() == pasts.keys()
    for prefix, past in pasts.items():
        one = found[prefix]
        assert (one.state, one.failures, one.left) == (past.state, past.failures, past.left)
        assert (one.good_since is None) == (past.good_since is None)
        shift = now - passed - NOW
        assert one.since == pytest.approx(past.since + shift, abs=1e-5)
        assert one.present_since == pytest.approx(past.present_since + shift, abs=1e-5)
        assert one.present_since <= one.since <= now


def test_a_hold_after_a_failure_outlives_a_restart(store: Store) -> None:
    save_history(store, {V4: HELD}, NOW, WALL)
    past = resumed(kept(store, passed=10.0, now=7.0)[V4], State.DRAIN, 7.0)
    assert past.failures == 3
    verdict = decide(Rule(("dns",)), Local(dns=True), Remote(), past, 7.0)
    assert verdict.state is State.DRAIN
    assert decide(Rule(("dns",)), Local(dns=True), Remote(), adopted(State.DRAIN), 7.0).state is State.ANNOUNCED


def test_who_has_left_wants_the_lease_after_a_restart_for_as_long_as_before(store: Store) -> None:
    save_history(store, {V4: LEFT}, NOW, WALL)
    for passed, wants in [(1.0, True), (10.0, False)]:
        past = resumed(kept(store, passed=passed)[V4], State.OFF, NOW)
        assert decide(Rule(("dns",)), Local(dns=False), Remote(), past, NOW).wants_lease is wants


@pytest.mark.parametrize("passed", [-1e9, -AHEAD_S - 1, BELIEVED_S + 1, 1e9])
def test_after_a_jump_of_the_calendar_there_is_no_history(
    store: Store, passed: float, caplog: pytest.LogCaptureFixture
) -> None:
    save_history(store, {V4: HELD}, NOW, WALL)
    assert kept(store, passed=passed) == {}
    assert "is not known" in caplog.text


def test_a_calendar_that_was_corrected_a_little_is_believed_and_nothing_is_ahead(store: Store) -> None:
    save_history(store, {V4: adopted(State.ANNOUNCED), V6: Past(State.DRAIN, NOW, NOW, NOW)}, NOW, WALL)
    found = kept(store, passed=-AHEAD_S / 2)
    assert found[V4].state is State.ANNOUNCED
    assert found[V6] == Past(State.DRAIN, NOW, NOW, NOW)


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "state": "drain",
        "since": WALL - 5,
        "present_since": WALL - 9,
        "good_since": None,
        "failures": 1,
        "left": False,
    } | changes


def write(store: Store, entries: object, **changes: Any) -> None:
    whole = {"format": 1, "deployment": "example", "written": WALL, "prefixes": entries} | changes
    store.save_file(HISTORY, json.dumps(whole).encode())


@pytest.mark.parametrize(
    ("wrong", "whole"),
    [
        ({"since": WALL + 100, "present_since": WALL}, False),
        ({"good_since": WALL + 100}, False),
        ({"present_since": WALL}, False),
        ({"left": True}, False),
        ({"failures": -1}, True),
        ({"failures": 10**6}, True),
        ({"state": "away"}, True),
        ({"since": "yesterday"}, True),
        ({"since": float("nan")}, True),
        ({"more": 1}, True),
    ],
)
def test_times_that_cannot_be_are_no_history_of_that_prefix_and_nonsense_none_at_all(
    store: Store, wrong: dict[str, Any], *, whole: bool
) -> None:
    write(store, {str(V4): entry(), str(V6): entry(**wrong)})
    assert kept(store).keys() == (set() if whole else {V4})


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"deployment": "another"},
        {"written": None},
        {"prefixes": {"192.0.2.1/24": entry()}},
        {"prefixes": {"web": entry()}},
        {"prefixes": {f"10.{one >> 8}.{one & 255}.0/24": entry() for one in range(PREFIXES_MOST + 1)}},
        {"prefixes": []},
    ],
    ids=["format", "deployment", "no time", "host bits", "no prefix", "too many", "a list"],
)
def test_a_file_that_is_not_ours_is_no_history(store: Store, changes: dict[str, Any]) -> None:
    write(store, {str(V4): entry()})
    assert kept(store).keys() == {V4}
    write(store, {str(V4): entry()}, **changes)
    assert kept(store) == {}


@given(st.data())
def test_whatever_is_on_the_disk_nothing_is_raised_and_what_is_read_can_be(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        store = Store(Path(folder), "example", "fra")
        save_history(store, {V4: HELD, V6: LEFT}, NOW, WALL)
        whole = bytearray(store.read_file(HISTORY) or b"")
        for _ in range(data.draw(st.integers(0, 4))):
            place = data.draw(st.integers(0, len(whole) - 1))
            whole[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        store.save_file(HISTORY, bytes(whole) if data.draw(st.booleans()) else data.draw(st.binary(max_size=60)))
        for past in kept(store).values():
            assert past.present_since <= past.since <= NOW
            assert past.good_since is None or past.good_since <= NOW
            assert 0 <= past.failures <= 64
            decide(Rule(("dns",)), Local(dns=True), Remote(), past, NOW)


def test_no_file_is_no_history_and_a_folder_that_cannot_be_written_is_told(store: Store) -> None:
    assert kept(store) == {}
    store.folder.parent.mkdir(parents=True)
    store.folder.write_text("in the way")
    with pytest.raises(StateError):
        save_history(store, {V4: HELD}, NOW, WALL)
    assert kept(store) == {}


def test_more_prefixes_than_any_speaker_has_are_not_kept(store: Store) -> None:
    many = {ip_network(f"10.{one >> 8}.{one & 255}.0/24"): HELD for one in range(PREFIXES_MOST + 5)}
    save_history(store, many, NOW, WALL)
    assert len(kept(store)) == PREFIXES_MOST


@given(st.none() | PASTS, st.sampled_from(State))
def test_what_exabgp_announces_is_the_truth(past: Past | None, found: State) -> None:
    one = resumed(past, found, NOW)
    assert one.state is found
    assert one.present_since <= one.since <= NOW
    if past is not None:
        assert one.failures == past.failures
        assert one == past or one.since == NOW


class TestState:
    """The file that `gslb status` reads."""

    def test_it_is_read_as_it_was_written_and_may_be_none(self, tmp_path: Path) -> None:
        assert read_state(tmp_path) is None
        save_state(tmp_path, {"prefixes": [{"prefix": "192.0.2.10/32", "state": "drain"}]})
        assert read_state(tmp_path) == {"prefixes": [{"prefix": "192.0.2.10/32", "state": "drain"}]}
        assert [path.name for path in tmp_path.iterdir()] == [STATE]
        save_state(tmp_path, None)
        save_state(tmp_path, None)
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_is_not_there_is_told_and_no_error(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        save_state(tmp_path / "run", {})
        assert "cannot be written" in caplog.text

    @given(st.binary(max_size=80) | st.sampled_from([b"[]", b"[" * 100_000, b"1", b'{"a":']))
    def test_what_cannot_be_read_is_none(self, data: bytes) -> None:
        with TemporaryDirectory() as folder:
            (Path(folder) / STATE).write_bytes(data)
            found = read_state(Path(folder))
            assert found is None or isinstance(found, dict)
