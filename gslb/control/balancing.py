"""The balancer of this node, and DNS in the driver, as the controller sees them: told what to do, and heard.  IO.

    plan, generation ── Want ──socket──> the balancer's process ──socket──> State, Pulse ──> unbalanced, status, figures

Rule 1: the controller never waits for the balancer: what is wrong there never keeps a plan from DNS.
Rule 2: the process is told the whole wanted state, the newest one, and again whenever it was replaced.
Rule 3: what it said last holds while it is replaced, since the kernel forwards on; until it has said something for the
first time, what an earlier run knew holds, and for PATIENCE_S at most.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from gslb.control import addresses, attachable, forwarding, indriver
from gslb.control.attachable import Choice
from gslb.control.balancerchild import DOOR, LOCK
from gslb.control.checks import Ways
from gslb.control.executor import Content
from gslb.control.forwarding import Orders
from gslb.control.indriver import DnsOrders, Standing
from gslb.control.lock import holder
from gslb.control.uplink import uplinks
from gslb.model.deployment import Attach, Deployment, Node, PoolId
from gslb.model.framing import Frames, Garbled, frame
from gslb.model.plan import Plan
from gslb.nameserver import channel
from gslb.nameserver.generation import Manifest
from xdp.messages import DnsTables, DnsWant, Pulse, Report, State, Want

PATIENCE_S = 15.0  # for the first word of the process
FIRST_S = 5.0  # that the first decision of all waits for it
SILENCE_S = 10.0  # it says something every second
AGAIN_S = 0.5  # between two attempts to reach it
LOOK_S = 5.0  # between two looks for the interface of the default route
MOST_PULSES = 10  # that wait for who counts
PIECE = 256 * 1024
SILENT = "the balancer's process does not answer; the log says why"
HANGS = (
    "the balancer's process (pid {pid}) hangs: packets are forwarded by the last tables, and no change reaches them; "
    "it is replaced soon, at once after kill -9 {pid}"
)

log = logging.getLogger("gslb.balancer")


class Balancing:
    """One node's balancer.  `changed` is called when a decision may come out otherwise.

    `known` is what the last run knew of pools that it could not balance; None where there is none.
    `no_driver`: why the supervisor keeps no process for DNS in the driver, though the configuration asks for it.
    """

    def __init__(self, run: Path, changed: Callable[[], None], known: Mapping[PoolId, str] | None) -> None:
        self._run = run
        self._changed = changed
        self._known = known
        self._orders: Orders | None = None
        self._dns: DnsOrders | None = None
        self._tables: DnsTables | None = None
        self._probe = ""  # what DNS in the driver is asked now and then
        self._one_in = 0  # of so many queries that it answers one is told of; 0: nobody listens
        self._choice = Choice()
        self._absent: tuple[str, ...] = ()  # addresses that DNS listens on, and that are not on this machine
        self._plan: Plan | None = None
        self._want: Want | None = None
        self._serial = 0
        self._attached_by = 0  # the serial with which interfaces or modes of DNS were asked for last
        self._state: State | None = None
        self._pulses: deque[Pulse] = deque(maxlen=MOST_PULSES)
        self._since = time.monotonic()  # nobody has heard of the process since
        self._pid: int | None = None
        self._last = self._since  # it said something, whatever it was
        self._heard = asyncio.Event()
        self._busy, self._idle = asyncio.Event(), asyncio.Event()  # there is something to balance, or not
        self._news = asyncio.Event()  # there is something to say
        self.pulse: Pulse | None = None
        self.no_driver = ""

    @property
    def balances(self) -> bool:
        """Whether this node has a balancer."""
        return self._orders is not None and bool(self._orders.pools) and self._orders.attach is not Attach.OFF

    @property
    def answers(self) -> bool:
        """Whether DNS is to be answered in the driver."""
        return self._dns is not None and not indriver.idle(self._dns) and not self.no_driver

    @property
    def answering(self) -> bool:
        """Whether DNS is answered in the driver, by the last test run of its program, which was not long ago."""
        dns = self._state.dns if self._state is not None else None
        if dns is None or dns.silent or not self.answers or time.monotonic() - self._last >= SILENCE_S:
            return False
        return not self._standing().why

    @property
    def state(self) -> State | None:
        """What the process said last of what is balanced."""
        return self._state if self.balances else None

    @property
    def version(self) -> int:
        """The version of the newest plan that the process has in force, by its own word."""
        if self._state is None:
            return 0
        return max(self._state.version, self._state.dns.version if self._state.dns is not None else 0)

    def want(self, deployment: Deployment, node: Node, secret: bytes) -> None:
        """Balance for this deployment from now on."""
        if not self._drives:
            self._since = time.monotonic()
            self._state = None
        self._orders = forwarding.orders_of(deployment, node, secret)
        self._dns = indriver.orders_of(deployment, node)
        if self._drives:
            self._busy.set()
            self._idle.clear()
        else:
            self._busy.clear()
            self._idle.set()
            self._want = self._state = self.pulse = None
        self._renew()

    def apply(self, plan: Plan) -> None:
        """Put the plan's tables in force, as far as they are for this site."""
        self._plan = plan
        self._renew()

    def serve(self, manifest: Manifest | None, content: Content) -> None:
        """Answer in the driver what the workers answer from."""
        self._tables = indriver.tables_of(manifest, self._run.parent / "serving")
        self._probe = indriver.probe_of(content.zones)
        self._renew()

    @property
    def probe(self) -> str:
        """A query, in hex, that every executor answers; empty where there is no zone."""
        return self._probe

    @property
    def unready(self) -> tuple[str, ...]:
        """Why DNS is not answered in the driver as it must be, one line each: wrongly, or not though the configuration insists."""
        return self._standing().unready(self._dns) if self._dns is not None else ()

    def sample(self, one_in: int) -> None:
        """Have the driver tell of one query in so many; of none: 0."""
        self._one_in = one_in
        self._renew()

    def unbalanced(self) -> Mapping[PoolId, str]:
        """Which of the site's balanced pools this node cannot balance, and why."""
        orders = self._orders
        if orders is None:
            return self._known or {}
        state = self._state
        if orders.attach is Attach.OFF or (state is not None and (state.serial or state.refused)):
            return forwarding.unbalanced(orders, self._want, state or State(0, 0, ""))
        if time.monotonic() - self._since < PATIENCE_S or state is not None:
            known = self._known or {}
            return {pool: known[pool] for pool in orders.pools if pool in known}
        return dict.fromkeys(orders.pools, SILENT)

    def ways(self) -> Ways:
        """Where checks of this node can go."""
        state, unbalanced = self.state, self.unbalanced()
        if state is None:
            why = next(iter(unbalanced.values()), Ways().why)
            return Ways(why=why, unbalanced=frozenset(unbalanced))
        why = forwarding.unled(self._orders, self._want, state) if self._orders is not None else ""
        return Ways(frozenset(state.probes), why, frozenset(unbalanced))

    def problems(self) -> tuple[str, ...]:
        """What people should mend, one line each."""
        if self._orders is None or self._dns is None:
            return ()
        dns = self._standing().problems(self._dns)
        if not self.balances:
            return dns
        if self._state is None:
            return (SILENT,) if self._silent() else ()
        found = (*forwarding.problems(self._orders, self._want, self._state), *dns)
        now, pid = time.monotonic(), holder(self._run.parent, LOCK)  # that of a process that lives
        if pid != self._pid:
            self._pid, self._last = pid, now  # another has its time too
        if now - self._last < SILENCE_S:
            return found
        return (*found, HANGS.format(pid=pid) if pid else SILENT)

    def to_json(self) -> dict[str, Any] | None:
        """For `gslb status` and the API: `balancer`, None where nothing is balanced, and `driver`.

        None while nothing is known yet: what an earlier run has said holds until then.
        """
        if self._orders is None or (self._drives and self._state is None and not self._silent()):
            return None
        return {
            "balancer": forwarding.state_json(self.state) if self.state is not None else None,
            "driver": indriver.state_json(
                self._want.dns if self._want is not None else None, self._state, self._standing()
            ),
        }

    def pulses(self) -> list[Pulse]:
        """The pulses since the last call, the oldest first."""
        taken = list(self._pulses)
        self._pulses.clear()
        return taken

    async def first_word(self) -> None:
        """Where no earlier run has left its word: wait until the process says how it is, FIRST_S at most."""
        if self.balances and self._known is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), FIRST_S)

    async def run(self, stop: asyncio.Event) -> None:
        """Talk with the process, as long as there is something to balance, until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(self._work())
            await stop.wait()
            working.cancel()

    # --- what is wanted ---

    @property
    def _drives(self) -> bool:
        """Whether there is a process to talk with."""
        return self.balances or self.answers

    def _silent(self) -> bool:
        return time.monotonic() - self._since >= PATIENCE_S

    def _standing(self) -> Standing:
        """How DNS in the driver stands."""
        idle = (indriver.idle(self._dns) if self._dns is not None else "") or self.no_driver
        if idle or self._dns is None or self._want is None:
            return Standing(idle or indriver.UNKNOWN)
        if self._want.dns is None:
            return Standing("; ".join(self._choice.left_out) or indriver.NO_INTERFACE)
        if self._state is None:
            return Standing(SILENT if self._silent() else indriver.UNKNOWN)
        if self._state.serial < self._attached_by:  # it speaks of what was wanted before
            return Standing(indriver.UNKNOWN)
        return indriver.standing(self._dns, self._want.dns, self._state, self._choice.left_out, self._absent)

    def _dns_want(self) -> DnsWant | None:
        """What is to be answered in the driver; what was, where the node's interfaces cannot be looked at now."""
        if self._dns is None or not self.answers:
            return None
        try:
            found = indriver.addresses_of(self._dns, addresses.present())
            here = addresses.ours({address for address, _ in found})
            self._choice = attachable.choose(self._dns.named, (address for address, _ in found), self._dns.attach)
        except OSError as error:
            log.warning("the interfaces of this node cannot be looked at", extra={"why": str(error)})
            return self._want.dns if self._want is not None else None
        if not self._choice.interfaces:
            return None
        self._absent = tuple(sorted({address for address, _ in found} - here))
        answered = tuple(one for one in found if one[0] in here)
        return DnsWant(self._tables, answered, self._choice.interfaces, self._dns.attach, self._probe, self._one_in)

    def _renew(self) -> None:
        """Say what is wanted now, if it is not what was said."""
        orders, plan = self._orders, self._plan
        if orders is None or plan is None or not self._drives:
            return
        tables = forwarding.tables_of(orders, plan) if self.balances else {}
        said = self._want
        same = said is not None and said.tables == tables and said.version >= self.version
        version = said.version if said is not None and same else plan.version
        interfaces = (orders.named or uplinks()) if self.balances else ()
        want = replace(forwarding.want_of(orders, interfaces, tables, version, self._serial), dns=self._dns_want())
        if want != said:
            self._serial += 1
            if _attaching(want) != _attaching(said):
                self._attached_by = self._serial
            self._want = replace(want, serial=self._serial)
            self._news.set()

    async def _follow(self) -> None:
        """Follow the default route, and the addresses of interfaces."""
        while True:
            await asyncio.sleep(LOOK_S)
            self._renew()

    # --- the conversation ---

    async def _work(self) -> None:
        while True:
            await self._busy.wait()
            try:
                await self._converse()
            except (OSError, Garbled) as error:
                log.debug("the balancer's process is not reached: %s", error)
            self._told()
            await asyncio.sleep(AGAIN_S)

    async def _converse(self) -> None:
        """One connection, until it ends or nothing is to be balanced.  Raises OSError, Garbled."""
        line = channel.connect(self._run, DOOR, 0.0, socket.SOCK_STREAM)  # where nobody accepts it fails at once
        self._news.set()
        tasks = [
            asyncio.create_task(work) for work in (self._say(line), self._hear(line), self._follow(), self._idle.wait())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            try:
                ends = await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                line.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _say(self, line: socket.socket) -> None:
        """Say the newest want, one message at a time."""
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            self._news.clear()
            if self._want is not None:
                await loop.sock_sendall(line, frame(self._want))

    async def _hear(self, line: socket.socket) -> None:
        frames: Frames[Report] = Frames(Report)
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):  # wait_for forgets a cancellation that comes with the data
                    data = await loop.sock_recv(line, PIECE)
            except TimeoutError as error:
                raise Garbled(f"it said nothing for {SILENCE_S:g} s") from error
            if not data:
                return
            for report in frames.feed(data):
                self._take(report)

    def _take(self, report: Report) -> None:
        self._last = time.monotonic()
        if report.pulse is not None:
            self.pulse = report.pulse
            self._pulses.append(report.pulse)
        if report.state is not None and self._drives:
            self._state = report.state
            self._heard.set()
            self._told()

    def _told(self) -> None:
        """Have a decision made where pools are balanced, or are so no more, that were not so a moment ago."""
        if self._orders is None:
            return
        now = self.unbalanced()
        if now != (self._known or {}):
            self._known = dict(now)
            self._changed()


def _attaching(want: Want | None) -> tuple[tuple[str, ...], Attach] | None:
    """On which interfaces DNS is to be answered, and how."""
    return (want.dns.interfaces, want.dns.attach) if want is not None and want.dns is not None else None
