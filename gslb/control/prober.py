"""Health as this node sees it: the checking process kept alive, and what it finds.  IO.

    deployment ── findings ──> Work ──socket──> healthcheck (a process) ──socket──> Report ──> findings

Rule 1: the controller never waits for checks: it reads what is known.
Rule 2: a checking process that is lost is replaced, the more slowly the sooner the last one was lost; where there is
nothing to check there is none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from gslb.control.checking import COMMAND, SILENCE_S, Checking, Lost
from gslb.control.checks import Ways
from gslb.control.children import Restarts
from gslb.control.findings import Findings, Reading
from gslb.model.deployment import Deployment, PoolId, SiteId
from gslb.model.framing import Garbled
from gslb.model.world import Verdicts
from healthcheck.messages import Report
from healthcheck.schedule import SOON_S

START_S = 5.0  # that a checking process may take until it checks
NAMES = ("gslb", "healthcheck")  # of loggers that the checking process may write to

log = logging.getLogger("gslb.checks")


class Prober:
    """The health and load of a deployment's targets.  `changed` is called when a decision may come out otherwise."""

    def __init__(
        self, changed: Callable[[], None], command: Sequence[str] = COMMAND, silence_s: float = SILENCE_S
    ) -> None:
        self._changed = changed
        self._command = command
        self._silence_s = silence_s
        self._findings = Findings()
        self._process: Checking | None = None
        self._restarts = 0
        self._blind: tuple[float, float] | None = None  # by the monotonic clock, and by the calendar
        self._heard = asyncio.Event()  # from the process that lives
        self._judged = asyncio.Event()
        self._busy, self._idle = asyncio.Event(), asyncio.Event()  # there is something to check, or not

    @property
    def blind_since(self) -> float | None:
        """Since when (seconds since the epoch) no reference target answers; None while one does."""
        return self._blind[1] if self._blind is not None else None

    def want(self, deployment: Deployment, site: SiteId, known: Verdicts) -> None:
        """Check for this deployment from now on; `known` is what is known of targets that were not checked so far."""
        self._findings.want(deployment, site, known, time.monotonic())
        self._renew()

    def lead(self, ways: Ways) -> None:
        """Check by the ways that the balancer leads from now on."""
        if self._findings.lead(ways, time.monotonic()):
            self._renew()

    def verdicts(self) -> Verdicts:
        """What is known of each target; one that is missing has never been judged."""
        return self._findings.verdicts(time.monotonic())

    def readings(self) -> Mapping[PoolId, Reading]:
        """The last reading of each page of load, at a time of the monotonic clock."""
        return self._findings.readings()

    def unread(self) -> Mapping[PoolId, str]:
        """The pages of load that could not be had last, and why."""
        return self._findings.unread()

    def state(self) -> dict[str, Any]:
        """Figures for people and metrics, as JSON values."""
        return {
            "pid": self._process.pid if self._process is not None else None,
            "restarts": self._restarts,
            "blind_since": self.blind_since,
            **self._findings.state(),
        }

    async def first_round(self, most_s: float) -> None:
        """Return when every target has been judged once, at most `most_s` after the checking process has begun.

        `run` must be running.
        """
        if self._judged.is_set():
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), START_S)
            await asyncio.wait_for(self._judged.wait(), SOON_S + most_s)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep a checking process alive until `stop`."""
        restarts = Restarts()
        while True:
            await _any_of(stop, self._busy)
            if stop.is_set():
                return
            began = time.monotonic()
            try:
                await self._live(stop)
            except Lost as error:
                delay_s = restarts.delay_s(time.monotonic() - began)
                again = f"{delay_s:g} s" if delay_s else "at once"
                log.warning("the checking process is lost", extra={"why": str(error), "another": again})
                self._restarts += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), delay_s)

    async def _live(self, stop: asyncio.Event) -> None:
        """One life of the process.  Raises Lost when it ends before `stop` is set or nothing is to be checked."""
        process = await Checking.start(self._command)
        self._process = process
        self._order()
        hearing = asyncio.create_task(self._hear(process))
        ending = asyncio.create_task(_any_of(stop, self._idle))
        try:
            await asyncio.wait((hearing, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            by_force = not ending.done()
            for task in (hearing, ending):
                task.cancel()
            self._process = None
            self._heard.clear()
            status = await process.end(by_force=by_force)
            lost = (await asyncio.gather(hearing, ending, return_exceptions=True))[0]
        if isinstance(lost, Lost):
            raise Lost(f"{lost} (status {status})") from lost
        if isinstance(lost, Exception):
            raise lost

    async def _hear(self, process: Checking) -> None:
        async for report in process.reports(self._silence_s):
            self._heard.set()
            _write_notes(report)
            if self._findings.take(report, time.monotonic()):
                self._see()
                self._judge()
                self._changed()

    def _see(self) -> None:
        """Keep the calendar's time of when blindness began, once."""
        since = self._findings.blind_since
        if since is None:
            if self._blind is not None:
                log.warning("a reference target answers again: this site's checks count")
            self._blind = None
        elif self._blind is None or self._blind[0] != since:
            now = time.time()  # noqa: TID251  # for people; ages are told by the monotonic clock
            self._blind = since, now - max(0.0, time.monotonic() - since)
            log.warning("no reference target answers: this site's checks do not count, verdicts stay as they were")

    def _judge(self) -> None:
        if self._findings.unjudged:
            self._judged.clear()
        else:
            self._judged.set()

    def _renew(self) -> None:
        """There is other work."""
        self._see()
        self._judge()
        for event, holds in ((self._idle, self._findings.idle), (self._busy, not self._findings.idle)):
            if holds:
                event.set()
            else:
                event.clear()
        self._order()

    def _order(self) -> None:
        """Tell the process what to do."""
        if self._process is None:
            return
        try:
            self._process.send(self._findings.work(time.monotonic()))
        except Garbled as error:
            log.error("checks cannot be ordered; those before go on", extra={"why": str(error)})


async def _any_of(*events: asyncio.Event) -> None:
    """Return when any of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _write_notes(report: Report) -> None:
    """Log lines of the checking process are written by this one, in its style."""
    for note in report.notes:
        name = note.name if note.name.split(".")[0] in NAMES else "healthcheck"
        logging.getLogger(name).log(min(max(note.level, logging.DEBUG), logging.CRITICAL), "%s", note.text)
