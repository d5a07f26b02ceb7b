"""`exec`: a program ends with status 0.  IO.

Rule 1: the program has a process group of its own, which is killed whatever ends the check; nothing is left behind.
Rule 2: it is given no shell, no descriptor but its output, and no variable but those of ENVIRONMENT and the target's: the
secrets of a node stand in its environment.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from gslb import units
from healthcheck.check import Check, Sample
from healthcheck.probes.connection import Failed, patience, reason
from healthcheck.probes.shown import shown

OUTPUT_OCTETS = 64 * 1024
REAP_S = 0.02  # a killed program is gone in a tenth of that, and the loop stands still so long
ENVIRONMENT = ("PATH", "HOME", "LANG", "TZ")
_LINE = 200  # characters of its first line that a message repeats


async def probe(check: Check) -> tuple[Sample, ...]:
    """One sample."""
    began = time.perf_counter()
    why = ""
    try:
        async with asyncio.timeout(patience(check.timeout_s)):
            await _run(check)
    except TimeoutError:
        why = f"did not end within {units.seconds_text(check.timeout_s)}"
    except Failed as failed:
        why = str(failed)
    return (Sample(not why, time.perf_counter() - began, why),)


async def _run(check: Check) -> None:
    loop = asyncio.get_running_loop()
    program, life = _start(check)
    assert program.stdout is not None
    ended: asyncio.Future[None] = loop.create_future()
    output = _Output(program.stdout.fileno(), ended)
    loop.add_reader(life, _settle, ended)
    loop.add_reader(program.stdout, output.more)
    try:
        await ended
        output.more()
    finally:
        loop.remove_reader(program.stdout)
        program.stdout.close()
        _finish(program, life, loop)
    if program.returncode:
        raise Failed(f"{_status(program.returncode)}{output.first_line()}")


def _start(check: Check) -> tuple[subprocess.Popen[bytes], int]:
    """The program, and a descriptor that is readable when it has ended.  Raises Failed."""
    port = "" if check.port is None else str(check.port)
    command = cast("Sequence[str]", check.settings.get("command", ()))
    words = [word.replace("{address}", check.address).replace("{port}", port) for word in command]
    given = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    if not words:
        raise Failed("no program to run")
    try:
        program = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
            env={**given, "GSLB_ADDRESS": check.address, "GSLB_PORT": port},
        )
    except (OSError, ValueError) as error:
        raise Failed(f"{words[0]} cannot be run ({reason(error)})") from error
    try:
        return program, os.pidfd_open(program.pid)
    except OSError as error:
        program.kill()
        program.communicate()
        raise Failed(f"{words[0]} cannot be watched ({reason(error)})") from error


def _finish(program: subprocess.Popen[bytes], life: int, loop: asyncio.AbstractEventLoop) -> None:
    """Kill what is left of the group, and reap the program: soon, or whenever it goes where it hangs in the kernel.

    The program has not been reaped before, so its id still names its group and no other.
    """
    loop.remove_reader(life)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(program.pid, signal.SIGKILL)
    try:
        program.wait(REAP_S)
    except subprocess.TimeoutExpired:
        loop.add_reader(life, _reap, program, life, loop)
    else:
        os.close(life)


def _reap(program: subprocess.Popen[bytes], life: int, loop: asyncio.AbstractEventLoop) -> None:
    program.wait()
    loop.remove_reader(life)
    os.close(life)


def _settle(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


class _Output:
    """What a program writes: OUTPUT_OCTETS of it are taken, more fails `ended`."""

    def __init__(self, descriptor: int, ended: asyncio.Future[None]) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._ended = ended
        self._text = bytearray()
        self._closed = False

    def more(self) -> None:
        """Take what is there."""
        if self._closed:
            return
        with suppress(BlockingIOError):
            data = os.read(self._descriptor, OUTPUT_OCTETS + 1 - len(self._text))
            self._text += data
            if not data:
                self._closed = True
                asyncio.get_running_loop().remove_reader(self._descriptor)
        if len(self._text) > OUTPUT_OCTETS and not self._ended.done():
            self._ended.set_exception(Failed(f"wrote more than {OUTPUT_OCTETS // 1024} kB"))

    def first_line(self) -> str:
        """The first line that says something, as a message may show it."""
        lines = self._text.decode("utf-8", "replace").splitlines()
        line = next((line.strip() for line in lines if line.strip()), "")
        return f": {shown(line, _LINE)}" if line else ""


def _status(status: int) -> str:
    if status > 0:
        return f"exit status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"ended by signal {-status}"
