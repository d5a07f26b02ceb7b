"""Targets that stand out among their peers though their checks pass are ejected for a time.  Pure.

An ejection lasts SHORTEST_S, twice as long with each repeat, at most LONGEST_S; FORGIVEN_S of good behaviour after its end
take one repeat off.  (The shape is that of Envoy's outlier detection: base_ejection_time, max_ejection_time, interval.)

Rule 1: ejections never take a pool below its panic threshold, nor to nothing; when its other targets fail, what is
ejected comes back.
Rule 2: a pool loses at most one target within SPACING_S, and a target that came back is watched as long before it may be
ejected again.
Rule 3: what an operator forces, or what the checks find down, is not ejected.
Rule 4: an ejection counts as capacity that leaves (gslb.decide.velocity).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from gslb.decide.panic import Share, share_of
from gslb.decide.targets import Target
from gslb.model.deployment import PoolId
from gslb.model.history import Ejection

SHORTEST_S = 30.0
LONGEST_S = 1800.0
FORGIVEN_S = 300.0
SPACING_S = 10.0
_MOST_TIMES = 7  # 30 s doubled six times is over half an hour

Ejected = Mapping[str, Ejection]  # by `POOL/ADDRESS`
MayLose = Callable[[PoolId, float, Ejected], bool]  # may this share of a pool leave now, beside these ejections


@dataclass(frozen=True, slots=True)
class Peers:
    """Targets that share the work of one pool: its backends, or its answers of one family, without ejections.

    `panic` is that of the strictest policy that uses the pool.
    """

    pool: PoolId
    targets: tuple[Target, ...]
    panic: float


def lasts_s(times: int) -> float:
    """How long the ejection of this count lasts."""
    return min(SHORTEST_S * 2.0 ** (times - 1), LONGEST_S)


def remembered(before: Ejected, now: float) -> Ejected:
    """What still counts: nothing lasts longer than it may (the clock may have gone back), good behaviour is forgiven."""
    found = {}
    for key, ejection in before.items():
        times = min(max(ejection.times, 1), _MOST_TIMES)
        if now - ejection.until >= times * FORGIVEN_S:
            continue
        found[key] = replace(ejection, until=min(ejection.until, now + lasts_s(times)), times=times)
    return found


def began(ejection: Ejection) -> float:
    """When it began."""
    return ejection.until - lasts_s(ejection.times)


def in_force(ejected: Ejected, now: float) -> Ejected:
    """Those that have not ended."""
    return {key: ejection for key, ejection in ejected.items() if now < ejection.until}


def eject(groups: Iterable[Peers], before: Ejected, now: float, may_lose: MayLose) -> Ejected:
    """The ejections of this moment: `before` (see `remembered`), with what ends early and what begins."""
    found = dict(before)
    for peers in groups:
        _release(peers, found, now)
        new = _outlier(peers, found, now)
        if new is not None and may_lose(
            peers.pool, new[1].member.weight / share_left(peers.targets, {}, now).total, found
        ):
            found[new[1].key] = new[0]
    return found


def share_left(targets: Iterable[Target], ejected: Ejected, now: float) -> Share:
    """What serves of these targets when those ejected do not."""
    active = in_force({one.key: ejected[one.key] for one in targets if one.key in ejected}, now)
    return share_of(tuple(replace(one, ejection=active.get(one.key)) for one in targets))


def _release(peers: Peers, found: dict[str, Ejection], now: float) -> None:
    """End the ejections of a pool that needs its outliers."""
    mine = [one.key for one in peers.targets if one.key in found and now < found[one.key].until]
    if mine and not _enough(share_left(peers.targets, found, now), peers.panic):
        found.update((key, replace(found[key], until=now)) for key in mine)


def _outlier(peers: Peers, found: Ejected, now: float) -> tuple[Ejection, Target] | None:
    """The first target that stands out and that the pool can spare, with the ejection that it is due."""
    if any(now - _last_change(found[one.key], now) < SPACING_S for one in peers.targets if one.key in found):
        return None
    for target in peers.targets:
        verdict, past = target.verdict, found.get(target.key)
        if verdict is None or not verdict.outlier or target.override is not None or target.failing:
            continue
        if past is not None and now < past.until:
            continue
        times = min(_counted(past, now) + 1, _MOST_TIMES)
        new = Ejection(until=now + lasts_s(times), times=times, why=verdict.outlier)
        if _enough(share_left(peers.targets, {**found, target.key: new}, now), peers.panic):
            return new, target
    return None


def _enough(left: Share, panic: float) -> bool:
    return left.healthy > 0 and not left.below(panic)


def _last_change(ejection: Ejection, now: float) -> float:
    return ejection.until if ejection.until <= now else began(ejection)


def _counted(past: Ejection | None, now: float) -> int:
    """How often the target was ejected, less what good behaviour has taken off."""
    return 0 if past is None else max(past.times - int((now - past.until) // FORGIVEN_S), 0)
