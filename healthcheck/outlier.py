"""Which targets stand out among their peers while their checks pass: zombies.  Pure.

A target is compared with the median of its pool, and with how far its peers lie apart (the median absolute deviation, which
up to half of them cannot distort).  How long one is left out, and that a pool is not emptied, is for `gslb.decide`.
Source: F. R. Hampel, "The influence curve and its role in robust estimation", JASA 69 (1974): the MAD as a measure of spread.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

PEERS = 3  # besides the target itself
SAMPLES = 8  # before a target is compared
SPREADS = 6.0  # median absolute deviations
LATENCY_RATIO = 2.0
LATENCY_FLOOR_S = 0.020
ERROR_RATIO = 3.0
ERROR_FLOOR = 0.10
STAYS = 0.8  # of the mark: what stands out does so until it falls below this


@dataclass(frozen=True, slots=True)
class Peer:
    """One target that passes its checks: median latency of `passed` samples, share of errors of `results` checks."""

    latency_s: float | None
    passed: int
    errors: float
    results: int


class Beyond(NamedTuple):
    """A value beyond the mark of its group, and the group's median."""

    value: float
    middle: float
    mark: float


def outliers(peers: Mapping[str, Peer], before: Mapping[str, str]) -> dict[str, str]:
    """Who stands out, and how, in words.  `before` is who did; the words of those that still do stay the same."""
    latencies = {
        name: one.latency_s for name, one in peers.items() if one.latency_s is not None and one.passed >= SAMPLES
    }
    errors = {name: one.errors for name, one in peers.items() if one.results >= SAMPLES}
    found: dict[str, str] = {}
    for name, one in beyond(errors, ERROR_RATIO, ERROR_FLOOR, before).items():
        found[name] = f"{one.value:.0%} of its checks fail, of its peers' {one.middle:.0%}"
    for name, one in beyond(latencies, LATENCY_RATIO, LATENCY_FLOOR_S, before).items():
        found[name] = f"answers in {_ms(one.value)}, its peers in {_ms(one.middle)}"
    return {name: before.get(name) or text for name, text in found.items()}


def beyond(
    values: Mapping[str, float], ratio: float, floor: float, before: Container[str], peers: int = PEERS
) -> dict[str, Beyond]:
    """The values beyond the mark of their group; those in `before` until they fall well below it.  None of a group of
    `peers` or fewer.
    """
    if len(values) <= peers:
        return {}
    middle = median(values.values())
    spread = median(abs(value - middle) for value in values.values())
    mark = max(middle * ratio, middle + floor, middle + SPREADS * spread)
    stays = middle + (mark - middle) * STAYS
    return {
        name: Beyond(value, middle, mark)
        for name, value in values.items()
        if value > (stays if name in before else mark)
    }


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
