"""Leases to withdraw prefixes: one for each, held while a withdrawal needs it, on the bus that the configuration chose.  IO.

Rule 1: one that nobody ever had is given only after its whole time, so each is taken and given back once when this node joins
a bus: a first failure need not wait.
Rule 2: what was held on another bus, or in another life of this controller, is not held.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress

from gslb.bus.bus import LEASE, Bus, Entry
from gslb.bus.leases import Leases
from gslb.model.deployment import Network

TTL_S = 30.0
RENEW_S = TTL_S / 3
AGAIN_S = 1.0  # between two attempts to take one that is wanted
PREPARE_S = 5.0  # the same while it is only prepared
GATHER_S = 0.01  # what is heard within that is acted on together
_AT_ONCE = 16  # leases that are asked for at once


class Leaving:
    """A `Part` of the bus.  `changed` is called when a lease came or went."""

    def __init__(self, node: str, changed: Callable[[], None]) -> None:
        self._node = node
        self._changed = changed
        self._leases: Leases | None = None
        self._guarded: frozenset[Network] = frozenset()
        self._wanted: frozenset[Network] = frozenset()
        self._prepared: set[Network] = set()
        self._ours: set[Network] = set()  # asked for, and not given back
        self._due: dict[Network, float] = {}  # when they are asked for next
        self._wake = asyncio.Event()

    def guard(self, prefixes: Iterable[Network]) -> None:
        """The prefixes that are withdrawn only under a lease."""
        self._guarded = frozenset(prefixes)
        self._prepared &= self._guarded
        self._due = {prefix: due for prefix, due in self._due.items() if prefix in self._guarded | self._wanted}
        self._wake.set()

    def want(self, prefixes: Iterable[Network]) -> None:
        """Have the leases of these prefixes, and no others."""
        wanted = frozenset(prefixes)
        if wanted != self._wanted:
            for prefix in wanted - self._wanted:
                self._due.pop(prefix, None)
            self._wanted = wanted
            self._wake.set()

    def left_s(self, prefix: Network) -> float:
        """For how long the lease of a prefix is ours yet; 0: it is not."""
        return 0.0 if self._leases is None else self._leases.left(_name(prefix))

    def holder(self, prefix: Network) -> str | None:
        """The node that holds the lease of a prefix, as far as is known."""
        return None if self._leases is None else self._leases.holder(_name(prefix))

    def entry(self, entry: Entry) -> None:
        """As `gslb.bus.bus.Hearer`; one that is wanted is asked for at once when another gave it back."""
        if self._leases is None or not entry.key.startswith(LEASE):
            return
        self._leases.entry(entry)
        for prefix in self._wanted:
            if not self.left_s(prefix) and self.holder(prefix) is None:
                self._due.pop(prefix, None)
                self._wake.set()

    def listed(self, keys: frozenset[str]) -> None:
        """As `gslb.bus.bus.Hearer`: a lease that was lost is found to be when it is asked for."""

    async def run(self, bus: Bus, stop: asyncio.Event) -> None:
        """Take, renew and give back on this bus until `stop`."""
        leases = self._leases = Leases(bus, self._node, uuid.uuid4().hex)
        self._prepared, self._ours, self._due = set(), set(), {}
        ending = asyncio.create_task(stop.wait())
        ending.add_done_callback(lambda _: self._wake.set())
        try:
            while not stop.is_set():
                self._wake.clear()
                await self._step(leases, alone=bus.standing.alone)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._pause_s())
                await asyncio.sleep(GATHER_S)
        finally:
            ending.cancel()
            self._leases = None
            self._changed()

    async def _step(self, leases: Leases, *, alone: bool) -> None:
        """Ask for what is due, and give back what is not wanted."""
        now = time.monotonic()
        if alone:  # there is nothing to wait for, or no lease at all
            self._prepared |= self._guarded
        missing = self._guarded - self._prepared
        due = [prefix for prefix in self._wanted | missing if now >= self._due.get(prefix, 0.0)]
        back = self._ours - self._wanted
        gate = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for prefix in back:
                tasks.create_task(self._give_back(leases, prefix, gate))
            for prefix in due:
                tasks.create_task(self._take(leases, prefix, gate))

    async def _take(self, leases: Leases, prefix: Network, gate: asyncio.Semaphore) -> None:
        name = _name(prefix)
        async with gate:
            before = leases.held(name)
            self._ours.add(prefix)
            held = await leases.acquire(name, TTL_S)
            if held or leases.holder(name) is not None:
                self._prepared.add(prefix)
            wanted = prefix in self._wanted
            if held and not wanted:
                await leases.release(name)
            if not wanted:
                self._ours.discard(prefix)
            pause_s = RENEW_S if held else AGAIN_S if wanted else PREPARE_S
            self._due[prefix] = time.monotonic() + pause_s
        if wanted and held != before:
            self._changed()

    async def _give_back(self, leases: Leases, prefix: Network, gate: asyncio.Semaphore) -> None:
        async with gate:
            self._ours.discard(prefix)
            await leases.release(_name(prefix))

    def _pause_s(self) -> float | None:
        """Until something is due."""
        now = time.monotonic()
        waits = [self._due.get(prefix, now) - now for prefix in self._wanted]
        if self._guarded - self._prepared:
            waits.append(PREPARE_S)
        return max(0.0, min(waits)) if waits else None


def _name(prefix: Network) -> str:
    return f"bgp-{prefix}"  # with an address of IPv6 just short enough for a key
