"""What this node tells all others, gathered and sent: its opinions, loads, demand, round trips, and that it lives.  IO."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from gslb import __version__
from gslb.bus.bus import Bus
from gslb.bus.messages import Life, RoundTrips
from gslb.bus.telling import Telling
from gslb.control.clock import Clock
from gslb.control.joined import told_loads
from gslb.control.observed import Observed
from gslb.control.opinions import Opinions
from gslb.control.traffic import Direction, Traffic
from gslb.model.deployment import Deployment

WHOLE_S = 1.0  # between two looks at everything
GATHER_S = 0.003  # what changes within that is told together


@dataclass(frozen=True, slots=True)
class Itself:
    """How this node is: as in `gslb.bus.messages.Life`."""

    config: str = ""
    config_version: int = 0
    plan_version: int = 0
    plan: str = ""
    balancers: str = ""
    routes: Mapping[str, str] = field(default_factory=dict)


class Teller:
    """Tells the bus what this node observes.

    `itself` tells how it is, `observe` what it knows; `learned` is given the topics of which it says something else than before.
    """

    def __init__(
        self,
        clock: Clock,
        opinions: Opinions,
        observe: Callable[[float], Observed],
        itself: Callable[[], Itself],
        learned: Callable[[frozenset[int]], None],
    ) -> None:
        self.itself = itself
        self.traffic = Traffic()
        self._opinions = opinions
        self._observe = observe
        self._clock = clock
        self._learned = learned
        self._telling = Telling(int(clock.now() * 1000))
        self._began = time.monotonic()
        self._deployment: Deployment | None = None
        self._geography = ""
        self._untold: set[int] = set()
        self._news = asyncio.Event()
        self._looked_at = float("-inf")

    def want(self, deployment: Deployment, geography: str) -> None:
        """Tell of this deployment from now on."""
        self._deployment, self._geography = deployment, geography
        self.wake()

    def wake(self) -> None:
        """Something changed that others are to be told."""
        self._news.set()

    def share(self, nodes: int) -> None:
        """So many nodes of this site live."""
        self._telling.share(nodes)

    def anew(self) -> None:
        """Others heard nothing for a while."""
        self._telling.anew(time.monotonic())
        self.wake()

    def learn(self, own: Observed, now: float) -> None:
        """Learn what is observed."""
        changed = self._opinions.take(own.verdicts, own.unbalanced, now)
        if changed:
            self._untold |= changed
            self.wake()
            self._learned(changed)

    async def run(self, bus: Bus, stop: asyncio.Event) -> None:
        """Tell until `stop`."""
        if bus.standing.alone:
            await stop.wait()
            return
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._gather()
                self._news.clear()
                now = time.monotonic()
                for kind, body in self._telling.due(now, time.time()):  # noqa: TID251  # for others to compare
                    if bus.publish(kind, body):
                        self.traffic.count(Direction.TOLD, kind, len(body))
                wait_s = min(self._telling.wake_at(now), self._looked_at + WHOLE_S) - time.monotonic()
                await self._sleep(stopped, max(0.0, wait_s))
        finally:
            stopped.cancel()

    async def _sleep(self, stopped: asyncio.Task[bool], wait_s: float) -> None:
        """Until something changed, with what changes just after it."""
        news = asyncio.create_task(self._news.wait())
        done, _ = await asyncio.wait((news, stopped), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()
        with suppress(TimeoutError):
            if news in done:
                await asyncio.wait_for(asyncio.shield(stopped), GATHER_S)

    def _gather(self) -> None:
        """What is to be told now."""
        now = time.monotonic()
        if self._deployment is None:
            return
        own = self._observe(self._clock.now())
        self.learn(own, now)
        if now - self._looked_at >= WHOLE_S:
            self._looked_at = now
            self._untold.clear()
            self._telling.opinions(self._opinions.told(now), now, whole=True)
            self._telling.loads(told_loads(self._deployment, own.loads), now)
            self._gather_counts(own, now)
        elif self._untold:
            changed, self._untold = self._untold, set()
            self._telling.opinions(self._opinions.told(now, changed), now, whole=False)
        self._telling.life(self.life(own), now)

    def _gather_counts(self, own: Observed, now: float) -> None:
        if own.geography == self._geography:
            self._telling.demand(own.geography, own.demand, own.heavy, now)
            trips = {
                (pool, *where): (rtt.p50_s, rtt.p90_s, rtt.count, rtt.age_s)
                for pool, found in own.rtts.items()
                for where, rtt in found.items()
            }
            self._telling.round_trips(RoundTrips(own.geography, trips), now)

    def life(self, own: Observed) -> Life:
        """How this node is, with what it observes itself."""
        one = self.itself()
        blind_s = None if own.blind_since is None else max(0.0, own.at - own.blind_since)
        return Life(
            one.config,
            one.config_version,
            one.plan_version,
            one.plan,
            self._geography,
            one.balancers,
            blind_s,
            one.routes,
            __version__,
            time.monotonic() - self._began,
        )
