"""What was observed, by whom, and how old it is.  Pure values; the only thing that flows back up.

`now` is the one clock of a decision: seconds since the epoch, read once by `gslb.control.node`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gslb.model.deployment import PolicyId, PoolId
from gslb.model.history import Shed


class Health(StrEnum):
    """What the checks of a target say."""

    UP = "up"
    DOWN = "down"


class Forced(StrEnum):
    """What an override forces its target to."""

    UP = "up"
    DOWN = "down"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The health of one target of a pool, `age_s` seconds after its last check ended.

    `settles_s`: how long the checks that remain need before the verdict could change (None: nothing speaks against it).
    `double`: at least two independent checks of the target, and every one of them, speak against it.
    `outlier`: how it stands out among its peers while its checks pass; empty where it does not.
    `seen_from`: the continent whose sites say so; empty where it is all of them.
    """

    health: Health
    age_s: float = 0.0
    why: str = ""
    settles_s: float | None = None
    double: bool = False
    outlier: str = ""
    seen_from: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one pool as a share of its capacity, `age_s` seconds ago; `stale`: nothing newer came in time."""

    share: float
    age_s: float = 0.0
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Rtt:
    """Round trips of clients of one location class to one pool, seconds: from SYN to the ACK of the handshake, less what the
    fastest backend needs; of `count` handshakes.
    """

    p50_s: float
    p90_s: float
    count: int
    age_s: float = 0.0


@dataclass(frozen=True, slots=True, order=True)
class Override:
    """An operator's word on `target` (`site/fra`, `pool/web-fra`, `answer/web-fra/192.0.2.10`,
    `backend/web-fra/10.1.0.11`).

    `until` is seconds since the epoch; None does not expire.  `force` lets it break the last-site guard.
    `node` is where it was made, empty where that is not known.
    """

    target: str
    state: Forced
    who: str
    why: str
    since: float
    until: float | None = None
    force: bool = False
    node: str = field(default="", compare=False)

    def holds_at(self, now: float) -> bool:
        """Whether the override is in force at `now`."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class GivenShed:
    """What the one node that steers a pool says it sheds (None: nothing), and `node`, its name.

    `as_of` is when that was last known to be its word: what this node found out later about a pool that left the answers holds
    until then.  Times are by this node's clock: `stepped_at` of the shed is when it was heard.
    """

    shed: Shed | None
    as_of: float
    node: str = ""


Verdicts = Mapping[PoolId, Mapping[str, Verdict]]
Rtts = Mapping[PoolId, Mapping[tuple[int, int], Rtt]]  # by (address family 4 or 6, location class)
Demand = Mapping[PolicyId, Mapping[int, tuple[float, ...]]]


@dataclass(frozen=True, slots=True)
class World:
    """Everything observed.

    `verdicts[pool][address]`: targets are the pool's answers, and behind a balancer its backends; one without a verdict is
    taken as up.  `demand[policy][rtype][ranking]`: answers given, per second; empty while nobody measured, and then
    clients are weighed by the sizes of their networks.  `heavy` are resolvers without client subnets that alone ask more than
    one spill step.  `unbalanced[pool]`: why this node cannot balance a pool of its own site that asks for it.
    `regional[continent]`: verdicts by the sites of that continent, where they differ from `verdicts`; for policies of `view: regional`.
    `given[pool]`: what the one node that steers the pool says it sheds; a pool that is missing is steered here.
    """

    now: float
    verdicts: Verdicts = field(default_factory=dict)
    loads: Mapping[PoolId, Load] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    demand: Demand = field(default_factory=dict)
    heavy: tuple[str, ...] = ()
    rtts: Rtts = field(default_factory=dict)
    unbalanced: Mapping[PoolId, str] = field(default_factory=dict)
    regional: Mapping[str, Verdicts] = field(default_factory=dict)
    given: Mapping[PoolId, GivenShed] = field(default_factory=dict)
