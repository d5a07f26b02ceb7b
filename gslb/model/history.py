"""The part of a plan that the next decision reads: what a decision depends on besides the present.  Pure values.

Rule 1: all times are seconds since the epoch, by the clock of the decision that wrote them.
Rule 2: executors read none of it, so it is not in the plan's digest; a restart and a simulation go on from it.
Rule 3: a policy's name stands for all its clients; for those of one continent, who may be given something else where the policy
has a regional view, it is POLICY/CONTINENT (`part_of`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gslb.model.choice import CHOICE_SLOTS
from gslb.model.deployment import DYNAMIC_TYPES, PolicyId, PoolId

WHOLE = CHOICE_SLOTS


def part_of(policy: PolicyId, continent: str) -> PolicyId:
    """The name of a policy's clients on one continent; without a continent, of all others."""
    return PolicyId(f"{policy}/{continent}") if continent else policy


def policy_of(part: PolicyId) -> PolicyId:
    """The policy of such a name."""
    return PolicyId(part.partition("/")[0])


def continent_of(part: PolicyId) -> str:
    """The continent of such a name; empty where it stands for all others."""
    return part.partition("/")[2]


class Cause(StrEnum):
    """Why a pool sheds."""

    LOAD = "load"  # it is fuller than its soft mark, or was and recovers
    OUT = "out"  # it is out of the answers, by its health or by an operator: all of it goes elsewhere
    RETURN = "return"  # it was out, and comes back gradually


@dataclass(frozen=True, slots=True, order=True)
class Moved:
    """Of one (policy, record type, ranking), `slots` of WHOLE (a class that moves whole) go to `receiver` instead of the pool that sheds."""

    policy: PolicyId
    rtype: int
    ranking: int
    receiver: PoolId
    slots: int


@dataclass(frozen=True, slots=True)
class Shed:
    """What one pool sheds: `level` is the share of its demand, `stepped_at` when that last changed.

    `moved` is in the order in which slots are taken.  `fresh[receiver]` is what the last step added there, as a share of
    the receiver's capacity: it is not in the receiver's load before answers have expired.  `geography` is the digest of the
    location table whose rankings `moved` counts.  `demand` is what all its clients ask for, as a share of its capacity, when
    that could last be told: a pool that is out measures it no more.  `out` are the policies (by the names
    of rule 3) and record types of clients at home there whom it does not answer.
    """

    cause: Cause
    level: float
    stepped_at: float
    geography: str
    moved: tuple[Moved, ...] = ()
    fresh: Mapping[PoolId, float] = field(default_factory=dict)
    demand: float = 0.0
    out: tuple[tuple[PolicyId, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Out:
    """A pool that automatic decisions took out of a policy's answers of these record types, the last of them at `since`.

    `held` where it is healthy and stays out until an operator's word.
    """

    since: float
    held: bool = False
    types: tuple[int, ...] = DYNAMIC_TYPES


class Keeper(StrEnum):
    """What keeps a pool in the answers that its health would take out."""

    VELOCITY = "velocity"  # too much would leave at once
    PANIC = "panic"  # too few of its targets are healthy, and no other pool has room


@dataclass(frozen=True, slots=True)
class Kept:
    """A pool that is answered though its health speaks against it, since when, and what keeps it."""

    since: float
    by: Keeper


@dataclass(frozen=True, slots=True)
class Ejection:
    """One target of a pool, out as an outlier until `until`; `times` counts repeats, and decays with good behaviour."""

    until: float
    times: int
    why: str


@dataclass(frozen=True, slots=True)
class History:
    """All of it.  `out[policy][pool]` and `kept[policy][pool]`; `ejected` by `POOL/ADDRESS`.

    `out` and `kept` have entries of a continent (rule 3) only where they are not those of its policy; one in `out` stands for both.
    """

    sheds: Mapping[PoolId, Shed] = field(default_factory=dict)
    out: Mapping[PolicyId, Mapping[PoolId, Out]] = field(default_factory=dict)
    ejected: Mapping[str, Ejection] = field(default_factory=dict)
    kept: Mapping[PolicyId, Mapping[PoolId, Kept]] = field(default_factory=dict)

    def outs_of(self, part: PolicyId) -> Mapping[PoolId, Out]:
        """What is out of the answers to a policy's clients, or to those of one continent."""
        return self.out.get(self._entry(part), {})

    def kept_of(self, part: PolicyId) -> Mapping[PoolId, Kept]:
        """What is kept in the answers to a policy's clients, or to those of one continent."""
        return self.kept.get(self._entry(part), {})

    def _entry(self, part: PolicyId) -> PolicyId:
        return part if part in self.out else policy_of(part)

    def to_json(self) -> dict[str, object]:
        """JSON values, without what is empty."""
        return {
            "sheds": {pool: shed_json(shed) for pool, shed in self.sheds.items()},
            "out": {
                policy: {pool: [out.since, out.held, list(out.types)] for pool, out in pools.items()}
                for policy, pools in self.out.items()
            },
            "ejected": {target: [one.until, one.times, one.why] for target, one in self.ejected.items()},
            "kept": {
                policy: {pool: [kept.since, kept.by] for pool, kept in pools.items()}
                for policy, pools in self.kept.items()
            },
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> History:
        """What `to_json` made.  Raises ValueError, KeyError, TypeError, AttributeError for anything else."""
        return cls(
            sheds={PoolId(pool): shed_of(body) for pool, body in raw["sheds"].items()},
            out={
                PolicyId(policy): {PoolId(pool): _out(body) for pool, body in pools.items()}
                for policy, pools in raw["out"].items()
            },
            ejected={
                str(target): Ejection(float(until), int(times), str(why))
                for target, (until, times, why) in raw["ejected"].items()
            },
            kept={
                PolicyId(policy): {PoolId(pool): Kept(float(since), Keeper(by)) for pool, (since, by) in pools.items()}
                for policy, pools in raw["kept"].items()
            },
        )


def _out(raw: Sequence[Any]) -> Out:
    since, held, types = raw
    return Out(float(since), bool(held), tuple(int(rtype) for rtype in types))


def shed_json(shed: Shed) -> dict[str, object]:
    """One shed as JSON values."""
    return {
        "cause": shed.cause,
        "level": shed.level,
        "stepped_at": shed.stepped_at,
        "geography": shed.geography,
        "moved": [[one.policy, one.rtype, one.ranking, one.receiver, one.slots] for one in shed.moved],
        "fresh": dict(shed.fresh),
        "demand": shed.demand,
        "out": [list(one) for one in shed.out],
    }


def shed_of(raw: Mapping[str, Any]) -> Shed:
    """What `shed_json` made.  Raises ValueError, KeyError, TypeError, AttributeError for anything else."""
    return Shed(
        cause=Cause(raw["cause"]),
        level=float(raw["level"]),
        stepped_at=float(raw["stepped_at"]),
        geography=str(raw["geography"]),
        moved=tuple(
            Moved(PolicyId(policy), int(rtype), int(ranking), PoolId(receiver), int(slots))
            for policy, rtype, ranking, receiver, slots in raw["moved"]
        ),
        fresh={PoolId(pool): float(share) for pool, share in raw["fresh"].items()},
        demand=float(raw["demand"]),
        out=tuple((PolicyId(policy), int(rtype)) for policy, rtype in raw["out"]),
    )
