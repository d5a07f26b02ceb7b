"""How many connections there are, from the sample of TCP and the table of UDP flows.  Pure.

Rule 1: an entry of the sample stands for its mask + 1 connections, since a keyed hash chose it: the sum is without bias, and its variance
is the sum of (mask + 1) * mask.
Rule 2: a place of the UDP table holds one flow of those that meet there, so how many there are is told by how many places are
free: linear counting (Whang, Vander-Zanden and Taylor, 1990), whose variance is theirs.
Times are coarse units of the monotonic clock, modulo 2^16 in the maps (xdp/c/layout.h).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from gslb.layout import MOST_VIPS, UDP_FLOWS
from xdp.flow import UDP_LIVE
from xdp.messages import Estimate

TRACKED = np.dtype([("backend", "u2"), ("vip", "u2"), ("mask", "u2"), ("seen", "u2")])  # struct tracked
UDP_FLOW = np.dtype([("tag", "u4"), ("backend", "u2"), ("seen", "u2")])  # struct udp_flow
_AHEAD = 2  # units: what a program wrote may be later than the clock that was read before

Pairs = Mapping[tuple[int, int], Estimate]  # by ids of VIP and backend


def ages(seen: NDArray[np.uint16], now: int) -> NDArray[np.uint16]:
    """Units since each was seen, and at most 2 more; `now` need not be modulo 2^16."""
    found: NDArray[np.uint16] = np.uint16((now + _AHEAD) & 0xFFFF) - seen
    return found


def tcp(held: NDArray[np.void], mask: int) -> Pairs:
    """Connections, by the entries of the sample, of which `mask` has left out what it leaves out."""
    weight = np.maximum(held["mask"], mask).astype(np.int64) + 1
    return {
        pair: Estimate(float(weight[of].sum()), math.sqrt(float((weight[of] * (weight[of] - 1)).sum())))
        for pair, of in _grouped(held["vip"], held["backend"])
    }


def udp(held: NDArray[np.void], now: int) -> Pairs:
    """Flows seen in the last minute, by the whole table."""
    live = held[(held["tag"] != 0) & (ages(held["seen"], now) <= UDP_LIVE + _AHEAD)]
    if not len(live):
        return {}
    load = -math.log1p(-min(len(live), UDP_FLOWS - 1) / UDP_FLOWS)  # flows a place
    each = load * UDP_FLOWS / len(live)
    variance = UDP_FLOWS * (math.expm1(load) - load)
    return {
        pair: Estimate(len(of) * each, math.sqrt(variance * len(of) / len(live)))
        for pair, of in _grouped(live["tag"] & (MOST_VIPS - 1), live["backend"])
    }


def _grouped(
    vips: NDArray[np.integer], backends: NDArray[np.integer]
) -> Iterable[tuple[tuple[int, int], NDArray[np.intp]]]:
    """The places of each pair of ids."""
    pairs = vips.astype(np.int64) << 16 | backends
    order = np.argsort(pairs, kind="stable")
    found, first = np.unique(pairs[order], return_index=True)
    for pair, of in zip(found.tolist(), np.split(order, first[1:]), strict=True) if len(found) else ():
        yield (pair >> 16, pair & 0xFFFF), of


def total(estimates: Iterable[Estimate]) -> Estimate:
    """Their sum; their errors are independent."""
    found = list(estimates)
    return Estimate(sum(one.flows for one in found), math.sqrt(sum(one.error**2 for one in found)))


def by_name(
    pairs: Iterable[Pairs], vips: Mapping[int, tuple[str, str]], backends: Mapping[int, tuple[tuple[str, str], ...]]
) -> tuple[dict[str, dict[str, Estimate]], dict[str, dict[str, Estimate]]]:
    """By pool and VIP, and by pool and backend: all that have a name, and what has none left out.

    A backend of several pools has in each the connections to VIPs of that pool.
    """
    of_vips: defaultdict[tuple[str, str], list[Estimate]] = defaultdict(list)
    of_backends: defaultdict[tuple[str, str], list[Estimate]] = defaultdict(list)
    for (vip, backend), estimate in (item for some in pairs for item in some.items()):
        if vip in vips and backend in backends:
            of_vips[vips[vip]].append(estimate)
            owners = backends[backend]
            of_backends[next((one for one in owners if one[0] == vips[vip][0]), owners[0])].append(estimate)
    every = (one for owners in backends.values() for one in owners)
    return _pools(vips.values(), of_vips), _pools(every, of_backends)


def _pools(
    names: Iterable[tuple[str, str]], found: Mapping[tuple[str, str], list[Estimate]]
) -> dict[str, dict[str, Estimate]]:
    pools: defaultdict[str, dict[str, Estimate]] = defaultdict(dict)
    for pool, name in names:
        pools[pool][name] = total(found.get((pool, name), ()))
    return dict(pools)
