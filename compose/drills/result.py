"""What clients told during a drill -> its result: a score for each audience, a timeline, what was promised.  Pure.

Failed requests are of three kinds, and only the first is counted as failed:

    failed      the user was not served
    in flight   the connection was open on a backend, as far as is known, at the moment when the drill killed it
    shifted     the connection was open to an address by anycast while routes moved

A page that somebody sent and that says that it failed (a status) is always failed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from compose import score as scores
from compose.clients import STATUS, Outcome
from compose.topology import ANYCAST, Topology

Kind = Literal["web", "anycast", "dns"]
Fate = Literal["served", "failed", "in flight", "shifted"]
LATE_S = 1.0  # a served request that took longer
SLOW_S = 2.0  # what the page by anycast takes
ANY_SITE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Audience:
    """Users of one region: of the name by DNS, of the address by anycast, or of the nameservers alone; `crowd`: many more."""

    region: str
    kind: Kind
    crowd: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.region} {self.crowd or self.kind}"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, and when (the system's clock)."""

    at: float
    what: str


@dataclass(frozen=True, slots=True)
class Death:
    """A backend's web server was killed at some moment between these; `vip` is the address of its site's service."""

    began: float
    ended: float
    server: str
    vip: str


@dataclass(frozen=True, slots=True)
class Shift:
    """Between these a drill moved routes by anycast; they have settled at the end."""

    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Expected:
    """From `at` on a region should be served by these sites, any where none is named; until `settled` as before is right too."""

    at: float
    settled: float
    region: str
    sites: frozenset[str]


@dataclass(frozen=True, slots=True)
class Story:
    """What was done, seen and told in a drill, as it was recorded."""

    name: str
    title: str
    promise: str
    marks: Sequence[Mark]
    expected: Sequence[Expected]
    deaths: Sequence[Death]
    heard: Mapping[Audience, Sequence[Outcome]]
    shifts: Sequence[Shift] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """Of one audience, or of all."""

    requests: int
    failed: int
    in_flight: int
    shifted: int
    late: int
    wrong_site: int | None  # None: no particular site was expected of any
    degraded_s: int  # seconds in which a user waited for what then failed
    slowest_s: float
    why: Mapping[str, int]  # what was told of those that failed
    by_site: Mapping[str, int]


def sites_of(topology: Topology) -> dict[str, str]:
    """Address that DNS answers -> the site that it is of."""
    found = {site.vip: site.name for site in topology.sites if site.vip}
    return found | {server.address: server.place for server in topology.running("server")}


def fate(outcome: Outcome, deaths: Iterable[Death], shifts: Iterable[Shift] = ()) -> Fate:
    """What became of a request."""
    if not outcome.failed:
        return "served"
    if not outcome.opened or outcome.failed.startswith(f"http: {STATUS} "):
        return "failed"
    if any(
        outcome.address in (death.vip, ANYCAST) and outcome.server in ("", death.server) and _met(outcome, death)
        for death in deaths
    ):
        return "in flight"
    if outcome.address == ANYCAST and any(_met(outcome, shift) for shift in shifts):
        return "shifted"
    return "failed"


def _met(outcome: Outcome, event: Death | Shift) -> bool:
    """Whether the request was under way at a moment of the event."""
    return outcome.at <= event.ended and outcome.at + outcome.took_s >= event.began


def right_sites(expected: Iterable[Expected], region: str, at: float) -> frozenset[str]:
    """The sites that may serve a region's request at some moment; none: any may."""
    right = ANY_SITE
    for one in expected:
        if one.region == region and one.at <= at:
            settled = at >= one.settled
            right = one.sites if settled else right | one.sites if right and one.sites else ANY_SITE
    return right


def score(story: Story, topology: Topology, audiences: Iterable[Audience]) -> Score:
    """Of these audiences together."""
    names = sites_of(topology)
    fates: Counter[Fate] = Counter()
    by_site: Counter[str] = Counter()
    why: Counter[str] = Counter()
    failed: list[Outcome] = []
    wrong: list[bool] = []
    late = 0
    slowest = 0.0
    for audience in audiences:
        for one in story.heard[audience]:
            found = fate(one, story.deaths, story.shifts)
            fates[found] += 1
            slowest = max(slowest, one.took_s)
            if found == "served":
                site = one.site or names.get(one.address, one.address)
                by_site[site] += 1
                late += one.took_s > LATE_S + SLOW_S * (audience.kind == "anycast")
                if one.address != ANYCAST and (right := right_sites(story.expected, audience.region, one.at)):
                    wrong.append(site not in right)
            elif found == "failed":
                why[one.failed] += 1
                failed.append(one)
    return Score(
        sum(fates.values()), fates["failed"], fates["in flight"], fates["shifted"], late,
        sum(wrong) if wrong else None, len(scores.degraded(failed)), slowest, dict(why), dict(by_site),
    )  # fmt: skip


def total(story: Story, topology: Topology) -> Score:
    """Of all audiences."""
    return score(story, topology, story.heard)


def moves(story: Story, topology: Topology) -> list[Mark]:
    """When who served an audience of a name changed: a site, or what failed."""
    names = sites_of(topology)
    found: list[Mark] = []
    for audience, heard in story.heard.items():
        if audience.crowd:
            continue  # its users are served by many
        last = ""
        for one in heard if audience.kind != "anycast" else ():
            what = one.failed or one.site or names.get(one.address, one.address)
            if last and what != last:
                found.append(Mark(one.at, f"{audience.name}: {last} -> {what}"))
            last = what
    return found


def seconds(story: Story, topology: Topology, audience: Audience) -> list[dict[str, int]]:
    """What an audience met in each second of the drill: site, or fate, -> requests."""
    names = sites_of(topology)
    began, ended = span(story)
    found: list[Counter[str]] = [Counter() for _ in range(math.floor(ended - began) + 1)]
    for one in story.heard[audience]:
        what = fate(one, story.deaths, story.shifts)
        site = one.site or names.get(one.address, one.address)
        found[math.floor(one.at - began)][site if what == "served" else what] += 1
    return [dict(one) for one in found]


def span(story: Story) -> tuple[float, float]:
    """When the drill began and ended."""
    times = [one.at for heard in story.heard.values() for one in heard] + [mark.at for mark in story.marks]
    return min(times, default=0.0), max(times, default=0.0)


def to_json(story: Story, topology: Topology, broken: Sequence[str] = ()) -> dict[str, Any]:
    """The result, with times in seconds from the beginning of the drill; `broken`: what was promised and not kept."""
    began, ended = span(story)
    timeline = [(mark, "done") for mark in story.marks] + [(mark, "seen") for mark in moves(story, topology)]
    return {
        "drill": story.name,
        "title": story.title,
        "promise": story.promise,
        "broken": list(broken),
        "seconds": round(ended - began, 1),
        "score": asdict(total(story, topology)),
        "audiences": {
            audience.name: {
                **asdict(score(story, topology, [audience])),
                "seconds": seconds(story, topology, audience),
            }
            for audience in story.heard
        },
        "facts": {name: "never" if value == math.inf else value for name, value in story.facts.items()},
        "timeline": [
            {"at": round(mark.at - began, 2), "what": mark.what, "kind": kind}
            for mark, kind in sorted(timeline, key=lambda pair: pair[0].at)
        ],
    }
