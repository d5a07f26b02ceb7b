"""What a node tells all others, as values.  Pure; `gslb.bus.wire` has their octets, `gslb.bus.peers` their merge.

Rule 1: every fact has an age in seconds at the moment of sending: clocks of nodes need not agree.
Rule 2: a part replaces what the same node told before under the same keys and nothing else; what is not told again expires.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy.typing as npt

from gslb.model.deployment import PolicyId, PoolId
from gslb.model.world import Health


class Kind(StrEnum):
    """Kinds of messages; each is the last token of a subject."""

    LIFE = "life"
    OPINIONS = "opinions"
    LOADS = "loads"
    ROUND_TRIPS = "rtts"
    DEMAND = "demand"


@dataclass(frozen=True, slots=True)
class Stamp:
    """The order of what one node tells: `run` grows with each start of its controller, `number` with each message.

    `sent_s` is its monotonic clock, which tells delays; `wall_s` its calendar's clock, which tells skew.
    """

    run: int
    number: int
    sent_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Life:
    """A node lives.

    `config` and `config_version`: digest and version of the configuration in force (version 0: by its own file);
    `plan`: version and digest; `geography`: of its location table; `balancers`: a digest of its balancer's tables, empty where it has none;
    `blind_s`: for how long its site's reference targets have been unreachable, None while they are not;
    `routes`: prefix -> `announced`, `drained` or `withdrawn`; `version` of gslb; `up_s`: for how long its controller has run.
    """

    config: str
    config_version: int
    plan_version: int
    plan: str
    geography: str
    balancers: str
    blind_s: float | None
    routes: Mapping[str, str]
    version: str
    up_s: float


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a node's checks say of one target.  `for_s`: for how long they have said so; the rest as in `Verdict`."""

    health: Health
    age_s: float
    for_s: float
    ttl_s: float
    settles_s: float | None = None
    double: bool = False
    outlier: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Opinions:
    """By target: `target_key` of (monitor, address)."""

    found: Mapping[int, Opinion]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Opinions as they came: one row of `gslb.bus.rows.ROW` a target; `texts[row]` are (why, outlier) of those that have any."""

    rows: npt.NDArray[Any]
    texts: Mapping[int, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SharedLoad:
    """The load of one pool that a node knows: a share of its capacity.

    `part`: it is what this node alone carries (its balancer's count), to be summed over the nodes of the pool's site;
    else it is all of the pool's load.
    """

    share: float
    age_s: float
    part: bool


@dataclass(frozen=True, slots=True)
class Loads:
    """By pool."""

    found: Mapping[PoolId, SharedLoad]


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """By (pool, family, location class) of the table `geography`: median and 90th percentile in seconds, count, age."""

    geography: str
    found: Mapping[tuple[PoolId, int, int], tuple[float, float, int, float]]


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers given per second by (policy, record type, ranking of the first number), by rankings of the table `geography`.

    `heavy` as in `World`.
    """

    geography: str
    found: Mapping[tuple[PolicyId, int, int], tuple[float, ...]]
    heavy: tuple[str, ...] = ()
    age_s: float = 0.0


Body = Life | Opinions | Rows | Loads | RoundTrips | Answers


@dataclass(frozen=True, slots=True)
class Told:
    """A message as it was told.  `heard_at` by the receiver's monotonic clock; `skew_s`: the sender's calendar is ahead by that,
    less the time that the message took.
    """

    site: str
    node: str
    stamp: Stamp
    body: Body
    heard_at: float = field(default=0.0)
    skew_s: float = 0.0
