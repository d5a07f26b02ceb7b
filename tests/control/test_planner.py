"""Deciding and handing out: versions, overrides, failures; with the real executor of DNS and with a fake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from gslb import __version__
from gslb.control.executor import Content, DnsTables, Executor
from gslb.control.facts import Facts
from gslb.control.facts import read as read_facts
from gslb.control.observed import Observed
from gslb.control.planner import Planner, nsid_of
from gslb.control.store import Store
from gslb.geo.table import LocationTable
from gslb.model.deployment import Limits
from gslb.model.plan import Plan
from gslb.model.world import Forced, Health, Override, Verdict, Verdicts
from gslb.nameserver.cookies import keys_of, next_keys_at
from gslb.nameserver.generation import Current, File, Manifest, read_file, read_manifest
from gslb.nameserver.limit import limit_of
from gslb.nameserver.protection import Protection
from gslb.nameserver.table import Tables
from tests.control.make import DEPLOYMENT, FRA_ADDRESS, IAD_ADDRESS, NODE, ZONE, model

NOW = 1_000_000.0


class FakeExecutor:
    """Keeps in memory what it is given, and fails on demand."""

    def __init__(self) -> None:
        self.applied: list[Plan] = []
        self.broken = False

    @property
    def in_force(self) -> Manifest | None:
        if not self.applied:
            return None
        plan, none = self.applied[-1], File("none", 0, "")
        return Manifest(plan.deployment, len(self.applied), plan.version, plan.digest, none, none, none)

    def apply(self, plan: Plan, content: Content) -> Manifest | None:  # noqa: ARG002  # the Protocol's
        if self.broken:
            raise OSError(28, "No space left on device")
        if self.applied and self.applied[-1] == plan:
            return None
        self.applied.append(plan)
        return self.in_force


@pytest.fixture(params=["fake", "dns"])
def executor(request: pytest.FixtureRequest, store: Store) -> Executor:
    return FakeExecutor() if request.param == "fake" else DnsTables(store.folder / "serving", "example")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "state", "example", "fra")
    store.create()
    return store


def drain(target: str, until: float | None = None) -> Override:
    return Override(target, Forced.DRAIN, "a person", "a test", NOW - 10, until)


def put(store: Store, *overrides: Override) -> None:
    store.edit_overrides(lambda _: overrides, NOW)


def answered(store: Store) -> set[str]:
    plan = store.load_plan().plan
    assert plan is not None
    return {member.address for choice in plan.choices for member in choice.members}


@pytest.mark.parametrize("restarted", [True, False])
def test_a_file_that_was_emptied_is_published_anew(store: Store, tmp_path: Path, *, restarted: bool) -> None:
    folder = store.folder / "serving"
    executor = DnsTables(folder, "example")
    planner = Planner(store, executor, Facts())
    assert planner.adopt(model(tmp_path), NOW)
    (names,) = folder.glob("names-*")
    names.write_bytes(b"")
    if restarted:
        executor = DnsTables(folder, "example")
        planner = Planner(store, executor, Facts())
    again = model(tmp_path)
    assert planner.adopt(replace(again, zones=(*again.zones,)), NOW + 1)
    assert executor.in_force is not None
    assert (executor.in_force.generation, executor.in_force.plan_version) == (2, 1)
    assert names.stat().st_size == executor.in_force.names.size


def test_a_lost_current_is_written_again_at_the_next_decision(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = store.folder / "serving"
    planner = Planner(store, DnsTables(folder, "example"), Facts())
    assert planner.adopt(model(tmp_path), NOW)
    (folder / "current").unlink()
    assert planner.plan(NOW + 1)
    assert Current(folder).number == 1
    assert "changed by others" in caplog.text


def test_the_same_content_is_put_in_force_once(store: Store, executor: Executor, tmp_path: Path) -> None:
    planner = Planner(store, executor, Facts())
    assert planner.adopt(model(tmp_path), NOW)
    before = executor.in_force
    assert before is not None
    assert before.plan_version == 1
    for later in range(1, 5):
        assert planner.plan(NOW + later)
    assert planner.adopt(model(tmp_path), NOW + 9)
    assert executor.in_force == before


def test_versions_go_on_behind_both_the_stored_and_the_executed(
    store: Store, executor: Executor, tmp_path: Path
) -> None:
    first = Planner(store, executor, Facts())
    first.adopt(model(tmp_path), NOW)
    for overrides in ((drain("site/fra"),), (), (drain("site/fra"),)):
        put(store, *overrides)
        first.read_overrides()
        assert first.plan(NOW)
    assert executor.in_force is not None
    assert executor.in_force.plan_version == 4
    (store.folder / "plan.json").unlink()
    second = Planner(store, executor, Facts())
    second.read_overrides()
    assert second.adopt(model(tmp_path), NOW)
    assert executor.in_force.plan_version == 4, "the executed content is the same"
    put(store)
    second.read_overrides()
    assert second.plan(NOW)
    assert executor.in_force.plan_version == 5
    stored = store.load_plan().plan
    assert stored is not None
    assert stored.version == 5


def test_an_override_holds_until_it_ends(store: Store, executor: Executor, tmp_path: Path) -> None:
    planner = Planner(store, executor, Facts())
    planner.adopt(model(tmp_path), NOW)
    assert answered(store) == {FRA_ADDRESS}
    put(store, drain("site/fra", NOW + 60))
    planner.read_overrides()
    assert planner.next_expiry(NOW) == NOW + 60
    planner.plan(NOW)
    assert answered(store) == {IAD_ADDRESS}
    planner.plan(NOW + 60)
    assert answered(store) == {FRA_ADDRESS}
    assert planner.next_expiry(NOW + 60) is None


def test_overrides_of_no_such_target_are_told_once(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> int:
        return caplog.text.count("overrides of no such target")

    planner = Planner(store, FakeExecutor(), Facts())
    put(store, drain("site/fra"), drain("site/gone"), drain(f"answer/web-fra/{FRA_ADDRESS}"))
    planner.read_overrides()
    assert told() == 0, "nobody knows yet what there is"
    planner.adopt(model(tmp_path), NOW)
    planner.read_overrides()
    assert told() == 1
    assert (caplog.records[-1].overrides, caplog.records[-1].first) == (1, "site/gone")  # type: ignore[attr-defined]
    put(store, drain("site/fra"))
    planner.read_overrides()
    put(store, drain("site/gone"))
    planner.read_overrides()
    assert told() == 2


def test_unreadable_overrides_leave_those_that_hold(store: Store, tmp_path: Path) -> None:
    facts = Facts()
    planner = Planner(store, FakeExecutor(), facts)
    put(store, drain("site/fra"))
    planner.read_overrides()
    store.overrides_path.write_bytes(b"{")
    planner.read_overrides()
    planner.adopt(model(tmp_path), NOW)
    assert answered(store) == {IAD_ADDRESS}


def test_a_damaged_plan_file_is_written_anew_at_the_first_decision(store: Store, tmp_path: Path) -> None:
    executor = FakeExecutor()
    Planner(store, executor, Facts()).adopt(model(tmp_path), NOW)
    path = store.folder / "plan.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:99])
    again = Planner(store, executor, Facts())
    assert again.last is not None
    again.adopt(model(tmp_path), NOW + 1)
    assert path.read_bytes() == whole
    assert len(executor.applied) == 1


def test_history_alone_is_stored_and_makes_no_new_last_good_copy(store: Store, tmp_path: Path) -> None:
    """IAD is nobody's first, so that it is out changes no answer."""
    found = {address: Verdict(Health.UP) for address in (FRA_ADDRESS, IAD_ADDRESS)}
    planner = Planner(store, FakeExecutor(), Facts(), lambda now: Observed(now, seen_of(found)))
    planner.adopt(model(tmp_path), NOW)
    copy = store.folder / "plan.json.last-good"
    before = copy.read_bytes()
    found[IAD_ADDRESS] = Verdict(Health.DOWN)
    assert planner.plan(NOW + 1)
    stored = store.load_plan().plan
    assert stored is not None
    assert (stored.version, list(stored.history.out)) == (1, list(DEPLOYMENT.policies))
    assert copy.read_bytes() == before
    found[FRA_ADDRESS] = Verdict(Health.DOWN)
    assert planner.plan(NOW + 2)
    assert copy.read_bytes() == (store.folder / "plan.json").read_bytes() != before


