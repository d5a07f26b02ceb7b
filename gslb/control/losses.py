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
LEAST_S = 1.0  # between two sites: each holds the controller up for some 50 ms at the size of the budget


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
        turn = 0
        while not stop.is_set():
            sites = tuple(present.model.deployment.datacenters) if present.model is not None else ()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), max(LEAST_S, ROUND_S / (len(sites) or 1)))
            if sites:
                self.tell(present, sites[turn % len(sites)])
                turn += 1

    def tell(self, present: Present, site: SiteId) -> None:
        """Work out one site's figures."""
        model, plan = present.model, present.plan
        if model is None or plan is None or site not in model.deployment.datacenters:
            return
        case = Case(model.deployment, model.geography, present.world(), plan)
        loss = site_loss(case, origin_of(case), site)
        told = {name: one for name, one in self.known.items() if name in model.deployment.datacenters}
        self.known = {**told, site: Loss(len(loss.over_hard), loss.share)}
