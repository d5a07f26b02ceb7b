"""If a site fails now: the standing figures, one site after the other in a thread.  Each costs one decision.

What is worked out is pure and its inputs never change, so that the event loop goes on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from gslb.control.desk import Loss
from gslb.control.planner import Model
from gslb.control.tasks import Defects
from gslb.decide.case import Case
from gslb.decide.rest import Origin, origin_of
from gslb.decide.siteloss import site_loss
from gslb.model.deployment import SiteId
from gslb.model.plan import Plan
from gslb.model.world import World

ROUND_S = 30.0  # for all sites
LEAST_S = 1.0  # between two sites: each takes some 100 ms of a core at the size of the budget


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

    def __init__(self, round_s: float = ROUND_S, least_s: float = LEAST_S) -> None:
        self.known: Mapping[SiteId, Loss] = {}
        self._round_s = round_s
        self._least_s = least_s
        self._defects = Defects()

    async def run(self, present: Present, stop: asyncio.Event) -> None:
        """Keep the figures until `stop`."""
        while not stop.is_set():
            model, plan = present.model, present.plan
            if model is not None and plan is not None:
                await self._tell(Case(model.deployment, model.geography, present.world(), plan), stop)
            else:
                await _pause(stop, self._least_s)

    async def _tell(self, case: Case, stop: asyncio.Event) -> None:
        """One round; all its figures are of the moment when it began."""
        sites = case.model.datacenters
        self.known = {site: loss for site, loss in self.known.items() if site in sites}
        origin: Origin | None = None
        for site in sites:
            await _pause(stop, max(self._least_s, self._round_s / len(sites)))
            if stop.is_set():
                return
            try:
                if origin is None:
                    origin = await asyncio.to_thread(origin_of, case)
                loss = await asyncio.to_thread(site_loss, case, origin, site)
            except Exception as error:  # noqa: BLE001  # a figure that is missing harms no answer
                self._defects.tell(f"loss of site {site}", error)
                self.known = {name: one for name, one in self.known.items() if name != site}
            else:
                self.known = {**self.known, site: Loss(len(loss.over_hard), loss.share)}


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
