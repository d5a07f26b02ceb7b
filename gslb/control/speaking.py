"""The ExaBGP of this node as its controller has it: set up from the configuration, kept, followed, ended; what it says, as values.  IO.

Rule 1: a session that cannot be set up (no route to the router, no password) keeps no other from being set up; it is tried again.
Rule 2: what is known of routes and sessions is ExaBGP's word, and counts only while ExaBGP can be asked.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import bgp.bridge
from bgp import render
from bgp.exabgp import Ended, ExaBgp, Running, Told, Unstartable
from bgp.heard import Hello, SessionSaid
from bgp.launch import Setup, running
from bgp.routes import Change, Route
from bgp.sessions import sessions_of
from bgp.speaker import Applied, Counts, Lost, Ready, Rejected
from bgp.watched import Watched
from gslb.model.bgp import Bgp
from gslb.model.deployment import Address, Network

AGAIN_S = 5.0  # before what could not be set up is tried again
MEET_S = 8.0  # for one that is adopted or started just when the end comes
FOLLOW_S = 3.0  # routes wait at most so long for ExaBGP to follow another configuration
READ_S = 0.1  # it reads one in its next round, unless routes wait for a session that is down
REFUSED_S = 6.0  # a command that ExaBGP goes on refusing; after a change it may not know a session yet
ENDED_S = 5.0  # for ExaBGP's end after it was told
LONGEST_PATH = 107  # octets of a unix socket's name, unix(7)


MakeExaBgp = Callable[[Setup, Callable[[Told], None]], ExaBgp]
Saying = tuple[tuple[Route, ...], tuple[Change, ...], tuple[Route, ...], float]
_Asked = tuple[tuple[Route, ...], tuple[Change, ...]]


@dataclass(slots=True)
class Life:
    """What is known of one ExaBGP: its process, whether it can be asked, what is wrong, and since when sessions are as they are."""

    pid: int | None = None
    adopted: bool = False
    problem: str = ""
    unstartable: bool = False  # and it has not been started since
    rejected: tuple[float, str] | None = None  # since when (monotonic), and what
    restarts: int = 0
    since: dict[Address, tuple[bool, float]] = field(default_factory=dict)  # up or not, and from when (monotonic)


class Speaking:
    """`changed` is called after everything that ExaBGP says, `found` when its table is known for the first time."""

    def __init__(
        self,
        folder: Path,
        changed: Callable[[], None],
        found: Callable[[Iterable[Route]], None],
        make_exabgp: MakeExaBgp = ExaBgp,
    ) -> None:
        self._make_exabgp = make_exabgp
        self._folder = folder.absolute()  # ExaBGP works in another
        self._changed = changed
        self._found = found
        self._bgp: Bgp | None = None
        self._decided = False  # whether it is known who speaks, or nobody
        self._exabgp: ExaBgp | None = None
        self._knows = False  # what the ExaBGP of now had when it was met
        self._sessions: dict[Address, render.Session] = {}  # those that ExaBGP was given
        self._unready: dict[Address, str] = {}
        self._asked: _Asked = (), ()
        self._said: _Asked | None = None
        self._held_until = 0.0  # monotonic
        self._drained: tuple[tuple[Route, ...], float] = (), 0.0
        self._wake = asyncio.Event()
        self._hurried = asyncio.Event()
        self._met = asyncio.Event()  # there is one that can be asked, or there cannot be
        self._left = asyncio.Event()  # there is no ExaBGP, and will be none
        self._leaving = self._ending = False  # asked to leave; this ExaBGP is on its way
        self._began = time.monotonic()
        self.life = Life()
        self.tripped_at: float | None = None  # when it was heard that the bridge had acted alone (monotonic)

    def want(self, bgp: Bgp | None) -> None:
        """Speak as this one from now on; None: not at all, after an orderly end."""
        self._decided = True
        if bgp != self._bgp and self._bgp is not None and self._exabgp is not None:
            self._held_until = time.monotonic() + FOLLOW_S
        if bgp != self._bgp:
            self._bgp, self._began = bgp, time.monotonic()
        self._wake.set()  # what is the same may have another password

    @property
    def wanted(self) -> Bgp | None:
        """Whom it speaks as."""
        return self._bgp

    @property
    def known(self) -> bool:
        """Whether ExaBGP was asked what it has: before that nothing is said."""
        return self._knows

    @property
    def ready(self) -> bool:
        """Whether ExaBGP answers: what is said now is out at once."""
        return self._exabgp is not None and self._exabgp.speaker.ready

    @property
    def version(self) -> str:
        """That of ExaBGP, empty while it is not known."""
        return "" if self._exabgp is None else self._exabgp.speaker.version

    @property
    def sessions(self) -> Mapping[Address, SessionSaid]:
        """What ExaBGP said last of each session."""
        return {} if self._exabgp is None else self._exabgp.speaker.sessions

    @property
    def counts(self) -> Counts:
        """What was said to ExaBGP, and what became of it."""
        return Counts() if self._exabgp is None else self._exabgp.speaker.counts

    @property
    def table(self) -> Mapping[tuple[Address, Network], Route]:
        """ExaBGP's routes."""
        return {} if self._exabgp is None else self._exabgp.speaker.table

    def local(self, neighbor: Address) -> Address | None:
        """Our address on a session."""
        session = self._sessions.get(neighbor)
        return None if session is None else session.local

    def is_up(self, neighbor: Address) -> bool:
        """Whether a session is established, by the word of an ExaBGP that can be asked."""
        said = self.sessions.get(neighbor)
        return self.ready and said is not None and said.up

    def say(
        self, routes: tuple[Route, ...], prepared: tuple[Change, ...], drained: tuple[Route, ...], wait_s: float
    ) -> None:
        """Have these routes; `prepared` as in `ExaBgp.want`; before an end the `drained` for `wait_s`."""
        self._drained = drained, wait_s
        self._asked = routes, prepared
        self._pass_on()

    def _pass_on(self) -> None:
        """Tell ExaBGP what is asked for, as far as it has the sessions."""
        held = time.monotonic() < self._held_until
        if self._exabgp is None or not self._knows or self._ending or held:
            return
        routes, prepared = self._asked
        said = tuple(one for one in routes if one.neighbor in self._sessions), prepared
        if said != self._said:
            self._said = said
            self._exabgp.want(*said)

    async def leave(self) -> None:
        """The orderly end: drained, withdrawn, sessions and ExaBGP ended.  At once where there is none."""
        self._leaving = True
        self._wake.set()
        if self._bgp is not None:
            await self._left.wait()

    def hurry(self) -> None:
        """Wait no more for routers to move."""
        self._hurried.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Speak until `stop`, which leaves ExaBGP as it is."""
        self._left.clear()
        ending = asyncio.create_task(stop.wait())
        ending.add_done_callback(lambda _: self._wake.set())
        try:
            while not stop.is_set() and not (self._leaving and running(self._folder) is None):
                self._wake.clear()
                setup = self._setup()
                if setup is not None:
                    await self._live(setup, stop)
                    continue
                if self._leaving or (self._decided and self._bgp is None):
                    await self._end_former()
                if not self._leaving:
                    await self._pause(AGAIN_S if self._bgp is not None else None)
        finally:
            ending.cancel()
            self._left.set()

    async def _live(self, setup: Setup, stop: asyncio.Event) -> None:
        """One ExaBGP, until it is not wanted any more or cannot be had."""
        try:
            exabgp = self._make_exabgp(setup, self._heard)
        except KeyError:
            self._fail(f"the user {os.geteuid()} has no name here - expected one in the list of users for ExaBGP")
            await self._pause(AGAIN_S)
            return
        self._exabgp, self._knows, self._said, self._ending = exabgp, False, None, False
        self._sessions = _by_neighbor(setup)
        self._met.clear()
        life = asyncio.create_task(exabgp.run())
        life.add_done_callback(lambda _: self._wake.set())
        try:
            while not (stop.is_set() or life.done() or self._leaving or self._bgp is None):
                self._wake.clear()
                new = self._setup()
                if new is not None and new != setup:
                    setup = new
                    await exabgp.follow(setup)
                    self._sessions = _by_neighbor(setup)
                    await self._pause(READ_S)
                self._held_until = 0.0
                self._pass_on()
                await self._pause(AGAIN_S if self._unready else None)
            if life.done():
                life.result()
            elif not stop.is_set():
                await self._end(exabgp, life)
        except OSError as error:
            self._fail(f"the socket for ExaBGP cannot be made: {error.strerror or error}")
            await self._pause(AGAIN_S)
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            self._exabgp, self._knows, self._sessions = None, False, {}
            self.life = Life(problem=self.life.problem, restarts=self.life.restarts)
            self._changed()

    async def _end(self, exabgp: ExaBgp, life: asyncio.Task[None]) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._met.wait(), MEET_S)
        self._ending = True
        routes, wait_s = self._drained
        await exabgp.stop(routes, wait_s, self._hurried)
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(life), ENDED_S)

    async def _end_former(self) -> None:
        """End the ExaBGP of an earlier run, whose configuration had a speaker."""
        if pid := running(self._folder):
            with suppress(ProcessLookupError):
                process = Watched(pid)
                await process.end()
                process.leave()

    async def _pause(self, wait_s: float | None) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), wait_s)

    def _setup(self) -> Setup | None:
        """What ExaBGP is started with; None where nobody is to speak, or nothing can be set up."""
        wanted = self._bgp
        self._unready = {}
        if wanted is None:
            return None
        socket = self._folder / "exabgp.sock"
        if len(os.fsencode(socket)) > LONGEST_PATH:
            self._fail(f"{socket} is too long for a socket - expected a state folder with a shorter path")
            return None
        found: dict[Address, render.Session] = {}
        for neighbor in wanted.neighbors:
            try:
                (found[neighbor.address],) = sessions_of(replace(wanted, neighbors=(neighbor,)), os.environ)
            except ValueError as error:
                self._unready[neighbor.address] = str(error)
                known = self._sessions.get(neighbor.address)
                if known is not None and known.neighbor == neighbor:
                    found[neighbor.address] = known
        if not found:
            return None
        speaker = render.Speaker(
            local_as=wanted.local_as,
            router_id=wanted.router_id,
            sessions=tuple(found.values()),
            bridge=PurePosixPath(bgp.bridge.__file__),
            socket=PurePosixPath(socket),
            python=PurePosixPath(sys.executable),
            hold_s=wanted.hold_s,
        )
        return Setup(self._folder, speaker, after_s=wanted.controller_loss_s)

    def _heard(self, event: Told) -> None:
        now, life = time.monotonic(), self.life
        match event:
            case Ready():
                life.problem = ""
                if not self._knows:
                    self._knows = True
                    self._found(tuple(self.table.values()))
                self._met.set()
            case Lost(reason):
                life.problem = f"ExaBGP cannot be asked: {reason}"
            case Rejected(line):
                life.rejected = (life.rejected or (now,))[0], line
            case Applied():
                life.rejected = None
            case Hello(tripped=True):
                self.tripped_at = now
            case SessionSaid(neighbor, up):
                if life.since.get(neighbor, (not up,))[0] != up:  # another reason is no other state
                    life.since[neighbor] = up, now
            case Running() | Ended() | Unstartable():
                self._process(event)
            case _:
                pass
        self._changed()

    def _process(self, event: Running | Ended | Unstartable) -> None:
        life = self.life
        match event:
            case Running(pid, adopted):
                life.pid, life.adopted, life.problem, life.unstartable = pid, adopted, "", False
                self._began = time.monotonic()  # before it there was no session of its own
                return
            case Ended(words, again_s):
                life.pid, life.restarts = None, life.restarts + 1
                if not life.unstartable:
                    life.problem = (
                        f"ExaBGP ended and is started again in {again_s:g} s; its last words: {words or 'none'}"
                    )
            case Unstartable(reason):
                life.unstartable = True
                life.problem = f"ExaBGP cannot be started: {reason}"
        self._met.set()

    def _fail(self, why: str) -> None:
        self.life.problem = why
        self._changed()

    @property
    def rejected(self) -> tuple[str, ...]:
        """What ExaBGP goes on refusing."""
        since = self.life.rejected
        return (since[1],) if since is not None and time.monotonic() > since[0] + REFUSED_S else ()

    def state(self, wanted: Bgp) -> dict[str, Any]:
        """For status: who speaks, as `wanted`."""
        return {
            "name": wanted.name,
            "local_as": wanted.local_as,
            "router_id": str(wanted.router_id),
            "pid": self.life.pid,
            "adopted": self.life.adopted,
            "version": self.version,
            "ready": self.ready,
            "problem": self.life.problem,
        }

    def neighbors(self, wanted: Bgp, to_epoch: Callable[[float], float]) -> list[dict[str, Any]]:
        """For status: each neighbor of the configuration.  `to_epoch` turns monotonic times into seconds since the epoch."""
        routes = [neighbor for neighbor, _ in self.table]
        found = []
        for one in wanted.neighbors:
            said, (_, since) = self.sessions.get(one.address), self.life.since.get(one.address, (False, self._began))
            found.append(
                {
                    "address": str(one.address),
                    "as": one.peer_as,
                    "up": self.is_up(one.address),
                    "since": to_epoch(since),
                    "reason": self._unready.get(one.address) or ("" if said is None or said.up else said.reason),
                    "routes": routes.count(one.address),
                }
            )
        return found


def _by_neighbor(setup: Setup) -> dict[Address, render.Session]:
    return {session.neighbor.address: session for session in setup.speaker.sessions}
