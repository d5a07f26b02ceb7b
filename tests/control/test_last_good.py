"""The last good copy of the plan: what is known of the past outlives a damaged file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gslb.control.store import PlanRead, Store
from gslb.model.deployment import PolicyId, PoolId
from gslb.model.history import History, Out
from gslb.model.plan import Choice, Member, Mode, Plan, PolicyPlan

PLAN = Plan(
    deployment="test",
    version=7,
    geography="g",
    policies={PolicyId("web"): PolicyPlan(60, 24, 56, {1: (0,), 28: (0,)})},
    choices=(Choice(Mode.NORMAL, (Member("192.0.2.1", 1, None),), 1),),
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, "test", "fra1")


def test_a_damaged_plan_file_forgets_nothing(store: Store) -> None:
    """What is held out of the answers, and what is shed, is known after the damage too."""
    held = replace(PLAN, history=History(out={PolicyId("web"): {PoolId("web-fra"): Out(50.0, held=True)}}))
    store.save_plan(held)
    path = store.folder / "plan.json"
    cut = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(cut)
    instead = "; the last good copy is used instead (plan.json.last-good, version 7)"
    for _ in range(2):  # it is told until a plan is written
        assert store.read_plan().plan == held
        assert (store.read_plan().note or "").endswith(instead)
        read = store.load_plan()
        assert read.plan == held
        assert (read.note or "").endswith(f"{instead}; set aside as plan.json.bad")
        assert (store.folder / "plan.json.bad").read_bytes() == cut
    store.save_plan(replace(held, version=8))
    assert store.load_plan() == PlanRead(replace(held, version=8))
    assert (store.folder / "plan.json.bad").read_bytes() == cut


def test_a_plan_file_that_the_disk_does_not_give_is_replaced_by_its_copy(store: Store) -> None:
    store.save_plan(PLAN)
    (store.folder / "plan.json").unlink()
    (store.folder / "plan.json").mkdir()
    for read in (store.load_plan(), store.read_plan()):
        assert read.plan == PLAN
        assert "plan.json: Is a directory; the last good copy is used instead" in (read.note or "")


def test_a_last_good_plan_that_is_damaged_too_is_said(store: Store) -> None:
    store.save_plan(PLAN)
    for name in ("plan.json", "plan.json.last-good"):
        (store.folder / name).write_bytes(b"null")
    read = store.load_plan()
    assert read.plan is None
    assert "; its last good copy cannot be read either (not a plan: not a mapping); set aside as" in (read.note or "")


def test_a_plan_that_was_removed_is_not_missed(store: Store) -> None:
    store.save_plan(PLAN)
    (store.folder / "plan.json").unlink()
    assert store.load_plan() == PlanRead(None)


def test_a_refined_plan_comes_back_and_its_last_good_copy_is_the_synced_one(store: Store) -> None:
    store.save_plan(PLAN)
    refined = replace(PLAN, history=History(out={PolicyId("web"): {PoolId("web-fra"): Out(50.0)}}))
    store.save_plan(refined, refined=True)
    assert store.load_plan() == PlanRead(refined)
    (store.folder / "plan.json").write_bytes(b"")
    assert store.load_plan().plan == PLAN


def test_a_plan_without_its_copy_is_written(store: Store) -> None:
    (store.folder / "plan.json.last-good").mkdir(parents=True)
    store.save_plan(PLAN)
    assert store.load_plan() == PlanRead(PLAN)
