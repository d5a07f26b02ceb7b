"""How often one client may ask: a token bucket for each, in a bounded table.  Pure; the time is an argument.

Rule: a table that is full forgets the client that asked longest ago, so that nobody is shut out by many others.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network

from gslb.model.deployment import Address

CLIENTS = 4_096
_NETWORK_BITS = 64  # IPv6 clients of one network share a bucket: each may have all of its addresses


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


def _key(client: Address) -> object:
    if isinstance(client, IPv6Address):
        return ip_network((client, _NETWORK_BITS), strict=False)
    return client
