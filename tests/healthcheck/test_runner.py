"""The engine with fake probes: what a probe may do to it, and what it never does to a probe."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from gslb.model.world import Health
from healthcheck.check import Check, Sample
from healthcheck.messages import Found, Order, Report, Role, Work
from healthcheck.runner import Runner
from tests.healthcheck.make import BAD, OK, order

Behaviour = Callable[[Check], Awaitable[tuple[Sample, ...]]]
WAIT_S = 5.0


class Fake:
    """A probe that does what it is told, and counts."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour
        self.result = OK
        self.asked: list[tuple[float, str]] = []
        self.now = self.most = 0

    async def __call__(self, check: Check) -> tuple[Sample, ...]:
        self.asked.append((time.monotonic(), check.id))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self.behaviour(check) if self.behaviour else self.result
        finally:
            self.now -= 1


class Engine:
    """A runner and what it has told."""

    def __init__(self, probe: Fake, most: int = 256) -> None:
        self.found: dict[str, Found] = {}
        self.runner = Runner({"fake": probe}, self._changed, most)

    def _changed(self) -> None:
        self.take(self.runner.at_once())

    def take(self, report: Report) -> Report:
        self.found |= {found.id: found for found in report.found}
        return report

    def want(self, *orders: Order, serial: int = 1) -> None:
        self.runner.want(Work(serial, orders))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110  # of many kinds, and bounded
                await asyncio.sleep(0.005)


def quick(name: str, role: Role = Role.TARGET, *, timeout_s: float = 0.05) -> Order:
    return order(name, role, interval_s=0.05, timeout_s=timeout_s)


def run(probe: Fake, scenario: Callable[[Engine], Awaitable[None]], most: int = 256) -> None:
    async def whole() -> None:
        engine = Engine(probe, most)
        try:
            await scenario(engine)
        finally:
            await engine.runner.close()
        assert len(asyncio.all_tasks()) == 1, "a check was left behind"

    asyncio.run(whole())


async def forever(_: Check) -> tuple[Sample, ...]:
    await asyncio.Event().wait()
    return OK


async def stubborn(_: Check) -> tuple[Sample, ...]:
    for _turn in range(20):
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue
    return OK


async def broken(_: Check) -> tuple[Sample, ...]:
    raise ZeroDivisionError("a defect")


def test_targets_are_judged_and_followed() -> None:
    probe = Fake()

    async def scenario(engine: Engine) -> None:
        engine.want(quick("a"), quick("b"))
        await engine.until(lambda: len(engine.found) == 2)
        probe.result = BAD
        await engine.until(lambda: {one.health for one in engine.found.values()} == {Health.DOWN})
        assert engine.found["a"].why == "status 500"
        probe.result = OK
        await engine.until(lambda: {one.health for one in engine.found.values()} == {Health.UP})

    run(probe, scenario)


def test_a_check_that_hangs_fails_by_its_timeout() -> None:
    async def scenario(engine: Engine) -> None:
        began = time.monotonic()
        engine.want(quick("a"))
        await engine.until(lambda: "a" in engine.found)
        assert engine.found["a"].why == "no answer within 50ms"
        assert engine.found["a"].health is Health.DOWN
        assert time.monotonic() - began < 1.0

    run(Fake(forever), scenario)


@pytest.mark.parametrize("lasts_s", [60.0, 0.05])
def test_a_check_that_takes_its_whole_interval_is_followed_by_one_of_its_own(lasts_s: float) -> None:
    async def slow(_: Check) -> tuple[Sample, ...]:
        await asyncio.sleep(lasts_s)
        return BAD

    probe = Fake(slow)
    whys: set[str] = set()

    async def scenario(engine: Engine) -> None:
        engine.want(quick("a"))
        while len(probe.asked) < 10:
            await engine.until(lambda: bool(engine.take(engine.runner.pulse()).found))
            whys.add(engine.found["a"].why)

    run(probe, scenario)
    assert whys <= {"no answer within 50ms", "status 500"}


def test_a_probe_that_will_not_be_ended_does_not_run_twice_and_holds_nothing_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    probe = Fake(stubborn)

    async def scenario(engine: Engine) -> None:
        engine.want(quick("a"), quick("b"))
        await engine.until(lambda: len(engine.found) == 2)
        await engine.until(lambda: "has not ended" in engine.take(engine.runner.pulse()).found[0].why)
        pulse = engine.runner.pulse().pulse
        assert pulse is not None
        assert pulse.in_flight <= 2
        assert probe.most == 2

    run(probe, scenario)
    assert not caplog.records


