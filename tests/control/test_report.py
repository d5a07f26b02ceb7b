"""The report of a node: by what its controller knows, and by what it has kept on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from gslb.control.observed import Observed
from gslb.control.planner import Model
from gslb.control.report import Known, report
from gslb.control.store import Store
from gslb.decide.decide import decide
from gslb.model.deployment import PoolId
from gslb.model.world import Forced, Health, Override, Verdict
from tests.control.make import FRA_ADDRESS, model

NOW = 1_000_000.0
DRAIN = Override("site/iad", Forced.DRAIN, "alice", "CHG-7", NOW - 10, node="fra")
SEEN = Observed(NOW, {PoolId("web-fra"): {FRA_ADDRESS: Verdict(Health.UP)}})


@pytest.fixture
def here(tmp_path: Path) -> Model:
    return model(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "state", "example", "fra")
    store.create()
    return store


@pytest.fixture
def known(here: Model) -> Known:
    plan = decide(here.deployment, here.geography, SEEN.world(NOW, (DRAIN,), here.geography.digest), None)
    return Known(SEEN, plan, (DRAIN,))


def test_a_controller_tells_what_it_knows_and_reads_none_of_its_files(store: Store, here: Model, known: Known) -> None:
    for name in ("plan.json", "overrides.json", "observed.json"):
        (store.folder / name).mkdir()  # nobody can read these
    told = report(store, here.deployment, NOW, known)
    assert [(one["target"], one["holds"]) for one in told["overrides"]] == [("site/iad", True)]
    assert [(one["name"], one["override"], one["answered"]) for one in told["pools"]] == [
        ("web-fra", None, True),
        ("web-iad", "drain", False),
    ]
    assert [one["name"] for one in told["policies"]] == ["web"]
    assert told["observed_s"] == 0.0


def test_a_command_tells_the_same_by_the_files(store: Store, here: Model, known: Known) -> None:
    assert known.plan is not None
    store.save_plan(known.plan)
    store.save_observed(SEEN)
    store.edit_overrides(lambda _: (DRAIN,), NOW)
    assert report(store, here.deployment, NOW) == report(store, here.deployment, NOW, known)
