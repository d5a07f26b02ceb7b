"""Shed levels in a closed loop with resolvers that lag, and one client in five who ignores TTLs: where they come to rest."""

from __future__ import annotations

import pytest

from bench.clients import Clients, Ring
from bench.spill import (
    CASES,
    CLOUD,
    FRA,
    HOUR,
    IAD,
    TTL_S,
    WEB,
    Case,
    Run,
    deployment,
    flash,
    full,
    places,
    ramp,
    run,
    step,
)
from gslb.decide.decide import decide
from gslb.model.world import Forced, Override, World

SOFT, HARD = 0.8, 0.9
LAG = 0.05  # what may arrive at a receiver above its soft mark, before it is seen


@pytest.fixture(scope="module")
def ramped() -> Run:
    return run(Case("ramp", 4.5, ramp))


def test_a_ramp_never_reaches_hard_and_rests_between_the_marks(ramped: Run) -> None:
    assert max(ramped.loads[FRA]) < HARD
    plateau = [load for at, load in zip(ramped.seconds, ramped.loads[FRA], strict=True) if 1.2 <= at / HOUR <= 2.5]
    assert SOFT <= min(plateau) <= max(plateau) < HARD
    assert ramped.loads[FRA][-1] == pytest.approx(0.5)


def test_a_ramp_does_not_oscillate(ramped: Run) -> None:
    assert ramped.turns() <= 3
    assert ramped.turns(IAD) == 0


def test_receivers_are_filled_to_their_soft_mark_in_order(ramped: Run) -> None:
    assert SOFT - LAG < max(ramped.loads[IAD]) < SOFT + LAG
    assert 0 < max(ramped.loads[CLOUD]) < 0.1
    first = [
        next(at for at, load in enumerate(ramped.loads[pool]) if load > base)
        for pool, base in ((IAD, 0.21), (CLOUD, 0.0))
    ]
    assert first == sorted(first)


def test_a_step_is_carried_within_minutes_and_does_not_oscillate() -> None:
    seen = run(Case("step", 2.4, step))
    assert max(seen.after(0.5 + 15 / 60)) < HARD  # ten minutes are those who ignore TTLs
    assert min(seen.after(0.75)) > SOFT - 2 * LAG
    assert seen.turns() <= 2


def test_a_flash_crowd_is_divided_at_once() -> None:
    seen = run(Case("flash", 1.5, flash))
    soon = next(level for at, level in zip(seen.seconds, seen.level[FRA], strict=True) if at >= 0.5 * HOUR + 150)
    assert soon > 0.4  # five minutes' worth of steps would be a quarter
    assert max(seen.after(0.8)) < HARD
    for pool in (IAD, CLOUD):
        assert max(seen.loads[pool]) < HARD + LAG
        assert max(seen.after(0.8, pool)) < SOFT + 2 * LAG
    assert seen.turns() <= 2


def test_a_receiver_that_fills_up_by_itself_is_relieved() -> None:
    seen = run(Case("full", 4.0, full))
    assert max(seen.loads[FRA]) < HARD
    assert max(seen.loads[IAD]) < HARD + LAG
    assert max(seen.loads[CLOUD]) < SOFT + LAG
    assert min(seen.after(3.6, IAD)) > SOFT - LAG  # its own clients alone are 95 %: it sheds them, and not guests
    assert seen.level[FRA][-1] == 0.0 < seen.level[IAD][-1]


def test_with_no_room_anywhere_home_keeps_its_clients() -> None:
    seen = run(Case("no burst", 3.0, full, cloud=False))
    assert max(seen.loads[FRA]) == pytest.approx(1.5, abs=0.01)  # iad's own clients leave no room at all
    assert max(seen.loads[IAD]) < 0.96
    assert seen.turns() <= 4


def test_a_restart_in_the_middle_changes_nothing() -> None:
    case = Case("ramp", 1.0, ramp)
    assert run(case, restart_at=2400.0) == run(case)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["day", "recorded"])
def test_days(name: str) -> None:
    seen = run(CASES[name])
    later = sorted(seen.after(0.5))
    assert later[int(len(later) * 0.99)] < HARD
    assert max(later) < HARD + LAG
    assert max(max(seen.after(0.5, pool)) for pool in (IAD, CLOUD)) < HARD + LAG
    assert seen.turns() <= 24  # the recorded day has ten peaks


def test_resolvers_ask_again_after_their_period() -> None:
    ring = Ring(4)
    ring.step([{FRA: 1.0}])
    seen = []
    for _ in range(4):
        ring.step([{IAD: 1.0}])
        seen.append(ring.shares(0).get(IAD))
    assert seen == [0.25, 0.5, 0.75, 1.0]


def test_clients_who_ignore_ttls_stay_longer() -> None:
    clients, model, geography = Clients(WEB, ttl_s=TTL_S, step_s=10), deployment(), places()
    plan = decide(model, geography, World(0.0), None)
    clients.step(plan)
    drained = World(1.0, overrides=(Override("pool/web-fra", Forced.DRAIN, who="a", why="b", since=0.0),))
    moved = decide(model, geography, drained, plan)
    demand = [1.0] * len(geography.rankings[WEB])
    for _ in range(TTL_S // 10):
        clients.step(moved)
    stayed = clients.bring(demand)[FRA] / 7
    assert stayed == pytest.approx(0.2 * 0.9)