def test_a_defect_of_a_probe_is_a_failed_check_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(engine: Engine) -> None:
        engine.want(quick("a"))
        await engine.until(lambda: "a" in engine.found)
        assert engine.found["a"].why == "the check could not be made (ZeroDivisionError)"

    with caplog.at_level(logging.ERROR):
        run(Fake(broken), scenario)
    assert "the check a (fake) ended by a defect of ours" in caplog.text


def test_a_kind_that_there_is_no_probe_for_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(engine: Engine) -> None:
        one = quick("a")
        engine.want(replace(one, check=replace(one.check, kind="telepathy")))
        await engine.until(lambda: "a" in engine.found)
        assert engine.found["a"].health is Health.DOWN

    run(Fake(), scenario)
    assert "telepathy" in caplog.text


def test_at_most_so_many_run_at_a_time_and_all_get_their_turn() -> None:
    probe = Fake(forever)

    async def scenario(engine: Engine) -> None:
        engine.want(*(quick(f"t{number}") for number in range(40)))
        await engine.until(lambda: len(engine.found) == 40)
        pulse = engine.runner.pulse().pulse
        assert pulse is not None
        assert pulse.skipped > 0
        assert pulse.late > 0

    run(probe, scenario, most=8)
    assert 8 <= probe.most <= 16  # one that has expired is being ended while the next begins


def test_references_do_not_wait_for_a_place() -> None:
    async def but_references(check: Check) -> tuple[Sample, ...]:
        return OK if check.id == "reference" else await forever(check)

    probe = Fake(but_references)

    async def scenario(engine: Engine) -> None:
        engine.want(*(quick(f"t{number}", timeout_s=2.0) for number in range(4)))
        await engine.until(lambda: probe.now == 2)
        reference = quick("reference", Role.REFERENCE)
        engine.want(*(quick(f"t{number}", timeout_s=2.0) for number in range(4)), reference, serial=2)
        await engine.until(lambda: "reference" in {name for _, name in probe.asked})
        assert probe.now == 2

    run(probe, scenario, most=2)


def test_what_is_not_wanted_any_more_is_ended() -> None:
    probe = Fake(forever)

    async def scenario(engine: Engine) -> None:
        engine.want(quick("a", timeout_s=2.0), quick("b", timeout_s=2.0))
        await engine.until(lambda: probe.now == 2)
        engine.want(quick("b", timeout_s=2.0), serial=2)
        await engine.until(lambda: probe.now == 1)
        engine.want(serial=3)
        await engine.until(lambda: probe.now == 0)
        probe.asked.clear()
        await asyncio.sleep(0.15)  # several intervals
        assert not probe.asked

    run(probe, scenario)


def test_a_check_that_changed_while_it_ran_is_asked_anew() -> None:
    probe = Fake(forever)

    async def scenario(engine: Engine) -> None:
        engine.want(quick("a", timeout_s=2.0))
        await engine.until(lambda: probe.now == 1)
        probe.behaviour = None
        engine.want(quick("a", timeout_s=1.0), serial=2)
        await engine.until(lambda: "a" in engine.found)
        assert engine.found["a"].health is Health.UP

    run(probe, scenario)


def test_one_target_is_asked_once_an_interval() -> None:
    probe = Fake()

    async def scenario(engine: Engine) -> None:
        engine.want(quick("a"))
        await engine.until(lambda: len(probe.asked) >= 12)
        gaps = [after - before for (before, _), (after, _) in zip(probe.asked[1:], probe.asked[2:], strict=False)]
        assert min(gaps) > 0.03

    run(probe, scenario)


def test_an_uplink_that_is_lost_changes_no_verdict() -> None:
    probe = Fake()

    async def scenario(engine: Engine) -> None:
        engine.want(quick("a"), quick("b"), quick("reference", Role.REFERENCE))
        await engine.until(lambda: len(engine.found) == 2)
        probe.result = BAD
        await engine.until(lambda: (pulse := engine.runner.pulse().pulse) is not None and pulse.blind_since is not None)
        asked = len(probe.asked)
        await engine.until(lambda: len(probe.asked) > asked + 20)
        assert {one.health for one in engine.found.values()} == {Health.UP}

    run(probe, scenario)
