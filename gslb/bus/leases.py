"""Leases: what only one node may do at a time.  By compare-and-set on keys of the bus; no clock of another node is believed.

Rule 1: a holder counts from before its last write that was answered; it stops by itself when it cannot write.
Rule 2: another takes a lease only after it has itself seen the same value at the same revision for its whole time, and a
margin.  A key that is not there may have been lost with its bucket while somebody holds the lease: then a mark is written
first, which is different each time, and that is waited for.
Rule 3: an answer that did not come proves nothing: the write may have been done, or may be done later.  So who had no answer
does not hold, and goes on from what it reads.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from gslb.bus.bus import LEASE, Away, Bus, Conflict, Entry

MARGIN_S = 1.0
MARGIN = 0.05  # of the time, for clocks that run at different speeds
LONGEST_S = 3600.0


class _Lease(msgspec.Struct, frozen=True, array_like=True):
    """What stands under a key.  `run` and `number` make each write another.

    `free`: it was released.  Without a `node` and not free it is the mark of a key that was not there.
    """

    node: str
    run: str
    number: int
    ttl_s: float
    free: bool = False


@dataclass(slots=True)
class _Seen:
    entry: Entry
    lease: _Lease | None  # None: there is none, or it cannot be read
    since: float


class Leases:
    """Leases of one run of one node.

    `run` is different for each run of a controller: what an earlier run held is not ours.  A caller that gives the same
    `run` again says that it goes on where that stopped.  `clock` must also run while the machine sleeps.
    """

    def __init__(
        self,
        bus: Bus,
        node: str,
        run: str,
        clock: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._bus = bus
        self._node = node
        self._run = run
        self._clock = clock
        self._number = 0
        self._seen: dict[str, _Seen] = {}
        self._busy: dict[str, asyncio.Lock] = {}
        self._until: dict[str, float] = {}  # what we hold

    def held(self, name: str) -> bool:
        """Whether this node holds it now; to be asked right before each act that needs it."""
        return self._clock() < self._until.get(name, -math.inf)

    def left(self, name: str) -> float:
        """For how long this node holds it yet without another renewal, in seconds; 0 where it does not."""
        return max(0.0, self._until.get(name, -math.inf) - self._clock())

    def holder(self, name: str) -> str | None:
        """The node that holds it as far as is known here; None where nobody is known to."""
        if self.held(name):
            return self._node
        seen = self._seen.get(_key(name))
        if seen is None or seen.lease is None or not seen.lease.node or self._is_mine(seen.lease):
            return None
        return seen.lease.node if self._clock() <= seen.since + seen.lease.ttl_s else None

    def entry(self, entry: Entry) -> None:
        """A key of the bus, as its Hearer is told; those that are no leases are passed over."""
        if entry.key.startswith(LEASE):
            self._see(entry)

    async def acquire(self, name: str, ttl_s: float) -> bool:
        """Take the lease, or renew it; whether this node holds it.  Call it every third of `ttl_s`.

        All nodes must ask for one name with the same `ttl_s` (seconds).  One that nobody ever had is given after that time.
        """
        if not 0 < ttl_s <= LONGEST_S:
            raise ValueError(f"a lease of {ttl_s:g} s - expected more than 0 and at most {LONGEST_S:g}")
        async with self._busy.setdefault(name, asyncio.Lock()):
            try:
                seen = self._see(await self._bus.get(_key(name)))
                if self._may_take(name, seen, ttl_s):
                    await self._take(name, seen, ttl_s)
                elif seen.entry.value is None:
                    await self._put(name, seen, _Lease("", self._run, self._next(), ttl_s))
            except (Away, Conflict):
                pass
        return self.held(name)

    async def release(self, name: str) -> None:
        """Give it back: this node holds it no more, and others need not wait, if the bus could be told."""
        self._until.pop(name, None)
        async with self._busy.setdefault(name, asyncio.Lock()):
            self._until.pop(name, None)
            try:
                seen = self._see(await self._bus.get(_key(name)))
                if seen.lease is not None and self._is_mine(seen.lease):
                    await self._put(name, seen, _Lease("", self._run, self._next(), seen.lease.ttl_s, free=True))
            except (Away, Conflict):
                pass

    def _may_take(self, name: str, seen: _Seen, ttl_s: float) -> bool:
        lease = seen.lease
        if lease is not None and (lease.free or self._is_mine(lease)):
            return True
        if seen.entry.value is None:
            return self._bus.standing.alone or self.held(name)  # nobody else can have it
        if lease is not None and not lease.node and self.held(name):
            return True  # another found that ours was lost
        whole = max(ttl_s, lease.ttl_s) if lease is not None else ttl_s
        return self._clock() > seen.since + whole * (1 + MARGIN) + MARGIN_S

    async def _take(self, name: str, seen: _Seen, ttl_s: float) -> None:
        began = self._clock()
        await self._put(name, seen, _Lease(self._node, self._run, self._next(), ttl_s))
        self._until[name] = max(began + ttl_s, self._until.get(name, -math.inf))

    async def _put(self, name: str, seen: _Seen, lease: _Lease) -> None:
        value = msgspec.json.encode(lease)
        revision = await self._bus.put(_key(name), value, seen.entry.revision)
        self._see(Entry(_key(name), value, revision))

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _is_mine(self, lease: _Lease) -> bool:
        return (lease.node, lease.run) == (self._node, self._run)

    def _see(self, entry: Entry) -> _Seen:
        seen = self._seen.get(entry.key)
        if seen is None or (seen.entry.revision, seen.entry.value) != (entry.revision, entry.value):
            seen = self._seen[entry.key] = _Seen(entry, _read(entry.value), self._clock())
        return seen


def _key(name: str) -> str:
    """The key of a lease; what no key may have stands as = and its octets."""
    return LEASE + "".join(chr(octet) if chr(octet) in _PLAIN else f"={octet:02X}" for octet in name.encode())


_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def _read(value: bytes | None) -> _Lease | None:
    try:
        lease = msgspec.json.decode(value or b"", type=_Lease)
    except msgspec.DecodeError:
        return None
    return lease if 0 <= lease.ttl_s <= LONGEST_S else None
