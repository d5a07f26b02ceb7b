"""The time by which a node decides: a jump of the system's clock moves it only after a while."""

from __future__ import annotations

import logging

import pytest

from gslb.control.clock import BELIEVED_S, Clock


class Times:
    """Two clocks that a test moves."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_000_000.0, 50.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def clock(times: Times) -> Clock:
    return Clock(lambda: times.wall, lambda: times.steady)


def test_it_is_the_systems_clock(times: Times, clock: Clock) -> None:
    for _ in range(100):
        times.pass_by(1)
        times.wall += 0.01  # slewed
        assert clock.now() == pytest.approx(times.wall)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_jump_is_said_once_and_believed_when_it_lasts(
    times: Times, clock: Clock, jump: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    times.wall += jump
    for _ in range(int(BELIEVED_S)):
        assert clock.now() == pytest.approx(times.wall - jump)
        times.pass_by(1)
    assert [record.message.partition(";")[0] for record in caplog.records] == ["the system clock jumped"]
    clock.now()
    times.pass_by(1)
    assert clock.now() == pytest.approx(times.wall)
    assert caplog.records[-1].message == "the system clock is believed again"


def test_a_jump_that_is_taken_back_moves_nothing(times: Times, clock: Clock) -> None:
    times.wall += 500
    for _ in range(30):
        clock.now()
        times.pass_by(1)
    times.wall -= 500
    for _ in range(200):
        assert clock.now() == pytest.approx(times.wall)
        times.pass_by(1)


def test_a_clock_that_keeps_jumping_is_never_believed(times: Times, clock: Clock) -> None:
    start = times.wall - times.steady
    for turn in range(200):
        times.wall += 100 if turn % 2 else -90
        times.pass_by(1)
        assert clock.now() - times.steady == pytest.approx(start)
