"""Demand from workers' pages: rates without jumps, counts that never go back, heavy resolvers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gslb.control.demand import APART_S, DemandMeter, Measured
from gslb.model.deployment import TYPE_A, PolicyId, PoolId, Spill
from gslb.model.location import Geography, Ranking
from gslb.nameserver import demand
from gslb.nameserver.demand import DemandPage
from gslb.nameserver.given import Given
from tests.control.make import DEPLOYMENT, POLICY

WEB = POLICY.name
RANKINGS = 3
HERE, THERE = (
    Geography(digest, 1, {WEB: (Ranking(0, (), ()),) * RANKINGS, PolicyId("idle"): (Ranking(0, (), ()),)})
    for digest in ("here", "there")
)


class Workers:
    """Some workers of a node, whose counts tests move; time is theirs too."""

    def __init__(self, run: Path, count: int = 1) -> None:
        self.run = run
        self.meter = DemandMeter(run)
        self.now = 1000.0
        self.geography = HERE
        self.begun = 0
        self.living: dict[str, tuple[DemandPage, Given]] = {}
        for _ in range(count):
            self.begin()

    def begin(self) -> str:
        """One more worker."""
        self.begun += 1
        name = f"udp-{self.begun}"
        self.living[name] = DemandPage(self.run / f"{name}.demand"), Given(self.geography.digest, [WEB])
        return name

    def end(self, name: str) -> None:
        """A worker dies, and is cleared away."""
        page, answered = self.living.pop(name)
        page.close(answered)
        demand.retire(self.run, self.run / f"{name}.demand")

    def answer(self, by_ranking: Sequence[int], pool: str = "fra", name: str | None = None) -> None:
        """Give so many answers, by one worker or by each."""
        for _, answered in [self.living[name]] if name is not None else self.living.values():
            cells = answered.cells_of(WEB, TYPE_A, RANKINGS)
            for ranking, count in enumerate(by_ranking):
                cells[ranking] += count
            answered.marks[answered.mark(TYPE_A, [[pool]])] += sum(by_ranking)

    def ask(self, source: str, count: int) -> None:
        """Have `source` ask each worker, of a choice with parts."""
        for _, answered in self.living.values():
            for _ in range(count):
                answered.sources_of(WEB).add(source)

    def pass_by(self, seconds: float = 1.0) -> Measured:
        """Let time pass, have pages written, and sample."""
        self.now += seconds
        for page, answered in self.living.values():
            page._due_s = 0.0
            page.show(answered, 1.0)
        return self.meter.sample(self.now, self.geography, DEPLOYMENT)

    def go_on(self, seconds: int, by_ranking: Sequence[int]) -> Measured:
        """Each worker answers `by_ranking` each second."""
        measured = self.pass_by()
        for _ in range(seconds):
            self.answer(by_ranking)
            measured = self.pass_by()
        return measured


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path


def rates(measured: Measured) -> tuple[float, ...]:
    return measured.demand.get(WEB, {}).get(TYPE_A, ())


@pytest.mark.parametrize("seconds", [3, 30, 300])
def test_rates_are_right_from_the_start(run: Path, seconds: int) -> None:
    measured = Workers(run, 2).go_on(seconds, (100, 20, 0))
    assert rates(measured) == pytest.approx((200, 40, 0), rel=0.1)
    assert measured.rate == pytest.approx({"fra": 240}, rel=0.1)
    assert measured.demand[PolicyId("idle")] == {TYPE_A: (0.0,), 28: (0.0,)}, "all policies are told, or none"
    assert measured.demand[WEB][28] == (0.0, 0.0, 0.0), "each type is told of a policy that is"


def test_a_change_is_followed_within_some_windows(run: Path) -> None:
    workers = Workers(run)
    workers.go_on(200, (100, 0, 0))
    assert rates(workers.go_on(60, (0, 100, 0))) == pytest.approx((37, 63, 0), rel=0.15)
    assert rates(workers.go_on(240, (0, 100, 0))) == pytest.approx((0, 100, 0), abs=8)


def test_noise_changes_nothing_that_is_told(run: Path) -> None:
    workers, random = Workers(run), Random(1)
    workers.go_on(120, (100, 50, 10))
    told = set()
    for _ in range(600):
        workers.answer([round(mean * random.uniform(0.5, 1.5)) for mean in (100, 50, 10)])
        told.add(rates(workers.pass_by()))
    assert len(told) <= 3


def test_few_answers_tell_nothing_and_what_was_told_lasts_down_to_half_of_enough(run: Path) -> None:
    workers = Workers(run)
    assert workers.go_on(200, (1, 0, 0)).demand == {}, "60 in the window"
    assert rates(workers.go_on(200, (2, 0, 0))) != (), "120"
    assert rates(workers.go_on(200, (1, 0, 0))) != (), "60 again"
    assert workers.go_on(200, (0, 0, 0)).demand == {}


def test_what_was_counted_before_the_first_sample_is_no_rate(run: Path) -> None:
    workers = Workers(run)
    workers.answer((1_000_000, 0, 0))
    measured = workers.go_on(30, (10, 0, 0))
    assert rates(measured) == pytest.approx((10, 0, 0), rel=0.1)
    assert measured.answers == {("fra", TYPE_A): 1_000_300}


def test_samples_that_follow_at_once_tell_the_same(run: Path) -> None:
    workers = Workers(run)
    measured = workers.go_on(10, (10, 0, 0))
    workers.answer((1000, 0, 0))
    assert workers.pass_by(APART_S / 2) is measured
    assert workers.pass_by(APART_S) is not measured


def test_workers_come_and_go_without_a_jump(run: Path) -> None:
    workers = Workers(run, 2)
    workers.go_on(200, (50, 0, 0))
    for name in [*workers.living]:
        workers.begin()
        workers.end(name)
        for _ in range(5):
            workers.answer((50, 0, 0))
            assert 90 <= rates(workers.pass_by())[0] <= 110


def test_a_page_that_cannot_be_read_for_a_moment_makes_no_jump(run: Path) -> None:
    workers = Workers(run)
    workers.go_on(200, (100, 0, 0))
    (name,) = workers.living
    path = run / f"{name}.demand"
    path.rename(run / "away")
    workers.pass_by()
    (run / "away").rename(path)
    assert rates(workers.go_on(5, (100, 0, 0)))[0] == pytest.approx(100, rel=0.15)


def test_another_location_table_begins_anew(run: Path) -> None:
    workers = Workers(run)
    workers.go_on(100, (100, 0, 0))
    workers.geography = THERE
    assert workers.pass_by().demand == {}, "the pages are still of the table before"
    for name, (page, before) in [*workers.living.items()]:
        after = Given("there", [WEB])
        after.go_on(before)
        workers.living[name] = page, after
    measured = workers.go_on(40, (0, 50, 0))
    assert rates(measured) == pytest.approx((0, 50, 0), rel=0.15)
    assert measured.answers == {("fra", TYPE_A): 100 * 100 + 40 * 50}


def test_cells_of_another_shape_are_no_demand(run: Path) -> None:
    workers = Workers(run)
    ((_, answered),) = workers.living.values()
    for policy, rankings in ((WEB, RANKINGS + 1), ("absent", 0), ("absent", 2), ("idle", 0)):
        answered.cells_of(policy, TYPE_A, rankings)
    assert workers.go_on(5, ()).demand == {}


@pytest.mark.parametrize("octets", [b"", b"damaged", demand.MAGIC + bytes(8), bytes(4096)])
def test_what_is_no_page_is_passed_over(run: Path, octets: bytes) -> None:
    for name in ("udp-9.demand", demand.RETIRED):
        (run / name).write_bytes(octets)
    assert rates(Workers(run).go_on(5, (100, 0, 0))) == pytest.approx((100, 0, 0), rel=0.1)


def test_without_a_folder_nothing_is_measured(tmp_path: Path) -> None:
    assert DemandMeter(tmp_path / "absent").sample(0.0, HERE, DEPLOYMENT) == Measured()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["begin", "end", "answer", "pass"]), st.integers(0, 9)), max_size=40))
def test_answers_never_go_back_and_end_at_what_was_given(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    workers = Workers(tmp_path_factory.mktemp("run"), 2)
    given_, before = 0, 0
    for step, number in steps:
        names = sorted(workers.living)
        match step:
            case "begin":
                workers.begin()
            case "end" if names:
                workers.end(names[number % len(names)])
            case "answer" if names:
                workers.answer((number, 1, 0), name=names[number % len(names)])
                given_ += number + 1
            case _:
                told = _fra(workers.pass_by().answers)
                assert told >= before
                before = told
    assert _fra(workers.pass_by().answers) == given_


def _fra(answers: Mapping[tuple[PoolId, int], int]) -> int:
    return answers.get((PoolId("fra"), TYPE_A), 0)


def test_counts_that_are_lost_with_a_worker_are_not_waited_for(run: Path) -> None:
    """As on a full disk, where the page of the retired cannot be written."""
    workers = Workers(run, 2)
    assert _fra(workers.go_on(10, (50, 0, 0)).answers) == 1000
    first, second = workers.living
    workers.living.pop(first)
    (run / f"{first}.demand").unlink()
    assert _fra(workers.pass_by().answers) == 1000
    workers.answer((7, 0, 0), name=second)
    workers.pass_by()
    workers.answer((5, 0, 0), name=second)
    assert _fra(workers.pass_by().answers) in (1005, 1012)
    workers.answer((5, 0, 0), name=second)
    assert _fra(workers.pass_by().answers) >= 1010


def test_a_resolver_beyond_a_step_is_heavy_until_it_is_below_half_of_it(run: Path) -> None:
    workers = Workers(run, 2)

    def minute(heavy: int, others: int) -> tuple[str, ...]:
        for _, answered in workers.living.values():
            for _ in range(7):
                answered.decay()
        workers.ask("192.0.2.53", heavy)
        workers.ask("::ffff:198.51.100.53", heavy)
        workers.ask("2001:db8::53", heavy)
        workers.ask("", others)
        return workers.pass_by().heavy

    all_three = ("192.0.2.53", "198.51.100.53", "2001:db8::53")
    assert minute(40, 880) == (), "4 % each"
    assert minute(60, 820) == all_three, "6 %"
    assert minute(40, 880) == all_three, "4 % again"
    assert minute(20, 940) == (), "2 %"
    assert minute(6, 20) == (), "too few to tell"


def test_the_step_is_the_policys(run: Path) -> None:
    workers = Workers(run)
    quick = replace(DEPLOYMENT, policies={WEB: replace(POLICY, spill=Spill(step_per_s=0.2 / 60))})
    workers.ask("192.0.2.53", 150)
    workers.ask("", 850)
    assert workers.pass_by().heavy == ("192.0.2.53",)
    assert DemandMeter(run).sample(0.0, HERE, quick).heavy == ()
    assert DemandMeter(run).sample(0.0, HERE, replace(DEPLOYMENT, policies={})).heavy == ()
