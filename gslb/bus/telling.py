"""What this node tells all others, and when.  Pure: it is given what is known, and says what is to be sent.

Rule 1: what changed is told at once, everything again within its period, in parts that fit into a packet or few.
Rule 2: a site sends at most RATE, shared by its nodes.  Where that is short, reasons are left out first, then round trips, then demand;
then all is told less often; signs of life are always sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from gslb.bus.messages import Answers, Body, Kind, Life, Loads, Opinion, RoundTrips, SharedLoad, Stamp
from gslb.bus.recital import Given, Pace, Recital
from gslb.bus.rows import ROW, pack
from gslb.bus.wire import PART_MOST, SEGMENT, encode, kind_of
from gslb.model.deployment import PolicyId, PoolId
from gslb.model.world import Demand

RATE = 40_000  # octets a second of a site: with what is saved for a burst less than 50 kB/s over a period of opinions
BURST_S = 1.0
ENVELOPE = 64  # octets of a subject and the like around a body
LIFE_S = 1.0
AGAIN_S = 0.05  # where there was no room
OPINIONS = Pace(gather_s=0.005, pace_s=0.02, period_s=5.0, fit=700, few=16)
LOADS = Pace(gather_s=0.0, pace_s=1.0, period_s=5.0, fit=250, few=16)
ROUND_TRIPS = Pace(gather_s=0.0, pace_s=5.0, period_s=30.0, fit=500, few=16)
DEMAND = Pace(gather_s=0.0, pace_s=5.0, period_s=30.0, fit=16, few=1)
# What must be left of the burst behind each:
LOADS_LEAVE, CHANGES_LEAVE, AGAIN_LEAVE, DEMAND_LEAVE, TRIPS_LEAVE, REASONS_LEAVE = 0.0, 0.05, 0.1, 0.2, 0.3, 0.4
REASONS_OF_CHANGES_LEAVE = 0.15
_HEAD = 40  # octets of a body before the first thing
_MOVED_S = 1.0  # an opinion that began this much later was another one in between
_NEAR_SHARE = 0.002  # loads that differ less are not told before their period
_NEAR = 0.1  # so are round trips that differ by less of themselves
_NEAR_DEMAND = 0.05

Trip = tuple[float, float, int, float]
Key = TypeVar("Key")
Value = TypeVar("Value")
Making = Callable[
    [Mapping[Key, Given[Value]], int], Body
]  # the body of these; how many wait to be told, these included


class Telling:
    """What this life of this node tells; `run` is higher than that of any life before."""

    def __init__(self, run: int) -> None:
        self._run = run
        self._number = 0
        self._rate = float(RATE)
        self._most = self._room = float(RATE) * BURST_S
        self._clocks = 0.0, 0.0
        self._filled_at: float | None = None
        self._life: Given[Life] | None = None
        self._life_told_at = -math.inf
        self._opinions: Recital[int, Opinion] = Recital(OPINIONS, _other_opinion, PART_MOST)
        self._loads: Recital[PoolId, SharedLoad] = Recital(LOADS, _other_load, PART_MOST)
        self._trips: Recital[tuple[PoolId, int, int], Trip] = Recital(ROUND_TRIPS, _other_trip, PART_MOST)
        self._demand: Recital[tuple[PolicyId, int, int], tuple[float, ...]] = Recital(DEMAND, _other_rates, PART_MOST)
        self._geographies = {Kind.ROUND_TRIPS: "", Kind.DEMAND: ""}
        self._heavy: tuple[str, ...] = ()
        self._demand_age_s = 0.0
        self._short_until = -math.inf

    def share(self, nodes: int) -> None:
        """So many nodes of this site live, this one included."""
        self._rate = RATE / max(1, nodes)

    def life(self, life: Life, now: float) -> None:
        """How this node is; what changed apart from its times is told at once."""
        before = self._life
        if before is None or _lasting(before.value) != _lasting(life):
            self._life_told_at = -math.inf
        self._life = Given(life, now)

    def opinions(self, found: Mapping[int, Opinion], now: float, *, whole: bool = True) -> None:
        """What the checks of this node say: all of it, or what changed."""
        self._opinions.know(found, now, whole=whole)

    def loads(self, found: Mapping[PoolId, SharedLoad], now: float) -> None:
        """All loads that this node knows."""
        self._loads.know(found, now, whole=True)

    def round_trips(self, told: RoundTrips, now: float) -> None:
        """All round trips that this node measured."""
        if self._relocated(Kind.ROUND_TRIPS, told.geography):
            self._trips = Recital(ROUND_TRIPS, _other_trip, PART_MOST)
        self._trips.know(told.found, now, whole=True)

    def demand(self, geography: str, demand: Demand, heavy: Sequence[str], now: float, age_s: float = 0.0) -> None:
        """All answers that this node gives."""
        if self._relocated(Kind.DEMAND, geography):
            self._demand = Recital(DEMAND, _other_rates, PART_MOST)
        self._heavy, self._demand_age_s = tuple(heavy), age_s
        rows = {
            (policy, rtype, first): row[first : first + SEGMENT]
            for policy, by_type in demand.items()
            for rtype, row in by_type.items()
            for first in range(0, len(row), SEGMENT)
        }
        self._demand.know(rows, now, whole=True)

    def anew(self, now: float) -> None:
        """Others heard nothing for a while: all is told as soon as there is room."""
        self._life_told_at = -math.inf
        for recital in (self._opinions, self._loads, self._trips, self._demand):
            recital.anew(now)

    def due(self, now: float, wall_s: float) -> list[tuple[str, bytes]]:
        """Kinds and bodies to be sent now; `wall_s`: seconds since the epoch."""
        self._fill(now)
        self._clocks = now, wall_s
        self._short_until = -math.inf
        out: list[tuple[str, bytes]] = []
        if self._life is not None and now >= self._life_told_at + LIFE_S:
            self._life_told_at = now
            out.append(self._spend(self._encoded(_lived(self._life, now)), Kind.LIFE))
        out += self._changed(self._opinions, self._changed_opinions, CHANGES_LEAVE)
        out += self._changed(self._loads, self._told_loads, LOADS_LEAVE)
        out += self._again(self._opinions, self._all_opinions, AGAIN_LEAVE)
        out += self._again(self._loads, self._told_loads, AGAIN_LEAVE)
        out += self._changed(self._demand, self._told_demand, DEMAND_LEAVE)
        out += self._again(self._demand, self._told_demand, DEMAND_LEAVE)
        out += self._changed(self._trips, self._told_trips, TRIPS_LEAVE)
        out += self._again(self._trips, self._told_trips, TRIPS_LEAVE)
        return out

    def wake_at(self, now: float) -> float:
        """When `due` is to be asked again, if nothing is given before."""
        recitals = (self._opinions, self._loads, self._trips, self._demand)
        first = min(recital.wake_at() for recital in recitals)
        if self._life is not None:
            first = min(first, self._life_told_at + LIFE_S)
        return max(first, self._short_until, now)

    def _changed(self, recital: Recital[Key, Value], body: Making[Key, Value], leave: float) -> list[tuple[str, bytes]]:
        return self._recite(recital, recital.changed(self._clocks[0]), body, leave, again=False)

    def _again(self, recital: Recital[Key, Value], body: Making[Key, Value], leave: float) -> list[tuple[str, bytes]]:
        return self._recite(recital, recital.again(self._clocks[0]), body, leave, again=True)

    def _recite(
        self, recital: Recital[Key, Value], keys: list[Key], body: Making[Key, Value], leave: float, *, again: bool
    ) -> list[tuple[str, bytes]]:
        """Tell of these, in parts, while there is room; of what is told again one part."""
        out: list[tuple[str, bytes]] = []
        fit = recital.pace.fit
        while keys:
            room = self._room - leave * self._most - ENVELOPE
            most = min(fit, max(recital.pace.few, int(min(room, PART_MOST) / recital.octets[again])))
            part = keys[:most]
            told = body(recital.given(part), len(keys))
            raw = self._encoded(told)
            recital.octets[again] = max(1.0, (len(raw) - _HEAD) / len(part))
            if len(raw) > min(room, PART_MOST) and len(part) > recital.pace.few:
                fit = len(part) * 9 // 10  # they are not alike
                continue
            if len(raw) > room:
                self._short_until = self._clocks[0] + AGAIN_S
                break
            out.append(self._spend(raw, kind_of(told)))
            recital.tell(part, self._clocks[0], again=again)
            keys = [] if again else keys[len(part) :]
        return out

    def _changed_opinions(self, found: Mapping[int, Given[Opinion]], waiting: int) -> Body:
        said = sum(len(one.value.why) + len(one.value.outlier) for one in found.values())
        whole = (said + len(found) * ROW.itemsize) * waiting / len(found)  # as if those that wait behind were alike
        return self._told_opinions(found, texts=whole <= self._room - REASONS_OF_CHANGES_LEAVE * self._most)

    def _all_opinions(self, found: Mapping[int, Given[Opinion]], _waiting: int) -> Body:
        return self._told_opinions(found, texts=self._room - PART_MOST >= REASONS_LEAVE * self._most)

    def _told_opinions(self, found: Mapping[int, Given[Opinion]], *, texts: bool) -> Body:
        aged = {}
        for key, one in found.items():
            passed = self._clocks[0] - one.at
            aged[key] = replace(one.value, age_s=one.value.age_s + passed, for_s=one.value.for_s + passed)
        return pack(aged, texts=texts)

    def _told_loads(self, found: Mapping[PoolId, Given[SharedLoad]], _waiting: int) -> Body:
        now = self._clocks[0]
        return Loads({pool: replace(one.value, age_s=one.value.age_s + now - one.at) for pool, one in found.items()})

    def _told_trips(self, found: Mapping[tuple[PoolId, int, int], Given[Trip]], _waiting: int) -> Body:
        now = self._clocks[0]
        aged = {where: (*one.value[:3], one.value[3] + now - one.at) for where, one in found.items()}
        return RoundTrips(self._geographies[Kind.ROUND_TRIPS], aged)

    def _told_demand(self, found: Mapping[tuple[PolicyId, int, int], Given[tuple[float, ...]]], _waiting: int) -> Body:
        age_s = self._demand_age_s + max(self._clocks[0] - one.at for one in found.values())
        rows = {where: one.value for where, one in found.items()}
        return Answers(self._geographies[Kind.DEMAND], rows, self._heavy, age_s)

    def _encoded(self, body: Body) -> bytes:
        return encode(Stamp(self._run, self._number, *self._clocks), body)

    def _fill(self, now: float) -> None:
        self._most = max(self._rate * BURST_S, float(PART_MOST))
        passed = 0.0 if self._filled_at is None else now - self._filled_at
        self._filled_at = now
        self._room = min(self._room + passed * self._rate, self._most)

    def _spend(self, raw: bytes, kind: Kind) -> tuple[str, bytes]:
        self._room -= len(raw) + ENVELOPE
        self._number += 1
        return kind, raw

    def _relocated(self, kind: Kind, geography: str) -> bool:
        before, self._geographies[kind] = self._geographies[kind], geography
        return before != geography


def _lived(life: Given[Life], now: float) -> Life:
    passed = now - life.at
    blind_s = None if life.value.blind_s is None else life.value.blind_s + passed
    return replace(life.value, blind_s=blind_s, up_s=life.value.up_s + passed)


def _lasting(life: Life) -> Life:
    return replace(life, up_s=0.0, blind_s=None if life.blind_s is None else 0.0)


def _other_opinion(told: Given[Opinion], now: Given[Opinion]) -> bool:
    one, other = told.value, now.value
    if one is other:
        return False
    since, changed = told.at - one.for_s, now.at - other.for_s
    return (
        one.health is not other.health
        or one.settles_s != other.settles_s
        or one.double != other.double
        or one.why != other.why
        or one.outlier != other.outlier
        or abs(since - changed) > _MOVED_S
    )


def _other_load(told: Given[SharedLoad], now: Given[SharedLoad]) -> bool:
    one, other = told.value, now.value
    return one.part != other.part or abs(one.share - other.share) > _NEAR_SHARE


def _other_trip(told: Given[Trip], now: Given[Trip]) -> bool:
    return any(abs(one - other) > _NEAR * one for one, other in zip(told.value[:2], now.value[:2], strict=True))


def _other_rates(told: Given[tuple[float, ...]], now: Given[tuple[float, ...]]) -> bool:
    one, other = told.value, now.value
    if len(one) != len(other):
        return True
    return sum(abs(was - is_) for was, is_ in zip(one, other, strict=True)) > _NEAR_DEMAND * sum(one)
