"""The balancer's counters, pulse by pulse -> rates; new connections of a pool, as its load.  Pure.

Rule 1: a load comes from handshakes that completed, never from SYNs, so that a flood of SYNs is no load.
Rule 2: the balancer follows as many handshakes as its table has room for.  A flood fills that table, and then those of honest
clients are followed in the same share as the flood's, since a keyed hash places both: what completed, divided by that
share, is what there was, without bias.
Rule 3: within a second the share may change (a flood begins or ends), and then nobody knows by which share to divide: the
load stays where it was, within what either share allows.
Rule 4: where too few are followed to say anything, the load is not told, and grows old.
Under direct return nobody at the balancer sees what the server answers: who sends SYN and ACK of a made-up client, with the
numbers that fit, is counted as a connection, and so is the first datagram of a made-up client for UDP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import starmap
from operator import add, sub

from xdp.messages import Count, Estimate, Pulse

SHORTEST_S = 0.2  # between two pulses that are compared
CLEAR = 0.9  # of the handshakes followed: below it some are gathered first
GATHERED = 20  # handshakes: their number is then known within about a quarter
PATIENCE_S = 10.0  # to gather them

_FIELDS = 8  # of a Count
Counts = Mapping[str, Mapping[str, Count]]


@dataclass(frozen=True, slots=True)
class Rate:
    """What one VIP or backend does in a second; `connections` are handshakes that were followed, and new UDP flows."""

    packets: float
    octets: float
    syns: float
    connections: float


@dataclass(slots=True)
class _Gathered:
    """Handshakes of one pool that wait to be enough: their number if the larger and the smaller share were followed."""

    handshakes: int = 0
    least: float = 0.0
    most: float = 0.0
    seconds: float = 0.0


class Rates:
    """Rates of the last pulse, and the new connections per second of each pool."""

    def __init__(self) -> None:
        self._last: Pulse | None = None
        self._share: float | None = None
        self._gathered: dict[str, _Gathered] = {}
        self._known: dict[str, float] = {}
        self.seconds = 0.0  # that the last pulse tells of; 0 where it tells nothing
        self.vips: dict[str, dict[str, Count]] = {}  # what was counted in them
        self.backends: dict[str, dict[str, Count]] = {}
        self.loads: dict[str, float] = {}  # of pools that are known by now

    @property
    def share(self) -> float | None:
        """How much of all new handshakes was followed, 0..1; None while that is not known."""
        return self._share

    def take(self, pulse: Pulse) -> None:
        """Compare with the pulse before.  Counters that began anew tell nothing yet."""
        last, self._last = self._last, pulse
        self.vips, self.backends, self.loads, self.seconds = {}, {}, {}, 0.0
        if last is None or last.born != pulse.born:
            self._share = None
            self._gathered.clear()
            return
        seconds = pulse.at - last.at
        if seconds < SHORTEST_S:
            self._last = last if seconds >= 0 else pulse
            return
        self.seconds = seconds
        self.vips, self.backends = _grown(last.vips, pulse.vips), _grown(last.backends, pulse.backends)
        pools = {pool: total(found.values()) for pool, found in self.vips.items()}
        share = _share_of(total(pools.values()))
        before = share if self._share is None else self._share
        self._share = share
        for pool in self._known.keys() - pools.keys():
            del self._known[pool]
        self._gathered = {pool: one for pool, one in self._gathered.items() if pool in pools}
        for pool, count in pools.items():
            handshakes = self._handshakes(pool, count.handshakes, (min(before, share), max(before, share)))
            if handshakes is not None:
                self._known[pool] = handshakes
                self.loads[pool] = handshakes + count.udp_flows / seconds

    def rate(self, count: Count) -> Rate:
        """A count of the last pulse, per second."""
        seconds = self.seconds or 1.0
        connections = (count.handshakes + count.udp_flows) / seconds
        return Rate(count.packets / seconds, count.octets / seconds, count.syns / seconds, connections)

    def _handshakes(self, pool: str, handshakes: int, shares: tuple[float, float]) -> float | None:
        """Handshakes per second of a pool; None while too few are followed."""
        gathered = self._gathered.setdefault(pool, _Gathered())
        gathered.handshakes += handshakes
        gathered.least += handshakes / shares[1]
        gathered.most += handshakes / shares[0]
        gathered.seconds += self.seconds
        if shares[0] < CLEAR and gathered.handshakes < GATHERED:
            if gathered.seconds >= PATIENCE_S:
                del self._gathered[pool]
            return None
        del self._gathered[pool]
        least, most = gathered.least / gathered.seconds, gathered.most / gathered.seconds
        return min(max(self._known.get(pool, (least + most) / 2), least), most)


def total(counts: Iterable[Count]) -> Count:
    """Their sum."""
    sums = [0] * _FIELDS
    for count in counts:
        sums = list(map(add, sums, _values(count)))
    return Count(*sums)


def active_state(one: Estimate | None) -> dict[str, int | None]:
    """Connections that there are and their standard error, as JSON values; None: not known."""
    return (
        {"active": None, "active_error": None}
        if one is None
        else {"active": round(one.flows), "active_error": round(one.error)}
    )


def _grown(before: Counts, now: Counts) -> dict[str, dict[str, Count]]:
    """What was counted since; a counter that is new, or that went back, began at nothing."""
    return {
        pool: {name: _since(before.get(pool, {}).get(name), count) for name, count in found.items()}
        for pool, found in now.items()
    }


def _since(before: Count | None, now: Count) -> Count:
    if before is None:
        return Count()  # adopted, or just begun: what it counted before is of no known time
    grown = tuple(starmap(sub, zip(_values(now), _values(before), strict=True)))
    return Count(*grown) if min(grown) >= 0 else Count()


def _values(count: Count) -> tuple[int, ...]:
    return (
        count.packets,
        count.octets,
        count.syns,
        count.untracked_syns,
        count.handshakes,
        count.resent_syns,
        count.udp_flows,
        count.errors,
    )


def _share_of(count: Count) -> float:
    """How much of the new handshakes was followed; all where there were none."""
    new = count.syns - count.resent_syns
    if new <= 0:
        return 1.0
    return min(max(1.0 - count.untracked_syns / new, 1.0 / new), 1.0)
