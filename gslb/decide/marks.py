"""Where a load stands beside its pool's marks, and what that means for those who wait.  Pure."""

from __future__ import annotations

from enum import StrEnum

from gslb.decide.erlang import waiting
from gslb.decide.levels import Marks
from gslb.model.deployment import Pool

EXCESS = 0.005  # of capacity: a load that is rounded to a mark does not exceed it


class Over(StrEnum):
    """Which mark a load exceeds."""

    NONE = ""
    SOFT = "soft"
    HARD = "hard"


_RANK = {Over.NONE: 0, Over.SOFT: 1, Over.HARD: 2}


def over(marks: Marks, share: float) -> Over:
    """The highest mark that a load exceeds."""
    if share > marks.hard + EXCESS:
        return Over.HARD
    return Over.SOFT if share > marks.soft + EXCESS else Over.NONE


def brought(now: Over, share: float, was: Over, before: float | None) -> Over:
    """The mark that a change brings a load over: none where it was over it before, and has not become greater."""
    greater = before is None or share > before + EXCESS
    return now if greater or _RANK[now] > _RANK[was] else Over.NONE


def wait_of(pool: Pool, share: float) -> float | None:
    """The probability that a request waits under this load; None where the number of servers is not known."""
    if pool.capacity is None or not pool.capacity.servers:
        return None
    return waiting(pool.capacity.servers, share)
