"""Whether this site sees: reference targets, and what it means when none of them answers.  Pure.

Rule 1: when every reference target fails, the site is blind: it judges nothing, and its verdicts stay as they were.
Rule 2: targets and references fail together when the site's own uplink does, so a fall is believed only when a reference
answered a check that was begun after the failing check was.
Rule 3: after blindness only rounds count that began after the site saw again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

INTERVAL_S = 5.0  # between two checks of a reference
BLIND_INTERVAL_S = 1.0  # while the site is blind
LEAST_GAP_S = 0.1  # however many failures ask for one


class Turn(Enum):
    """What one result of a reference changes."""

    NOTHING = auto()
    SAW = auto()  # `seen_at` is later than it was
    BLINDED = auto()
    RETURNED = auto()  # the site was blind, and sees again


@dataclass(slots=True)
class _Reference:
    failed: str | None = None  # why the last check failed, empty where it did not; None before the first
    asked_at: float = -math.inf
    running: bool = False


class Sight:
    """The references of this site; without any it always sees.  Times are of one monotonic clock, in seconds."""

    def __init__(self, references: Iterable[str]) -> None:
        self._references = {name: _Reference() for name in references}
        self._returned_at = -math.inf
        self._wanted_since = -math.inf
        self.seen_at = -math.inf if self._references else math.inf  # when the latest check that succeeded was begun
        self.blind_since: float | None = None

    @property
    def references(self) -> dict[str, str | None]:
        """Why the last check of each reference failed, empty where it did not; None before the first."""
        return {name: one.failed for name, one in self._references.items()}

    def counts(self, began: float) -> bool:
        """Whether a round that began at `began` says something."""
        return self.blind_since is None and began >= self._returned_at

    def doubted(self, since: float) -> None:
        """A check that was begun at `since` failed: it matters whether the site saw then."""
        self._wanted_since = max(self._wanted_since, since)

    def due(self, now: float) -> list[str]:
        """The references that are to be checked now; each is then running until `took`."""
        found = [name for name, one in self._references.items() if not one.running and self._asks_at(one) <= now]
        for name in found:
            one = self._references[name]
            one.running, one.asked_at = True, now
        return found

    def wake_at(self) -> float:
        """When the next reference is due, as far as is known now; infinite where none is."""
        return min((self._asks_at(one) for one in self._references.values() if not one.running), default=math.inf)

    def took(self, name: str, failed: str, now: float) -> Turn:
        """The check of a reference has ended at `now`; `failed` says why it failed, and is empty where it did not."""
        one = self._references.get(name)
        if one is None or not one.running:
            return Turn.NOTHING
        one.running, one.failed = False, failed
        if not failed:
            return self._saw(one.asked_at)
        if self.blind_since is None and all(one.failed for one in self._references.values()):
            self.blind_since = now
            return Turn.BLINDED
        return Turn.NOTHING

    def _saw(self, began: float) -> Turn:
        later = began > self.seen_at
        self.seen_at = max(self.seen_at, began)
        if self.blind_since is not None:
            self.blind_since = None
            self._returned_at = began
            return Turn.RETURNED
        return Turn.SAW if later else Turn.NOTHING

    def _asks_at(self, one: _Reference) -> float:
        regular = one.asked_at + (INTERVAL_S if self.blind_since is None else BLIND_INTERVAL_S)
        doubt = self._wanted_since > max(self.seen_at, one.asked_at)
        return min(regular, one.asked_at + LEAST_GAP_S) if doubt else regular
