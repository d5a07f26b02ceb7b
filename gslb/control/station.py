"""What a node works with once it knows its state folder: planner, observer, chronicle, API.  IO; the API's `Desk`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gslb.bus.peers import Living
from gslb.control import asked, draining
from gslb.control.agreement import Agreement
from gslb.control.announcing import Announcing, Hearers, Senses
from gslb.control.changes import Moment, conflict
from gslb.control.chronicle import Chronicle
from gslb.control.classes import Classes
from gslb.control.clock import Clock
from gslb.control.desk import Figures
from gslb.control.events import Hub
from gslb.control.executor import DnsTables, Executors
from gslb.control.facts import DRAINING, TAKEN, Facts
from gslb.control.fullness import Fullness
from gslb.control.link import Lent
from gslb.control.locator import Locator
from gslb.control.lock import BEAT_S, CONTROLLER, Lock
from gslb.control.losses import Losses
from gslb.control.membership import Joins, Owner
from gslb.control.observed import Observed
from gslb.control.observer import Observer
from gslb.control.occasion import Occasions, Signs, signs_of
from gslb.control.planner import Model, Planner
from gslb.control.queries import Queries
from gslb.control.report import Known, Report, report
from gslb.control.rollout import Rollout
from gslb.control.shared import Shared
from gslb.control.sharing import balancers_digest
from gslb.control.sheds import Sheds
from gslb.control.start import Start
from gslb.control.store import OverridesRead, Store
from gslb.control.tasks import Defects, keep_running
from gslb.control.teller import Itself
from gslb.control.words import Lost
from gslb.model.deployment import MonitorId, Network, NodeId, PoolId
from gslb.model.plan import Plan
from gslb.model.world import Load, World

_LATEST = 20  # changes that a report tells


class Station:
    """One node's instruments.  For the controller's event loop."""

    def __init__(
        self,
        start: Start,
        store: Store,
        facts: Facts,
        clock: Clock,
        wake: Callable[[], None],
        again: Callable[[float], None],
    ) -> None:
        """`wake` has the controller plan; `again(seconds)` has it consider its files later.

        Raises OSError, UnusableGeneration.
        """
        self._lock = Lock(store.folder, CONTROLLER, wait=True)  # the controller of a killed run ends soon
        self.store = store
        self.config = start.config
        self._facts = facts
        self._clock = clock
        self._wake = wake
        self._overrides_due = True
        self._read: str | None = None  # stamps of the overrides file: when it was read last, and when a plan followed
        self._taken: str | None = None
        self._configuration: str | None = None
        dns = DnsTables(store.folder / "serving", store.deployment)
        facts.open(store.folder)
        self._occasions = Occasions()
        self.observer = Observer(store, clock, facts, self._observed, self._looked)
        self.shared = Shared(store, clock, facts, Owner(self.observer.seen, self._itself, wake))
        self.sheds = Sheds(clock, wake)
        balancing = self.observer.balancing
        executor = Executors(dns, balancing.apply, self.observer.serve)
        self.planner = Planner(
            store, executor, facts, self.shared.seen, lambda: balancing.version, given=self.sheds.given
        )
        self.planner.read_overrides()  # before the first plan: what is drained must not be answered by a restart
        folders = start.state / "geography", store.folder / "serving"
        self.locator = Locator(self.planner, facts, folders, start.audience.progress, again)
        self.events = Hub(int(clock.now() * 1000))
        self._chronicle = Chronicle(store.folder, self.events, self._left())
        self.agreement = Agreement(store, facts, clock.now, self.overrides_written, self._lost)
        self.rollout = Rollout(start, store, facts, clock.now, lambda: again(0.0))
        self.lend: Callable[[Iterable[Network]], None] = lambda _: None  # has the supervisor lend addresses
        senses = Senses(self.observer.prober.verdicts, self._unbalanced, self._answering)
        self.announcing = Announcing(
            store, clock, facts, senses, Hearers(self._borrow, self.shared.own_changed, self._announced)
        )
        for part in (self.agreement, self.sheds, self.rollout, self.announcing.leaving):
            self.shared.attend(part)
        self.shared.show("sheds", self.sheds.state)
        self.shared.watch(self._lives)
        self._losses = Losses()
        self._fullness = Fullness()
        self._draining = draining.Draining()
        self._defects = Defects()
        self._api = start.api(self)

    async def run(self, stop: asyncio.Event) -> None:
        """Observe and offer the API until `stop`."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._show_life(stop))
                tasks.create_task(self.observer.run(stop))
                tasks.create_task(self.shared.run(stop))
                tasks.create_task(self.announcing.run(stop))
                tasks.create_task(keep_running(lambda: self._api.run(stop), "api", stop))
                tasks.create_task(keep_running(lambda: self._losses.run(self, stop), "site losses", stop))
        finally:
            self._chronicle.close()

    async def _show_life(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._lock.beat()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), BEAT_S)

    async def adopt(self, model: Model, configuration: str) -> bool:
        """Observe for a model and put it in force; False when that failed and the old one stays."""
        await self.observer.want(model.deployment, model.node, model.geography)
        classes = Classes(model.located.path)
        digest = model.geography.digest
        await self.observer.balance(model.deployment, model.node, model.secret, classes.of, digest)
        self._share(model)
        if not self.planner.adopt(model, self._clock.now()):
            return False
        self._configuration = configuration
        self.announcing.want(model.deployment, model.node)
        self.announcing.decided(self.planner.last, self.planner.overrides, done=True)
        self.rollout.in_force(configuration)
        self._api.want(model.deployment)
        return True

    def decide(self) -> bool:
        """Put in force what follows from all that is known now; False when that failed."""
        self.overrides()
        done = self.planner.plan(self._clock.now())
        self.announcing.decided(self.planner.last, self.planner.overrides, done=done)
        if done and self.planner.last is not None:
            self.sheds.decided(self.planner.last)
        if done and self._taken != self._read:
            self._taken = self._read
            self._facts.say(**{TAKEN: self._taken})
        self._occasions.decided(time.monotonic(), self._signs())
        if self.model is not None:
            try:
                self._chronicle.take(self._moment(self.shared.seen(self._clock.now())))
            except Exception as error:  # noqa: BLE001  # answers do not depend on what is told of them
                self._defects.tell("audit log and events", error)
        return done

    async def leave(self) -> None:
        """Take away the routes that lead here, in order, before all else ends."""
        await self.announcing.leave()

    def hurry(self) -> None:
        """Wait for no router to follow what `leave` says."""
        self.announcing.hurry()

    def lent(self, lent: Lent) -> None:
        """What became of the addresses that were to be lent."""
        self.announcing.lent(lent)

    # --- gslb.control.desk.Desk ---

    @property
    def model(self) -> Model | None:
        """The model in force."""
        return self.planner.model

    @property
    def plan(self) -> Plan | None:
        """The plan in force."""
        return self.planner.last

    @property
    def queries(self) -> Queries:
        """The sample of queries."""
        return self.observer.queries

    def world(self) -> World:
        """What is observed now."""
        now = self._clock.now()
        return self.planner.world(self.model, now) if self.model is not None else World(now)

    def overrides(self) -> OverridesRead:
        """The overrides as they are stored, read when they were written."""
        if self._overrides_due:
            self._overrides_due = False
            self._read = self.store.overrides_stamp()
            self.planner.read_overrides()
        return OverridesRead(self.planner.overrides, self.planner.overrides_note)

    def report(self) -> Report:
        """What `gslb status --json` prints."""
        now = self._clock.now()
        known = Known(self.shared.seen(now), self.planner.last, self.overrides().overrides or ())
        deployment = self.model.deployment if self.model is not None else None
        return report(self.store, deployment, now, known) | {
            "sharing": self.shared.state() or None,
            "announcing": self.announcing.state(),
        }

    def figures(self) -> Figures:
        """Numbers for metrics."""
        state = self.observer.prober.state()
        rounds = ((MonitorId(name), counts) for name, counts in state["rounds"].items())
        return Figures(
            answers=self.observer.measured.answers,
            checks={(name, bool(passed)): counts[not passed] for name, counts in rounds for passed in (1, 0)},
            latencies=_latencies(state["targets"]),
            losses=self._losses.known,
            balancer=self.observer.balancing.state,
            pulse=self.observer.balancing.pulse,
            passive=self.observer.passive.figures(),
        )

    async def silent(self) -> tuple[str, ...]:
        """Which executors of DNS do not answer, asked now."""
        balancing = self.observer.balancing
        return await asked.silent(self.store.folder / "run", balancing.probe, balancing.unready)

    def push_load(self, pool: PoolId, value: float, at: float | None) -> None:
        """Take a load.  Raises BadLoad."""
        self.observer.report_load(pool, value, at, self._clock.now())

    def overrides_written(self) -> None:
        """The overrides file was written."""
        self._overrides_due = True
        self.agreement.changed()
        self._wake()

    def api_problem(self, lines: Sequence[str]) -> None:
        """What is wrong with the API now."""
        self._facts.problem("api", lines)

    def _lost(self, lost: Lost) -> None:
        """An operator's word lost against another node's."""
        self._chronicle.tell(self._clock.now(), [conflict(lost)])

    def _left(self) -> Moment:
        """What an earlier run left, and told: overrides that began since then are new."""
        last = self.shared.last
        left = self._moment(last)
        if last is None:
            return replace(left, overrides=())
        return replace(left, now=last.at, overrides=tuple(one for one in left.overrides if one.since <= last.at))

    def _looked(self) -> None:
        """Loads and counts were looked at: decide, unless nothing can come of it."""
        plan, model = self.planner.last, self.model
        if model is not None:
            self._look_at_drain(model)
        if plan is not None and model is not None:
            loads = self._loads()
            self._fullness.look(model.deployment, loads, plan.history, self._clock.now())
        if plan is not None and self._occasions.arises(time.monotonic(), self._signs(), plan.history):
            self._wake()

    def _look_at_drain(self, model: Model) -> None:
        """What still comes here, while an operator drains the site."""
        balancing, before = self.observer.balancing, self._draining.state
        known = draining.Known(
            deployment=model.deployment,
            node=model.node,
            overrides=self.planner.overrides,
            plan=self.planner.last,
            pulse=balancing.pulse,
            unbalanced=balancing.unbalanced(),
            answers=sum(self.observer.measured.answers.values()),
            announcing=self.announcing.state(),
            checkers=self._checkers(model),
        )
        self._draining.look(known, time.monotonic(), self._clock.now())
        if self._draining.state != before:
            self._facts.say(**{DRAINING: self._draining.state})

    def _checkers(self, model: Model) -> int:
        """How many living nodes of other sites there are."""
        nodes, alive = model.deployment.nodes, self.shared.company.alive
        return sum(lives and name in nodes and nodes[name].site != model.node.site for name, lives in alive.items())

    def _signs(self) -> Signs:
        model = self.model
        return signs_of(model.deployment, self._loads()) if model is not None else Signs()

    def _loads(self) -> Mapping[PoolId, Load]:
        return self.shared.loads(self.observer.loads.world(time.monotonic()))

    def _observed(self) -> None:
        """This node's checks or its balancer say something else."""
        self.shared.own_changed()
        self.announcing.look()
        self._wake()

    def _share(self, model: Model) -> None:
        """Share the world of this model's deployment."""
        first = self.model is None
        self.shared.want(Joins(model.deployment, model.node, model.geography.digest, model.access))
        self.sheds.want(model.deployment, model.node, alone=self.shared.alone)
        if first and self.planner.last is not None:
            self.sheds.decided(self.planner.last)

    def _lives(self, lives: Mapping[NodeId, Living]) -> None:
        """What is known of other nodes now."""
        node = self.model.node if self.model is not None else None
        if node is not None:
            alive = [(one.site, one.node) for one in lives.values() if one.alive]
            self.sheds.live([(node.site, node.name), *alive])
            self.rollout.others(lives)
            self.announcing.lives(lives)

    def _itself(self) -> Itself:
        """How this node is, for the others."""
        version, digest = self.planner.identity or (0, "")
        return Itself(
            config=self._configuration or "",
            config_version=self.rollout.version,
            plan_version=version,
            plan=digest,
            balancers=balancers_digest(self.observer.balancing.state),
            routes=self.announcing.routes,
        )

    def _borrow(self, prefixes: Iterable[Network]) -> None:
        self.lend(prefixes)

    def _announced(self, state: Mapping[str, Any] | None) -> None:
        """Routes or sessions may have changed."""
        self._chronicle.routes(self._clock.now(), state)

    def _unbalanced(self) -> Mapping[PoolId, str] | None:
        """Which pools of the site this node cannot balance; None while its balancer has not said."""
        balancing = self.observer.balancing
        found = balancing.unbalanced()
        return None if balancing.balances and balancing.state is None and not found else found

    async def _answering(self) -> int | None:
        """How many executors of DNS answer."""
        balancing = self.observer.balancing
        return await asked.answering(self.store.folder / "run", balancing.probe, driver=balancing.answering)

    def _moment(self, seen: Observed | None) -> Moment:
        now = self._clock.now()
        plan = self.planner.last
        known = seen if seen is not None else Observed(now)
        return Moment(
            now=now,
            configuration=self._configuration,
            plan=self.planner.identity,
            history=plan.history if plan is not None else Moment().history,
            verdicts=known.verdicts,
            overrides=self.planner.overrides,
            blind_since=known.blind_since,
            balancers=plan.balancers if plan is not None else {},
            company=self.shared.company,
        )


def _latencies(targets: Iterable[Mapping[str, Any]]) -> dict[tuple[PoolId, str], dict[float, float]]:
    """Median and 99th percentile of each target's checks, in seconds."""
    return {
        (PoolId(pool), target["address"]): {0.5: target["p50_s"], 0.99: target["p99_s"]}
        for target in targets
        if target.get("p50_s") is not None
        for pool in target["pools"]
    }
