"""What this node knows of the world: health by checks and by its balancer, load by pages, reports and the balancer's counts,
demand by its own answers.  IO.

Rule 1: nothing observed is lost by a restart: the last of it is kept on disk, and the next run begins with it.
Rule 2: what an earlier run knew of demand is told until the meter tells some, and for REMEMBERED_S at most.
Rule 3: what cannot be had (a dead checking process, a stale load, no counts) leaves what was known, and its age grows.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gslb.control import balancerfile
from gslb.control.balancing import Balancing
from gslb.control.clock import Clock
from gslb.control.demand import DemandMeter, Measured
from gslb.control.executor import Content
from gslb.control.facts import Facts
from gslb.control.kernelcounts import KernelCounts
from gslb.control.loads import Loads
from gslb.control.observed import Observed
from gslb.control.passive import ClassOf, Passive
from gslb.control.prober import Prober
from gslb.control.queries import DRIVER, Queries
from gslb.control.store import StateError, Store
from gslb.control.tasks import keep_running
from gslb.model.deployment import Deployment, Node, PoolId
from gslb.model.location import Geography
from gslb.model.world import Health, Rtts, Verdict, Verdicts, World
from gslb.nameserver.generation import Manifest

TICK_S = 1.0  # between two looks at loads and counts
KEEP_S = 2.0  # at most so often the state file is written
FIGURES_S = 5.0
REMEMBERED_S = 300.0  # a meter that has told nothing after that is not asked anything

log = logging.getLogger("gslb.node")


class Observer:
    """The world as one node sees it.

    `changed` is called when verdicts change what may be decided, `looked` after each look at loads and counts.
    """

    def __init__(
        self, store: Store, clock: Clock, facts: Facts, changed: Callable[[], None], looked: Callable[[], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._facts = facts
        self._looked = looked
        self._changed = changed
        self.prober = Prober(changed)
        self.loads = Loads()
        self._meter = DemandMeter(store.folder / "run")
        self._model: tuple[Deployment, Geography] | None = None
        self._measured = Measured()
        self._counted = ""  # the digest of the location table by which demand was measured
        self._remembers_until: float | None = time.monotonic() + REMEMBERED_S
        self._kept_at = self._figured_at = 0.0
        read = store.read_observed()
        if read.note is not None:
            log.warning("what was observed last is not known", extra={"why": read.note})
        self._last = read.seen
        self._run = store.folder / "run"
        self.balancing = Balancing(self._run, changed, read.seen.unbalanced if read.seen is not None else None)
        self.queries = Queries(self._run, int(clock.now() * 1000), self.balancing.sample)
        self.passive = Passive()
        self._kernel_counts = KernelCounts(self._run, store.folder / "serving")
        self._told: dict[str, Any] | None = None  # what the balancer's file says

    @property
    def last(self) -> Observed | None:
        """What an earlier run observed last."""
        return self._last

    @property
    def measured(self) -> Measured:
        """What the workers answered."""
        return self._measured

    async def want(self, deployment: Deployment, node: Node, geography: Geography) -> None:
        """Observe for this deployment from now on; at first, with nothing known, after one round of checks."""
        first = self._model is None
        now = self._clock.now()
        last = self._last.world(now, (), "") if first and self._last is not None else World(now)
        known = last.verdicts  # a target that a reload brings was not checked meanwhile
        self._model = deployment, geography
        self.loads.want(deployment)
        self.loads.restore(last.loads, time.monotonic())
        self.prober.want(deployment, node.site, known)
        if first and not known:
            await self.prober.first_round(
                max((one.timeout_s for one in (deployment.monitors or {}).values()), default=0)
            )

    async def balance(self, deployment: Deployment, node: Node, secret: bytes, class_of: ClassOf, classes: str) -> None:
        """Drive and hear the balancer for this deployment from now on; at first after its first word.

        `class_of` tells the location class of a client's network, by the table whose digest is `classes`.
        """
        self.passive.want(deployment, node.site, class_of, classes)
        self.balancing.want(deployment, node, secret)
        await self.balancing.first_word()

    def serve(self, manifest: Manifest | None, content: Content) -> None:
        """Have the driver answer what the workers answer from, and know what its counters will mean."""
        self.balancing.serve(manifest, content)
        if manifest is not None and self.balancing.answers:
            self._kernel_counts.expect(manifest.image)

    def seen(self, now: float) -> Observed:
        """What is known at `now`."""
        geography = self._model[1].digest if self._model is not None else ""
        demand = self._measured.demand if self._counted == geography else {}
        heavy = self._measured.heavy
        if self._last is not None and self._last.geography == geography and self._remembers():
            demand, heavy = self._last.demand, heavy or self._last.heavy
        return Observed(
            at=now,
            verdicts=_standing_out(self.prober.verdicts(), self.passive.outliers(time.monotonic())),
            loads=self.loads.world(time.monotonic()),
            geography=geography,
            demand=demand,
            heavy=heavy,
            blind_since=self.prober.blind_since,
            rtts=self._rtts(geography),
            unbalanced=self.balancing.unbalanced(),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Observe until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_running(lambda: self.prober.run(stop), "checks", stop))
            tasks.create_task(keep_running(lambda: self.balancing.run(stop), "balancer", stop))
            tasks.create_task(keep_running(lambda: self.queries.run(stop), "queries", stop))
            tasks.create_task(keep_running(lambda: self._tick(stop), "loads and demand", stop))

    def keep(self) -> None:
        """Write what is known to the state folder."""
        self._kept_at = time.monotonic()
        try:
            self._store.save_observed(self.seen(self._clock.now()))
            if self._kept_at - self._figured_at >= FIGURES_S:
                self._figured_at = self._kept_at
                self._store.save_figures(self.figures())
        except StateError as error:
            self._facts.problem("observed", (f"what is observed cannot be kept for the next start: {error}",))
        else:
            self._facts.problem("observed", ())

    def figures(self) -> dict[str, Any]:
        """Statistics of checks and loads, as JSON values."""
        now = time.monotonic()
        return {**self.prober.state(), "loads": self.loads.state(now), "passive": self.passive.state(now)}

    def report_load(self, pool: PoolId, value: float, at: float | None, wall: float) -> None:
        """Take a load that was pushed; `at` is when, and `wall` the time now, in seconds since the epoch.  Raises BadLoad."""
        self.loads.pushed(pool, value, time.monotonic(), at, wall)

    def _rtts(self, geography: str) -> Rtts:
        """Round trips; those that an earlier run measured, until there are others."""
        found = self.passive.rtts(time.monotonic())
        if not found and self._last is not None and self._last.geography == geography:
            return self._last.rtts
        return found

    def _hear_balancer(self, now: float) -> None:
        """Learn from what the balancer counted, and keep what it says of itself."""
        other = False
        for pulse in self.balancing.pulses():
            other = self.passive.take(pulse, now) or other
            self._kernel_counts.take(pulse.dns, now)
            self.queries.take(pulse.queries, pulse.queries_lost, DRIVER)
        for pool, value in self.passive.loads(now).items():
            self.loads.counted(pool, value, now)
        if other:
            self._changed()
        self.prober.lead(self.balancing.ways())
        self._facts.problem("balancer", self.balancing.problems())
        told = self.balancing.to_json()
        if told is not None and told != self._told:
            self._told = told
            balancerfile.save(self._run, told)

    def _measure(self, now: float) -> None:
        if self._model is None:
            return
        deployment, geography = self._model
        self._measured, self._counted = self._meter.sample(now, geography, deployment), geography.digest
        if self._measured.demand:
            self._remembers_until = None

    def _remembers(self) -> bool:
        """Whether demand is what an earlier run knew of it."""
        return self._remembers_until is not None and time.monotonic() < self._remembers_until

    def _read_pages(self) -> None:
        for pool, reading in self.prober.readings().items():
            self.loads.scraped(pool, reading.value, reading.at)
        for pool, why in self.prober.unread().items():
            if self.loads.failed(pool, why):
                log.warning("the load of a pool cannot be read; the last one is kept", extra={"pool": pool, "why": why})

    async def _tick(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            now = time.monotonic()
            self._read_pages()
            self._hear_balancer(now)
            self._measure(now)
            self._looked()
            if now - self._kept_at >= KEEP_S:
                self.keep()
            try:
                await asyncio.wait_for(stop.wait(), TICK_S)
            except TimeoutError:
                continue
        self.keep()
        self._kernel_counts.close()


def _standing_out(verdicts: Verdicts, outliers: Mapping[PoolId, Mapping[str, str]]) -> Verdicts:
    """The verdicts, with who stands out by the balancer's counts; checks that say so already have the word."""
    if not outliers:
        return verdicts
    found = {pool: dict(known) for pool, known in verdicts.items()}
    for pool, backends in outliers.items():
        known = found.setdefault(pool, {})
        for backend, how in backends.items():
            verdict = known.get(backend, Verdict(Health.UP))
            known[backend] = verdict if verdict.outlier else replace(verdict, outlier=how)
    return found
