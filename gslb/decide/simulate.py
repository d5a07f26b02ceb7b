"""What-if: what clients are answered, where load goes and who moves, when a site is lost or another configuration decides.

Pure.  Both cases run through the same `decide` as a node's controller until they come to rest (`gslb.decide.rest`), so what
is compared is two states, and not a change that is under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gslb.decide.audience import split
from gslb.decide.case import Case, Cohorts
from gslb.decide.levels import Marks, marks_of
from gslb.decide.marks import Over, brought, over, wait_of
from gslb.decide.predict import Carried
from gslb.decide.rest import Origin, Settled, origin_of, settled
from gslb.decide.spread import Destination, Spread, paths, spread
from gslb.model.deployment import PolicyId, PoolId, SiteId
from gslb.model.history import Shed
from gslb.model.location import Cohort, Geography


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in both cases."""

    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Trip:
    """What one cohort asks of each destination in both cases, and the share of its networks that change theirs."""

    cohort: Cohort
    before: Mapping[Destination, float]
    after: Mapping[Destination, float]
    moved: float


@dataclass(frozen=True, slots=True)
class PolicyOutcome:
    """One policy: shares of its answers by destination (they add up to 1), and who moves.

    `moved` is the share of what is asked; of `networks` client networks, `moved_networks` change their destination, for one
    record type at least.  `km` is the mean distance to the pool, over all that is asked by clients whose place is known.
    """

    policy: PolicyId
    answers: Mapping[Destination, Change]
    moved: float
    networks: int
    moved_networks: int
    km: Change | None
    trips: tuple[Trip, ...]


@dataclass(frozen=True, slots=True)
class PoolSide:
    """One pool in one case: its load, its marks, the probability that a request waits, and what it sheds.

    None: not known (`marks`: no capacity is configured; `waiting`: no number of servers is).
    """

    carried: Carried
    marks: Marks | None
    waiting: float | None
    shed: Shed | None

    @property
    def over(self) -> Over:
        """The mark that its load exceeds, as far as that is known."""
        if self.marks is None or self.carried.share is None:
            return Over.NONE
        return over(self.marks, self.carried.share)


@dataclass(frozen=True, slots=True)
class PoolOutcome:
    """One pool: its share of all answers, and its sides; None where that configuration does not have it."""

    pool: PoolId
    site: SiteId
    answers: Change
    before: PoolSide | None
    after: PoolSide | None

    @property
    def brought(self) -> Over:
        """The mark that the change brings its load over."""
        if self.after is None or self.after.carried.share is None:
            return Over.NONE
        was, before = (self.before.over, self.before.carried.share) if self.before is not None else (Over.NONE, None)
        return brought(self.after.over, self.after.carried.share, was, before)


@dataclass(frozen=True, slots=True)
class Simulation:
    """The comparison; policies that only one of the configurations has are named and not compared."""

    before: Settled
    after: Settled
    policies: tuple[PolicyOutcome, ...]
    pools: tuple[PoolOutcome, ...]
    only_before: tuple[PolicyId, ...]
    only_after: tuple[PolicyId, ...]


def simulate(before: Case, after: Case, cohorts: Cohorts | None = None) -> Simulation:
    """Compare two cases.  Without `cohorts` they are of one geography, and networks are not counted."""
    origin = origin_of(before)
    rest = settled(before, origin), settled(after, origin, cohorts)
    shared = [name for name in before.model.policies if name in after.model.policies]
    groups = cohorts or {name: alike(before.geography, name) for name in shared}
    policies = tuple(
        _policy_outcome(name, _trips(name, groups[name], origin, rest), (before.geography, after.geography))
        for name in shared
    )
    return Simulation(
        before=rest[0],
        after=rest[1],
        policies=policies,
        pools=_pool_outcomes((before, after), rest, policies),
        only_before=tuple(name for name in before.model.policies if name not in after.model.policies),
        only_after=tuple(name for name in after.model.policies if name not in before.model.policies),
    )


def alike(geography: Geography, policy: PolicyId) -> tuple[Cohort, ...]:
    """The cohorts of a policy whose geography stays: each ranking is one; its networks are not counted."""
    return tuple(Cohort(index, index, 0, 1.0) for index in range(len(geography.rankings[policy])))


