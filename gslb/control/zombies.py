"""Backends whose clients must send their SYN again though others' need not: zombies that no check finds.  Pure.

The sign is the share of handshakes that needed a SYN again, over the last WINDOW_S (longer where little happens), and it must
lie beyond the mark of its peers (`healthcheck.outlier`) with certainty: the lower end of the Wilson score interval.
Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

What an attacker can do with SYNs:
- Made-up clients neither repeat nor complete: they count nowhere here.
- Who repeats the SYNs of made-up clients raises all backends alike, since a keyed hash spreads them; compared with the median
  of its peers none stands out.  One flow counts once, however often it repeats.
- Who first learns from real connections which of his flows go to one backend, and then repeats SYNs of those only, can make it
  stand out.  It is then ejected like any outlier: it keeps its flows, for a bounded time, one in ten seconds, and never
  past the pool's panic threshold (`gslb.decide.ejection`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

from healthcheck.outlier import ERROR_FLOOR, ERROR_RATIO, beyond
from xdp.messages import Count

WINDOW_S = 10.0
LONGEST_S = 30.0  # as the shortest ejection: who comes back is judged by what happened since
LEAST = 20  # handshakes, completed or begun again
PEERS = 2  # besides the backend itself: with so many the median is no liar's yet
SURE = 3.0  # standard deviations

_Counted = tuple[float, int, int]  # when, SYNs sent again, handshakes completed


class Zombies:
    """Who stands out, by pool: `outliers[pool][backend]`, in words."""

    def __init__(self) -> None:
        self._counted: dict[str, dict[str, deque[_Counted]]] = {}
        self.ratios: dict[str, dict[str, float]] = {}  # of SYNs sent again, where enough is known
        self.outliers: dict[str, dict[str, str]] = {}

    def take(self, backends: Mapping[str, Mapping[str, Count]], now: float) -> None:
        """What was counted since the last time; pools and backends that are not there any more are forgotten."""
        self._counted = {
            pool: {name: self._counted.get(pool, {}).get(name, deque()) for name in found}
            for pool, found in backends.items()
        }
        ratios: dict[str, dict[str, float]] = {}
        outliers: dict[str, dict[str, str]] = {}
        for pool, found in backends.items():
            shares = {}
            for name, count in found.items():
                share = _share(self._counted[pool][name], count, now)
                if share is not None:
                    shares[name] = share
            ratios[pool] = {name: resent / (resent + done) for name, (resent, done) in shares.items()}
            outliers[pool] = self._outliers(pool, shares, ratios[pool])
        self.ratios = ratios
        self.outliers = {pool: found for pool, found in outliers.items() if found}

    def _outliers(
        self, pool: str, shares: Mapping[str, tuple[int, int]], ratios: Mapping[str, float]
    ) -> dict[str, str]:
        before = self.outliers.get(pool, {})
        found = {}
        for name, one in beyond(ratios, ERROR_RATIO, ERROR_FLOOR, before, PEERS).items():
            if name in before:
                found[name] = before[name]
            elif _at_least(*shares[name]) > one.mark:
                found[name] = f"{one.value:.0%} of its clients' SYNs are sent again, of its peers' {one.middle:.0%}"
        return found


def _share(counted: deque[_Counted], count: Count, now: float) -> tuple[int, int] | None:
    """SYNs sent again and handshakes of the time that is looked at; None where they are too few."""
    if count.resent_syns or count.handshakes:
        counted.append((now, count.resent_syns, count.handshakes))
    while counted and not 0 <= now - counted[0][0] < LONGEST_S:
        counted.popleft()
    resent = done = 0
    for at, again, completed in reversed(counted):
        if now - at >= WINDOW_S and resent + done >= LEAST:
            break
        resent += again
        done += completed
    return (resent, done) if resent + done >= LEAST else None


def _at_least(again: int, done: int) -> float:
    """The lower end of the Wilson score interval of the share of those sent again."""
    number = again + done
    share, square = again / number, SURE * SURE
    middle = share + square / (2 * number)
    width = SURE * math.sqrt(share * (1 - share) / number + square / (4 * number * number))
    return (middle - width) / (1 + square / number)
