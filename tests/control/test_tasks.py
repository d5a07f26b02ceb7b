"""Parts that are kept running: begun again after a defect, which is told once."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gslb.control.tasks import Defects, keep_running

WAIT_S = 10.0


class Part:
    """Fails with each of `failures`, one a life, and then lives until it is stopped."""

    def __init__(self, stop: asyncio.Event, *failures: Exception) -> None:
        self.stop = stop
        self.failures = list(failures)
        self.lives = 0

    async def run(self) -> None:
        self.lives += 1
        if self.failures:
            raise self.failures.pop(0)
        self.stop.set()


def test_what_a_defect_ends_is_begun_again_and_the_defect_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> int:
        stop = asyncio.Event()
        part = Part(stop, KeyError("a"), KeyError("a"), ZeroDivisionError("b"))
        await asyncio.wait_for(keep_running(part.run, "the part", stop), WAIT_S)
        return part.lives

    assert asyncio.run(scenario()) == 4
    told = [(record.part, record.exc_info[0]) for record in caplog.records if record.exc_info]  # type: ignore[attr-defined]
    assert told == [("the part", KeyError), ("the part", ZeroDivisionError)]


def test_quick_ends_are_followed_ever_more_slowly() -> None:
    """Five lives in a row: 0, 0.1, 0.2, 0.4 s between them."""

    async def scenario() -> float:
        stop = asyncio.Event()
        part = Part(stop, *(KeyError("a") for _ in range(4)))
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.wait_for(keep_running(part.run, "the part", stop), WAIT_S)
        return loop.time() - began

    assert asyncio.run(scenario()) >= 0.65


def test_a_part_that_returns_is_not_begun_again() -> None:
    async def scenario() -> int:
        lives = 0

        async def run() -> None:
            nonlocal lives
            lives += 1

        await keep_running(run, "the part", asyncio.Event())
        return lives

    assert asyncio.run(scenario()) == 1


def test_the_end_is_not_waited_for() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()

        async def run() -> None:
            raise KeyError("for ever")

        running = asyncio.create_task(keep_running(run, "the part", stop))
        asyncio.get_running_loop().call_later(0.2, stop.set)
        await asyncio.wait_for(running, WAIT_S)

    asyncio.run(scenario())


def test_a_part_that_is_cancelled_ends() -> None:
    async def scenario() -> None:
        async def run() -> None:
            await asyncio.Event().wait()

        running = asyncio.create_task(keep_running(run, "the part", asyncio.Event()))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())


def test_defects_of_several_parts_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    defects = Defects()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            defects.tell("a", KeyError("x"))
            defects.tell("b", KeyError("x"))
    assert [record.part for record in caplog.records] == ["a", "b"]  # type: ignore[attr-defined]
