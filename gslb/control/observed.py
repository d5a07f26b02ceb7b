"""What a node observed last, to and from its state file: for the next start and for commands.  Pure.

Rule 1: a file is read whole or not at all.
Rule 2: what was observed is not lost by a restart: the next run begins with it, older by the time between.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gslb.model.deployment import DYNAMIC_TYPES, PolicyId, PoolId
from gslb.model.unreadable import defect, shown
from gslb.model.world import Demand, Health, Load, Override, Rtt, Rtts, Verdict, Verdicts, World

FORMAT = 1


class ObservedUnreadable(ValueError):
    """The bytes are no observations of this format and deployment."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything observed at `at` (seconds since the epoch).

    `geography` is the digest of the location table whose rankings `demand` counts.  `blind_since`: since when this site's
    reference targets are unreachable, so that its opinions do not count.  `rtts` are by classes of that table too;
    `unbalanced`: why this node cannot balance a pool of its site.  `regional` as in `gslb.model.world.World`.
    """

    at: float
    verdicts: Verdicts = field(default_factory=dict)
    loads: Mapping[PoolId, Load] = field(default_factory=dict)
    geography: str = ""
    demand: Demand = field(default_factory=dict)
    heavy: tuple[str, ...] = ()
    blind_since: float | None = None
    rtts: Rtts = field(default_factory=dict)
    unbalanced: Mapping[PoolId, str] = field(default_factory=dict)
    regional: Mapping[str, Verdicts] = field(default_factory=dict)

    def world(self, now: float, overrides: Iterable[Override], geography: str) -> World:
        """The world at `now`; what was counted by another location table says nothing."""
        passed = max(0.0, now - self.at)
        located = self.geography == geography
        return World(
            now=now,
            verdicts=_aged(self.verdicts, passed),
            loads={pool: replace(load, age_s=load.age_s + passed) for pool, load in self.loads.items()},
            overrides=tuple(one for one in overrides if one.holds_at(now)),
            demand=self.demand if located else {},
            heavy=self.heavy,
            rtts=_older(self.rtts, passed) if located else {},
            unbalanced=self.unbalanced,
            regional={continent: _aged(verdicts, passed) for continent, verdicts in self.regional.items()},
        )


def dump_observed(deployment: str, seen: Observed) -> bytes:
    """JSON of the observations."""
    raw = {
        "format": FORMAT,
        "deployment": deployment,
        "at": seen.at,
        "verdicts": _verdicts_json(seen.verdicts),
        "loads": {pool: [load.share, round(load.age_s, 3), load.stale] for pool, load in seen.loads.items()},
        "geography": seen.geography,
        "demand": {
            policy: {str(rtype): list(rates) for rtype, rates in by_type.items()}
            for policy, by_type in seen.demand.items()
        },
        "heavy": list(seen.heavy),
        "blind_since": seen.blind_since,
        "rtts": {
            pool: [[*where, rtt.p50_s, rtt.p90_s, rtt.count, round(rtt.age_s, 3)] for where, rtt in found.items()]
            for pool, found in seen.rtts.items()
        },
        "unbalanced": dict(seen.unbalanced),
        "regional": {continent: _verdicts_json(verdicts) for continent, verdicts in seen.regional.items()},
    }
    return json.dumps(raw, separators=(",", ":")).encode()


def parse_observed(data: bytes, deployment: str) -> Observed:
    """Read what `dump_observed` wrote.  Raises ObservedUnreadable."""
    try:
        raw = json.loads(data)
        if not isinstance(raw, dict):
            raise ObservedUnreadable("not observations: not a mapping")
        if raw["format"] != FORMAT:
            raise ObservedUnreadable(f"observations format {shown(raw['format'])}, expected {FORMAT}")
        if raw["deployment"] != deployment:
            raise ObservedUnreadable(f"they are of deployment {shown(raw['deployment'])}, expected {deployment!r}")
        return Observed(
            at=_finite(raw["at"]),
            verdicts=_verdicts(raw["verdicts"]),
            loads={
                PoolId(pool): Load(_finite(share), _finite(age), bool(stale))
                for pool, (share, age, stale) in raw["loads"].items()
            },
            geography=str(raw["geography"]),
            demand={PolicyId(policy): _rates(by_type) for policy, by_type in raw["demand"].items()},
            heavy=tuple(str(address) for address in raw["heavy"]),
            blind_since=None if raw["blind_since"] is None else _finite(raw["blind_since"]),
            rtts={PoolId(pool): dict(map(_rtt, found)) for pool, found in raw.get("rtts", {}).items()},
            unbalanced={PoolId(pool): str(why) for pool, why in raw.get("unbalanced", {}).items()},
            regional={str(continent): _verdicts(found) for continent, found in raw.get("regional", {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        if isinstance(error, ObservedUnreadable):
            raise
        raise ObservedUnreadable(f"not observations: {defect(error)}") from error


def _aged(verdicts: Verdicts, passed: float) -> Verdicts:
    if not passed:
        return verdicts
    return {
        pool: {address: replace(verdict, age_s=verdict.age_s + passed) for address, verdict in found.items()}
        for pool, found in verdicts.items()
    }


def _older(rtts: Rtts, passed: float) -> Rtts:
    return {
        pool: {where: replace(rtt, age_s=rtt.age_s + passed) for where, rtt in found.items()}
        for pool, found in rtts.items()
    }


def _rtt(raw: Any) -> tuple[tuple[int, int], Rtt]:
    family, known_class, p50, p90, count, age = raw
    return (int(family), int(known_class)), Rtt(_finite(p50), _finite(p90), int(_finite(count)), _finite(age))


def _verdicts_json(verdicts: Verdicts) -> dict[str, dict[str, list[object]]]:
    return {
        pool: {address: _verdict_json(verdict) for address, verdict in found.items()}
        for pool, found in verdicts.items()
    }


def _verdicts(raw: Mapping[str, Any]) -> Verdicts:
    return {
        PoolId(pool): {str(address): _verdict(body) for address, body in found.items()} for pool, found in raw.items()
    }


def _verdict_json(verdict: Verdict) -> list[object]:
    age = round(verdict.age_s, 3)
    return [verdict.health, age, verdict.why, verdict.settles_s, verdict.double, verdict.outlier]


def _verdict(raw: Any) -> Verdict:
    health, age, why, settles, double, outlier = raw
    settles_s = None if settles is None else _finite(settles)
    return Verdict(Health(health), _finite(age), str(why), settles_s, bool(double), str(outlier))


def _rates(by_type: Mapping[str, Any]) -> Mapping[int, tuple[float, ...]]:
    return {rtype: tuple(map(_finite, by_type[str(rtype)])) for rtype in DYNAMIC_TYPES if str(rtype) in by_type}


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{number} is no time, rate or share")
    return number
