"""Whether this site sees: reference targets, and what it means when none of them answers.  Pure.

Rule 1: when every reference target fails, the site is blind: it judges nothing, and its verdicts stay as they were.
Rule 2: targets and references fail together when the site's own uplink does, so a fall is believed only when a reference
answered a check that was begun after the failing check was.
Rule 3: after blindness only rounds count that began after the site saw again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum, auto

INTERVAL_S = 5.0  # between two rounds of the references
BLIND_INTERVAL_S = 1.0  # while the site is blind
LEAST_GAP_S = 0.1  # between two rounds, however many failures ask for one


class Turn(Enum):
    """What one result of a reference changes."""

    NOTHING = auto()
    SAW = auto()  # `seen_at` is later than it was
    BLINDED = auto()
    RETURNED = auto()  # the site was blind, and sees again


class Sight:
    """The references of this site.  Without any it always sees.  Times are of one monotonic clock, in seconds."""

    def __init__(self, references: Iterable[str]) -> None:
        self._answered: dict[str, bool | None] = dict.fromkeys(references)
        self._asked_at = -math.inf
        self._returned_at = -math.inf
        self.seen_at = -math.inf if self._answered else math.inf  # when the latest check that succeeded was begun
        self.blind_since: float | None = None

    @property
    def answered(self) -> dict[str, bool | None]:
        """What each reference did last; None before its first check."""
        return dict(self._answered)

    def counts(self, began: float) -> bool:
        """Whether a round that began at `began` says something."""
        return self.blind_since is None and began >= self._returned_at

    def asks_at(self, wanted_since: float | None) -> float:
        """When the references are to be checked next.

        `wanted_since`: somebody waits to know that the site saw after this time.
        """
        if not self._answered:
            return math.inf
        regular = self._asked_at + (INTERVAL_S if self.blind_since is None else BLIND_INTERVAL_S)
        if wanted_since is None or self._asked_at >= wanted_since:
            return regular
        return min(regular, self._asked_at + LEAST_GAP_S)

    def asked(self, now: float) -> None:
        """All references are being checked from `now` on."""
        self._asked_at = now

    def took(self, reference: str, began: float, now: float, *, ok: bool) -> Turn:
        """A check of a reference, begun at `began`, has ended at `now`."""
        self._answered[reference] = ok
        if ok:
            later = began > self.seen_at
            self.seen_at = max(self.seen_at, began)
            if self.blind_since is not None:
                self.blind_since = None
                self._returned_at = began
                return Turn.RETURNED
            return Turn.SAW if later else Turn.NOTHING
        if self.blind_since is None and all(answered is False for answered in self._answered.values()):
            self.blind_since = now
            return Turn.BLINDED
        return Turn.NOTHING
