"""What `decide` needs to know of geography: the ways in which clients are ordered.  Pure.

A location class is an integer that stands for all client networks that every policy treats alike.
Per policy, many classes share one `Ranking`; `decide` works on rankings, so its cost does not grow with
the number of classes.  The class -> ranking map stays with the location table (`gslb.geo.table`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gslb.model.deployment import PolicyId, PoolId


@dataclass(frozen=True, slots=True, order=True)
class Ranking:
    """One outcome of a policy's rules for a client network.

    `rule` is the index of the rule that matched.  `pools4` and `pools6` are that rule's pools that have an
    address for A and for AAAA, in the order in which they are to be tried: as written, or by distance.  For
    `nearest` they hold the first `nearest_limit`; `decide` appends the rule's other pools as written.
    `continent` is the client's, where a policy of `view: regional` goes by its sites: only where it has sites, and where the rule
    matched by place (its geos, or as the catch-all); else it is empty, and so it is in all other policies.
    """

    rule: int
    pools4: tuple[PoolId, ...]
    pools6: tuple[PoolId, ...]
    continent: str = ""


@dataclass(frozen=True, slots=True)
class Catchment:
    """The client networks of one ranking: `share` of all networks, by size (0..1; the shares of a policy's rankings add up
    to 1), and their mean distance in km to each pool of the policy, spill targets included, where that is known.
    """

    share: float
    km: Mapping[PoolId, float]


@dataclass(frozen=True, slots=True)
class Geography:
    """The rankings of each policy (ranking 0 is where the client's place is not known), and the catchment of each.

    `digest` names the location table that these rankings belong to.  A policy without catchments is one whose clients'
    networks are not known: all rankings weigh the same, and no distance is known.
    """

    digest: str
    classes: int
    rankings: Mapping[PolicyId, tuple[Ranking, ...]]
    catchments: Mapping[PolicyId, tuple[Catchment, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cohort:
    """Client networks of a policy that have the ranking `before` in one geography and `after` in another.

    `networks` is how many they are, where that was counted; `size` is their weight among those of the same `before`.
    """

    before: int
    after: int
    networks: int
    size: float
