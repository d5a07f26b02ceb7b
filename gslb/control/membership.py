"""What a node takes part in a bus as: the deployment, itself, and its parts.  Values and Protocols; it makes the bus."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from gslb.bus.access import Access
from gslb.bus.bus import Bus, Entry
from gslb.bus.lone import Lone
from gslb.control.clock import Clock
from gslb.control.observed import Observed
from gslb.control.teller import Itself
from gslb.model.deployment import Deployment, Node


class Part(Protocol):
    """Who takes part in the bus besides; all but `run` is called in the event loop and returns at once."""

    def entry(self, entry: Entry) -> None:
        """As `gslb.bus.bus.Hearer`."""

    def listed(self, keys: frozenset[str]) -> None:
        """As `gslb.bus.bus.Hearer`."""

    async def run(self, bus: Bus, stop: asyncio.Event) -> None:
        """Take part in this bus until `stop`; called again with another when the configuration changed it."""


@dataclass(frozen=True, slots=True)
class Joins:
    """The deployment that is shared, and who this node is in it.  `geography` is the digest of its location table."""

    deployment: Deployment
    node: Node
    geography: str
    access: Access | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose world is shared.

    `observe` tells what the node itself knows, `itself` how it is; `changed` is called when a decision may come out otherwise.
    """

    observe: Callable[[float], Observed]
    itself: Callable[[], Itself]
    changed: Callable[[], None]


def bus_of(joins: Joins, clock: Clock) -> Bus:
    """The bus that the configuration asks for."""
    deployment, node = joins.deployment, joins.node
    if joins.access is None:
        return Lone(len(deployment.nodes), clock.now())
    nats = importlib.import_module("gslb.bus.nats")  # heavy: only a node with a bus loads it
    made: Bus = nats.Nats(joins.access, deployment.name, node.site, node.name, clock.now)
    return made


def line_of(joins: Joins) -> tuple[object, ...]:
    """What differs where the configuration asks for another bus."""
    access = replace(joins.access, tls=None) if joins.access is not None else None
    deployment = joins.deployment
    return deployment.name, deployment.bus, access, joins.node.site, joins.node.name, len(deployment.nodes)
