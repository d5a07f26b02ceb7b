"""How often one client may ask, and how many connections it may hold.  Pure; the time is an argument.

Rule 1: IPv6 clients of one network are one client: each may have all of its addresses.
Rule 2: a table of token buckets that is full forgets the client that asked longest ago, so that nobody is shut out by
many others.  A table of connections has no more clients than there may be connections.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network

from gslb.model.deployment import Address

CLIENTS = 4_096
_NETWORK_BITS = 64


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Limiter:
    """Buckets of `burst` tokens that fill with `per_s`."""

    def __init__(self, per_s: float, burst: float, clients: int = CLIENTS) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clients = clients
        self._buckets: OrderedDict[object, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: Address, now: float, cost: float = 1.0) -> int:
        """Take `cost` tokens of a client's bucket; 0, or seconds to wait where there are not enough.

        `now` is monotonic, in seconds.
        """
        key = _key(client)
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._clients:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = _Bucket(self._burst, now)
        self._buckets.move_to_end(key)
        bucket.tokens = min(self._burst, bucket.tokens + max(0.0, now - bucket.at) * self._per_s)
        bucket.at = now
        if bucket.tokens < cost:
            return max(1, math.ceil((cost - bucket.tokens) / self._per_s))
        bucket.tokens -= cost
        return 0

    def fine(self, client: Address, cost: float) -> None:
        """Take more from a client that asked already, down to a debt of one bucket."""
        bucket = self._buckets.get(_key(client))
        if bucket is not None:
            bucket.tokens = max(-self._burst, bucket.tokens - cost)


class Room:
    """How many connections are open: at most `in_all`, and `of_one` client."""

    def __init__(self, in_all: int, of_one: int) -> None:
        self._in_all = in_all
        self._of_one = of_one
        self._open: Counter[object] = Counter()

    def enter(self, client: Address) -> str | None:
        """Count one more; or say, for people, why there is no room for it."""
        key = _key(client)
        if self._open.total() >= self._in_all:
            return "too many connections are open"
        if self._open[key] >= self._of_one:
            return f"{self._of_one} connections of your address are open, the most that one client may have"
        self._open[key] += 1
        return None

    def leave(self, client: Address) -> None:
        """One that had entered is over."""
        key = _key(client)
        self._open[key] -= 1
        if self._open[key] <= 0:
            del self._open[key]


def _key(client: Address) -> object:
    if isinstance(client, IPv6Address):
        return ip_network((client, _NETWORK_BITS), strict=False)
    return client
