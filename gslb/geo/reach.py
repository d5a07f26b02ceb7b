"""How far clients are from the pools that they are given: mean and 90th percentile.  Pure.

By the coordinates of each client network, so as exact as the databases; the percentile is told to the kilometre.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gslb.geo.arcs import F64, kilometres_to, points
from gslb.geo.clients import Clients, Grouped
from gslb.geo.places import Places
from gslb.model.deployment import Deployment, PoolId, SiteId

_FARTHEST = 20_016  # kilometres: half of the great circle, rounded up


@dataclass(frozen=True, slots=True)
class Distance:
    """Kilometres between clients and pools; `known` is the share of what is asked that this is told of."""

    mean_km: float
    p90_km: float
    known: float


class Reach:
    """Distances of one set of clients, to the sites of one deployment."""

    def __init__(self, places: Places, clients: Clients, deployment: Deployment) -> None:
        rows = places.rows[clients.place]
        self._located = np.isfinite(rows["latitude"])
        self._at = points(rows["latitude"], rows["longitude"])
        self._clients = clients
        self._deployment = deployment
        self._km: dict[SiteId, F64] = {}

    def distance(self, group: Grouped, asked: Sequence[Mapping[PoolId, float]]) -> Distance | None:
        """The distance of one policy's clients; `asked` says for each cohort what is asked of each pool.

        What is asked of something else than a pool of the deployment is left out.  None: no distance is known.
        """
        sizes = np.array([cohort.size for cohort in group.cohorts])
        part = self._clients.size / sizes[group.number]  # of its cohort
        histogram = np.zeros(_FARTHEST + 1)
        total = 0.0
        for pool in dict.fromkeys(pool for rates in asked for pool in rates if pool in self._deployment.pools):
            km = self._kilometres(self._deployment.pools[pool].datacenter)
            if km is None:
                continue
            rates = np.array([rates.get(pool, 0.0) for rates in asked])[group.number]
            rows = np.flatnonzero(self._located & (rates > 0) & (part > 0))
            weights = rates[rows] * part[rows]
            total += float((weights * km[rows]).sum())
            histogram += np.bincount(np.rint(km[rows]).astype(np.int64), weights=weights, minlength=_FARTHEST + 1)
        known = float(histogram.sum())
        if not known:
            return None
        p90 = int(np.searchsorted(np.cumsum(histogram), 0.9 * known))
        return Distance(total / known, float(p90), known / sum(sum(rates.values()) for rates in asked))

    def _kilometres(self, site: SiteId) -> F64 | None:
        """From each row of clients to a site; None where nobody knows where that is."""
        at = self._deployment.datacenters[site].at
        if at is not None and site not in self._km:
            self._km[site] = kilometres_to(at, self._at)
        return self._km.get(site)
