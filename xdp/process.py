"""The balancer's process: the controller's wishes come over a unix socket, reports go back.  IO.

    supervisor ──line──> this process <──door── controller (Want ──>, <── Report)

Rule 1: one controller at a time, and the newest is it: an earlier one is dead, or will be.
Rule 2: told to finish over the line, it takes all out of the kernel and ends.  Where the line ends without that word, its
supervisor is dead: it ends at once and leaves all in force, as it does when it is killed.
Rule 3: a controller that does not read is not waited for; it is told the newest state when it reads again.  One that reads
is told something every second.
Rule 4: its supervisor is told every second that it is alive, where no step of the driver takes longer.
Rule 5: the driver works in a thread, one step at a time, so that libraries may run loops of their own there.
"""

# typing.override arrives with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from gslb.model.framing import Frames, Garbled, frame
from xdp.driver import Driver, Parts
from xdp.messages import Pulse, Report, State, Want
from xdp.preflight import Refused

PULSE_S = 1.0
UNSENT_OCTETS = 1 << 20  # beyond which nothing more is written

log = logging.getLogger("gslb.balancer")


class _Line(asyncio.Protocol):
    """One controller."""

    def __init__(self, wanted: Callable[[Want], None], ready: Callable[[], None]) -> None:
        self._wanted = wanted
        self._ready = ready
        self._frames: Frames[Want] = Frames(Want)
        self._transport: asyncio.Transport | None = None
        self._told: State | None = None
        self._writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=UNSENT_OCTETS)
        self._transport = transport
        self._ready()

    def data_received(self, data: bytes) -> None:
        try:
            wants = list(self._frames.feed(data))
        except Garbled as error:
            log.error("the controller's message cannot be read", extra={"why": str(error)})
            self.end()
            return
        if wants:
            self._wanted(wants[-1])

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._ready()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None

    @property
    def listens(self) -> bool:
        """Whether the controller is there, and reads."""
        return self._transport is not None and self._writable

    def say(self, state: State, pulse: Pulse | None = None, *, beat: bool = False) -> None:
        """Tell the state, if it is another than was told, and the pulse; with `beat` something, whatever there is."""
        if self._transport is None or not self._writable:
            return
        report = Report(state if state != self._told else None, pulse)
        if report.state is None and report.pulse is None and not beat:
            return
        try:
            self._transport.write(frame(report))
        except Garbled as error:
            log.error("a report cannot be sent", extra={"why": str(error)})
        self._told = state

    def end(self) -> None:
        """Let the controller go."""
        if self._transport is not None:
            self._transport.abort()


def _same(line: _Line) -> _Line:
    return line


class _Service:
    """The process: its driver, its controller, and its end."""

    def __init__(
        self, driver: Driver, line: socket.socket, finishes: Callable[[], bool | None], alive: Callable[[], object]
    ) -> None:
        self._driver = driver
        self._line = line
        self._finishes = finishes
        self._alive = alive
        self._loop = asyncio.get_running_loop()
        self._controller: _Line | None = None
        self._next: Want | None = None
        self._looked = False  # before that there is no state to tell
        self._wake = asyncio.Event()
        self._over: asyncio.Future[bool] = self._loop.create_future()

    async def serve(self, door: socket.socket) -> int:
        """Until the line says or shows the end; the exit status."""
        door.settimeout(0)
        self._loop.add_reader(self._line, self._heard)
        accepting = self._loop.create_task(self._accept(door))
        try:
            await (
                self._work()
            )  # what is under way is brought to its end; a defect has the supervisor start another process
        finally:
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)
            if self._controller is not None:
                self._controller.end()
        return await asyncio.to_thread(self._end, remove=self._over.result())

    def _end(self, *, remove: bool) -> int:
        try:
            if remove:
                self._driver.remove()
            else:
                self._driver.close()
        except Refused as error:
            log.info("there was nothing to remove", extra={"why": str(error)})
        except OSError as error:
            log.error("the balancer could not be removed", extra={"why": str(error)})
            return 1
        return 0

    def _heard(self) -> None:
        finish = self._finishes()
        if finish is not None and not self._over.done():
            self._loop.remove_reader(self._line)
            self._over.set_result(finish)
            self._wake.set()

    async def _accept(self, door: socket.socket) -> None:
        while True:
            caller, _ = await self._loop.sock_accept(door)
            if self._controller is not None:
                self._controller.end()
            self._controller = _Line(self._wanted, self._tell)
            await self._loop.connect_accepted_socket(partial(_same, self._controller), caller)

    async def _work(self) -> None:
        """Do what is wanted as it comes, and once a second what time brings; tell how it stands."""
        due = time.monotonic()
        while not self._over.done():
            now = time.monotonic()
            want, self._next = self._next, None
            self._wake.clear()
            if want is not None:
                await asyncio.to_thread(self._driver.want, want, now)
            beat = now >= due
            pulse = None
            if beat:
                due = now + PULSE_S
                await asyncio.to_thread(self._driver.tick, now)
                self._looked = True
                pulse = await asyncio.to_thread(self._driver.pulse) if self._listens() else None
                self._alive()
            self._tell(pulse, beat=beat)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0.0, due - time.monotonic()))

    def _wanted(self, want: Want) -> None:
        self._next = want
        self._wake.set()

    def _listens(self) -> bool:
        return self._controller is not None and self._controller.listens

    def _tell(self, pulse: Pulse | None = None, *, beat: bool = False) -> None:
        if self._controller is not None and self._looked:
            self._controller.say(self._driver.state, pulse, beat=beat)


def run(
    begin: Callable[[], Parts],
    door: socket.socket,
    line: socket.socket,
    finishes: Callable[[], bool | None],
    alive: Callable[[], object],
) -> int:
    """The whole life of the process; the exit status.

    Controllers connect to `door`.  `finishes` is called when there is something on `line`: True is to remove all and end,
    False to end, None to go on.  `alive` is called while it works.  Signals that a terminal or a service manager sends to all are the supervisor's matter.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

    async def serve() -> int:
        return await _Service(Driver(begin), line, finishes, alive).serve(door)

    return asyncio.run(serve())
