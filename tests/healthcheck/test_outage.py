"""A whole site in simulated time: targets that are well behind an uplink that is lost once, and judged over it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace

from hypothesis import example, given
from hypothesis import strategies as st

from gslb.model.world import Health
from healthcheck.check import Sample
from healthcheck.judge import Judge
from healthcheck.messages import Order, Role, Work
from healthcheck.schedule import Schedule
from tests.healthcheck.make import OK, order

HORIZON_S = 120.0
ANSWER_S = 0.02
REFERENCE = order("reference", Role.REFERENCE)


@dataclass(frozen=True)
class Uplink:
    """Lost from `lost_at` for `for_s`; a check that meets that fails after its timeout, or at once where packets are refused."""

    lost_at: float
    for_s: float
    refuses: bool

    def ends(self, one: Order, began: float) -> tuple[float, tuple[Sample, ...]]:
        """When a check that is begun at `began` ends, and how."""
        if began + ANSWER_S <= self.lost_at or began >= self.lost_at + self.for_s:
            return began + ANSWER_S, OK
        after = ANSWER_S if self.refuses else one.check.timeout_s
        return began + after, (Sample(ok=False, latency_s=after, why="unreachable"),)


class Simulation:
    """Judge and schedule under a clock of events."""

    def __init__(self, orders: tuple[Order, ...], uplink: Uplink) -> None:
        self.judge, self.schedule = Judge(), Schedule()
        self.uplink = uplink
        self.told: list[tuple[float, str, Health]] = []
        self._ends: list[tuple[float, int, str, float, tuple[Sample, ...]]] = []
        self._count = 0
        for one in self.judge.want(Work(1, orders)).started:
            if one.role is Role.TARGET:
                self.schedule.add(one.check.id, one.interval_s, 0.0, soon=False)

    def run(self) -> None:
        now = 0.0
        while now < HORIZON_S:
            while self._ends and self._ends[0][0] <= now:
                ended, _, name, began, samples = heapq.heappop(self._ends)
                self.schedule.done(name, ended)
                self.judge.took(name, samples, began, ended)
            for name in (*self.judge.sight.due(now), *self.schedule.due(now, 1000)):
                ends, samples = self.uplink.ends(self.judge.orders[name], now)
                self._count += 1
                heapq.heappush(self._ends, (ends, self._count, name, now, samples))
            self.told += [(now, found.id, found.health) for found in self.judge.at_once().found]
            moments = [self.judge.sight.wake_at(), *(one[0] for one in self._ends[:1])]
            due = self.schedule.wake_at()
            now = max(now, min(moments if due is None else [*moments, due]))

    def downs(self) -> list[tuple[float, str]]:
        return [(at, name) for at, name, health in self.told if health is Health.DOWN]


UPLINKS = st.builds(Uplink, st.floats(0.5, 60.0), st.floats(0.0, 60.0), st.booleans())


def targets(count: int, interval_s: float, timeout_s: float) -> tuple[Order, ...]:
    names = [f"web/192.0.2.{number}" for number in range(count)]
    return tuple(
        order(name, interval_s=interval_s, timeout_s=min(timeout_s, interval_s), known=Health.UP) for name in names
    )


@given(UPLINKS, st.integers(1, 5), st.floats(0.2, 10.0), st.floats(0.1, 2.0), st.floats(0.05, 2.0))
@example(Uplink(10.0, 0.4, refuses=True), 3, 0.2, 0.1, 2.0)
@example(Uplink(10.0, 30.0, refuses=False), 3, 5.0, 2.0, 2.0)
def test_a_lost_uplink_takes_no_target_down(
    uplink: Uplink, count: int, interval_s: float, timeout_s: float, reference_s: float
) -> None:
    reference = replace(REFERENCE, check=replace(REFERENCE.check, timeout_s=reference_s))
    site = Simulation((reference, *targets(count, interval_s, timeout_s)), uplink)
    site.run()
    assert site.downs() == []


@given(UPLINKS, st.floats(0.5, 5.0))
@example(Uplink(10.0, 60.0, refuses=True), 1.0)
def test_without_references_a_long_one_does(uplink: Uplink, interval_s: float) -> None:
    site = Simulation(targets(2, interval_s, 0.2), uplink)
    site.run()
    if uplink.for_s > 4 * interval_s * 1.1 + 1.0:
        assert {name for _, name in site.downs()} == {"web/192.0.2.0", "web/192.0.2.1"}


class Dying(Uplink):
    """The uplink is well; one target is not, from `lost_at` on."""

    def ends(self, one: Order, began: float) -> tuple[float, tuple[Sample, ...]]:  # type: ignore[explicit-override]
        return (began + ANSWER_S, OK) if one.role is Role.REFERENCE else super().ends(one, began)


@given(st.floats(5.0, 60.0), st.floats(0.2, 5.0), st.booleans())
def test_a_dead_target_is_told_within_its_checks_and_one_answer_of_a_reference(
    died_at: float,
    interval_s: float,
    refuses: bool,  # noqa: FBT001  # drawn
) -> None:
    site = Simulation((REFERENCE, *targets(1, interval_s, 0.2)), Dying(died_at, 1e9, refuses))
    site.run()
    told_at = min(at for at, _ in site.downs())
    assert died_at + 2 * 0.9 * interval_s <= told_at
    assert told_at <= died_at + 3 * 1.1 * interval_s + 0.2 + 0.1 + ANSWER_S * 2
