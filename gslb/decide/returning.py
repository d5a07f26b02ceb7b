"""What the history keeps of pools that are out, or kept in, and which of them come back.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gslb.decide.situation import Situation
from gslb.decide.standing import Standing
from gslb.model.deployment import PolicyId, PoolId
from gslb.model.history import Keeper, Kept, Out

Standings = Mapping[int, Standing]  # of one policy, by record type


def outs_of(policy: PolicyId, standings: Standings, situation: Situation) -> Mapping[PoolId, Out]:
    """The pools that are out of the policy; `since` is when the last of the record types left."""
    before = situation.history.out.get(policy, {})
    found = {}
    for pool in _among(standing.out for standing in standings.values()):
        types = tuple(sorted(rtype for rtype, standing in standings.items() if pool in standing.out))
        known = before.get(pool)
        since = known.since if known is not None and {*types} <= {*known.types} else situation.now
        found[pool] = Out(since, held=any(pool in standing.held for standing in standings.values()), types=types)
    return found


def kept_of(policy: PolicyId, standings: Standings, situation: Situation) -> Mapping[PoolId, Kept]:
    """The pools of the policy that are answered though their health speaks against them."""
    before = situation.history.kept.get(policy, {})
    slowed = set(_among(standing.kept for standing in standings.values()))
    found = {}
    for pool in _among(standing.kept | standing.spread for standing in standings.values()):
        by = Keeper.VELOCITY if pool in slowed else Keeper.PANIC
        known = before.get(pool)
        found[pool] = known if known is not None and known.by is by else Kept(situation.now, by)
    return found


def returned(standings: Iterable[Standing]) -> frozenset[PoolId]:
    """The pools that were out by automatic decision, are healthy, and come back gradually."""
    return frozenset(_among(standing.returned for standing in standings))


def _among(sets: Iterable[frozenset[PoolId]]) -> list[PoolId]:
    return sorted(frozenset().union(*sets))
