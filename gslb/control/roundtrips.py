"""Round trips of clients, by pool, address family and location class.  Pure.

The balancer measures from a client's SYN to the ACK of its handshake: the way there and back, and what the backend needs to
answer.  The fastest backend of a pool needs little; by how much the others need more is known from the fastest handshake of
each, since clients are spread over backends by hash, and is subtracted.

Values lie in log-linear buckets, 16 an octave, so a quantile is right within 3.2 %; they fade with half-life HALF_LIFE_S.
What is kept is bounded: MOST_CELLS; of more, those with the fewest handshakes go.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from gslb.model.deployment import PoolId
from gslb.model.world import Rtt

HALF_LIFE_S = 600.0
SWEEP_S = 30.0
MOST_CELLS = 2048
LEAST_CELL = 0.5  # handshakes that are left of a cell: it goes
MOST_US = 1_000_000
ENOUGH = 100  # handshakes of a backend before its fastest is taken for what it needs
MINIMUM_S = 300.0  # a minimum is of the last 300 to 600 s
SHOWN_S = 5.0  # quantiles are worked out at most so often
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)  # of the histogram in the metrics

_OCTAVE = 16
Cell = tuple[PoolId, int, int]  # pool, address family, location class


def bucket_of(rtt_us: int) -> int:
    """The bucket of a round trip."""
    if rtt_us < _OCTAVE:
        return max(rtt_us, 0)
    octave = rtt_us.bit_length() - 5
    return octave * _OCTAVE + (rtt_us >> octave)


def middle_us(bucket: int) -> float:
    """The middle of a bucket, microseconds."""
    if bucket < 2 * _OCTAVE:
        return float(bucket)
    octave = bucket // _OCTAVE - 1
    width = 1 << octave
    return (bucket - octave * _OCTAVE) * width + (width - 1) / 2


@dataclass(slots=True)
class Histogram:
    """Fading counts of round trips."""

    buckets: dict[int, float] = field(default_factory=dict)
    count: float = 0.0
    at: float = 0.0  # of the last

    def add(self, rtts_us: Iterable[int], now: float) -> None:
        """Count them."""
        for rtt in rtts_us:
            bucket = bucket_of(rtt)
            self.buckets[bucket] = self.buckets.get(bucket, 0.0) + 1.0
            self.count += 1.0
        self.at = now

    def fade(self, factor: float) -> None:
        """Let what is known count less."""
        self.buckets = {bucket: left for bucket, number in self.buckets.items() if (left := number * factor) > 0.01}
        self.count = sum(self.buckets.values())

    def rtt(self, now: float) -> Rtt:
        """Median, 90th percentile, how many, and how old the last is."""
        half, most, passed = 0.5 * self.count, 0.9 * self.count, 0.0
        p50 = p90 = None
        for bucket in sorted(self.buckets):
            passed += self.buckets[bucket]
            if p50 is None and passed >= half:
                p50 = bucket
            if passed >= most:
                p90 = bucket
                break
        last = max(self.buckets, default=0)
        p50, p90 = (last if one is None else one for one in (p50, p90))
        return Rtt(middle_us(p50) / 1e6, middle_us(p90) / 1e6, round(self.count), max(0.0, now - self.at))


@dataclass(slots=True)
class Spread:
    """How many handshakes took at most each of BOUNDS_S, or longer; only grows."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def add(self, rtts_us: Iterable[int]) -> None:
        """Count them."""
        for rtt in rtts_us:
            self.counts[bisect_left(BOUNDS_S, rtt / 1e6)] += 1
            self.sum_s += rtt / 1e6


@dataclass(slots=True)
class _Fastest:
    """The fastest handshake of one backend, in this span of time and the one before, and how many there were."""

    since: float
    count: int = 0
    fastest: int = MOST_US
    count_before: int = 0
    fastest_before: int = MOST_US

    def add(self, rtts_us: Iterable[int], now: float) -> None:
        passed = now - self.since
        if not 0 <= passed < MINIMUM_S:
            recent = 0 <= passed < 2 * MINIMUM_S
            self.count_before, self.fastest_before = (self.count, self.fastest) if recent else (0, MOST_US)
            self.since, self.count, self.fastest = now, 0, MOST_US
        for rtt in rtts_us:
            self.count += 1
            self.fastest = min(self.fastest, rtt)

    @property
    def known_us(self) -> int | None:
        """The fastest, where there are enough to take it for what the backend needs."""
        enough = self.count + self.count_before >= ENOUGH
        return min(self.fastest, self.fastest_before) if enough else None


