"""The checking process over its socket, with fake probes, in threads of this process; and its command line."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from gslb.model.framing import frame
from gslb.model.world import Health
from healthcheck.check import Check, Sample
from healthcheck.messages import Order, Report, Work, reports
from healthcheck.process import UNSENT_OCTETS, serve
from tests.healthcheck.make import OK, order

WAIT_S = 10.0


async def passes(_: Check) -> tuple[Sample, ...]:
    return OK


async def breaks(_: Check) -> tuple[Sample, ...]:
    raise ZeroDivisionError("a defect")


@pytest.fixture(autouse=True)
def _journal_of_its_own() -> Iterator[None]:
    """The process takes over the root logger; a test gets it back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


class Controller:
    """The other end."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.octets = 0  # heard
        self.frames = reports()
        self.loop = asyncio.get_running_loop()

    async def say(self, *orders: Order, serial: int = 1) -> None:
        await self.loop.sock_sendall(self.line, frame(Work(serial, orders)))

    async def hear(self, wanted: Callable[[Report], bool]) -> Report:
        """The first report that is as wanted."""
        async with asyncio.timeout(WAIT_S):
            while True:
                data = await self.loop.sock_recv(self.line, 1 << 16)
                assert data, "it ended"
                self.octets += len(data)
                for report in self.frames.feed(data):
                    if wanted(report):
                        return report


@asynccontextmanager
async def process(probe: Callable[[Check], object]) -> AsyncIterator[tuple[Controller, asyncio.Task[int]]]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.settimeout(0)
    task = asyncio.create_task(serve(theirs, {"fake": probe}))  # type: ignore[dict-item]
    try:
        yield Controller(ours), task
    finally:
        ours.close()
        await asyncio.wait_for(task, WAIT_S)


def test_it_checks_what_it_is_told_and_says_what_it_found() -> None:
    async def scenario() -> None:
        async with process(passes) as (controller, _):
            await controller.say(order("a", interval_s=0.1))
            report = await controller.hear(lambda report: bool(report.found))
            assert [(found.id, found.health) for found in report.found] == [("a", Health.UP)]
            assert report.pulse is None  # at once, not with the pulse
            await controller.hear(lambda report: report.pulse is not None and report.pulse.done > 0)

    asyncio.run(scenario())


def test_it_has_a_pulse_without_any_work() -> None:
    async def scenario() -> None:
        async with process(passes) as (controller, _):
            for _ in range(2):
                report = await controller.hear(lambda report: report.pulse is not None)
                assert report.serial == 0

    asyncio.run(scenario())


def test_it_ends_with_the_socket() -> None:
    async def scenario() -> None:
        async with process(passes) as (controller, task):
            await controller.say(order("a"))
            controller.line.close()
            assert await asyncio.wait_for(task, WAIT_S) == 0

    asyncio.run(scenario())


def test_it_ends_when_it_is_told_garbage(capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with process(passes) as (controller, task):
            await controller.loop.sock_sendall(controller.line, b"\0\0\0\3abc")
            assert await asyncio.wait_for(task, WAIT_S) == 1

    asyncio.run(scenario())
    assert "cannot be read" in capfd.readouterr().err


def test_log_lines_travel_to_the_controller() -> None:
    async def scenario() -> None:
        async with process(breaks) as (controller, _):
            await controller.say(order("a", interval_s=0.1))
            report = await controller.hear(lambda report: bool(report.notes))
            assert "ended by a defect of ours" in report.notes[0].text
            assert "ZeroDivisionError" in report.notes[0].text

    asyncio.run(scenario())


def test_a_controller_that_does_not_read_gets_the_latest_when_it_does() -> None:
    asked: Counter[str] = Counter()
    count, rounds = 400, 24

    async def flaps(check: Check) -> tuple[Sample, ...]:
        asked[check.id] += 1
        return (Sample(ok=asked[check.id] % 2 == 0 or asked.total() > count * rounds, latency_s=0.01, why="x" * 150),)

    async def scenario() -> None:
        async with process(flaps) as (controller, _):
            await controller.say(*(order(f"target-{number}", interval_s=0.1) for number in range(count)))
            async with asyncio.timeout(60):
                while asked.total() < count * rounds:  # noqa: ASYNC110  # bounded
                    await asyncio.sleep(0.05)
            total = asked.total()
            await controller.hear(lambda report: report.pulse is not None and report.pulse.done >= total)
            assert controller.octets < 4 * UNSENT_OCTETS  # all of it would be three times as much

    asyncio.run(scenario())


@pytest.mark.parametrize("arguments", [[], ["x"], ["99"]])
def test_without_a_socket_it_says_so(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "healthcheck", *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "expected the number of a socket" in done.stderr
    assert "Traceback" not in done.stderr
