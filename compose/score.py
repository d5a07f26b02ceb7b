"""What clients told -> a score: requests that failed, seconds that were worse, answers of the wrong site.  Pure.

python -m compose.score europe=fra < LINES        of `compose.clients`; the region is for people, the site is the expected one
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from compose.clients import Outcome


@dataclass(frozen=True, slots=True)
class Score:
    """Of some requests.  `degraded_s` is as `degraded` counts; `by_site` are those that were served."""

    requests: int
    failed: Mapping[str, int]  # what failed -> how often
    degraded_s: int
    wrong_site: int
    by_site: Mapping[str, int]
    slowest_s: float

    @property
    def failures(self) -> int:
        """All that failed."""
        return sum(self.failed.values())


def read(lines: Iterable[str]) -> list[Outcome]:
    """The outcomes that `compose.clients` printed; a last line that was cut off is left out."""
    found = []
    for line in lines:
        try:
            found.append(Outcome(**json.loads(line)))
        except json.JSONDecodeError:
            break
    return found


def degraded(failed: Iterable[Outcome]) -> set[int]:
    """The seconds of the clock in which somebody waited for what then failed."""
    return {second for one in failed for second in range(math.floor(one.at), math.floor(one.at + one.took_s) + 1)}


def score(outcomes: Iterable[Outcome], expected: str) -> Score:
    """`expected` is the site that should have served them."""
    chosen = list(outcomes)
    served = [one for one in chosen if not one.failed]
    by_site = Counter(one.site for one in served)
    return Score(
        requests=len(chosen),
        failed=dict(Counter(one.failed for one in chosen if one.failed)),
        degraded_s=len(degraded(one for one in chosen if one.failed)),
        wrong_site=len(served) - by_site[expected],
        by_site=dict(by_site),
        slowest_s=max((one.took_s for one in chosen), default=0.0),
    )


def moves(outcomes: Iterable[Outcome]) -> list[tuple[float, str]]:
    """When who served changed: a site's name, or what failed; the first one too."""
    found: list[tuple[float, str]] = []
    for one in outcomes:
        what = one.failed or one.site
        if not found or found[-1][1] != what:
            found.append((one.at, what))
    return found


def main() -> None:
    """Print the score and the moves of what is on standard input."""
    region, _, site = sys.argv[1].partition("=")
    outcomes = read(sys.stdin)
    total = score(outcomes, site)
    print(f"{region}: {total.requests} requests, {total.failures} failed, {total.degraded_s} s with failures,")
    print(f"  {total.wrong_site} not served by {site}, the slowest took {total.slowest_s:.3f} s")
    for what, times in sorted(total.failed.items()):
        print(f"  {times:6} {what}")
    for at, what in moves(outcomes):
        print(f"  {at - outcomes[0].at:8.2f} s  {what}")


if __name__ == "__main__":
    main()
