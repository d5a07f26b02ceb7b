"""Runs the checks that are due.  IO: asyncio, the monotonic clock.

Rule 1: whatever a probe does, its check ends by its timeout, and its place is free again.
Rule 2: at most MOST_IN_FLIGHT checks run at a time; references, of which there are few, do not wait for a place.
Rule 3: a probe that ends with an error of ours is a failed check and a line in the log, and the rest goes on.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gslb import units
from healthcheck.check import Probe, Sample
from healthcheck.judge import Judge
from healthcheck.messages import Order, Report, Role, Work
from healthcheck.schedule import Schedule

MOST_IN_FLIGHT = 256
GRACE_S = 0.05  # that a probe whose time is over has to end

log = logging.getLogger("healthcheck")


@dataclass(eq=False, slots=True)
class _Running:
    """One check on its way."""

    order: Order
    began: float
    task: asyncio.Task[None] | None = None
    deadline: asyncio.TimerHandle | None = None
    late: tuple[Sample, ...] = ()  # what it found when its time was over
    ended: bool = False


class Runner:
    """The engine of one checking process.  `changed` is called, once, when something is to be told at once."""

    def __init__(self, probes: Mapping[str, Probe], changed: Callable[[], None], most: int = MOST_IN_FLIGHT) -> None:
        self._probes = probes
        self._changed = changed
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._judge = Judge()
        self._schedule = Schedule()
        self._running: set[_Running] = set()  # that hold a place
        self._tasks: dict[str, asyncio.Task[None]] = {}  # that have not ended, by the id of their check
        self._unwanted: set[asyncio.Task[None]] = set()  # of no matter any more, and not ended yet
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def want(self, work: Work) -> None:
        """Check this from now on; what is the same in it goes on."""
        changes = self._judge.want(work)
        now = time.monotonic()
        for name in changes.ended:
            self._schedule.remove(name)
        for running in [one for one in self._running if one.order.check.id in changes.ended]:
            self._abandon(running)
        for order in changes.started:
            if order.role is not Role.REFERENCE:
                self._schedule.add(order.check.id, order.interval_s, now, soon=order.known is None)
        self._pump()
        self._tell()

    def at_once(self) -> Report:
        """What is to be told at once."""
        return self._judge.at_once()

    def pulse(self) -> Report:
        """What is told once a second."""
        return self._judge.pulse(
            late=self._schedule.late(time.monotonic()),
            skipped=self._schedule.skipped,
            in_flight=len(self._running),
        )

    async def close(self) -> None:
        """End every check."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for running in list(self._running):
            self._abandon(running)
        await asyncio.gather(*self._unwanted, *self._tasks.values(), return_exceptions=True)

    # --- moments ---

    def _pump(self) -> None:
        """Start what is due, and come again when the next is."""
        if self._closed:
            return
        now = time.monotonic()
        for name in self._judge.sight.due(now):
            self._start(self._judge.orders[name], now)
        for name in self._schedule.due(now, self._most - len(self._running)):
            self._start(self._judge.orders[name], now)
        self._sleep_until(min(self._wake_at(), self._judge.sight.wake_at()))

    def _wake_at(self) -> float:
        if len(self._running) >= self._most:
            return math.inf  # the next that ends comes here
        due = self._schedule.wake_at()
        return math.inf if due is None else due

    def _sleep_until(self, moment: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= moment and not self._timer.cancelled():
                return  # earlier than need be, and then set anew
            self._timer.cancel()
            self._timer = None
        if moment < math.inf:
            self._timer = self._loop.call_at(moment, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self._pump()

    # --- one check ---

    def _start(self, order: Order, now: float) -> None:
        check = order.check
        running = _Running(order, now)
        self._running.add(running)
        if check.id in self._tasks:
            why = "the last check of it has not ended, though its time is over"
            self._loop.call_soon(self._finish, running, (Sample(ok=False, latency_s=0.0, why=why),))
            return
        running.deadline = self._loop.call_at(now + check.timeout_s, self._expire, running)
        running.task = self._tasks[check.id] = self._loop.create_task(self._ask(running))
        running.task.add_done_callback(lambda task: self._gone(running, task))

    async def _ask(self, running: _Running) -> None:
        check = running.order.check
        try:
            samples = await self._probes[check.kind](check)
        except asyncio.CancelledError:
            return  # it has expired, or is not wanted any more
        except Exception as error:
            log.exception("the check %s (%s) ended by a defect of ours", check.id, check.kind)
            samples = (Sample(ok=False, latency_s=0.0, why=f"the check could not be made ({type(error).__name__})"),)
        if not running.late and not running.ended:
            task = self._tasks.pop(check.id)
            self._unwanted.add(task)  # it has nothing more to do: the next check of the target may begin at once
            self._finish(running, samples)

    def _expire(self, running: _Running) -> None:
        timeout_s = running.order.check.timeout_s
        why = f"no answer within {units.seconds_text(timeout_s)}"
        running.late = (Sample(ok=False, latency_s=timeout_s, why=why),)
        running.deadline = self._loop.call_later(GRACE_S, self._finish, running, running.late)
        if running.task is not None:
            running.task.cancel()

    def _finish(self, running: _Running, samples: tuple[Sample, ...]) -> None:
        if running.ended:
            return
        self._release(running)
        name = running.order.check.id
        now = time.monotonic()
        self._schedule.done(name, now)
        self._judge.took(name, samples, running.began, now)
        self._pump()
        self._tell()

    def _abandon(self, running: _Running) -> None:
        """Nobody wants its result any more."""
        self._release(running)
        if running.task is not None:
            del self._tasks[running.order.check.id]
            self._unwanted.add(running.task)
            running.task.cancel()

    def _release(self, running: _Running) -> None:
        running.ended = True
        self._running.discard(running)
        if running.deadline is not None:
            running.deadline.cancel()

    def _gone(self, running: _Running, task: asyncio.Task[None]) -> None:
        name = running.order.check.id
        self._unwanted.discard(task)
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if running.late:
            self._finish(running, running.late)

    def _tell(self) -> None:
        if self._judge.urgent:
            self._changed()
