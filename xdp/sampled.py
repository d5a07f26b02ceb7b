"""Queries that the driver was asked, as it tells of them: a sample, while somebody listens.  IO: maps.

Rule 1: whoever takes them listens, and for LEASE_S more: so a program whose process or controller is dead tells nobody anything.
Rule 2: what is told is bounded (MOST_PER_S, and the ring); what was left out for that is counted.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping

from gslb.layout import DNS_EVENTS_OCTETS
from xdp.libbpf import Map, possible_cpus
from xdp.ringbuffer import RingBuffer

LEASE_S = 3.0
MOST_PER_S = 1_000  # of all CPUs together
_RECORDS = 4_096  # more than the ring holds
_SAMPLING = struct.Struct("=QQII")  # struct dns_sampling
_FIRST = bytes(4)


class Sampled:
    """The sample of one data plane."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        """What was told before is nobody's.  Raises OSError."""
        self._maps = maps
        self._ring = RingBuffer(maps["dns_events"], DNS_EVENTS_OCTETS)
        self._ring.skip()
        self._lost = self._all_lost()
        self.until_ns = 0
        self.renew()

    @property
    def per_s(self) -> int:
        """How many a CPU may tell of in a second."""
        return max(1, MOST_PER_S // possible_cpus())

    def renew(self) -> None:
        """Somebody listens."""
        self.until_ns = time.monotonic_ns() + int(LEASE_S * 1e9)

    def take(self) -> tuple[bytes, int]:
        """Structs dns_event since the last call, one behind the other, and how many queries were left out.  Raises OSError."""
        self.renew()
        before, self._lost = self._lost, self._all_lost()
        return b"".join(self._ring.read(_RECORDS)), self._lost - before

    def close(self) -> None:
        """Read no more."""
        self._ring.close()

    def _all_lost(self) -> int:
        return sum(lost for _, lost, _, _ in _SAMPLING.iter_unpack(self._maps["dns_sampled"].lookup(_FIRST) or b""))
