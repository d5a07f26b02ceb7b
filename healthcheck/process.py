"""The checking process: work comes over a socket from the controller, reports go back.  IO.

Rule 1: it ends when the controller's end of the socket does.
Rule 2: where the controller does not read, reports wait in their latest form, and checks go on.
"""

# typing.override arrives with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

from gslb.model.framing import Frames, Garbled, frame
from healthcheck.check import Probe
from healthcheck.messages import Note, Report, Work
from healthcheck.runner import Runner

PULSE_S = 1.0
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4  # linux/prctl.h
MOST_NOTES = 100  # log lines that wait for the next pulse
NOTE_CHARACTERS = 4000
UNSENT_OCTETS = 256 * 1024  # beyond which nothing more is written
COLLECT_EVERY = 10_000  # objects: connections leave cycles behind, some MB of them in 50 000

log = logging.getLogger("healthcheck")


class _Notes(logging.Handler):
    """Log lines, which the controller writes to its journal."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._kept: deque[Note] = deque(maxlen=MOST_NOTES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line, with its traceback."""
        self._kept.append(Note(record.levelno, record.name, self.format(record)[:NOTE_CHARACTERS]))

    def taken(self) -> tuple[Note, ...]:
        """What has been kept; then nothing is."""
        notes = tuple(self._kept)
        self._kept.clear()
        return notes


class _Line(asyncio.Protocol):
    """Our end of the socket."""

    def __init__(self, probes: Mapping[str, Probe], notes: _Notes) -> None:
        self._notes = notes
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = loop.create_future()
        self.runner = Runner(probes, self._changed)
        self._loop = loop
        self._frames: Frames[Work] = Frames(Work)
        self._transport: asyncio.Transport | None = None
        self._writable = True
        self._flushing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=UNSENT_OCTETS)
        self._transport = transport
        self._pulse()

    def data_received(self, data: bytes) -> None:
        try:
            for work in self._frames.feed(data):
                self.runner.want(work)
        except Garbled as error:
            sys.stderr.write(f"healthcheck: the controller's message cannot be read: {error}\n")
            self._end(1)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self._end(0)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._changed()

    def _changed(self) -> None:
        """Something is to be told at once: with what else this turn of the loop brings."""
        if not self._flushing and self._writable:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._writable:
            self._say(self.runner.at_once())

    def _pulse(self) -> None:
        if self._transport is None:
            return
        if self._writable:
            self._say(replace(self.runner.pulse(), notes=self._notes.taken()))
        self._loop.call_later(PULSE_S, self._pulse)

    def _say(self, report: Report) -> None:
        if self._transport is None or not (report.found or report.pulse):
            return
        try:
            self._transport.write(frame(report))
        except Garbled as error:
            log.error("a report cannot be sent: %s", error)

    def _end(self, status: int) -> None:
        if not self.ended.done():
            self.ended.set_result(status)


async def serve(line: socket.socket, probes: Mapping[str, Probe]) -> int:
    """Check what is asked for over `line` until it ends; the exit status."""
    loop = asyncio.get_running_loop()
    notes = _Notes()
    logging.basicConfig(level=logging.INFO, handlers=[notes], force=True)
    transport, protocol = await loop.create_connection(lambda: _Line(probes, notes), sock=line)
    status = await protocol.ended
    transport.abort()
    await protocol.runner.close()
    return status


def run(line: socket.socket, probes: Mapping[str, Probe]) -> int:
    """The whole life of the process.  Signals that a terminal or a service manager sends to all are the controller's matter."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(
        _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0
    )  # commands of checks get no right of ours
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 100)
    line.settimeout(0)
    return asyncio.run(serve(line, probes))
