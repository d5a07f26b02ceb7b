"""What was observed, by whom, and how old it is.  Pure values; the only thing that flows back up.

`now` is the one clock of a decision: seconds since the epoch, read once by `gslb.control.node`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gslb.model.deployment import PoolId


class Health(StrEnum):
    """A verdict on a pool."""

    UP = "up"
    DOWN = "down"


class Forced(StrEnum):
    """What an override forces its target to."""

    UP = "up"
    DOWN = "down"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The health of one pool, `age_s` seconds ago by the observer's clock."""

    health: Health
    age_s: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one pool as a share of its capacity."""

    share: float
    age_s: float = 0.0


@dataclass(frozen=True, slots=True, order=True)
class Override:
    """An operator's word on `target` (`site/fra`, `pool/web-fra`, `answer/web-fra/192.0.2.10`).

    `until` is seconds since the epoch; None does not expire.  `force` lets it break the last-site guard.
    """

    target: str
    state: Forced
    who: str
    why: str
    since: float
    until: float | None = None
    force: bool = False

    def holds_at(self, now: float) -> bool:
        """Whether the override is in force at `now`."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class World:
    """Everything observed.  A pool without a verdict is taken as up."""

    now: float
    verdicts: Mapping[PoolId, Verdict] = field(default_factory=dict)
    loads: Mapping[PoolId, Load] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
