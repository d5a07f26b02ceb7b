"""Workers' pages -> what decisions and metrics need of demand: answers a second by cell and by pool, and heavy resolvers.

IO only where the pages are read; the time is an argument, monotonic.

Rule 1: rates are averages that fade with WINDOW_S, free of the bias of their start.
Rule 2: what is told stays as it was while it is nearly true, so that noise changes no decision.
Rule 3: demand is told of all policies, or of none while there are too few answers: beside one that is measured, one that is
not would have to be guessed, and nobody can tell an idle policy from a busy one.
Rule 4: a page that is missing, of another location table, or that starts anew makes no jump in any rate, and `answers` never go
back.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import add, sub
from pathlib import Path
from typing import Generic, TypeVar

from gslb.model.deployment import DYNAMIC_TYPES, Deployment, PolicyId, PoolId
from gslb.model.location import Geography
from gslb.model.world import Demand
from gslb.nameserver import demand
from gslb.nameserver.demand import Page

WINDOW_S = 60.0
APART_S = 0.5  # samples that follow sooner tell the last once more
ENOUGH = 100.0  # answers within the window, for demand to be told; it is no longer below half of that
BELOW, ABOVE = 0.9, 1.1  # what is told stays while what is found is between these shares of it
SILENT = 0.01  # answers a second: less is none
HEAVY_MAX = 256  # sources, those that ask most first
_ABSENT_S = 60.0  # a writer whose page is missing for so long is gone

Writer = tuple[int, int]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Measured:
    """`demand` as `gslb.model.world.World` takes it, `heavy` too; `answers[pool, rtype]` since the first start, pool "" for
    addresses of last resort; `rate[pool]` in answers per second.
    """

    demand: Demand = field(default_factory=dict)
    heavy: tuple[str, ...] = ()
    answers: Mapping[tuple[PoolId, int], int] = field(default_factory=dict)
    rate: Mapping[PoolId, float] = field(default_factory=dict)


class DemandMeter:
    """Measures from the run folder of a node."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._sampled_s: float | None = None
        self._geography = ""
        self._writers: dict[Writer, tuple[float, Page]] = {}
        self._cells: _Rates[tuple[PolicyId, int]] = _Rates()
        self._pools: _Rates[PoolId] = _Rates()
        self._answers = _Totals()
        self._measured = Measured()

    def sample(self, now: float, geography: Geography, deployment: Deployment) -> Measured:
        """What has been answered up to now.  Never raises for what lies in the folder.

        Takes 20 ms for 10 000 cells of 4 workers; it touches nothing outside, so it may run in a thread.
        """
        passed = None if self._sampled_s is None else now - self._sampled_s
        if passed is not None and passed < APART_S:
            return self._measured
        pages = demand.read(self._run)
        new_by_pool = self._answers.add((pages.retired, *(page.pools for page in pages.living)))
        new_by_cell = self._increments(pages.living, geography, now)
        if geography.digest != self._geography:
            self._geography = geography.digest
            self._cells = _Rates()
        if passed is not None:
            self._cells.add(new_by_cell, passed)
            self._pools.add({pool: [count] for pool, count in new_by_pool.items()}, passed)
        self._sampled_s = now
        self._measured = Measured(
            demand=self._demand(geography),
            heavy=_heavy(pages.living, deployment, self._measured.heavy),
            answers=dict(self._answers.told),
            rate={pool: rates[0] for pool, rates in self._pools.told().items()},
        )
        return self._measured

    def _increments(
        self, pages: Iterable[Page], geography: Geography, now: float
    ) -> Mapping[tuple[PolicyId, int], Sequence[int]]:
        """By cell, the answers since the last sample.  At the first one nobody knows since when the pages count."""
        found: dict[tuple[PolicyId, int], list[int]] = {}
        first = self._sampled_s is None
        for page in pages:
            _, before = self._writers.get((page.pid, page.started_ns), (now, page if first else Page()))
            self._writers[page.pid, page.started_ns] = now, page
            if page.geography != geography.digest:
                continue
            for (policy, rtype), counts in page.cells.items():
                cell = PolicyId(policy), rtype
                if counts and len(counts) == len(geography.rankings.get(cell[0], ())):
                    known = before.cells.get(cell) if before.geography == page.geography else None
                    new = _since(counts, known)
                    found[cell] = list(map(add, found[cell], new)) if cell in found else new
        self._writers = {name: one for name, one in self._writers.items() if now - one[0] <= _ABSENT_S}
        return found

    def _demand(self, geography: Geography) -> Demand:
        told = self._cells.told()
        if self._cells.within() < (ENOUGH / 2 if self._measured.demand else ENOUGH):
            return {}
        return {
            policy: {rtype: told.get((policy, rtype), (0.0,) * len(rankings)) for rtype in DYNAMIC_TYPES}
            for policy, rankings in geography.rankings.items()
        }


