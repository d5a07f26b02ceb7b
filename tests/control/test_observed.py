"""What was observed last: kept, read back, and refused whole when it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.control.observed import Observed, ObservedUnreadable, dump_observed, parse_observed
from gslb.control.store import Store
from gslb.model.deployment import DYNAMIC_TYPES, PolicyId, PoolId
from gslb.model.world import Forced, Health, Load, Override, Verdict

texts = st.text(max_size=8)
amounts = st.floats(0, 1e9)
verdict = st.builds(
    Verdict, st.sampled_from(Health), st.integers(0, 99), texts, st.none() | amounts, st.booleans(), texts
)
observations = st.builds(
    Observed,
    at=amounts,
    verdicts=st.dictionaries(texts.map(PoolId), st.dictionaries(texts, verdict, max_size=2), max_size=2),
    loads=st.dictionaries(texts.map(PoolId), st.builds(Load, amounts, st.integers(0, 99), st.booleans()), max_size=2),
    geography=texts,
    demand=st.dictionaries(
        texts.map(PolicyId),
        st.fixed_dictionaries(dict.fromkeys(DYNAMIC_TYPES, st.lists(amounts, max_size=3).map(tuple))),
        max_size=2,
    ),
    heavy=st.lists(texts, max_size=2).map(tuple),
    blind_since=st.none() | amounts,
)
SEEN = Observed(
    at=100.0,
    verdicts={PoolId("web-fra"): {"192.0.2.1": Verdict(Health.DOWN, 2.0, "/healthz: 500")}},
    loads={PoolId("web-fra"): Load(0.5, 1.0)},
    geography="g",
    demand={PolicyId("web"): {1: (1.0, 2.0)}},
)


@given(observations)
def test_observations_come_back_whole(seen: Observed) -> None:
    assert parse_observed(dump_observed("test", seen), "test") == seen


@given(observations, st.data())
def test_a_damaged_file_is_refused_or_still_observations(seen: Observed, data: st.DataObject) -> None:
    raw = bytearray(dump_observed("test", seen))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = parse_observed(bytes(raw), "test")
    except ObservedUnreadable:
        return
    assert dump_observed("test", read)


def test_the_world_is_older_and_counts_only_its_own_geography() -> None:
    past = Override("site/fra", Forced.DRAIN, "alice", "x", 1.0, until=110.0)
    world = SEEN.world(130.0, [past], "g")
    assert world.verdicts[PoolId("web-fra")]["192.0.2.1"].age_s == 32.0
    assert world.loads[PoolId("web-fra")].age_s == 31.0
    assert world.overrides == ()
    assert world.demand == SEEN.demand
    assert SEEN.world(130.0, [], "another").demand == {}
    assert SEEN.world(90.0, [], "g").loads[PoolId("web-fra")].age_s == 1.0  # the clock went back


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda raw: raw[: len(raw) // 2], "not observations: line 1 column"),
        (lambda _: b"", "not JSON"),
        (lambda raw: raw.replace(b'"at":100.0', b'"at":NaN'), "not observations"),
        (lambda raw: raw.replace(b"0.5", b"-0.5"), "not observations"),
        (lambda raw: raw.replace(b'"deployment":"test"', b'"deployment":"other"'), "of deployment 'other'"),
        (lambda raw: raw.replace(b'"format":1', b'"format":9'), "format 9, expected 1"),
        (lambda raw: json.dumps(json.loads(raw) | {"verdicts": [1]}).encode(), "not observations"),
    ],
    ids=["half", "empty", "no number", "negative", "another deployment", "another format", "another shape"],
)
def test_what_cannot_be_used_is_a_note(tmp_path: Path, change: object, why: str) -> None:
    store = Store(tmp_path, "test", "fra")
    store.save_observed(SEEN)
    assert store.read_observed().seen == SEEN
    path = store.folder / "observed.json"
    assert callable(change)
    path.write_bytes(change(path.read_bytes()))
    read = store.read_observed()
    assert read.seen is None
    assert why in (read.note or "")
    store.save_observed(SEEN)
    assert store.read_observed().seen == SEEN


def test_no_file_is_nothing_observed(tmp_path: Path) -> None:
    assert Store(tmp_path, "test", "fra").read_observed().note is None
