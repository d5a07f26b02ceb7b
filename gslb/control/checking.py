"""One life of the checking process: started, given its work, heard, ended.  IO.

Rule 1: the controller never waits for it: work that it does not take is replaced by newer work, not queued.
Rule 2: one that is silent for SILENCE_S, that says what is no report, or whose socket ends, is lost: it is killed, and
its owner starts another.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

from gslb.model.framing import Garbled, frame
from healthcheck.messages import Report, Work, reports

COMMAND = (sys.executable, "-P", "-m", "healthcheck")
SILENCE_S = 10.0  # it says something every second
TICKS = 10  # parts of a silence
END_S = 1.0  # that it has to end by itself
PIECE = 256 * 1024
ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH")  # no secrets


class Lost(Exception):
    """The process is of no use any more; the text says why."""


class Checking:
    """A checking process.  `command` is given the number of its socket as last argument."""

    def __init__(self, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self._process = process
        self._line = line
        self._next: bytes | None = None
        self._wake = asyncio.Event()
        self._writing = asyncio.create_task(self._write())

    @classmethod
    async def start(cls, command: Sequence[str] = COMMAND) -> Checking:
        """Start one.  Raises Lost."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise Lost(f"it cannot be started: {error.strerror}") from error
        ours.settimeout(0)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # it ends with its socket, not by the keys of a terminal
                env=_environment(),
            )
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                raise Lost(f"it cannot be started: {error.strerror}") from error
            raise
        finally:
            theirs.close()
        return cls(process, ours)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, work: Work) -> None:
        """Have it do this work and no other.  Raises Garbled for more than a message may hold."""
        self._next = frame(work)
        self._wake.set()

    async def reports(self, silence_s: float = SILENCE_S) -> AsyncIterator[Report]:
        """What it says, as it comes.  Raises Lost, sooner or later."""
        frames = reports()
        while True:
            try:
                data = await self._receive(silence_s)
                if not data:
                    raise Lost("it ended")
                for report in frames.feed(data):
                    yield report
            except Garbled as error:
                raise Lost(f"it said what is no report: {error}") from error
            except OSError as error:
                raise Lost(f"its socket failed: {error.strerror}") from error

    async def end(self, *, by_force: bool) -> int:
        """End it, by force also where it does not end by itself in time; its exit status, negative for a signal."""
        self._writing.cancel()
        await asyncio.gather(self._writing, return_exceptions=True)
        self._line.close()
        try:
            return await asyncio.wait_for(self._process.wait(), 0 if by_force else END_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()

    async def _receive(self, silence_s: float) -> bytes:
        """The next octets.  Raises Lost after `silence_s`, of which every TICKS-th is waited for by itself.

        So a controller that stood still itself, and finds the time over, does not take that for silence.
        """
        receiving = asyncio.create_task(asyncio.get_running_loop().sock_recv(self._line, PIECE))
        try:
            for _ in range(TICKS):
                done, _pending = await asyncio.wait((receiving,), timeout=silence_s / TICKS)
                if done:
                    return receiving.result()
        finally:
            receiving.cancel()
        raise Lost(f"it said nothing for {silence_s:g} s")

    async def _write(self) -> None:
        """Send the newest work, one message at a time."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._next is not None:
                message, self._next = self._next, None
                try:
                    await loop.sock_sendall(self._line, message)
                except OSError:
                    return  # it has ended, and its reader knows


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    return kept | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