class Roundtrips:
    """What is known of clients' round trips."""

    def __init__(self) -> None:
        self._cells: dict[Cell, Histogram] = {}
        self._fastest: dict[PoolId, dict[str, _Fastest]] = {}
        self._swept_at: float | None = None
        self._shown: dict[PoolId, dict[tuple[int, int], Rtt]] = {}
        self._shown_at: float | None = None
        self.pools: dict[tuple[PoolId, int], Histogram] = {}  # by address family
        self.spreads: dict[tuple[PoolId, int], Spread] = {}

    def keep(self, pools: Mapping[PoolId, Container[str]]) -> None:
        """Forget all but these pools and backends."""
        self._cells = {cell: one for cell, one in self._cells.items() if cell[0] in pools}
        self.pools = {key: one for key, one in self.pools.items() if key[0] in pools}
        self.spreads = {key: one for key, one in self.spreads.items() if key[0] in pools}
        self._fastest = {
            pool: {backend: one for backend, one in found.items() if backend in pools[pool]}
            for pool, found in self._fastest.items()
            if pool in pools
        }
        self._shown_at = None

    def forget_classes(self) -> None:
        """Location classes have other meanings from now on."""
        self._cells.clear()
        self._shown_at = None

    def take(self, cell: Cell, backend: str, rtts_us: Iterable[int], now: float) -> None:
        """Handshakes of clients of one class with one backend."""
        rtts = [rtt for rtt in rtts_us if 0 < rtt <= MOST_US]
        if not rtts:
            return
        pool, family, _ = cell
        fastest = self._fastest.setdefault(pool, {}).setdefault(backend, _Fastest(now))
        fastest.add(rtts, now)
        excess = self._excess_us(pool, fastest)
        rtts = [max(rtt - excess, 1) for rtt in rtts]
        self.pools.setdefault((pool, family), Histogram()).add(rtts, now)
        self.spreads.setdefault((pool, family), Spread()).add(rtts)
        histogram = self._cells.get(cell)
        if histogram is None:
            if len(self._cells) >= 2 * MOST_CELLS:
                return
            histogram = self._cells[cell] = Histogram()
        histogram.add(rtts, now)

    def sweep(self, now: float) -> None:
        """Let what is known fade, from time to time."""
        if self._swept_at is None or now < self._swept_at:
            self._swept_at = now
        passed = now - self._swept_at
        if passed < SWEEP_S:
            return
        self._swept_at = now
        factor = 0.5 ** (passed / HALF_LIFE_S)
        for histogram in (*self._cells.values(), *self.pools.values()):
            histogram.fade(factor)
        left = [(one.count, cell) for cell, one in self._cells.items() if one.count >= LEAST_CELL]
        if len(left) > MOST_CELLS:
            left = sorted(left, reverse=True)[:MOST_CELLS]
        self._cells = {cell: self._cells[cell] for _, cell in left}
        self.pools = {key: one for key, one in self.pools.items() if one.count >= LEAST_CELL}

    def rtts(self, now: float) -> dict[PoolId, dict[tuple[int, int], Rtt]]:
        """What is known by class; as it was up to SHOWN_S ago."""
        if self._shown_at is None or not 0 <= now - self._shown_at < SHOWN_S:
            shown: dict[PoolId, dict[tuple[int, int], Rtt]] = {}
            for (pool, family, location), histogram in self._cells.items():
                shown.setdefault(pool, {})[family, location] = histogram.rtt(now)
            self._shown, self._shown_at = shown, now
        return self._shown

    def _excess_us(self, pool: PoolId, fastest: _Fastest) -> int:
        """How much longer this backend needs than the fastest of the pool; 0 while that is not known."""
        mine = fastest.known_us
        if mine is None:
            return 0
        known = (one.known_us for one in self._fastest[pool].values())
        return mine - min(us for us in known if us is not None)
