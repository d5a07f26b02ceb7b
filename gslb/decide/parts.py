"""Whose word on health each of a policy's clients goes by: that of all sites, or that of their continent's.  Pure.

Rule 1: a policy of `view: regional` has a part for the clients of each continent that its rankings tell apart, and one for all
others: places that are not known, continents without a site, clients known by subnet or AS number.  Other policies have that
one part only.
Rule 2: a continent's part goes by the verdicts of its own sites where these say something else, and by those of all where they
do not.  All steps hold for it on its own: guard, panic, velocity, held pools.  So from no client more than `velocity` leaves at once.
Rule 3: a continent whose own view leaves nothing to answer with is given what the view of all sites leaves: that no pool at all
can be reached from there is more likely to be the continent's own trouble.  `on_all_down` speaks only where that leaves nothing either.
Rule 4: an empty answer holds for the whole world (its scope is 0), so where the view of all sites leaves nothing and the policy
then says nodata or servfail, that is said to everybody.
Rule 5: what was taken out of a part stands in the history under its own name only where that is not as for all others: so a part
begins with what holds for all, and ends when nothing tells it apart any more.
Rule 6: overrides, ejections, loads and the tables of balancers are the same for all parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache

from gslb.decide.returning import kept_of, outs_of
from gslb.decide.routes import KEPT, Same, pools_of, same
from gslb.decide.settle import Settled, settle
from gslb.decide.situation import Situation, seen_from
from gslb.decide.standing import Standing
from gslb.decide.ttl import ttl_of
from gslb.decide.velocity import WINDOW_S
from gslb.model.deployment import DYNAMIC_TYPES, Deployment, Policy, PolicyId, PoolId, View
from gslb.model.history import Kept, Out, part_of
from gslb.model.location import Ranking
from gslb.model.plan import Mode, Plan
from gslb.model.world import World

_EMPTY = (Mode.NODATA, Mode.SERVFAIL)


class Sight(StrEnum):
    """Whose word on health decided what some clients are given."""

    ALL = "all sites"
    SAME = "all sites, and those of the continent say nothing else"
    OWN = "the sites of the continent"
    NOTHING = "all sites, since those of the continent leave nothing"
    EMPTY = "all sites, since an empty answer holds for everybody"


@dataclass(frozen=True, slots=True)
class Part:
    """Some clients of a policy, what they go by, and what the steps leave them, by record type.

    `continent` is empty for those who go by all sites.
    """

    policy: Policy
    continent: str
    situation: Situation
    settled: Mapping[int, Settled]

    @property
    def name(self) -> PolicyId:
        """Its name in the history."""
        return part_of(self.policy.name, self.continent)

    @property
    def standings(self) -> Mapping[int, Standing]:
        """How the pools stand, by record type."""
        return {rtype: one.standing for rtype, one in self.settled.items()}


@dataclass(frozen=True, slots=True)
class Views:
    """The situation as all sites see it, and as those of a continent do."""

    model: Deployment
    world: World
    situation: Situation
    _seen: dict[str, Situation] = field(default_factory=dict)

    def of(self, policy: Policy, continent: str) -> Situation:
        """What the policy's clients on a continent go by; the very situation of all sites where nothing is different for them."""
        name, history = part_of(policy.name, continent), self.situation.history
        different = self.world.regional.get(continent, {})
        seen = self.situation
        if any(different.get(pool) for pool in (*pools_of(policy), *policy.spill.to)):
            if continent not in self._seen:
                self._seen[continent] = seen_from(continent, self.model, self.world, self.situation)
            seen = self._seen[continent]
        if name not in history.out:
            return seen
        own = replace(
            history,
            out={**history.out, policy.name: history.outs_of(name)},
            kept={**history.kept, policy.name: history.kept_of(name)},
        )
        return replace(seen, history=own)


def continents_of(policy: Policy, rankings: Sequence[Ranking]) -> tuple[str, ...]:
    """The continents that have a part of their own."""
    return _continents(same(rankings)) if policy.view is View.REGIONAL else ()


def parts_of(policy: Policy, continents: Sequence[str], views: Views, previous: Plan | None) -> Mapping[str, Part]:
    """The parts of a policy by continent: first that of all others, then those of these continents."""
    by_type = {rtype: settle(policy, rtype, views.situation, previous) for rtype in DYNAMIC_TYPES}
    general = Part(policy, "", views.situation, by_type)
    found = {"": general}
    for continent in continents:
        seen = views.of(policy, continent)
        if seen is views.situation:
            found[continent] = replace(general, continent=continent)
        else:
            settled = {rtype: _settled(policy, rtype, seen, previous, general) for rtype in DYNAMIC_TYPES}
            found[continent] = Part(policy, continent, seen, settled)
    return found


def sight_of(parts: Mapping[str, Part], continent: str, rtype: int) -> Sight:
    """Whose word decided for the clients of one continent."""
    general, part = parts[""], parts.get(continent)
    if part is None or part is general:
        return Sight.ALL
    if part.situation is general.situation:
        return Sight.SAME
    if part.settled[rtype] is not general.settled[rtype]:
        return Sight.OWN
    return Sight.EMPTY if general.settled[rtype].mode in _EMPTY else Sight.NOTHING


def history_of(
    parts: Mapping[str, Part], now: float
) -> tuple[Mapping[PolicyId, Mapping[PoolId, Out]], Mapping[PolicyId, Mapping[PoolId, Kept]]]:
    """What is out of the parts of one policy, and what is kept in, by the names of parts.

    A continent's part without an entry among those that are out has what the policy has.
    """
    general = parts[""]
    out, kept = _history(general)
    outs = {general.name: out} if out else {}
    keeps = {general.name: kept} if kept else {}
    for part in parts.values():
        if part.situation is general.situation:
            continue
        own_out, own_kept = _history(part)
        if own_kept != kept or _lately(own_out, now) != _lately(out, now):
            outs[part.name] = own_out
            if own_kept:
                keeps[part.name] = own_kept
    return outs, keeps


def policy_ttl(parts: Mapping[str, Part]) -> int:
    """Seconds that answers of the policy may be cached: the least of its parts."""
    general = parts[""]
    own = (part for part in parts.values() if part is general or part.situation is not general.situation)
    return min(ttl_of(part.policy, part.situation, part.standings) for part in own)


def _settled(policy: Policy, rtype: int, seen: Situation, previous: Plan | None, general: Part) -> Settled:
    of_all = general.settled[rtype]
    if of_all.mode in _EMPTY:
        return of_all
    own = settle(policy, rtype, seen, previous)
    return own if own.answering else of_all


def _history(part: Part) -> tuple[Mapping[PoolId, Out], Mapping[PoolId, Kept]]:
    name = part.policy.name
    return outs_of(name, part.standings, part.situation), kept_of(name, part.standings, part.situation)


def _lately(outs: Mapping[PoolId, Out], now: float) -> Mapping[PoolId, Out]:
    """The same, where nobody asks any more how long ago a pool left."""
    return {pool: replace(out, since=max(out.since, now - WINDOW_S)) for pool, out in outs.items()}


@lru_cache(maxsize=KEPT)
def _continents(rankings: Same[Sequence[Ranking]]) -> tuple[str, ...]:
    return tuple(sorted({ranking.continent for ranking in rankings.value} - {""}))
