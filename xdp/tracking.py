"""The sample of connections, kept as it must be, and counted: which of all are tracked, what is idle, how many there are.  IO: system calls.

Rule 1: the mask is 0, and so all connections tracked, while they are few and their packets too: the sample is bounded by its map,
and the time that programs spend on it by MOST_PACKETS.
Rule 2: where the mask grows, entries that it leaves out are deleted and the others stand for more from then on; where it shrinks, those
that are there stand for what they stood for.  So the estimate is without bias whatever the mask was.
Rule 3: without a Want nothing is known, since how long a connection may be idle is not.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gslb.layout import MOST_TRACKED, UDP_FLOWS
from xdp import active
from xdp.libbpf import EXIST, Map
from xdp.messages import Estimate
from xdp.slots import coarse

MOST_MASK = 0xFFF
MANY = 4096  # tracked: the error is then 1.6 % to 2.2 %, and what comes in a second has room
MOST_PACKETS = 50_000  # of TCP a second, without SYNs, that are looked up in the sample, some 40 ns each
LOWER_EVERY_S = 10.0
UDP_EVERY_S = 10.0  # the table is large
UDP_OLD = 1 << 15  # units, some 39 hours: times begin anew after twice that

ByPool = Mapping[str, Mapping[str, Estimate]]


class Names(Protocol):
    """What ids stand for; looked at anew at each reading."""

    @property
    def vips(self) -> Mapping[int, tuple[str, str]]:
        """VIP id -> pool and VIP."""

    @property
    def backends(self) -> Mapping[int, tuple[tuple[str, str], ...]]:
        """Backend id -> each pool and address that it stands for."""


class Tuned(Protocol):
    """Who writes the settings: `xdp.tables.Tables`."""

    @property
    def names(self) -> Names:
        """What ids stand for."""

    @property
    def idle_s(self) -> float | None:
        """After how long a silent connection is none; None: not known yet."""

    @property
    def track_mask(self) -> int:
        """Which flows are tracked."""

    def set_track_mask(self, mask: int) -> None:
        """Track others from now on.  Raises OSError."""


class Tracking:
    """One balancer's sample."""

    def __init__(self, maps: Mapping[str, Map], tables: Tuned) -> None:
        self._maps = maps
        self._tables = tables
        self._packets: tuple[int, float] | None = None  # how many there were, and when
        self._lower_at = 0.0
        self._udp: active.Pairs = {}
        self._udp_at = 0.0

    def look(self, packets: int, now: float) -> tuple[ByPool, ByPool]:
        """How many connections each VIP and each backend has, by pool; nothing while it is not known.  Once a second.

        `packets` of TCP that are no SYN were forwarded until `now`, by the monotonic clock.  Raises OSError.
        """
        idle_s, mask = self._tables.idle_s, self._tables.track_mask
        if idle_s is None:
            return {}, {}
        keys, held = entries(self._maps["tracked"])
        gone = (active.ages(held["seen"], coarse(now)) > idle_units(idle_s)) | left_out(keys, held, mask)
        self._sweep(keys, held, gone, mask)
        held = held[~gone]
        self._adapt(mask, len(held), self._rate(packets, now), now)
        if now >= self._udp_at:
            self._udp, self._udp_at = self._udp_look(now), now + UDP_EVERY_S
        names = self._tables.names
        return active.by_name((active.tcp(held, mask), self._udp), names.vips, names.backends)

    def _sweep(self, keys: NDArray[np.uint64], held: NDArray[np.void], gone: NDArray[np.bool_], mask: int) -> None:
        """Delete what is gone, and note in the others what they stand for."""
        tracked = self._maps["tracked"]
        for key in keys[gone]:
            tracked.delete(key.tobytes())
        grown = ~gone & (held["mask"] < mask)
        for key, value in zip(keys[grown], held[grown], strict=True):
            value["mask"] = mask
            try:
                tracked.update(key.tobytes(), value.tobytes(), EXIST)
            except OSError as error:
                if error.errno != errno.ENOENT:  # its client ended it meanwhile
                    raise

    def _udp_look(self, now: float) -> active.Pairs:
        """Count, and free the places of flows so old that they would soon seem young."""
        table = self._maps["udp_flows"]
        held = udp_flows(table)
        old = (held["tag"] != 0) & (active.ages(held["seen"], coarse(now)) > UDP_OLD)
        for place in np.nonzero(old)[0].astype(np.uint32):
            table.update(place.tobytes(), bytes(table.value_size))
        return active.udp(held, coarse(now))

    def _rate(self, packets: int, now: float) -> float:
        """Packets a second since the last look; 0 where that is not known."""
        before, self._packets = self._packets, (packets, now)
        if before is None or now <= before[1]:
            return 0.0
        return max(0, packets - before[0]) / (now - before[1])

    def _adapt(self, mask: int, tracked: int, rate: float, now: float) -> None:
        wanted = next_mask(mask, tracked, rate)
        if wanted < mask and now < self._lower_at:
            return
        if wanted != mask:
            self._lower_at = now + LOWER_EVERY_S
            self._tables.set_track_mask(wanted)


def next_mask(mask: int, tracked: int, rate: float) -> int:
    """The mask by which the sample and its packets stay within their bounds; at most one step smaller than it was."""
    wanted = mask
    if tracked > MANY:
        while (mask + 1) * tracked / (wanted + 1) > MANY / 2 and wanted < MOST_MASK:
            wanted = wanted << 1 | 1
    while rate / (wanted + 1) > MOST_PACKETS and wanted < MOST_MASK:
        wanted = wanted << 1 | 1
    smaller = mask >> 1
    if wanted == mask and tracked < MANY / 4 and rate / (smaller + 1) < MOST_PACKETS / 2:
        return smaller
    return wanted


def count(maps: Mapping[str, Map], names: Names, mask: int, idle_s: float, now: float) -> tuple[ByPool, ByPool]:
    """As `Tracking.look`, for who only reads; `now` by the monotonic clock.  Raises OSError."""
    keys, held = entries(maps["tracked"])
    gone = (active.ages(held["seen"], coarse(now)) > idle_units(idle_s)) | left_out(keys, held, mask)
    flows = active.udp(udp_flows(maps["udp_flows"]), coarse(now))
    return active.by_name((active.tcp(held[~gone], mask), flows), names.vips, names.backends)


def entries(tracked: Map) -> tuple[NDArray[np.uint64], NDArray[np.void]]:
    """Hashes of the connections that are tracked, and what is held of each.  Raises OSError."""
    keys, values = tracked.read(MOST_TRACKED)
    return np.frombuffer(keys, np.uint64), np.frombuffer(values, active.TRACKED).copy()


def udp_flows(flows: Map) -> NDArray[np.void]:
    """The whole table of UDP flows.  Raises OSError."""
    _, values = flows.read(UDP_FLOWS)
    return np.frombuffer(values, active.UDP_FLOW)


def left_out(keys: NDArray[np.uint64], held: NDArray[np.void], mask: int) -> NDArray[np.bool_]:
    """Which of the entries a mask that has grown since they came leaves out."""
    found: NDArray[np.bool_] = (held["mask"] < mask) & (keys >> np.uint64(32) & np.uint64(mask) != 0)
    return found


def idle_units(idle_s: float) -> int:
    """Units after which a connection is certainly idle: one for each end, since a unit began somewhere, and what `ages` adds."""
    return coarse(idle_s) + 4