def _trips(
    name: PolicyId, cohorts: Sequence[Cohort], origin: Origin, rest: tuple[Settled, Settled]
) -> tuple[Trip, ...]:
    """What becomes of each cohort of a policy."""
    before, after = (settled.plan.policies[name].choices for settled in rest)
    spreads = [[spread(choice) for choice in settled.plan.choices] for settled in rest]
    asked = {rtype: split(rates, cohorts) for rtype, rates in origin.audience[name].items()}
    trips = []
    for place, cohort in enumerate(cohorts):
        parts = [
            (rates[place], spreads[0][before[rtype][cohort.before]], spreads[1][after[rtype][cohort.after]])
            for rtype, rates in asked.items()
        ]
        trips.append(_trip(cohort, parts))
    return tuple(trips)


def _trip(cohort: Cohort, parts: Iterable[tuple[float, Spread, Spread]]) -> Trip:
    """A cohort's trip; `parts` are what it asks of each record type, and the spreads that it is given."""
    left: dict[Destination, float] = {}
    reached: dict[Destination, float] = {}
    moved = 0.0
    for asked, then, now in parts:
        away = 0.0
        for one, other, share in paths(then, now):
            left[one] = left.get(one, 0.0) + asked * share
            reached[other] = reached.get(other, 0.0) + asked * share
            away += share * (one != other)
        moved = max(moved, away)
    return Trip(cohort, left, reached, moved)


def _policy_outcome(name: PolicyId, trips: tuple[Trip, ...], geographies: tuple[Geography, Geography]) -> PolicyOutcome:
    before, after = _summed(trip.before for trip in trips), _summed(trip.after for trip in trips)
    total = sum(before.values()) or 1.0
    stayed = sum(min(rate, trip.after.get(pool, 0.0)) for trip in trips for pool, rate in trip.before.items())
    return PolicyOutcome(
        policy=name,
        answers={
            pool: Change(before.get(pool, 0.0) / total, after.get(pool, 0.0) / total)
            for pool in dict.fromkeys((*before, *after))
        },
        moved=1.0 - stayed / total,
        networks=sum(trip.cohort.networks for trip in trips),
        moved_networks=round(sum(trip.cohort.networks * trip.moved for trip in trips)),
        km=_distance(name, trips, geographies),
        trips=trips,
    )


def _distance(name: PolicyId, trips: Iterable[Trip], geographies: tuple[Geography, Geography]) -> Change | None:
    """The mean distance of the clients whose distance is known in both cases, by catchments."""
    catchments = [geography.catchments.get(name) for geography in geographies]
    if catchments[0] is None or catchments[1] is None:
        return None
    sums, weight = [0.0, 0.0], 0.0
    for trip in trips:
        sides = (
            (trip.before, catchments[0][trip.cohort.before].km),
            (trip.after, catchments[1][trip.cohort.after].km),
        )
        if any(pool not in km for rates, km in sides for pool in rates):
            continue
        weight += sum(trip.before.values())
        for place, (rates, km) in enumerate(sides):
            sums[place] += sum(rate * km[PoolId(pool)] for pool, rate in rates.items())
    return Change(sums[0] / weight, sums[1] / weight) if weight else None


def _pool_outcomes(
    cases: tuple[Case, Case], rest: tuple[Settled, Settled], policies: Sequence[PolicyOutcome]
) -> tuple[PoolOutcome, ...]:
    """Every pool of either configuration; shares are of all that the compared policies are asked."""
    trips = [trip for policy in policies for trip in policy.trips]
    before, after = _summed(trip.before for trip in trips), _summed(trip.after for trip in trips)
    total = sum(before.values()) or 1.0
    sides = [_sides(case, settled) for case, settled in zip(cases, rest, strict=True)]
    pools = {**cases[1].model.pools, **cases[0].model.pools}
    return tuple(
        PoolOutcome(
            pool=name,
            site=pools[name].datacenter,
            answers=Change(before.get(name, 0.0) / total, after.get(name, 0.0) / total),
            before=sides[0].get(name),
            after=sides[1].get(name),
        )
        for name in dict.fromkeys((*cases[0].model.pools, *cases[1].model.pools))
    )


def _sides(case: Case, settled: Settled) -> dict[PoolId, PoolSide]:
    return {
        name: PoolSide(
            carried=settled.loads[name],
            marks=None if pool.capacity is None else marks_of(pool.capacity),
            waiting=None if (share := settled.loads[name].share) is None else wait_of(pool, share),
            shed=settled.plan.history.sheds.get(name),
        )
        for name, pool in case.model.pools.items()
    }


def _summed(found: Iterable[Mapping[Destination, float]]) -> dict[Destination, float]:
    sums: dict[Destination, float] = {}
    for rates in found:
        for destination, rate in rates.items():
            sums[destination] = sums.get(destination, 0.0) + rate
    return sums
