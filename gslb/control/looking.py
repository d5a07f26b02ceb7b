"""Whether our routes are in the routers, where the configuration says how a router on this machine is asked.  IO.

Rule 1: it only looks, one question after the other: a router that is slow to answer is not asked more for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bgp.proof import Standing, Unanswered, ask_bird, ask_frr, standing
from bgp.routertext import InRouter, Unreadable
from bgp.routes import Route
from gslb.model.bgp import Look, Router
from gslb.model.deployment import Address, Network

ROUND_S = 4.0  # between two looks at all routes: what a router refuses is told within 5 s
SOON_S = 0.5  # after a change, which routers take some time to follow
AGAIN_S = 2.0  # to the second look after a change: what is not there by then was refused


@dataclass(frozen=True, slots=True)
class Question:
    """How does `route` stand in the router of its session, on which our address is `local`?"""

    look: Look
    route: Route
    local: Address


class Looking:
    """`questions` tells what is to be looked at, `looked` is called after each round that found something else."""

    def __init__(self, questions: Callable[[], Iterable[Question]], looked: Callable[[], None]) -> None:
        self._questions = questions
        self._looked = looked
        self._changed = asyncio.Event()
        self.found: Mapping[Network, Mapping[Address, tuple[Standing, float]]] = {}  # with the moment (monotonic)
        self.problems: tuple[str, ...] = ()

    def soon(self) -> None:
        """Something was said to routers: look before the round is due."""
        self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop`."""
        ending = asyncio.create_task(stop.wait())
        ending.add_done_callback(lambda _: self._changed.set())
        try:
            while not stop.is_set():
                pause_s = AGAIN_S if self._changed.is_set() else ROUND_S
                self._changed.clear()
                await self._round()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), pause_s)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), SOON_S)
        finally:
            ending.cancel()

    async def _round(self) -> None:
        found: dict[Network, dict[Address, tuple[Standing, float]]] = {}
        failed: dict[Address, str] = {}
        for one in tuple(self._questions()):
            neighbor, prefix = one.route.neighbor, one.route.prefix
            if neighbor in failed:
                continue
            at = time.monotonic()
            try:
                told = standing(await _ask(one.look, prefix), one.route, one.local)
                found.setdefault(prefix, {})[neighbor] = told, at
            except (Unanswered, Unreadable) as error:
                failed[neighbor] = f"router {neighbor} cannot be asked for our routes: {error}"
        other = _standings(found) != _standings(self.found) or self.problems != tuple(failed.values())
        self.found, self.problems = found, tuple(failed.values())
        if other:
            self._looked()


async def _ask(look: Look, prefix: Network) -> tuple[InRouter, ...]:
    return await (ask_bird(Path(look.path), prefix) if look.router is Router.BIRD else ask_frr([look.path], prefix))


def _standings(found: Mapping[Network, Mapping[Address, tuple[Standing, float]]]) -> object:
    return {prefix: {neighbor: told for neighbor, (told, _) in by.items()} for prefix, by in found.items()}
