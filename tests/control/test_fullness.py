"""Pools at their hard mark with nowhere to send their users: told once, and when it is over."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from gslb.control.fullness import Fullness
from gslb.model.deployment import Capacity, PoolId
from gslb.model.history import Cause, History, Shed
from gslb.model.world import Load
from tests.control.make import DEPLOYMENT, POLICY

NOW = 1_000.0
FRA = PoolId("web-fra")
MODEL = replace(
    DEPLOYMENT,
    pools={name: replace(pool, capacity=Capacity(conns_per_s=100.0)) for name, pool in DEPLOYMENT.pools.items()},
)
DWELL = float(POLICY.ttl_max)
FULL = "pool web-fra is over its hard mark, and no other has room for what it should shed"
OVER = "pool web-fra is not over its hard mark any more"


class Course:
    """What is told as time goes on."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        self._caplog = caplog
        self._fullness = Fullness()

    def at(self, now: float, load: float, shed: Shed | None = None, *, stale: bool = False) -> list[str]:
        self._caplog.clear()
        history = History(sheds={} if shed is None else {FRA: shed})
        self._fullness.look(MODEL, {FRA: Load(load, stale=stale)}, history, now)
        return [record.getMessage() for record in self._caplog.records]


@pytest.fixture
def course(caplog: pytest.LogCaptureFixture) -> Course:
    return Course(caplog)


def shed(level: float, stepped_at: float) -> Shed:
    return Shed(Cause.LOAD, level, stepped_at, "g")


def test_it_is_told_once_after_the_step_that_was_due(course: Course, caplog: pytest.LogCaptureFixture) -> None:
    assert course.at(NOW, 1.09) == []
    assert course.at(NOW + DWELL, 1.09) == []
    assert course.at(NOW + DWELL + 6, 1.09) == [FULL]
    fields = {name: getattr(caplog.records[0], name) for name in ("load", "hard", "sheds", "should")}
    assert fields == {"load": "109%", "hard": "90%", "sheds": "0.0%", "should": "24.2%"}
    assert course.at(NOW + 10 * DWELL, 1.2) == []
    assert course.at(NOW + 11 * DWELL, 0.89) == [OVER]
    assert course.at(NOW + 12 * DWELL, 0.95) == []
    assert course.at(NOW + 14 * DWELL, 0.95) == [FULL]


def test_a_pool_that_steps_has_somewhere_to_send_its_users(course: Course) -> None:
    for number in range(9):
        now = NOW + number * DWELL
        assert course.at(now, 1.5, shed(0.04 * number, now)) == []


def test_a_pool_that_sheds_all_waits_for_clients_that_keep_its_answers(course: Course) -> None:
    course.at(NOW, 1.2, shed(1.0, NOW))
    assert course.at(NOW + 5 * DWELL, 1.2, shed(1.0, NOW)) == []
    assert course.at(NOW + 6 * DWELL, 1.2, shed(0.2, NOW)) == [FULL]


def test_what_nobody_measures_is_not_told(course: Course) -> None:
    course.at(NOW, 1.2)
    assert course.at(NOW + 5 * DWELL, 1.2, stale=True) == []
