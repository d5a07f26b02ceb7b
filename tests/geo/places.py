"""Networks and locations -> Places, without a database: nested networks, the longest wins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gslb.geo.places import PLACE, Places, Runs, coalesced
from gslb.geo.schema import UNKNOWN, Location
from gslb.geo.table import V4_BITS, V6_BITS
from gslb.model.deployment import Network


def places_of(networks: Sequence[tuple[Network, Location]]) -> Places:
    """The places of these networks; of equal networks the later wins.  The base of each /24 and /56 decides."""
    distinct = list(dict.fromkeys([UNKNOWN, *(location for _, location in networks)]))
    geos = list(dict.fromkeys((place.continent, place.country, place.subdivision) for place in distinct))
    rows = np.zeros(len(distinct), PLACE)
    for row, place in zip(rows, distinct, strict=True):
        row["latitude"], row["longitude"] = place.coordinates or (np.nan, np.nan)
        row["geo"] = geos.index((place.continent, place.country, place.subdivision))
        row["asn"] = place.asn
    numbered = [(network, distinct.index(location)) for network, location in networks]
    return Places("test", rows, tuple(geos), _runs(numbered, 4, V4_BITS), _runs(numbered, 6, V6_BITS))


def _runs(numbered: Sequence[tuple[Network, int]], version: int, bits: int) -> Runs:
    family = [(network, number) for network, number in numbered if network.version == version]
    shift = (32 if version == 4 else 128) - bits
    keys = {0}
    for network, _ in family:
        first = int(network.network_address)
        keys |= {-(-first >> shift), -(-(first + network.num_addresses) >> shift)}
        keys |= {first >> shift, (first >> shift) + 1}
    starts = sorted(key for key in keys if key < 1 << bits)
    values = []
    for key in starts:
        holding = [(net.prefixlen, number) for net, number in family if _holds(net, key << shift)]
        longest = max((length for length, _ in holding), default=-1)
        values.append([number for length, number in holding if length == longest][-1] if holding else 0)
    return coalesced(np.array(starts, np.uint64), np.array(values, np.uint32))


def _holds(network: Network, address: int) -> bool:
    first = int(network.network_address)
    return first <= address < first + network.num_addresses
