"""The shed levels of a deployment at one node: heard, and told, by the bus.  IO; `gslb.control.steering` has the rules.

Rule 1: nothing here waits for the bus but `run`.
Rule 2: a bus that does not answer leaves what was given last, and the levels of this node's own site to this node.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from contextlib import suppress

from gslb.bus.bus import Away, Bus, Conflict, Entry
from gslb.bus.shedword import key_of
from gslb.bus.writers import Place
from gslb.control.clock import Clock
from gslb.control.steering import Put, Steering
from gslb.model.deployment import Deployment, Node, PoolId
from gslb.model.plan import Plan
from gslb.model.world import GivenShed

LOOK_S = 0.25  # between two looks at who steers what, and what is to be told
PROBE_S = 3.0  # without a call that succeeded: one is made, to know whether the bus is there
UNSURE_S = 0.5  # between such calls while a level waits for one
AT_ONCE = 8  # calls

log = logging.getLogger("gslb.node")


class Sheds:
    """For the controller's event loop.  `changed` is called when a decision is due, since this node is given something else."""

    def __init__(self, clock: Clock, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._steering = Steering(clock.now, time.monotonic)
        self._steered: frozenset[PoolId] = frozenset()
        self._refused = 0
        self._probed_at = float("-inf")
        self._alone = True
        self._pool: PoolId | None = None  # of which a probe asks

    def want(self, model: Deployment, node: Node, *, alone: bool) -> None:
        """Steer for this deployment from now on; `alone`: no bus is configured."""
        self._pool = min(model.pools, default=None)
        self._alone = alone
        self._steering.want(model, (node.site, node.name), alone=alone)

    def live(self, places: Collection[Place]) -> None:
        """These nodes (site and name) live; to be said about once a second."""
        self._steering.live(places)

    def given(self, now: float) -> Mapping[PoolId, GivenShed]:
        """`World.given` at `now`."""
        return self._steering.given(now)

    def decided(self, plan: Plan) -> None:
        """This plan is in force; also that of an earlier run, before the first decision."""
        self._steering.decided(plan)

    def entry(self, entry: Entry) -> None:
        """A key has this value; those of others than sheds are left alone."""
        due = self._steering.entry(entry)
        if self._steering.refused > self._refused:
            if not self._refused:
                log.warning("what a key says that a pool sheds cannot be read", extra={"key": entry.key})
            self._refused = self._steering.refused
        if due:
            self._changed()

    def listed(self, keys: Collection[str]) -> None:
        """All keys that there are; each was told before."""
        self._steering.listed(keys)

    @property
    def writers(self) -> Mapping[PoolId, str | None]:
        """Which node steers each pool, as far as is known here."""
        return self._steering.writers

    def state(self) -> Mapping[str, object]:
        """For status: who steers each pool (None: not known), and how many values were no sheds."""
        return {"writers": dict(self.writers), "refused": self.refused}

    @property
    def refused(self) -> int:
        """How many values were no sheds of this deployment."""
        return self._steering.refused

    async def run(self, bus: Bus, stop: asyncio.Event) -> None:
        """Tell what is decided here, until `stop`."""
        self._steering.begin()
        calls = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            running: set[asyncio.Task[None]] = set()
            while not stop.is_set():
                if self._steering.look():
                    self._changed()
                self._say()
                for call in self._calls(bus, calls) if bus.standing.connected else ():
                    running.add(tasks.create_task(call))
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), LOOK_S)
                running = {task for task in running if not task.done()}
            for task in running:  # the end of a node waits for no bus
                task.cancel()

    def _calls(self, bus: Bus, calls: asyncio.Semaphore) -> Iterator[Coroutine[None, None, None]]:
        for put in self._steering.due():
            yield self._write(bus, put, calls)
        pause_s = UNSURE_S if self._steering.unsure else PROBE_S
        if self._steering.silent_s() >= pause_s and time.monotonic() - self._probed_at >= pause_s:
            self._probed_at = time.monotonic()
            yield self._probe(bus)

    async def _write(self, bus: Bus, put: Put, calls: asyncio.Semaphore) -> None:
        async with calls:
            try:
                self._steering.wrote(put, await bus.put(put.key, put.value, put.revision))
            except Conflict:
                await self._learn(bus, put)
            except Away:
                self._steering.failed(put)

    async def _learn(self, bus: Bus, put: Put) -> None:
        """What another wrote in between."""
        try:
            if self._steering.refused_by(put, await bus.get(put.key)):
                self._changed()
        except Away:
            self._steering.failed(put)

    async def _probe(self, bus: Bus) -> None:
        with suppress(Away):
            if self._pool is not None:
                self._steering.entry(await bus.get(key_of(self._pool)))
                self._steering.reached()

    def _say(self) -> None:
        """Log which levels this node began to steer, or leaves to others; who is alone steers all."""
        steered = self._steering.steered
        if steered != self._steered and not self._alone:
            begun, left = sorted(steered - self._steered), sorted(self._steered - steered)
            log.info("levels of shedding", extra={"steered_here": begun or None, "by_others": left or None})
        self._steered = steered
