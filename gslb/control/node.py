"""The controller of one node: observe, decide, hand out.  IO, and the owner of the clock.

    files ── load ──> candidate ── locate (child process) ──> model in force ─┐
                          checks, loads, demand, overrides, the time (Station) ┴─> decide ──> store, executors

Rule 1: a configuration is put in force whole, with its zones and its location table, or not at all.
Rule 2: while a table is being built the model in force goes on: an override acts at once.
Rule 3: a problem is logged once, and changes nothing.
Rule 4: it ends with its supervisor: only workers outlive that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gslb.bus.access import NoAccess
from gslb.config.load import Loaded
from gslb.config.problem import Refused, folded
from gslb.control import geography, privilege, watch
from gslb.control.applied import Considered, consider
from gslb.control.clock import Clock
from gslb.control.facts import Facts
from gslb.control.kept import keep
from gslb.control.link import Declined, End, Lent, Link
from gslb.control.planner import Model
from gslb.control.proposal import PROPOSED
from gslb.control.secret import NoSecret, Secrets, secrets_of, unshared
from gslb.control.start import Serving, Start
from gslb.control.station import Station
from gslb.control.store import Store
from gslb.control.tasks import keep_running
from gslb.control.wanted import Wanted, wanted_of
from gslb.model.deployment import Deployment, Node
from gslb.nameserver.cookies import next_keys_at
from gslb.nameserver.generation import UnusableGeneration

WILDCARD = b"\x01*"
RETRY_S = 10.0  # after a plan or a configuration could not be put in force

log = logging.getLogger("gslb.node")


def run(start: Start, line: socket.socket, *, first: bool) -> int:
    """Control this node until the supervisor says so or is gone; the exit status.

    On the `first` start what is wrong ends it, and on a later one it waits for the files to be mended.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the supervisor ends it over the channel
    return asyncio.run(Controller(start, line).run(first=first))


