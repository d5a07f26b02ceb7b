"""If a site fails now: the standing figures, one site after the other in the background.  Each costs one decision."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from gslb.control.desk import Loss
from gslb.control.planner import Model
from gslb.decide.case import Case
from gslb.decide.rest import origin_of
from gslb.decide.siteloss import site_loss
from gslb.model.deployment import SiteId
from gslb.model.plan import Plan
from gslb.model.world import World

ROUND_S = 30.0  # for all sites
LEAST_S = 1.0  # between two sites: each holds the controller up for some 60 ms at the size of the budget


class Present(Protocol):
    """What is in force, and what is observed."""

    @property
    def model(self) -> Model | None:
        """The model in force."""

    @property
    def plan(self) -> Plan | None:
        """The plan in force."""

    def world(self) -> World:
        """What is observed now."""


class Losses:
    """The figures as they were last told; `known` has only sites of the model in force."""

    def __init__(self) -> None:
        self.known: Mapping[SiteId, Loss] = {}

    async def run(self, present: Present, stop: asyncio.Event) -> None:
        """Keep the figures until `stop`."""
        while not stop.is_set():
            model, plan = present.model, present.plan
            if model is not None and plan is not None:
                case = Case(model.deployment, model.geography, present.world(), plan)
                await self._tell(case, stop)
            else:
                await _pause(stop, LEAST_S)

    async def _tell(self, case: Case, stop: asyncio.Event) -> None:
        """One round; all its figures are of the moment when it began."""
        sites = case.model.datacenters
        origin = origin_of(case)
        self.known = {site: loss for site, loss in self.known.items() if site in sites}
        for site in sites:
            await _pause(stop, max(LEAST_S, ROUND_S / len(sites)))
            if stop.is_set():
                return
            loss = site_loss(case, origin, site)
            self.known = {**self.known, site: Loss(len(loss.over_hard), loss.share)}


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
