"""What one other node has told, and how long its messages take.  Pure; times are of our monotonic clock.

Rule 1: of each key the message with the highest number counts, in whatever order they come.
Rule 2: a message took at least as long as it took longer than the quickest of the last minutes: that is added to ages.
Standards: the smallest of many delays tells clocks apart, as in NTP's clock filter (RFC 5905 section 10).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from gslb.bus.held import NONE, Held, Keys
from gslb.bus.messages import Answers, Body, Kind, Life, Loads, Opinions, RoundTrips, Rows, SharedLoad
from gslb.bus.rows import pack
from gslb.model.deployment import NodeId, PolicyId, PoolId, SiteId
from gslb.model.world import Demand, Rtt, Rtts

LIFE_S = 5.0  # a node whose last sign of life is older is not taken as alive
FORGET_S = 3600.0  # of loads, round trips and nodes that nobody expects
ASKED_S = 100.0  # of answers: each is told every 30 s
WINDOW_S = 120.0  # clocks drift, and a machine that slept has another one: the quickest of one or two windows counts
POOLS_MOST, TRIPS_MOST, SEGMENTS_MOST = 4_096, 20_000, 512  # of one node
SHOWN_S = 5.0
LIVES_MOST = 1 << 22  # of one node; who has had more is forgotten and begins anew
_OLDEST_S = 1e9
_ROWS, _ITEMS = 2_000, 200  # at once

Key = TypeVar("Key")


class Delays:
    """How much longer than the quickest a message took."""

    def __init__(self) -> None:
        self._slot = -1
        self._least = self._before = math.inf

    def of(self, heard_at: float, sent_s: float) -> float:
        """The delay of one message in seconds; `sent_s` by the sender's monotonic clock."""
        took, slot = heard_at - sent_s, int(heard_at // WINDOW_S)
        if slot > self._slot:
            self._slot, self._before, self._least = slot, self._least, took
        self._least = min(self._least, took)
        return took - min(self._least, self._before)


@dataclass(frozen=True, slots=True)
class Heap:
    """How much is known of one kind, and how old the newest of it is."""

    count: int
    age_s: float


@dataclass(frozen=True, slots=True)
class At:
    """A value, when it was true, and the order of the message that told it."""

    value: Any
    at: float
    order: int


class Peer:
    """One other node."""

    def __init__(self, site: SiteId, node: NodeId) -> None:
        self.site, self.node = site, node
        self.run = -1
        self.epoch = 0
        self.heard_at = -math.inf
        self.delay_s = self.skew_s = 0.0
        self.refused: Counter[str] = Counter()
        self.life: At | None = None
        self.held = Held()
        self.delays = Delays()
        self._loads: dict[PoolId, At] = {}
        self._trips: dict[tuple[PoolId, int, int], At] = {}
        self._tripped_at = -math.inf  # the newest of them
        self._shown: Rtts = {}
        self._shown_at = -math.inf
        self._answers: dict[tuple[PolicyId, int, int], At] = {}
        self._heavy = At((), 0.0, -1)
        self._located: dict[type, tuple[str, int]] = {RoundTrips: ("", -1), Answers: ("", -1)}

    def begin(self, run: int) -> None:
        """What comes now is of another life of this node: it is newer than all before, and of another clock."""
        self.run = run
        self.epoch += 1
        self.delays = Delays()

    def alive(self, now: float) -> bool:
        """Whether there was a sign of life not long ago."""
        return self.life is not None and now - self.life.at <= LIFE_S

    def heaps(self, now: float) -> dict[Kind, Heap]:
        """What is known of it, by kind; a kind of which nothing is known is left out."""
        loads = max((one.at for one in self._loads.values()), default=-math.inf)
        told = {
            Kind.OPINIONS: (len(self.held), self.held.newest()),
            Kind.LOADS: (len(self._loads), loads),
            Kind.ROUND_TRIPS: (len(self._trips), self._tripped_at),
            Kind.DEMAND: (len(self._answers), max((one.at for one in self._answers.values()), default=-math.inf)),
        }
        return {kind: Heap(count, max(0.0, now - at)) for kind, (count, at) in told.items() if count}

    def learn(self, body: Body, sent_at: float, number: int, now: float) -> Keys:
        """Learn what was told at `sent_at`; the targets to be judged anew."""
        order = self.epoch << 40 | number
        match body:
            case Rows():
                return self.held.merge(body, sent_at, order, now)
            case Opinions():
                return self.held.merge(pack(body.found), sent_at, order, now)
            case Life():
                return self._live(At(body, sent_at, order))
            case Loads():
                found = {pool: At(one, sent_at - one.age_s, order) for pool, one in body.found.items()}
                self._put(self._loads, found, POOLS_MOST)
            case RoundTrips() if self._of_table(body, order):
                trips = {where: At(one[:3], sent_at - one[3], order) for where, one in body.found.items()}
                self._put(self._trips, trips, TRIPS_MOST)
                self._tripped_at = max((self._tripped_at, *(one.at for one in trips.values())))
                self._shown_at = -math.inf
            case Answers() if self._of_table(body, order):
                at = sent_at - body.age_s
                self._put(
                    self._answers, {where: At(row, at, order) for where, row in body.found.items()}, SEGMENTS_MOST
                )
                if order > self._heavy.order:
                    self._heavy = At(body.heavy, at, order)
        return NONE

    def loads(self, now: float) -> Iterator[tuple[PoolId, SharedLoad]]:
        """The loads that it knows, aged."""
        for pool, one in self._loads.items():
            yield pool, replace(one.value, age_s=_age(one, now))

    def trips(self, geography: str, now: float) -> Rtts:
        """Round trips by classes of that location table; kept, so that their ages may be SHOWN_S too young."""
        if self._located[RoundTrips][0] != geography:
            return {}
        if now - self._shown_at > SHOWN_S:
            shown: dict[PoolId, dict[tuple[int, int], Rtt]] = {}
            for (pool, family, place), one in self._trips.items():
                p50_s, p90_s, count = one.value
                shown.setdefault(pool, {})[family, place] = Rtt(p50_s, p90_s, count, _age(one, now))
            self._shown, self._shown_at = shown, now
        return self._shown

    def asked(self, geography: str, now: float) -> tuple[Demand, tuple[str, ...], float] | None:
        """Answers given by rankings of that location table, heavy resolvers, age; None where nothing is known.

        A row of which the beginning is missing is not given.
        """
        if self._located[Answers][0] != geography:
            return None
        rows: dict[PolicyId, dict[int, tuple[float, ...]]] = {}
        for (policy, rtype, first), one in sorted(self._answers.items(), key=lambda item: item[0]):
            row = rows.setdefault(policy, {}).get(rtype, ())
            if len(row) == first and now - one.at <= ASKED_S:
                rows[policy][rtype] = row + one.value
        told = max((one.at for one in self._answers.values()), default=self._heavy.at)
        demand = {policy: by_type for policy, by_type in rows.items() if by_type}
        return demand, self._heavy.value, max(0.0, now - told)

    def forget(self, now: float) -> None:
        """Loads, round trips and answers that were not told for long."""
        tables: tuple[dict[Any, At], ...] = (self._loads, self._trips, self._answers)
        for table in tables:
            for key in [key for key, one in table.items() if now - one.at > FORGET_S]:
                del table[key]
        self._shown_at = -math.inf

    def bodies(self, now: float) -> Iterator[tuple[Body, float]]:
        """All that is known of it, as it would tell it at `now`, each small enough for a message; and how old that is."""
        if self.life is not None:
            yield self.life.value, _age(self.life, now)
        for rows in self.held.rows(now, _ROWS):
            yield rows, 0.0
        for loads in _chunks(self._loads, _ITEMS):
            yield Loads({pool: replace(one.value, age_s=_age(one, now)) for pool, one in loads.items()}), 0.0
        for trips in _chunks(self._trips, _ITEMS):
            aged = {where: (*one.value, _age(one, now)) for where, one in trips.items()}
            yield RoundTrips(self._located[RoundTrips][0], aged), 0.0
        for where, one in self._answers.items():
            yield Answers(self._located[Answers][0], {where: one.value}, self._heavy.value, _age(one, now)), 0.0

    def _live(self, life: At) -> Keys:
        before = self.life
        if before is not None and life.order <= before.order:
            return NONE
        self.life = life
        blind = before is not None and before.value.blind_s is not None
        return self.held.keys() if blind != (life.value.blind_s is not None) else NONE

    def _of_table(self, body: RoundTrips | Answers, order: int) -> bool:
        """Whether it counts by the location table that the node uses; what was counted by another one is forgotten."""
        geography, since = self._located[type(body)]
        if body.geography != geography:
            if order <= since:
                return False
            (self._trips if isinstance(body, RoundTrips) else self._answers).clear()
        self._located[type(body)] = body.geography, max(order, since)
        return True

    def _put(self, table: dict[Key, At], found: Mapping[Key, At], most: int) -> None:
        for key, one in found.items():
            before = table.get(key)
            if before is None and len(table) >= most:
                self.refused["too_much"] += 1
            elif before is None or one.order > before.order:
                table[key] = one


def _age(one: At, now: float) -> float:
    return min(max(0.0, now - one.at), _OLDEST_S)


def _chunks(table: Mapping[Key, At], most: int) -> Iterator[dict[Key, At]]:
    items = list(table.items())
    for first in range(0, len(items), most):
        yield dict(items[first : first + most])
