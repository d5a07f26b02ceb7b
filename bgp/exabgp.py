"""ExaBGP as a process beside ours: adopted where it runs, else started; replaced when it dies; ended in order.  IO.

    run():   wait for a bridge ──came──> adopted ─┐
                  └──nobody──> started ───────────┴─> watched ──died──> started again, later each time
    stop():  drain, wait, withdraw, end the sessions, end ExaBGP

Rule 1: ExaBGP is in a session of its own and no pipe leads to us: our end, however it comes, is none of its business.
Rule 2: one that does not answer for longer than the hold time is killed: its sessions are lost anyway, and a new one serves.
Where its bridge is what is silent, that is killed instead: ExaBGP starts another, and no route moves.
Rule 3: ExaBGP throws an order to read its configuration away while routes wait for a session that is down.  So it is told again until
all sessions are up; one that cannot be reached is tried at least each minute, and then nothing waits for it.
An adopted one with a session that is down may still owe it to an earlier run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bgp.door import Door
from bgp.heard import Hello
from bgp.launch import Launch, Setup
from bgp.routes import Change, Route
from bgp.speaker import Event, Speaker, Stage
from bgp.watched import Watched, parent_of
from gslb.model.deployment import Address

ADOPT_S = 2.0  # a bridge that runs comes within 0.2 s
LATE_S = 5.0  # more for one whose ExaBGP is known to live; after that it is taken for hung
BACKOFF_S = (0.1, 1.0, 2.0, 5.0, 10.0, 30.0)  # before each start after a quick death; the last from then on
LOOK_S = 1.0  # between looks at whether ExaBGP answers
STEADY_S = 60.0  # an ExaBGP that lived so long did not die of its start
REREAD_S = 75.0  # for so long it is told to read a new configuration
SETTLE_S = 5.0  # for each step of an orderly end


@dataclass(frozen=True, slots=True)
class Running:
    """An ExaBGP of this process id is watched from now on."""

    pid: int
    adopted: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """ExaBGP is gone and will be started after `again_s`; `words` are its last."""

    words: str
    again_s: float


@dataclass(frozen=True, slots=True)
class Unstartable:
    """ExaBGP could not be started, and why."""

    reason: str


Told = Event | Running | Ended | Unstartable


class ExaBgp:
    """`tell` is called with everything that happens."""

    def __init__(self, setup: Setup, tell: Callable[[Told], None]) -> None:
        self.speaker = Speaker(setup.after_s)
        self._setup = setup
        self._tell = tell
        self._launch = Launch(setup)
        users = {os.geteuid(), *([] if self._launch.user is None else [self._launch.user])}
        self._door = Door(self.speaker, setup.folder / "exabgp.sock", users, self._heard, self._met)
        self._process: Watched | None = None
        self._came = asyncio.Event()
        self._bridge: tuple[int, int] | None = None
        self._said_at = 0.0  # when a bridge came last
        self._stopping = asyncio.Event()
        self._configuring = asyncio.Lock()
        self._reread_until: float | None = None  # it may not have read its configuration
        self._unsure = False  # what an earlier run had it read is not known

    def want(self, routes: Iterable[Route], prepared: Iterable[Change] = ()) -> None:
        """From now on these routes; `prepared` is what the bridge says when we are gone."""
        self._door.want(routes, prepared)

    async def settle(self, within_s: float) -> bool:
        """Whether ExaBGP has all that is wanted, waiting for it if need be."""
        return await self._door.settle(within_s)

    async def follow(self, setup: Setup) -> None:
        """Speak by another setup of the same folder and user from now on; sessions that did not change stay."""
        async with self._configuring:
            self._setup, self._launch = setup, Launch(setup)
            self._door.reloaded(self._neighbors(), setup.after_s)
            if self._process:
                await self._reconfigure(self._process)

    async def run(self) -> None:
        """Until `stop` has ended ExaBGP, or until cancelled, which leaves it and its routes.  Raises OSError."""
        self._setup.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        await self._door.open(self._launch.group)
        try:
            self._process = await self._adopt()
            await self._keep()
        finally:
            self._door.close()
            if self._process:
                self._process.leave()

    async def stop(self, drained: Iterable[Route], wait_s: float, hurried: asyncio.Event | None = None) -> None:
        """Prefer others, wait `wait_s` for routers to move or until `hurried`, withdraw, end the sessions, end ExaBGP."""
        self._stopping.set()
        if self._process is None and self.speaker.stage is Stage.AWAY:
            return  # there is none, and none can be asked
        for routes, pause_s in ((tuple(drained), wait_s), ((), 0.0)):
            self._door.want(routes)
            if await self._door.settle(SETTLE_S) and routes:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for((hurried or asyncio.Event()).wait(), pause_s)
        for session in self.speaker.sessions.values():
            if session.up:
                self._door.teardown(session.neighbor)
        await self._door.settle(SETTLE_S)
        if self._process:
            await self._process.end()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        quick = 0
        while self._process or not self._stopping.is_set():
            since = loop.time()
            if self._process is None:
                self._process = await self._start()
            if self._process and self._stopping.is_set():
                await self._process.end()  # it was being adopted or started when the end came
            if self._process:
                await self._watch(self._process)
                self._process.leave()
                self._process = None
            if self._stopping.is_set():
                return
            quick = 0 if loop.time() - since >= STEADY_S else quick + 1
            pause_s = BACKOFF_S[min(quick, len(BACKOFF_S) - 1)]
            self._tell(Ended(self._launch.last_words(), pause_s))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _watch(self, process: Watched) -> None:
        """Until its end, which is ours to bring where it, or its bridge, is silent for the hold time."""
        clock = asyncio.get_running_loop().time
        patience_s = float(self._setup.speaker.hold_s)
        good_at = clock()
        tried: tuple[int, int] | None = None
        while not await process.ended(LOOK_S):
            if self._unsure and self.speaker.stage is Stage.READY:
                self._unsure = False
                self._reread_until = self._reread_until or (None if self._is_up() else clock() + REREAD_S)
            if self._reread_until is not None:
                self._reread(process)
                self._reread_until = None if self._is_read(clock()) else self._reread_until
            if self.speaker.stage in (Stage.READY, Stage.ROUTES):
                good_at, tried = clock(), None
            elif clock() - good_at < patience_s:
                continue
            elif self._said_at < good_at and self._bridge not in (None, tried):
                good_at, tried = clock(), self._bridge  # the bridge is silent: ExaBGP starts another
                self._end_bridge(process)
            else:
                process.signal(signal.SIGKILL)

    def _end_bridge(self, process: Watched) -> None:
        if self._bridge and parent_of(*self._bridge) == process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._bridge[0], signal.SIGKILL)

    # Beginnings.

    async def _adopt(self) -> Watched | None:
        late = self._launch.running()
        for patience_s in (ADOPT_S, *([] if late is None else [LATE_S])):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), patience_s)
        pid = late if self._bridge is None else parent_of(*self._bridge)
        if pid is None:
            return None
        try:
            process = Watched(pid)
        except ProcessLookupError:
            return None
        if self._bridge is None:  # a second one beside it would fight for its sessions
            await process.end()
            process.leave()
            return None
        self._tell(Running(pid, adopted=True))
        self._unsure = True
        async with self._configuring:
            await self._reconfigure(process)
        return process

    async def _reconfigure(self, process: Watched) -> None:
        """Have it read the configuration of now, if that is another than it has read."""
        before = self._launch.configuration()
        if reason := await asyncio.to_thread(self._launch.configure):
            self._tell(Unstartable(reason))
        elif before != self._launch.configuration():
            self._reread_until = asyncio.get_running_loop().time() + REREAD_S
            self._reread(process)

    def _reread(self, process: Watched) -> None:
        """Have it read its configuration; sessions that did not change stay."""
        process.signal(signal.SIGUSR1)
        self._door.reloaded(self._neighbors(), self._setup.after_s)

    def _neighbors(self) -> tuple[Address, ...]:
        return tuple(session.neighbor.address for session in self._setup.speaker.sessions)

    def _is_read(self, now: float) -> bool:
        """Whether its configuration need not be read once more."""
        return self._is_up() or now >= (self._reread_until or now)

    def _is_up(self) -> bool:
        """Whether all sessions are."""
        said = self.speaker.sessions
        return all(one in said and said[one].up for one in self._neighbors())

    async def _start(self) -> Watched | None:
        async with self._configuring:
            try:
                reason = await asyncio.to_thread(self._launch.configure)
                if not reason:
                    child = await asyncio.to_thread(self._launch.spawn)
                    self._reread_until = None
                    self._tell(Running(child.pid, adopted=False))
                    return Watched(child.pid, child)
            except OSError as error:
                reason = str(error)
        self._tell(Unstartable(reason))
        return None

    # What is heard.

    def _met(self, process: int, user: int) -> None:
        self._bridge = (process, user)
        self._came.set()

    def _heard(self, event: Event) -> None:
        if isinstance(event, Hello):
            self._said_at = asyncio.get_running_loop().time()
        self._tell(event)
