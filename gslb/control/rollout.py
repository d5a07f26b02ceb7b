"""Versions of the configuration: published by one node, taken by each that can run them.  IO.

Rule 1: a version is published by compare-and-set: of two that are published at once, one is told that it lost.
Rule 2: a node takes a version only if its own check passes; what it refuses, and why, all nodes are told.
Rule 3: a bucket that was lost, or that holds an older version than this node has, is given this node's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from gslb.bus.bus import Away, Bus, Conflict, Entry, Standing
from gslb.bus.peers import Living
from gslb.config.load import Loaded
from gslb.config.problem import Refused
from gslb.control.applied import (
    APPLIED,
    BEFORE,
    Applied,
    Chosen,
    Record,
    RecordUnreadable,
    load_bundle,
    read,
    record_json,
    write,
)
from gslb.control.bundle import BundleRefused, bundle_of, digest_of, packed
from gslb.control.facts import ROLLOUT, Facts
from gslb.control.kept import kept
from gslb.control.proposal import ANSWERED, LIFE_S, Proposal, take_proposal
from gslb.control.release import (
    CURRENT,
    REFUSED,
    Refusal,
    Release,
    dump_refusal,
    dump_release,
    parse_refusal,
    parse_release,
    refusal,
)
from gslb.control.start import Start
from gslb.control.store import StateError, Store
from gslb.model.deployment import NodeId

_AGAIN_S = 1.0  # after the bus could not be reached
_IDLE_S = 30.0
_SLOTS = 4  # objects that one node uses in turn, so that what it replaces is needed no more
_NODES = 1_000  # whose refusals are remembered
_UNLIKE_S = 30.0  # nodes may take a version one after the other for so long
_PROBLEM = "version of the configuration"

log = logging.getLogger("gslb.node")


class _Unpublished(Exception):
    """A proposal is not published; the arguments are the lines that say why."""


class Rollout:
    """For the controller's event loop."""

    def __init__(
        self, start: Start, store: Store, facts: Facts, now: Callable[[], float], reload: Callable[[], None]
    ) -> None:
        """`now` is seconds since the epoch; `reload` has the controller consider what counts now."""
        self._start = start
        self._store = store
        self._facts = facts
        self._now = now
        self._reload = reload
        self._wake = asyncio.Event()
        self._applied = read(store, APPLIED)
        self.version = 0
        self._own = ""  # the digest of the node's own files
        self._release: Release | None = None
        self._revision = 0
        self._listed = False
        self._reachable = False
        self._mine = Refusal(0)  # what this node refuses
        self._mine_told: Refusal | None = None
        self._refusals: dict[str, Refusal] = {}
        self._revisions: dict[str, int] = {}
        self._refused: Counter[str] = Counter()
        self._proposed = False
        self._config, self._in_force = "", 0
        self._unlike: dict[NodeId, float] = {}  # since when (monotonic) a node has run another configuration

    def state(self) -> Mapping[str, Any]:
        """For status: the version that is published, the one that this node has, and who refuses which."""
        applied, release = self._applied, self._release
        refusals = {node: one for node, one in self._refusals.items() if one.lines}
        if self._mine.lines:
            refusals[self._store.folder.name] = self._mine
        return {
            "published": None if release is None else record_json(release.record),
            "before": None if release is None or release.before is None else record_json(release.before),
            "taken": None if applied is None else record_json(applied.record),
            "in_force": self._in_force,
            "refused": {node: {"version": one.version, "lines": list(one.lines)} for node, one in refusals.items()},
            "malformed": dict(self._refused),
        }

    # --- what it is told ---

    def considered(self, own: Loaded | None, found: Chosen) -> None:
        """The controller looked at the node's `own` files (None: they are refused); `found` is what counts."""
        self._own = own.digest if own is not None else ""
        self.version = found.version
        if self._config == found.loaded.digest:
            self._in_force = found.version
        self._applied = read(self._store, APPLIED)
        self._say()
        self._wake.set()

    def in_force(self, digest: str) -> None:
        """The configuration with this digest is in force here."""
        self._config, self._in_force = digest, self.version
        self._say()

    def others(self, lives: Mapping[NodeId, Living]) -> None:
        """What is known of other nodes; called each second.  One that goes on with another configuration is a problem."""
        now, lines = time.monotonic(), []
        for name in [name for name in self._unlike if name not in lives]:
            del self._unlike[name]
        for name, one in sorted(lives.items()):
            life = one.life
            if life is None or not one.alive or not self._config or life.config in ("", self._config):
                self._unlike.pop(name, None)
            elif now - self._unlike.setdefault(name, now) >= _UNLIKE_S:
                theirs, ours = _named(life.config_version, life.config), _named(self.version, self._config)
                lines.append(f"node {name} runs another configuration: {theirs}, here {ours}")
        self._facts.problem("configuration of other nodes", lines)

    def proposed(self) -> None:
        """Perhaps there is a proposal."""
        self._proposed = True
        self._wake.set()

    def entry(self, entry: Entry) -> None:
        """A key of the bus has this value now; keys of others are passed over."""
        if entry.key == CURRENT:
            self._take_release(entry)
        elif entry.key.startswith(REFUSED):
            self._take_refusal(entry)

    def listed(self, keys: frozenset[str]) -> None:
        """These keys are in the bucket and no others."""
        if CURRENT not in keys:
            self._release, self._revision = None, 0
        if REFUSED + self._store.folder.name not in keys:
            self._mine_told = None
        self._listed = True
        self._wake.set()

    def standing(self, standing: Standing) -> None:
        """The connection was made or lost."""
        self._reachable = standing.alone or standing.connected
        self._listed = self._listed and self._reachable
        self._wake.set()

    async def run(self, bus: Bus, stop: asyncio.Event) -> None:
        """Publish and take versions until `stop`."""
        self.standing(bus.standing)
        self._listed = self._listed or bus.standing.alone
        self._proposed = True  # one that an earlier controller left
        ending = asyncio.create_task(stop.wait())
        ending.add_done_callback(lambda _: self._wake.set())
        try:
            while not stop.is_set():
                self._wake.clear()
                wait_s = await self._step(bus)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), wait_s)
        finally:
            ending.cancel()
            self._listed = False

    async def _step(self, bus: Bus) -> float:
        """What is due now; how long nothing more is."""
        try:
            if self._listed:
                await self._restore(bus)
                await self._take(bus)
                await self._tell_refusal(bus)
        except (Away, Conflict):
            return _AGAIN_S if not self._proposed else await self._answer(bus)
        except StateError as error:
            self._facts.problem(_PROBLEM, (str(error),))
            return _AGAIN_S
        return await self._answer(bus) if self._proposed else _IDLE_S

    def _take_release(self, entry: Entry) -> None:
        self._revision, self._release = entry.revision, None
        if entry.value is not None:
            try:
                self._release = parse_release(entry.value, self._store.deployment)
            except RecordUnreadable as error:
                self._refused[CURRENT] += 1
                log.warning("the version on the bus is refused", extra={"why": str(error)})
        self._say()
        self._wake.set()

    def _take_refusal(self, entry: Entry) -> None:
        node = entry.key.removeprefix(REFUSED)
        self._revisions[node] = entry.revision
        self._refusals.pop(node, None)
        if entry.value is None or len(self._refusals) >= _NODES:
            return
        try:
            self._refusals[node] = parse_refusal(entry.value, self._store.deployment)
        except RecordUnreadable:
            self._refused[REFUSED] += 1
        self._say()

    # --- versions that others published ---

    async def _restore(self, bus: Bus) -> None:
        """Publish again what this node has and the bus has not.  Raises Away, Conflict."""
        mine = self._applied
        if mine is None or (self._release is not None and self._release.record.rank >= mine.record.rank):
            return
        revision, before = self._revision, read(self._store, BEFORE)
        await bus.store(mine.record.object, mine.bundle)
        if before is not None:
            await bus.store(before.record.object, before.bundle)
        release = Release(mine.record, None if before is None else before.record)
        await self._publish(bus, release, revision)
        log.warning("the bus had lost the version of the configuration", extra={"version": mine.record.version})

    async def _take(self, bus: Bus) -> None:
        """Take the version on the bus where it is newer than this node's.  Raises Away, StateError."""
        release = self._release
        if release is None or (self._applied is not None and release.record.rank <= self._applied.record.rank):
            self._facts.problem(_PROBLEM, ())  # also of a version that is not there any more
            return
        if self._mine.lines and self._mine.version == release.record.version:
            return  # this run has refused it
        data = await bus.fetch(release.record.object)
        if data is None or digest_of(data) != release.record.digest:
            missing = f"version {release.record.version}: its files are not on the bus"
            self._facts.problem(_PROBLEM, (missing,))
            raise Away(missing)
        await self._take_bundle(release.record, data)

    async def _take_bundle(self, record: Record, data: bytes) -> None:
        """Take a version whose check passes here.  Raises StateError."""
        try:
            await asyncio.to_thread(self._checked, data)
        except _Unpublished as error:
            self._mine = refusal(record.version, error.args)
            lines = [
                f"version {record.version} is refused, the present one goes on: {line}" for line in self._mine.lines
            ]
            self._facts.problem(_PROBLEM, lines)
            return
        before, new = self._applied, Applied(record, data, self._own)
        await asyncio.to_thread(self._keep, before, new)
        self._applied, self._mine = new, Refusal(record.version)
        self._facts.problem(_PROBLEM, ())
        log.info("version of the configuration taken", extra={"version": record.version, "who": record.who})
        self._say()
        self._reload()

    def _keep(self, before: Applied | None, new: Applied) -> None:
        if before is not None:
            write(self._store, BEFORE, before)
        write(self._store, APPLIED, new)

    def _checked(self, data: bytes) -> Loaded:
        """The configuration in a bundle, checked for this node.  Raises _Unpublished."""
        try:
            loaded = load_bundle(self._store, self._start.config, data)
            if loaded.deployment.name != self._store.deployment:
                raise _Unpublished(f"it is of deployment {loaded.deployment.name}, expected {self._store.deployment}")
            node = self._start.node_of(loaded.deployment)
        except Refused as error:
            raise _Unpublished(*(str(one) for one in error.errors)) from error
        except (BundleRefused, SystemExit) as error:
            raise _Unpublished(str(error)) from error
        if node.name != self._store.folder.name:
            raise _Unpublished(f"this node would be {node.name}, expected {self._store.folder.name}")
        return loaded

    async def _tell_refusal(self, bus: Bus) -> None:
        """Tell all nodes what this one refuses, and that it does no more.  Raises Away."""
        node = self._store.folder.name
        told = self._mine_told if self._mine_told is not None else self._refusals.get(node, Refusal(0))
        if self._mine.lines == told.lines:
            return
        await bus.put(REFUSED + node, dump_refusal(self._store.deployment, self._mine))
        self._mine_told = self._mine

    # --- a version that this node publishes ---

    async def _answer(self, bus: Bus) -> float:
        """Publish what is proposed, and answer who proposed it."""
        self._proposed = False
        proposal = await asyncio.to_thread(take_proposal, self._store)
        if proposal is None or proposal.at + LIFE_S < self._now():
            return _IDLE_S
        answer: dict[str, object] = {"id": proposal.name, "version": None, "lines": []}
        try:
            answer["version"] = await self._publish_proposal(bus, proposal)
        except _Unpublished as error:
            answer["lines"] = list(error.args)
        except Conflict:
            answer["lines"] = ["another version was published just now; look at it and apply again"]
        except Away as error:
            said = f"the bus cannot be reached ({error}): perhaps nothing was published, `gslb status` says it later"
            answer["lines"] = [said, "to change this node alone, edit its own file"]
        except StateError as error:
            answer["lines"] = [str(error)]
        self._say()
        self._facts.say(**{ANSWERED: answer})
        return _IDLE_S

    async def _publish_proposal(self, bus: Bus, proposal: Proposal) -> int:
        """The version that it is now.  Raises _Unpublished, Away, Conflict, StateError."""
        self._take_release(await bus.get(CURRENT))
        revision, present = self._revision, self._release.record if self._release is not None else None
        if proposal.base != (present.version if present is not None else 0):
            by = f"version {present.version} by {present.who}" if present is not None else "no version"
            raise _Unpublished(f"{by} is published now, not {proposal.base}: look at it and apply again")
        data = proposal.bundle if proposal.bundle is not None else await self._before(bus)
        loaded = await asyncio.to_thread(self._checked, data)
        highest = max(present.version if present else 0, self._applied.record.version if self._applied else 0)
        node = self._store.folder.name
        record = Record(
            version=highest + 1,
            object=f"config-{node}-{(highest + 1) % _SLOTS}",
            digest=digest_of(data),
            config=loaded.digest,
            who=proposal.who,
            why=proposal.why,
            since=self._now(),
            node=node,
        )
        if present is None:
            present = await self._own_version(bus)
        await bus.store(record.object, data)
        await self._publish(bus, Release(record, present), revision)
        log.info("version of the configuration published", extra={"version": record.version, "who": record.who})
        await self._take_bundle(record, data)
        return record.version

    async def _publish(self, bus: Bus, release: Release, revision: int) -> None:
        """Write the present version in place of that of `revision`.  Raises Away, Conflict."""
        revision = await bus.put(CURRENT, dump_release(self._store.deployment, release), revision)
        if revision > self._revision:  # else a later one was heard already
            self._revision, self._release = revision, release
        self._say()

    async def _before(self, bus: Bus) -> bytes:
        """The bundle of the version before the present one.  Raises _Unpublished, Away."""
        record = self._release.before if self._release is not None else None
        if record is None:
            raise _Unpublished("there is no version before the present one")
        kept_here = await asyncio.to_thread(read, self._store, BEFORE)
        if kept_here is not None and kept_here.record.digest == record.digest:
            return kept_here.bundle
        data = await bus.fetch(record.object)
        if data is None or digest_of(data) != record.digest:
            raise _Unpublished(f"version {record.version} by {record.who} is not kept any more")
        return data

    async def _own_version(self, bus: Bus) -> Record | None:
        """What was in force here before the first version, to go back to it; None where it cannot be a bundle.  Raises Away."""
        copy = await asyncio.to_thread(kept, self._store)
        if copy is None:
            return None
        node = self._store.folder.name
        try:
            data = packed(bundle_of(self._store.deployment, copy))
        except BundleRefused as error:
            log.warning("there is no way back from this version", extra={"why": str(error)})
            return None
        record = Record(0, f"config-{node}-own", digest_of(data), self._own, node, "its own file", self._now(), node)
        await bus.store(record.object, data)
        await asyncio.to_thread(write, self._store, BEFORE, Applied(record, data))
        return record

    def _say(self) -> None:
        self._facts.say(**{ROLLOUT: dict(self.state())})


def _named(version: int, digest: str) -> str:
    return f"{f'version {version}' if version else 'its own file'} ({digest[:12]})"
