"""What the controller and its checking process say to each other, framed by `gslb.model.framing`.  Pure.

Rule: times are of the machine's monotonic clock, which both ends share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gslb.model.framing import Frames, Garbled
from gslb.model.world import Health
from healthcheck.check import Check

_FAR = 1e15  # beyond every time, count and latency


class Role(StrEnum):
    """What a check is for."""

    TARGET = "target"
    REFERENCE = "reference"
    LOAD = "load"


@dataclass(frozen=True, slots=True)
class Order:
    """One check, every `interval_s`; what was known of its target where there is no state of it yet."""

    check: Check
    role: Role
    interval_s: float
    fall: int = 1
    rise: int = 1
    known: Health | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """Everything to be checked from now on.  `groups` are peers: the targets of one pool, by the ids of their checks."""

    serial: int
    orders: tuple[Order, ...]
    groups: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The verdict on one target, and when its last check ended."""

    id: str
    health: Health
    at: float
    why: str = ""
    settles_s: float | None = None
    double: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """The statistics of one path: moving average, median and 99th percentile of latency in seconds, share of errors."""

    path: str
    latency_s: float | None
    p50_s: float | None
    p99_s: float | None
    errors: float


@dataclass(frozen=True, slots=True)
class Detail:
    """The statistics of one check: of the whole, and of each path where there are several."""

    id: str
    figures: tuple[Figures, ...]
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a page of load said at `at`; `value` is None where it could not be had, for the reason in `why`."""

    id: str
    at: float
    value: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Outlier:
    """A target that stands out in a group of Work, and how."""

    group: int
    id: str
    why: str


@dataclass(frozen=True, slots=True)
class Pulse:
    """How the checking process is.  `done`: rounds that have ended since its start, `rounds` by monitor those of targets that
    passed and that failed; `late`: checks that are due and wait;
    `skipped`: moments that passed so.

    `references`: why the last check of each failed, empty where it did not; None before the first.
    """

    checks: int = 0
    done: int = 0
    late: int = 0
    skipped: int = 0
    in_flight: int = 0
    blind_since: float | None = None
    references: Mapping[str, str | None] = field(default_factory=dict)
    outliers: tuple[Outlier, ...] = ()
    rounds: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Note:
    """A log line of the checking process; `level` is one of `logging`'s."""

    level: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What changed since the last report, for the Work of that serial.  A pulse comes once a second, whatever happened."""

    serial: int
    found: tuple[Found, ...] = ()
    details: tuple[Detail, ...] = ()
    readings: tuple[Reading, ...] = ()
    pulse: Pulse | None = None
    notes: tuple[Note, ...] = ()


def reports() -> Frames[Report]:
    """Reports from a stream of octets; Garbled for times and figures that cannot be."""
    return Frames(Report, judge=_judge)


def _judge(report: Report) -> None:
    """Raise Garbled for times and figures that cannot be."""
    numbers: list[float | None] = []
    for found in report.found:
        numbers += (found.at, found.settles_s)
    for reading in report.readings:
        numbers += (reading.at, reading.value)
    for detail in report.details:
        for one in detail.figures:
            numbers += (one.latency_s, one.p50_s, one.p99_s, one.errors)
    if report.pulse is not None:
        numbers.append(report.pulse.blind_since)
    for number in numbers:
        if number is not None and not (math.isfinite(number) and 0 <= number < _FAR):
            raise Garbled(f"{number} is no time, latency, share or load")
