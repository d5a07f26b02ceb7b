"""A clock that jumps by an hour in the middle of shedding and of a return moves no answer: decisions over the node's own clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gslb.control.clock import BELIEVED_S, Clock
from gslb.decide.decide import decide
from gslb.decide.levels import LONGEST
from gslb.model.deployment import TYPE_A
from gslb.model.history import Cause
from gslb.model.plan import Choice, Plan
from gslb.model.world import World
from tests.decide.loads import level_of, loaded, service
from tests.decide.worlds import FRA, IAD, POOLS, SIN, WEB, down, geography

MODEL = service()
PLACES = geography(MODEL, web=[(FRA, IAD, SIN), (IAD, FRA, SIN), (SIN, FRA, IAD)])
FAILS_S, WELL_S, JUMPS_S, ENDS_S = 20, 80, 200, 500  # from here to there SIN is down, and comes back gradually
STEP = 0.05 * LONGEST  # of a level in one decision: what spill.step (5 % a minute) moves in two dwells


class Times:
    """The machine's two clocks."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_700_000_000.0, 50.0


def observed(second: int, now: float) -> World:
    """FRA is over its soft mark all the time, SIN fails and comes back."""
    world = replace(loaded(now, fra=0.86, iad=0.2, sin=0.5, cloud=0.0), demand={WEB: {TYPE_A: (300.0, 80.0, 120.0)}})
    return replace(world, verdicts=down(SIN, of=POOLS)) if FAILS_S <= second < WELL_S else world


def course(jump_s: float) -> list[Plan]:
    """The plan of each second where the system's clock jumps by `jump_s` at JUMPS_S."""
    times = Times()
    clock = Clock(lambda: times.wall, lambda: times.steady)
    plans: list[Plan] = []
    for second in range(ENDS_S):
        if second == JUMPS_S:
            times.wall += jump_s
        plans.append(decide(MODEL, PLACES, observed(second, clock.now()), plans[-1] if plans else None))
        times.wall += 1.0
        times.steady += 1.0
    return plans


def answers(plan: Plan) -> list[Choice]:
    return [plan.choices[index] for index in plan.policies[WEB].choices[TYPE_A]]


@pytest.fixture(scope="module")
def steady() -> list[Plan]:
    return course(0.0)


def test_the_course_is_in_motion_when_the_clock_jumps(steady: list[Plan]) -> None:
    before, after = steady[JUMPS_S - 1], steady[int(JUMPS_S + BELIEVED_S)]
    assert before.history.sheds[FRA].cause is Cause.LOAD
    assert before.history.sheds[SIN].cause is Cause.RETURN
    assert SIN in steady[WELL_S - 1].history.out[WEB]
    assert answers(before) != answers(after)


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_answers_are_those_of_a_clock_that_does_not_jump(steady: list[Plan], jump_s: float) -> None:
    jumped = course(jump_s)
    believed = int(JUMPS_S + BELIEVED_S)
    assert [answers(plan) for plan in jumped[:believed]] == [answers(plan) for plan in steady[:believed]]
    for earlier, later in zip(jumped[believed - 1 :], jumped[believed:], strict=False):
        for pool in (FRA, SIN):
            assert abs(level_of(later, pool) - level_of(earlier, pool)) <= STEP + 0.001
    assert level_of(jumped[-1], SIN) < level_of(jumped[believed], SIN), "the return goes on"