def seen_of(found: Mapping[str, Verdict]) -> Verdicts:
    by_pool = zip(DEPLOYMENT.pools, (FRA_ADDRESS, IAD_ADDRESS), strict=True)
    return {name: {address: found[address]} for name, address in by_pool}


def test_a_defect_leaves_what_is_in_force_and_is_told_once(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = False

    def seen(now: float) -> Observed:
        if broken:
            raise ZeroDivisionError("by a defect")
        return Observed(now)

    facts = Facts()
    facts.open(store.folder)
    planner = Planner(store, FakeExecutor(), facts, seen)
    assert planner.adopt(model(tmp_path), NOW)
    plan, broken = planner.last, True
    assert not planner.plan(NOW + 1)
    assert not planner.plan(NOW + 2)
    assert planner.last is plan
    problem = "the plan could not be decided: a defect: ZeroDivisionError: by a defect"
    assert read_facts(store.folder)["problems"] == {"plan": [problem]}
    assert sum(record.exc_info is not None for record in caplog.records) == 1
    broken = False
    assert planner.plan(NOW + 3)
    assert read_facts(store.folder)["problems"] == {}


def test_a_model_that_cannot_be_put_in_force_leaves_the_one_before(store: Store, tmp_path: Path) -> None:
    executor = FakeExecutor()
    planner = Planner(store, executor, Facts())
    before = model(tmp_path)
    planner.adopt(before, NOW)
    executor.broken = True
    changed = replace(DEPLOYMENT, policies={name: replace(one, ttl_max=7) for name, one in DEPLOYMENT.policies.items()})
    assert not planner.adopt(model(tmp_path, changed), NOW)
    assert planner.model is before
    executor.broken = False
    assert planner.plan(NOW)
    assert [plan.version for plan in executor.applied] == [1]


def test_a_changed_zone_or_secret_is_published_under_the_same_plan(store: Store, tmp_path: Path) -> None:
    executor = DnsTables(store.folder / "serving", "example")
    planner = Planner(store, executor, Facts())
    one = model(tmp_path)
    planner.adopt(one, NOW)
    for changed in (replace(one, zones=(replace(ZONE, dynamic=()),)), replace(one, secret=b"another")):
        assert planner.adopt(changed, NOW)
    manifest = executor.in_force
    assert manifest is not None
    assert (manifest.generation, manifest.plan_version) == (3, 1)
    first = read_manifest(store.folder / "serving", 2, "example")
    assert first.geography == manifest.geography


def test_limits_and_the_days_keys_of_cookies_are_published_under_the_same_plan(store: Store, tmp_path: Path) -> None:
    folder = store.folder / "serving"
    executor = DnsTables(folder, "example")
    planner = Planner(store, executor, Facts())

    def protection() -> Protection:
        manifest = executor.in_force
        assert manifest is not None
        location = LocationTable.from_buffer(read_file(folder, manifest.geography))
        tables = Tables.load(read_file(folder, manifest.names), read_file(folder, manifest.plan), location)
        assert tables.protection is not None
        return tables.protection

    limits = Limits(responses_per_s=500, slip=3, exempt=(ip_network("192.0.2.0/24"),), dry_run=True)
    one = model(tmp_path, replace(DEPLOYMENT, limits=limits))
    assert planner.adopt(one, NOW)
    noon = next_keys_at(NOW)
    expected = limit_of(one.secret, 500, 3, limits.exempt, dry_run=True)
    assert protection() == Protection(keys_of(one.secret, NOW), expected)
    assert planner.plan(noon - 1)
    assert protection().cookie_keys == keys_of(one.secret, NOW)
    assert planner.plan(noon)
    assert protection() == Protection(keys_of(one.secret, noon), expected)
    manifest = executor.in_force
    assert manifest is not None
    assert (manifest.generation, manifest.plan_version) == (2, 1)


def test_the_table_that_serves_can_be_gone_on_with(store: Store, tmp_path: Path) -> None:
    executor = DnsTables(store.folder / "serving", "example")
    planner = Planner(store, executor, Facts())
    one = model(tmp_path)
    planner.adopt(one, NOW)
    found = planner.serving_table(store.folder / "serving")
    assert found is not None
    assert found[1] == one.geography
    assert planner.adopt(replace(one, located=found[0]), NOW)
    assert executor.in_force is not None
    assert executor.in_force.generation == 1


@pytest.mark.parametrize(
    ("nsid", "expected"), [(None, None), ("site", b"fra gslb-"), ("node", b"fra gslb-"), ("a text", b"a text")]
)
def test_what_the_nameserver_calls_itself(nsid: str | None, expected: bytes | None) -> None:
    found = nsid_of(replace(DEPLOYMENT, dns=replace(DEPLOYMENT.dns, nsid=nsid)), NODE)
    assert found == (expected + __version__.encode() if expected and expected.endswith(b"-") else expected)
