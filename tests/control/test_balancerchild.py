"""The balancer's process as its supervisor keeps it: what hangs is replaced, and a supervisor that stood still kills nobody."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gslb.control import balancerchild, lock
from gslb.control.balancerchild import LOCK, BalancerChild, Post
from gslb.control.reactor import Reactor

WAIT_S = 20.0


class Supervisor:
    """As much of one as keeps a balancer that can do nothing here."""

    def __init__(self, folder: Path) -> None:
        self.reactor = Reactor()
        self.folder = folder
        self.balancer = BalancerChild(self.reactor, Post("example", "fra", folder))
        self.balancer.keep("this is a test")

    @property
    def pid(self) -> int | None:
        """The process that works."""
        return lock.holder(self.folder, LOCK)

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until then."""
        over = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < over, "it takes too long"
            self.reactor.after("look", 0.02, lambda: None)
            self.reactor.turn()

    def turn_for(self, seconds: float) -> None:
        over = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= over)


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(balancerchild, "SILENCE_S", 2.0)
    (tmp_path / "run").mkdir()
    one = Supervisor(tmp_path)
    one.until(lambda: one.pid)
    yield one
    for child in one.balancer.living:
        signal.pidfd_send_signal(child.notice, signal.SIGCONT)
    one.balancer.finish()
    one.until(lambda: not one.balancer.living)


@pytest.mark.slow
def test_a_process_that_hangs_is_killed_and_replaced(supervisor: Supervisor) -> None:
    first = supervisor.pid
    assert first
    supervisor.turn_for(3.0)
    assert supervisor.pid == first, "it speaks"
    os.kill(first, signal.SIGSTOP)
    supervisor.until(lambda: supervisor.pid not in (first, None))
    assert not Path(f"/proc/{first}").exists()


@pytest.mark.slow
def test_a_supervisor_that_stood_still_does_not_take_that_for_silence(supervisor: Supervisor) -> None:
    first = supervisor.pid
    time.sleep(3.0)  # neither turns nor hears
    supervisor.turn_for(1.5)
    assert supervisor.pid == first
