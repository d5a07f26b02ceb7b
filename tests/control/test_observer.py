"""What a node knows of the world: what an earlier run left of it, and what becomes of that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gslb.control.clock import Clock
from gslb.control.facts import Facts
from gslb.control.observed import Observed
from gslb.control.observer import Observer
from gslb.control.store import Store
from gslb.model.deployment import TYPE_A, Deployment, LoadSource, PoolId
from gslb.model.location import Geography, Ranking
from gslb.model.world import Demand, Health, Verdict
from gslb.nameserver.demand import DemandPage
from gslb.nameserver.given import Given
from tests.control.make import DEPLOYMENT, NODE, POLICY
from tests.control.test_checks import deployed, pool

WAIT_S = 10.0
AT_ONCE_S = 1.0  # far below what a first round of checks may take
HERE, THERE = (Geography(digest, 1, {POLICY.name: (Ranking(0, (), ()),) * 2}) for digest in ("here", "there"))
DEMAND: Demand = {POLICY.name: {TYPE_A: (5.0, 9.0)}}
HEAVY = ("192.0.2.7",)
UP = Verdict(Health.UP, 3.0, "HTTP 200")
LOST = Verdict(Health.DOWN, 3.0, "HTTP 500")
A, B = pool("a", "127.0.0.2"), pool("b", "127.0.0.3")
A_ONLY, BOTH = deployed(A), deployed(A, B)


@dataclass
class Seat:
    """A store with what an earlier run observed, and observers over it."""

    store: Store
    looks: int = 0
    changes: int = 0
    left: Observed = field(default_factory=lambda: Observed(time.time()))

    def observer(self) -> Observer:
        self.store.create()
        self.store.save_observed(self.left)
        return Observer(self.store, Clock(), Facts(), self._changed, self._looked)

    def _changed(self) -> None:
        self.changes += 1

    def _looked(self) -> None:
        self.looks += 1


@pytest.fixture
def seat(tmp_path: Path) -> Seat:
    return Seat(Store(tmp_path, "example", "fra"))


async def want(observer: Observer, deployment: Deployment = DEPLOYMENT, geography: Geography = HERE) -> None:
    async with asyncio.timeout(AT_ONCE_S):
        await observer.want(deployment, NODE, geography)


def told(observer: Observer) -> tuple[Demand, tuple[str, ...]]:
    seen = observer.seen(time.time())
    return seen.demand, seen.heavy


async def while_running(observer: Observer, scenario: Callable[[], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(observer.run(stop))
    try:
        await scenario()
    finally:
        stop.set()
        await asyncio.wait_for(running, WAIT_S)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110  # of many kinds, and bounded
            await asyncio.sleep(0.01)


def test_a_restart_goes_on_with_the_demand_of_the_last_run(seat: Seat) -> None:
    seat.left = replace(seat.left, geography="here", demand=DEMAND, heavy=HEAVY)

    async def scenario() -> None:
        observer = seat.observer()
        await want(observer)
        assert told(observer) == (DEMAND, HEAVY)

        async def look() -> None:
            await until(lambda: seat.looks >= 2)

        await while_running(observer, look)
        assert told(observer) == (DEMAND, HEAVY), "the meter has told nothing yet"
        kept = seat.store.read_observed().seen
        assert kept is not None
        assert kept.demand == DEMAND

    asyncio.run(scenario())


def test_demand_by_another_location_table_is_told_when_that_table_is_back(seat: Seat) -> None:
    seat.left = replace(seat.left, geography="here", demand=DEMAND, heavy=HEAVY)

    async def scenario() -> None:
        observer = seat.observer()
        await want(observer, geography=THERE)
        assert told(observer) == ({}, ())
        await want(observer, geography=HERE)
        assert told(observer) == (DEMAND, HEAVY)

    asyncio.run(scenario())


def test_what_is_measured_takes_the_place_of_what_was_remembered(seat: Seat) -> None:
    seat.left = replace(seat.left, geography="here", demand=DEMAND, heavy=HEAVY)

    async def scenario() -> None:
        observer = seat.observer()
        run = seat.store.folder / "run"
        run.mkdir()
        page, given = DemandPage(run / "udp-1.demand"), Given("here", [POLICY.name])
        page.show(given, 1.0)
        await want(observer)

        async def answer() -> None:
            await until(lambda: seat.looks >= 1)
            given.cells_of(POLICY.name, TYPE_A, 2)[0] += 6000
            page.close(given)
            await until(lambda: told(observer)[0] != DEMAND)

        await while_running(observer, answer)
        demand, heavy = told(observer)
        assert demand[POLICY.name][TYPE_A][1] == 0.0 < demand[POLICY.name][TYPE_A][0]
        assert heavy == ()
        await want(observer, geography=THERE)
        assert told(observer) == ({}, ()), "these rates count the rankings of another table"

    asyncio.run(scenario())


def test_a_reload_begins_its_new_targets_unknown(seat: Seat) -> None:
    """What an earlier run knew of them is older than this run, in which nobody checked them."""
    seat.left = replace(seat.left, verdicts={A.name: {"127.0.0.2": UP}, B.name: {"127.0.0.3": LOST}})

    async def scenario() -> None:
        observer = seat.observer()
        await want(observer, A_ONLY)
        assert observer.seen(0.0).verdicts.keys() == {A.name}
        await want(observer, BOTH)
        assert observer.seen(0.0).verdicts.keys() == {A.name}

    asyncio.run(scenario())


def test_a_start_goes_on_with_the_verdicts_of_the_last_run(seat: Seat) -> None:
    seat.left = replace(seat.left, verdicts={A.name: {"127.0.0.2": UP}, B.name: {"127.0.0.3": LOST}})

    async def scenario() -> None:
        observer = seat.observer()
        await want(observer, BOTH)
        found = observer.seen(0.0).verdicts
        assert (found[A.name]["127.0.0.2"].health, found[B.name]["127.0.0.3"].health) == (Health.UP, Health.DOWN)

    asyncio.run(scenario())


def test_a_start_that_knows_some_targets_does_not_wait_for_the_others(seat: Seat) -> None:
    """No process checks here: whoever waited would wait for seconds."""
    seat.left = replace(seat.left, verdicts={A.name: {"127.0.0.2": UP}})

    async def scenario() -> None:
        observer = seat.observer()
        await want(observer, BOTH)
        assert observer.seen(0.0).verdicts.keys() == {A.name}

    asyncio.run(scenario())


def test_a_start_that_knows_nothing_waits_for_the_first_round(seat: Seat) -> None:
    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await want(seat.observer(), BOTH)

    asyncio.run(scenario())


def test_a_load_that_is_reported_is_known_at_once_and_looked_at_with_the_others(seat: Seat) -> None:
    """A hundred reports in a second make one look, and not a hundred decisions."""
    named = PoolId("web-fra")
    pools = {**DEPLOYMENT.pools, named: replace(DEPLOYMENT.pools[named], load=LoadSource("push"))}

    async def scenario() -> None:
        observer = seat.observer()
        await want(observer, replace(DEPLOYMENT, pools=pools))
        before = seat.changes
        for value in range(100):
            observer.report_load(named, float(value), None, time.time())
        assert observer.loads.state(time.monotonic())[named]["last"] == 99.0
        assert seat.changes == before

    asyncio.run(scenario())


def test_a_defect_in_a_look_ends_no_observing(seat: Seat, caplog: pytest.LogCaptureFixture) -> None:
    def looked() -> None:
        seat.looks += 1
        if seat.looks <= 2:
            raise ZeroDivisionError("by a defect")

    async def scenario() -> None:
        seat.store.create()
        observer = Observer(seat.store, Clock(), Facts(), seat._changed, looked)
        await want(observer)

        async def look() -> None:
            await until(lambda: seat.looks >= 4)

        await while_running(observer, look)

    asyncio.run(scenario())
    assert [record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"] == [True]
