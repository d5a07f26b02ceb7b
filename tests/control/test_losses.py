"""The standing figures of site losses: worked out beside the event loop, and harmless where they fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from gslb.control.losses import Losses
from gslb.control.planner import Model
from gslb.decide.decide import decide
from gslb.model.deployment import Capacity, PolicyId, PoolId
from gslb.model.location import Ranking
from gslb.model.plan import Plan
from gslb.model.world import Load, World
from tests.control.make import FRA, IAD, model

WAIT_S = 10.0


class Rankings(Mapping[PolicyId, tuple[Ranking, ...]]):
    """Rankings that know which threads asked for them, and that fail on demand."""

    def __init__(self, rankings: Mapping[PolicyId, tuple[Ranking, ...]]) -> None:
        self.rankings = rankings
        self.threads: set[int] = set()
        self.broken = False
        self.asked = 0

    def __getitem__(self, policy: PolicyId) -> tuple[Ranking, ...]:  # type: ignore[explicit-override]  # typing.override comes with 3.12
        self.threads.add(threading.get_ident())
        self.asked += 1
        if self.broken:
            raise ZeroDivisionError("by a defect")
        return self.rankings[policy]

    def __iter__(self) -> Iterator[PolicyId]:  # type: ignore[explicit-override]
        return iter(self.rankings)

    def __len__(self) -> int:  # type: ignore[explicit-override]
        return len(self.rankings)


class Here:
    """What is in force: two pools of known capacity, and a little load."""

    def __init__(self, folder: Path) -> None:
        made = model(folder)
        pools = {
            name: replace(one, capacity=Capacity(conns_per_s=100.0)) for name, one in made.deployment.pools.items()
        }
        self.rankings = Rankings(made.geography.rankings)
        self.model: Model | None = replace(
            made,
            deployment=replace(made.deployment, pools=pools),
            geography=replace(made.geography, rankings=self.rankings),
        )
        self.plan: Plan | None = decide(self.model.deployment, self.model.geography, self.world(), None)
        self.rankings.threads.clear()

    def world(self) -> World:
        return World(1000.0, loads={PoolId("web-fra"): Load(0.5), PoolId("web-iad"): Load(0.25)})


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110  # of many kinds, and bounded
            await asyncio.sleep(0.005)


def run(here: Here, scenario: Callable[[Losses], Awaitable[None]]) -> None:
    async def whole() -> None:
        stop, losses = asyncio.Event(), Losses(round_s=0.02, least_s=0.01)
        running = asyncio.create_task(losses.run(here, stop))
        try:
            await scenario(losses)
            assert not running.done()
        finally:
            stop.set()
            await asyncio.wait_for(running, WAIT_S)

    asyncio.run(whole())


def test_the_figures_of_every_site_are_worked_out_in_a_thread(here: Here) -> None:
    async def scenario(losses: Losses) -> None:
        await until(lambda: losses.known.keys() == {FRA, IAD})
        assert {site: loss.over_hard for site, loss in losses.known.items()} == {FRA: 0, IAD: 0}
        assert losses.known[FRA].worst == pytest.approx(0.75)

    run(here, scenario)
    assert here.rankings.threads
    assert threading.get_ident() not in here.rankings.threads


def test_what_cannot_be_worked_out_is_told_once_a_site_and_tried_again(
    here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(losses: Losses) -> None:
        await until(lambda: losses.known)
        here.rankings.broken = True
        await until(lambda: not losses.known)
        asked = here.rankings.asked
        await until(lambda: here.rankings.asked > asked + 4)
        here.rankings.broken = False
        await until(lambda: losses.known.keys() == {FRA, IAD})

    run(here, scenario)
    told = [record.part for record in caplog.records if record.exc_info]  # type: ignore[attr-defined]
    assert sorted(told) == ["loss of site fra", "loss of site iad"]


def test_before_anything_is_in_force_there_are_no_figures(here: Here) -> None:
    known, here.model = here.model, None

    async def scenario(losses: Losses) -> None:
        await asyncio.sleep(0.05)
        assert not losses.known
        here.model = known
        await until(lambda: losses.known)

    run(here, scenario)