class Controller:
    """The events of one node, one after the other."""

    def __init__(self, start: Start, line: socket.socket) -> None:
        self._start = start
        self._line = line
        self._facts = Facts()
        self._clock = Clock()
        self._station: Station | None = None  # from the first good configuration on
        self._loaded: tuple[str, watch.Signature] | None = None  # what was considered last, whatever became of it
        self._files: tuple[Path, ...] = (start.config,)
        self._known: watch.Signature = ()  # of the files when they were considered
        self._databases: tuple[Path, ...] = ()
        self._listening: tuple[str, ...] = ()
        self._locating: asyncio.Task[None] | None = None
        self._warned: frozenset[str] = frozenset()
        self._announced = False
        self._announces = False  # routes may lead here
        self._threads = ThreadPoolExecutor()

    async def run(self, *, first: bool) -> int:
        """See the module's `run`."""
        asyncio.get_running_loop().set_default_executor(self._threads)
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        self._reload_due = False
        self._leaving: asyncio.Task[None] | None = None
        self._in_force = asyncio.Event()  # a configuration, in this life
        self._hurried = asyncio.Event()
        self._link = Link(self._line, self._reload_anyway, self._finish, self._lent)
        self._facts.say(pid=os.getpid(), since=self._clock.now(), config=str(self._start.config.absolute()))
        async with asyncio.TaskGroup() as self._tasks:
            if not await self._consider(first=first) and first:
                self._stop.set()
                return 1
            self._watch("configuration files", self._watched, self._reload, self._known)
            self._watch("overrides file", self._override_files, self._overrides_changed)
            self._watch("proposed configuration", self._proposals, self._proposed)
            await self._events()
            if self._locating is not None:
                self._locating.cancel()
                await asyncio.gather(self._locating, return_exceptions=True)
        return 0

    # --- what happens ---

    async def _events(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            if self._reload_due:
                self._reload_due = False
                await self._consider(first=False)
            due_s = self._decide()
            try:
                await asyncio.wait_for(self._wake.wait(), due_s)
            except TimeoutError:
                continue

    def _reload(self) -> None:
        self._reload_due = True
        self._wake.set()

    def _reload_anyway(self) -> None:
        """Somebody asked for it (SIGHUP): also what is the same is tried again."""
        self._loaded = None
        self._reload()

    def _overrides_changed(self) -> None:
        if self._station is not None:
            self._station.overrides_written()

    def _finish(self, end: End) -> None:
        if end is End.HURRIED:
            self._hurried.set()
        elif self._announces and end is End.ORDERLY and not self._stop.is_set():
            if self._leaving is None:
                self._leaving = self._tasks.create_task(self._leave())
        else:
            if self._leaving is not None:
                self._leaving.cancel()
            self._end()

    async def _leave(self) -> None:
        """Take away the routes that lead here while all else goes on, then end.  What an earlier run left is found first."""
        await self._in_force.wait()
        assert self._station is not None
        hurry = asyncio.create_task(self._hurry(self._station))
        try:
            await self._station.leave()
        except Exception:
            log.exception("routes may still lead here")
        hurry.cancel()
        self._end()

    async def _hurry(self, station: Station) -> None:
        await self._hurried.wait()
        station.hurry()

    def _end(self) -> None:
        self._stop.set()
        self._wake.set()

    def _lent(self, lent: Lent) -> None:
        if self._station is not None:
            self._station.lent(lent)

    def _decide(self) -> float | None:
        """Decide; how long nothing is due after that, but for what is observed."""
        if self._station is None:
            return None
        waits = [] if self._station.decide() else [RETRY_S]
        now = self._clock.now()
        waits.append(next_keys_at(now) - now)
        expiry = self._station.planner.next_expiry(now)
        if expiry is not None:
            waits.append(max(0.0, expiry - now))
        return min(waits, default=None)

    def _watch(
        self, part: str, paths: Callable[[], Iterable[Path]], changed: Callable[[], None], since: watch.Signature = ()
    ) -> None:
        watching = keep_running(lambda: watch.watch(paths, changed, self._stop, since), part, self._stop)
        self._tasks.create_task(watching)

    def _watched(self) -> Iterable[Path]:
        return (*self._files, *self._databases)

    def _override_files(self) -> Iterable[Path]:
        return (self._station.store.overrides_path,) if self._station is not None else ()

    def _proposals(self) -> Iterable[Path]:
        return (self._station.store.folder / PROPOSED,) if self._station is not None else ()

    def _proposed(self) -> None:
        if self._station is not None:
            self._station.rollout.proposed()

    # --- a configuration ---

    async def _consider(self, *, first: bool) -> bool:
        """Look at the files; False when they are refused.  What is accepted is put in force when its table is there."""
        began_ns = time.time_ns()
        try:
            found = await asyncio.to_thread(consider, self._start.config, self._store_of)
            loaded = found.chosen.loaded
            node = self._start.node_of(loaded.deployment)
        except (Refused, SystemExit) as error:
            lines = [str(one) for one in error.errors] if isinstance(error, Refused) else [str(error)]
            if isinstance(error, Refused) and error.files:
                self._files = error.files
            self._refuse(lines, first=first)
            return False
        self._files = found.files
        self._databases = tuple(Path(name) for name in loaded.deployment.geo.databases)
        self._known = watch.signature(self._watched())
        if watch.touched_between(
            found.files, began_ns, time.time_ns()
        ):  # perhaps it was read half before that, so once more
            self._reload()
        considered = loaded.digest, watch.signature(self._databases)
        if considered == self._loaded:
            self._facts.problem("configuration", found.lines)
            self._counts(found)
            return True
        try:
            asked = wanted_of(loaded.deployment, node)
            self._announces = self._announces or asked.farewell_s > 0
            granted = await self._link.ask(asked)
            self._listening = granted.listening
            self._keep_rights(asked)
            secrets = self._open(loaded.deployment, node, granted.no_driver)
        except Declined as error:
            if not first:  # at first the supervisor says it
                self._facts.problem("configuration", (str(error),))
            return False
        except (NoSecret, NoAccess, OSError, UnusableGeneration) as error:
            self._refuse([str(error)], first=first)
            return False
        self._loaded = considered
        self._facts.problem("configuration", found.lines)
        self._counts(found)
        self._warn(loaded)
        await self._locate(loaded, node, secrets)
        return True

    def _keep_rights(self, asked: Wanted) -> None:
        """Hold what this configuration needs and hand that down; in new threads, since rights are a thread's own.  Raises OSError."""
        needed = {privilege.CAP_NET_RAW: asked.marks, privilege.CAP_NET_BIND_SERVICE: asked.binds_low}
        privilege.keep_only(capability for capability, is_needed in needed.items() if is_needed)
        for capability in needed:
            privilege.hand_down(capability)
        before, self._threads = self._threads, ThreadPoolExecutor()
        asyncio.get_running_loop().set_default_executor(self._threads)
        before.shutdown(wait=False)  # each thread ends when it has done its work

    def _store_of(self, own: Loaded | None) -> Store | None:
        """The state folder; None where nothing says yet which it is.  Raises SystemExit."""
        if self._station is not None or own is None:
            return None if self._station is None else self._station.store
        return Store(self._start.state, own.deployment.name, self._start.node_of(own.deployment).name)

    def _counts(self, found: Considered) -> None:
        """Tell whose configuration counts now: that of a version, or of the node's own files."""
        assert self._station is not None
        self._station.rollout.considered(found.own, found.chosen)

    def _refuse(self, lines: list[str], *, first: bool) -> None:
        if first:
            sys.stderr.write("".join(f"{line}\n" for line in lines))
        else:
            self._facts.problem("configuration", lines)

    def _warn(self, loaded: Loaded) -> None:
        """Say the configuration's warnings; those that were said are not said again."""
        warnings = folded(loaded.warnings)
        if (line := unshared(loaded.deployment, os.environ)) is not None:
            warnings.append(line)
        for line in warnings:
            if line not in self._warned:
                log.warning(line)
        self._warned = frozenset(warnings)
        self._facts.say(warnings=warnings, listening=list(self._listening))

    def _open(self, deployment: Deployment, node: Node, no_driver: str) -> Secrets:
        """Open the state folder at the first good configuration; the secrets.

        Raises NoSecret, NoAccess, OSError, UnusableGeneration.
        """
        if self._station is None:
            store = Store(self._start.state, deployment.name, node.name)
            self._station = Station(self._start, store, self._facts, self._clock, self._wake.set, self._try_again)
            self._station.lend = self._link.lend
            self._tasks.create_task(self._station.run(self._stop))
        self._station.observer.balancing.no_driver = no_driver
        self._facts.say(deployment=deployment.name, node=node.name, site=node.site)
        return secrets_of(deployment, os.environ, self._start.config, self._station.store.folder)

    async def _locate(self, loaded: Loaded, node: Node, secrets: Secrets) -> None:
        """Have the location table made, in the background where it takes time."""
        if self._locating is not None:
            self._locating.cancel()
            await asyncio.gather(self._locating, return_exceptions=True)
            self._locating = None
        if geography.has_databases(loaded.deployment):
            self._locating = asyncio.create_task(self._put_in_force(loaded, node, secrets))
            self._locating.add_done_callback(_complain)
        else:
            await self._put_in_force(loaded, node, secrets)

    async def _put_in_force(self, loaded: Loaded, node: Node, secrets: Secrets) -> None:
        """Serve `loaded` with its location table; on a very first start without geography until that is made."""
        deployment = loaded.deployment
        assert self._station is not None
        locator = self._station.locator
        if geography.has_databases(deployment) and not self._station.planner.in_force:
            meanwhile = locator.substitute(deployment)
            if meanwhile is not None and await self._adopt(
                loaded, Model(deployment, node, loaded.zones, *meanwhile, secrets.secret, secrets.access)
            ):
                log.info("the geo databases are being read; until then `nearest` is the order as written")
        found = await locator.table(deployment)
        if found is None:
            return
        model = Model(deployment, node, loaded.zones, *found, secrets.secret, secrets.access)
        if await self._adopt(loaded, model) and not self._announced:
            self._announced = True
            self._start.audience.serving(self._serving(model))

    async def _adopt(self, loaded: Loaded, model: Model) -> bool:
        """Put a model in force and say so; False when that failed."""
        assert self._station is not None
        if not await self._station.adopt(model, loaded.digest):
            self._facts.problem("change", (f"the configuration is not in force yet; next try in {RETRY_S:.0f} s",))
            self._try_again(RETRY_S)
            return False
        self._in_force.set()
        self._facts.problem("change", ())
        await asyncio.to_thread(keep, self._station.store, loaded.copy)
        located = model.located
        log.info("configuration in force", extra={"digest": loaded.digest, "geography": located.digest})
        self._facts.say(
            loaded={"digest": loaded.digest, "since": self._clock.now()},
            geography={
                "digest": located.digest,
                "classes": model.geography.classes,
                "databases": list(located.databases),
                "notes": list(located.notes),
            },
        )
        self._wake.set()  # the new model's next moment
        return True

    def _try_again(self, wait_s: float) -> None:
        """Consider the files once more, though they may be the same."""
        self._loaded = None
        asyncio.get_running_loop().call_later(wait_s, self._reload)

    def _serving(self, model: Model) -> Serving:
        names = [one.owner for zone in model.zones for one in zone.dynamic if one.owner[:2] != WILDCARD]
        return Serving(
            deployment=model.deployment,
            node=model.node,
            listening=self._listening,
            databases=model.located.databases,
            notes=model.located.notes,
            example=text_of(names[0]) if names else None,
        )


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a configuration could not be put in force", exc_info=error)


def text_of(name: bytes) -> str:
    """A wire name for people."""
    labels = []
    at = 0
    while name[at]:
        labels.append(name[at + 1 : at + 1 + name[at]].decode("ascii", "backslashreplace"))
        at += 1 + name[at]
    return ".".join(labels) + "."