class _Rates(Generic[Key]):
    """Fading averages of events per second, in vectors by key, and what was last told of them."""

    def __init__(self) -> None:
        self._weight = 0.0  # of what was seen: the window fills as time passes
        self._sums: dict[Key, list[float]] = {}
        self._told: dict[Key, tuple[float, ...]] = {}

    def add(self, events: Mapping[Key, Sequence[int]], passed_s: float) -> None:
        """`events` happened in the last `passed_s` seconds."""
        keep = math.exp(-passed_s / WINDOW_S)
        gain = (1 - keep) / passed_s
        self._weight = self._weight * keep + (1 - keep)
        for key in self._sums.keys() | events.keys():
            new, sums = events.get(key), self._sums.get(key)
            if new is None:
                self._sums[key] = [value * keep for value in sums or ()]
            elif sums is None or len(sums) != len(new):
                self._sums[key] = [count * gain for count in new]
            else:
                self._sums[key] = [value * keep + count * gain for value, count in zip(sums, new, strict=True)]

    def within(self) -> float:
        """How many events are in the window."""
        return sum(map(sum, self._sums.values())) * WINDOW_S

    def told(self) -> Mapping[Key, tuple[float, ...]]:
        """Events per second, of keys that have any."""
        rates = {key: [value / self._weight for value in sums] for key, sums in self._sums.items()}
        before = self._told
        self._told = {key: _steady(before.get(key, ()), found) for key, found in rates.items() if max(found) >= SILENT}
        self._sums = {key: sums for key, sums in self._sums.items() if key in self._told}
        return self._told


class _Totals:
    """Counts that never go back, from sums that may: when a worker dies, its counts may be nowhere for a moment."""

    def __init__(self) -> None:
        self.told: dict[tuple[PoolId, int], int] = {}
        self._highest: dict[tuple[PoolId, int], int] = {}
        self._low: frozenset[tuple[PoolId, int]] = frozenset()

    def add(self, counted: Iterable[Mapping[tuple[str, int], int]]) -> Mapping[PoolId, int]:
        """Take new sums; how much was added, by pool.  A sum that is low twice is one that begins anew."""
        sums: dict[tuple[PoolId, int], int] = {}
        for counts in counted:
            for (pool, rtype), count in counts.items():
                sums[PoolId(pool), rtype] = sums.get((PoolId(pool), rtype), 0) + count
        low = frozenset(of for of, highest in self._highest.items() if sums.get(of, 0) < highest)
        added: dict[PoolId, int] = {}
        for of, count in sums.items():
            new = max(0, count - self._highest.get(of, 0))
            self.told[of] = self.told.get(of, 0) + new
            added[of[0]] = added.get(of[0], 0) + new
        again = low & self._low
        for of in self._highest.keys() | sums.keys():
            count = sums.get(of, 0)
            self._highest[of] = count if of in again else max(count, self._highest.get(of, 0))
        self._low = low - again
        return added


def _since(counts: Sequence[int], known: Sequence[int] | None) -> list[int]:
    """What was counted since `known`; all of it where the counts began anew."""
    if known is None or len(known) != len(counts):
        return list(counts)
    new = list(map(sub, counts, known))
    return list(counts) if min(new, default=0) < 0 else new


def _steady(told: Sequence[float], found: Sequence[float]) -> tuple[float, ...]:
    """What was told where that is nearly what is found, else what is found, to two digits."""
    if len(told) != len(found):
        told = (0.0,) * len(found)
    return tuple(
        before if BELOW * before <= rate <= ABOVE * before else 0.0 if rate < SILENT else float(f"{rate:.2g}")
        for before, rate in zip(told, found, strict=True)
    )


def _heavy(pages: Iterable[Page], deployment: Deployment, before: Sequence[str]) -> tuple[str, ...]:
    """The sources that alone ask more than a minute's step of what a policy answers with parts.

    Who was heavy stays so down to half of that.
    """
    totals: dict[str, int] = {}
    asked: dict[str, dict[str, int]] = {}
    for page in pages:
        for policy, one in page.asked.items():
            totals[policy] = totals.get(policy, 0) + one.total
            counts = asked.setdefault(policy, {})
            for source, count in one.sources.items():
                plain = source.removeprefix("::ffff:") if "." in source else source
                counts[plain] = counts.get(plain, 0) + count
    known = frozenset(before)
    shares: dict[str, float] = {}
    for policy, counts in asked.items():
        configured = deployment.policies.get(PolicyId(policy))
        if configured is None or totals[policy] < ENOUGH:
            continue
        step = 60.0 * configured.spill.step_per_s
        for source, count in counts.items():
            share = count / totals[policy]
            if share > (step / 2 if source in known else step):
                shares[source] = max(share, shares.get(source, 0.0))
    most = sorted(shares, key=lambda source: (-shares[source], source))[:HEAVY_MAX]
    return tuple(sorted(most))
