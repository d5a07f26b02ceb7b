"""Which anycast prefixes this node announces: decided at each event, said to ExaBGP, told to other nodes.  IO.

    plan, overrides, verdicts, DNS asked, others' lives, leases ─┐
    ExaBGP's table as it was found ── history of each prefix ────┴─> Prefixes ─> ExaBGP, leases, `routes` for other nodes

Rule 1: nothing is wanted of ExaBGP before it was asked what it has.
Rule 2: others are told of a route that leaves when it is decided, and of one that comes when it is there.
Rule 3: the end of this process is none of ExaBGP's business, unless it is an orderly end (`leave`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from bgp.exabgp import ExaBgp
from bgp.routes import Route, State, changes, wanted
from bgp.when import Local, Remote, on_controller_loss
from gslb.bus.peers import Living
from gslb.control import anycastfacts, anycastfile, routealarms
from gslb.control.announced import Circumstances, state_json
from gslb.control.anycastfacts import Known, Since
from gslb.control.clock import Clock
from gslb.control.facts import Facts
from gslb.control.leaving import Leaving
from gslb.control.link import Lent
from gslb.control.looking import Looking, Question
from gslb.control.prefixes import Prefixes, Table
from gslb.control.speaking import MakeExaBgp, Saying, Speaking
from gslb.control.store import StateError, Store
from gslb.control.tasks import Defects, keep_running
from gslb.control.wanted import MOVE_S
from gslb.model.deployment import Anycast, Deployment, Network, Node, NodeId, PoolId
from gslb.model.plan import Plan
from gslb.model.world import Override, Verdicts

ASK_S = 0.5  # between two questions to the executors of DNS
SILENT = 2  # questions in a row that no executor answers: there is none
OLD_S = 30.0  # without a decision that came to an end
TICK_S = 1.0  # it is decided again at the latest
KEEP_S = 10.0  # between two writings of the history, unless a prefix changes
FOLDER = "bgp"  # in the node's state folder


@dataclass(frozen=True, slots=True)
class Senses:
    """What this node knows itself: verdicts of its checks, pools that it cannot balance (None: not known yet), and how many executors of
    DNS answer, asked now (None: there is nothing to ask for yet).
    """

    verdicts: Callable[[], Verdicts]
    unbalanced: Callable[[], Mapping[PoolId, str] | None]
    answering: Callable[[], Awaitable[int | None]]


@dataclass(frozen=True, slots=True)
class Hearers:
    """Who is told: `lend` has the supervisor lend the addresses of prefixes; `changed` is called when other nodes are to be told something
    else, `shown` with each new state.
    """

    lend: Callable[[Iterable[Network]], None]
    changed: Callable[[], None]
    shown: Callable[[Mapping[str, Any] | None], None]


class Announcing:
    """The routes of one node.  For the controller's event loop."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        facts: Facts,
        senses: Senses,
        hearers: Hearers,
        make_exabgp: MakeExaBgp = ExaBgp,
    ) -> None:
        self._store = store
        self._clock = clock
        self._facts = facts
        self._senses = senses
        self._hearers = hearers
        self._began = time.monotonic()
        self.leaving = Leaving(store.folder.name, self.look)
        self._prefixes = Prefixes(anycastfile.load_history(store, self._began, clock.now()), self._began)
        self._speaking = Speaking(store.folder / FOLDER, self.look, self._found, make_exabgp)
        self._looking = Looking(self._questions, self.look)
        self._deployment: Deployment | None = None
        self._node: Node | None = None
        self._plan: Plan | None = None
        self._overrides: tuple[Override, ...] = ()
        self._undecided: float | None = None  # since when no decision came to an end
        self._dns: bool | None = None
        self._silent = 0  # questions in a row that no executor answered
        self._lent: Lent | None = None
        self._borrowed: frozenset[Network] | None = None
        self._lives: tuple[Mapping[NodeId, Living], float] = {}, self._began
        self._farewell = False
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._kept: tuple[dict[Network, State], float] = {}, self._began
        self._said: tuple[object, Saying] = None, ((), (), (), 0.0)
        self._shown: tuple[object, float] = None, self._began
        self._defects = Defects()
        self.routes: Mapping[str, str] = {}

    # --- what happens ---

    def want(self, deployment: Deployment, node: Node) -> None:
        """Announce for this deployment from now on."""
        self._deployment, self._node = deployment, node
        self._prefixes.want(deployment, node)
        self.leaving.guard(self._prefixes.guarded)
        self._speaking.want(deployment.speaker(node) if deployment.anycast else None)
        self.look()

    def decided(self, plan: Plan | None, overrides: tuple[Override, ...], *, done: bool) -> None:
        """The controller has decided; where that is not `done`, the plan in force is an older one."""
        self._plan, self._overrides = plan, overrides
        if done:
            self._undecided = None
        elif self._undecided is None:
            self._undecided = time.monotonic()
        self.look()

    def lives(self, lives: Mapping[NodeId, Living]) -> None:
        """What is known of other nodes now."""
        self._lives = lives, time.monotonic()
        self.look()

    def lent(self, lent: Lent) -> None:
        """Which addresses are on this node, by the supervisor's word."""
        self._lent = lent
        self.look()

    def look(self) -> None:
        """Something is known that was not: decide again with all that is known in a moment."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._decide)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep ExaBGP and ask DNS until `stop`, which leaves ExaBGP and its routes."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_running(lambda: self._speaking.run(stop), "ExaBGP", stop))
                tasks.create_task(keep_running(lambda: self._ask(stop), "DNS behind anycast", stop))
                tasks.create_task(keep_running(lambda: self._looking.run(stop), "proof of routes", stop))
        finally:
            for timer in (self._soon, self._timer):
                if timer is not None:
                    timer.cancel()
            try:
                self._keep(time.monotonic())
            except Exception as error:  # noqa: BLE001  # the rest ends as it would
                self._defects.tell("routes", error)

    async def leave(self) -> None:
        """The orderly end: routes drain and are withdrawn, sessions and ExaBGP end; other nodes are told at once."""
        self._farewell = True
        self._prefixes.farewell(State.DRAIN, time.monotonic())
        self._decide()
        await self._speaking.leave()
        self._prefixes.farewell(State.OFF, time.monotonic())
        self._decide()

    def hurry(self) -> None:
        """Wait for no router any more."""
        self._speaking.hurry()

    async def _ask(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if any("dns" in anycast.announce_when for anycast in self._prefixes.here.values()):
                self._answered(await self._senses.answering())
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), ASK_S)

    def _answered(self, executors: int | None) -> None:
        """So many executors of DNS answer."""
        before = self._dns
        self._silent = self._silent + 1 if executors == 0 else 0
        if executors is None:
            self._dns = None
        elif executors or self._silent >= SILENT:
            self._dns = executors > 0
        if self._dns != before:
            self.look()

    def _found(self, routes: Iterable[Route]) -> None:
        """ExaBGP was asked what it has."""
        self._prefixes.adopt(routes, time.monotonic())
        self._decide()

    # --- decisions ---

    def _decide(self) -> None:
        now = time.monotonic()
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        wake_at = now + TICK_S
        try:
            wake_at = min(self._act(now), wake_at)
        except Exception as error:  # noqa: BLE001  # routes stay as they are until the next event
            self._defects.tell("routes", error)
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.001, wake_at - now), self._decide)

    def _act(self, now: float) -> float:
        """Decide and do what follows; when to do so again."""
        deployment, node = self._deployment, self._node
        if deployment is None or node is None:
            return now + TICK_S
        self._borrow(deployment, node)
        table = self._table()
        if self._prefixes.adopted and not (self._farewell and self._prefixes.judged):
            known = self._known(now)
            self._prefixes.judge(
                lambda prefix, anycast: self._local(prefix, anycast, known, deployment, node),
                lambda prefix: self._remote(prefix, deployment, now),
                table,
                now,
            )
            if self._farewell:  # it came before ExaBGP was asked what it has
                self._prefixes.farewell(State.DRAIN, now)
        self._tell(table)
        self._say(deployment, node)
        self.leaving.want(prefix for prefix, one in self._prefixes.judged.items() if one.verdict.wants_lease)
        states = {prefix: past.state for prefix, past in self._prefixes.pasts.items()}
        if states != self._kept[0] or now >= self._kept[1] + KEEP_S:
            self._keep(now)
        elif self._glance(table) != self._shown[0] or now >= self._shown[1] + TICK_S:
            self._show(now)
        return self._prefixes.wake_at(table) or now + TICK_S

    def _known(self, now: float) -> Known:
        return Known(
            plan=self._plan,
            verdicts=self._senses.verdicts(),
            unbalanced=self._senses.unbalanced(),
            overrides=self._overrides,
            dns=None,
            now=self._clock.now(),
            old=self._undecided is not None and now >= self._undecided + OLD_S,
        )

    def _local(self, prefix: Network, anycast: Anycast, known: Known, deployment: Deployment, node: Node) -> Local:
        dns = self._dns
        if self._borrowed and prefix in self._borrowed and dns is not False:
            dns = None if self._lent is None or dns is None else str(prefix) in self._lent.listened
        return anycastfacts.local(anycast, deployment, node, replace(known, dns=dns))

    def _remote(self, prefix: Network, deployment: Deployment, now: float) -> Remote:
        lives, heard = self._lives
        left_s, since = self.leaving.left_s(prefix), Since(now - heard, now - self._began)
        return anycastfacts.remote(prefix, lives, deployment.nodes, left_s, since)

    def _table(self) -> Table:
        return Table(self._speaking.table.values(), self._speaking.is_up, ready=self._speaking.ready)

    # --- what follows ---

    def _borrow(self, deployment: Deployment, node: Node) -> None:
        """Have the addresses of prefixes that DNS answers at, until their routes are gone."""
        here = self._prefixes.here
        asked = {prefix for prefix, anycast in here.items() if _is_bound(anycast, deployment, node)}
        going = self._prefixes.pasts.keys() - here.keys()
        borrowed = frozenset(asked | ((self._borrowed or frozenset()) & going))
        if borrowed != self._borrowed:
            self._borrowed = borrowed
            self._hearers.lend(sorted(borrowed, key=str))

    def _tell(self, table: Table) -> None:
        told = self._prefixes.told(table)
        if self._farewell:
            told = dict.fromkeys(told, anycastfacts.WITHDRAWN)
        if told != self.routes:
            self.routes = told
            self._looking.soon()
            self._hearers.changed()

    def _say(self, deployment: Deployment, node: Node) -> None:
        """Say to ExaBGP what is wanted, with what its bridge says when we are gone."""
        speaker = deployment.speaker(node)
        if speaker is None or not self._prefixes.adopted:
            return
        states, here = self._prefixes.states, self._prefixes.here
        if self._said[0] == (states, speaker, here):
            self._speaking.say(*self._said[1])
            return
        lost = {
            prefix: on_controller_loss(here[prefix].on_controller_loss, state) if prefix in here else state
            for prefix, state in states.items()
        }
        drained = {prefix: State.OFF if state is State.OFF else State.DRAIN for prefix, state in states.items()}
        routes = wanted(states, speaker)
        wait_s = max((one.rule.timing.drain_s for one in self._prefixes.judged.values()), default=0.0)
        prepared = changes(routes, wanted(lost, speaker))
        said = routes, prepared, wanted(drained, speaker), min(wait_s, MOVE_S)
        self._said = (states, speaker, here), said
        self._speaking.say(*said)

    def _questions(self) -> Iterator[Question]:
        """What routers are asked: for what is wanted, and in full for what is off and must not be there."""
        speaker = self._speaking.wanted
        for neighbor in speaker.neighbors if speaker is not None else ():
            local = self._speaking.local(neighbor.address)
            if speaker is None or neighbor.look is None or local is None:
                continue
            states = self._prefixes.states
            asked = {prefix: State.ANNOUNCED if state is State.OFF else state for prefix, state in states.items()}
            for route in wanted(asked, replace(speaker, neighbors=(neighbor,))):
                yield Question(neighbor.look, route, local)

    def _keep(self, now: float) -> None:
        pasts, wall = self._prefixes.pasts, self._clock.now()
        self._kept = {prefix: past.state for prefix, past in pasts.items()}, now
        self._show(now)
        if not self._prefixes.adopted:
            return
        try:
            anycastfile.save_history(self._store, pasts, now, wall)
        except StateError as error:
            why = f"how prefixes stand cannot be kept for the next start: {error}"
            self._facts.problem("anycast history", (why,))
        else:
            self._facts.problem("anycast history", ())

    def _show(self, now: float) -> None:
        state = self.state()
        self._shown = self._glance(self._table()), now
        anycastfile.save_state(self._store.folder / "run", state)
        self._hearers.shown(state)
        self._facts.problem("anycast", self._problems(state))

    def _glance(self, table: Table) -> object:
        """What of the state people wait for."""
        acked = [self._prefixes.acked(prefix, table) for prefix in self._prefixes.judged]
        return self.routes, self._speaking.life.pid, table.ready, acked, dict(self._speaking.sessions)

    # --- for people ---

    def state(self) -> dict[str, Any] | None:
        """For status, as JSON values; None where nothing is to be announced here."""
        if self._deployment is None or self._node is None or not self._deployment.anycast:
            return None
        speaker = self._deployment.speaker(self._node)
        if speaker is None:
            return None
        now = time.monotonic()
        offset = self._clock.now() - now
        around = Circumstances(self._table(), self.leaving, self._looking, self._on_lo, now, lambda at: at + offset)
        return state_json(speaker, self._speaking, self._prefixes, around)

    def _on_lo(self, prefix: Network) -> bool | None:
        """Whether its address is here; None where it is not asked for."""
        if prefix not in (self._borrowed or ()):
            return None
        return self._lent is not None and str(prefix) in self._lent.present

    def _problems(self, state: Mapping[str, Any] | None) -> tuple[str, ...]:
        """What people should mend, one line each."""
        tripped, offset = self._speaking.tripped_at, self._clock.now() - time.monotonic()
        alarms = routealarms.alarms(
            state,
            self._clock.now(),
            rejected=self._speaking.rejected,
            tripped_at=None if tripped is None else tripped + offset,
            addresses=self._lent.problem if self._lent is not None else "",
        )
        return (*self._prefixes.refused, *alarms, *self._looking.problems)


def _is_bound(anycast: Anycast, deployment: Deployment, node: Node) -> bool:
    """Whether DNS answers at its prefixes itself: addresses that are balanced are never bound here."""
    balanced = any(pool.balance is not None for pool in anycastfacts.pools_here(anycast, deployment, node))
    return "dns" in anycast.announce_when and not balanced
