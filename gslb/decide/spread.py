"""To which pools a choice sends its clients, and who moves between two choices.  Pure.

A client network has a slot of CHOICE_SLOTS (`gslb.model.choice`) and keeps it, so what becomes of each slot tells exactly
which part of a choice's clients move.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from gslb.model.choice import CHOICE_SLOTS
from gslb.model.deployment import PoolId
from gslb.model.plan import Choice, Member


class Rest(StrEnum):
    """Where clients end that no pool answers."""

    LAST_RESORT = "last resort"
    UNANSWERED = "no answer"


Destination = PoolId | Rest
Spread = Sequence[tuple[int, Destination]]  # the first slot behind each destination's, ascending to CHOICE_SLOTS


def spread(choice: Choice) -> Spread:
    """The destinations of a choice's slots."""
    found: list[tuple[int, Destination]] = []
    end = 0
    for part in choice.shed:
        end += part.slots
        found.append((end, _destination(part.members)))
    if end < CHOICE_SLOTS:
        found.append((CHOICE_SLOTS, _destination(choice.members)))
    return found


def paths(before: Spread, after: Spread) -> Iterable[tuple[Destination, Destination, float]]:
    """From where to where the clients of a choice go, and which share of them; those who stay are among them."""
    end = first = second = 0
    while end < CHOICE_SLOTS:
        (until, left), (then, reached) = before[first], after[second]
        start, end = end, min(until, then)
        if end > start:
            yield left, reached, (end - start) / CHOICE_SLOTS
        first += until == end
        second += then == end


def _destination(members: Sequence[Member]) -> Destination:
    """All members of one answer set are of one pool, or of none."""
    if not members:
        return Rest.UNANSWERED
    return members[0].pool or Rest.LAST_RESORT
