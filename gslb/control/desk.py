"""Between the controller and the HTTP API: what each offers the other.  Protocols and values.

The API runs on the controller's event loop; everything here is called there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gslb.control.events import Hub
from gslb.control.passive import PassiveFigures
from gslb.control.planner import Model
from gslb.control.queries import Queries
from gslb.control.report import Report
from gslb.control.store import OverridesRead, Store
from gslb.model.deployment import Deployment, MonitorId, PoolId, SiteId
from gslb.model.plan import Plan
from gslb.model.world import World
from xdp.messages import Pulse, State


@dataclass(frozen=True, slots=True)
class Loss:
    """What follows if a site fails now: pools that would be over `hard`, and the fullest one's load as a share of capacity."""

    over_hard: int
    worst: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """Numbers for metrics that are neither in the report nor in plan and world.  Counts only grow within a run.

    `answers[pool, rtype]`: answers given with addresses of a pool, "" for those of last resort.  `checks[monitor, passed]`:
    rounds.  `latencies[pool, address]`: seconds of a target's checks, by quantile.  `balancer` and `pulse`: what the balancer
    said last; None where there is none.
    """

    answers: Mapping[tuple[PoolId, int], int] = field(default_factory=dict)
    checks: Mapping[tuple[MonitorId, bool], int] = field(default_factory=dict)
    latencies: Mapping[tuple[PoolId, str], Mapping[float, float]] = field(default_factory=dict)
    losses: Mapping[SiteId, Loss] = field(default_factory=dict)
    balancer: State | None = None
    pulse: Pulse | None = None
    passive: PassiveFigures = field(default_factory=PassiveFigures)


class Desk(Protocol):
    """What the controller offers."""

    @property
    def model(self) -> Model | None:
        """The model in force; None before the first."""

    @property
    def plan(self) -> Plan | None:
        """The plan in force, also from before this run."""

    @property
    def store(self) -> Store:
        """The node's state folder."""

    @property
    def config(self) -> Path:
        """The configuration file; relative names in it start at its folder."""

    @property
    def events(self) -> Hub:
        """The changes of this node."""

    @property
    def queries(self) -> Queries:
        """The sample of queries, for who listens."""

    def world(self) -> World:
        """What is observed now."""

    def overrides(self) -> OverridesRead:
        """The overrides that are stored, also those that expired; not read anew unless they were written."""

    def report(self) -> Report:
        """What `gslb status --json` prints."""

    def figures(self) -> Figures:
        """Numbers for metrics."""

    async def silent(self) -> tuple[str, ...]:
        """Which executors of DNS do not answer, asked now: a line each."""

    def push_load(self, pool: PoolId, value: float, at: float | None) -> None:
        """Take a load that was measured at `at` (seconds since the epoch; now without it).

        Raises ValueError, with a message for people, where the pool takes none or the value cannot be.
        """

    def overrides_written(self) -> None:
        """The overrides file was written: read it and decide at once."""

    def api_problem(self, lines: Sequence[str]) -> None:
        """What is wrong with the API now, for log and status; nothing: all is well."""


class Api(Protocol):
    """What the API offers the controller."""

    def want(self, deployment: Deployment) -> None:
        """Serve as this configuration says, from the next moment on."""

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`; a port that cannot be had is a problem and tried again."""


class Opens(Protocol):
    """Makes the API of one controller: `gslb.api.app.open_api`."""

    def __call__(self, desk: Desk) -> Api:
        """The API; it serves nothing before it is told what is wanted."""
