"""What is to be told of many things again and again: what changed first, all of it within a period, evenly spread.  Pure.

Rule 1: what changed is told at once, at most every `pace_s`; all is told within `period_s`, as far as there is room.
Rule 2: where there is no room, what has waited longest goes first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")
_EARLY = 0.5  # of the period: from then on a thing may be told again, so that what is told fills its parts


@dataclass(frozen=True, slots=True)
class Pace:
    """Changes are gathered for `gather_s`; at most `fit` things go into one part, and `few` are told at once or not at all."""

    gather_s: float
    pace_s: float
    period_s: float
    fit: int
    few: int


@dataclass(frozen=True, slots=True)
class Given(Generic[Value]):
    """A value and when it was given."""

    value: Value
    at: float


class Recital(Generic[Key, Value]):
    """Things by key.  `differs(told, now)`: whether a value is another than what was told.

    Its teller keeps in `octets` what one thing took when it was told last, and when it was told again; `room` is that of a part.
    """

    def __init__(self, pace: Pace, differs: Callable[[Given[Value], Given[Value]], bool], room: int) -> None:
        self.pace, self._differs, self._room = pace, differs, room
        self._values: dict[Key, Given[Value]] = {}
        self._told: dict[Key, tuple[float, Given[Value]]] = {}  # in the order of telling
        self._waiting: dict[Key, float] = {}  # since when, in this order
        self._changed_at = self._again_at = -math.inf
        self.octets = {False: 1.0, True: 1.0}  # by whether it was told again

    def __len__(self) -> int:
        return len(self._values)

    def know(self, found: Mapping[Key, Value], now: float, *, whole: bool) -> None:
        """These are the values at `now`: all there are if `whole`."""
        if whole and (len(found) < len(self._values) or found.keys() != self._values.keys()):
            for key in self._values.keys() - found.keys():
                for table in (self._values, self._told, self._waiting):
                    table.pop(key, None)
        for key, value in found.items():
            given = self._values[key] = Given(value, now)
            told = self._told.get(key)
            if told is None or self._differs(told[1], given):
                self._waiting.setdefault(key, now)
            else:
                self._waiting.pop(key, None)

    def changed(self, now: float) -> list[Key]:
        """What is to be told at once."""
        return list(self._waiting) if now >= self._soon() else []

    def again(self, now: float) -> list[Key]:
        """What is to be told again now, at most one part."""
        due: list[Key] = []
        if self._told and now >= self._again_at + self._gap():
            for key, (told_at, _given) in self._told.items():
                if now < told_at + self.pace.period_s * _EARLY or len(due) == self.pace.fit:
                    break
                due.append(key)
        return due

    def given(self, keys: Iterable[Key]) -> dict[Key, Given[Value]]:
        """The values of these."""
        return {key: self._values[key] for key in keys}

    def tell(self, keys: Iterable[Key], now: float, *, again: bool) -> None:
        """These are told now."""
        if again:
            self._again_at = now
        else:
            self._changed_at = now
        for key in keys:
            self._waiting.pop(key, None)
            self._told.pop(key, None)
            self._told[key] = now, self._values[key]

    def anew(self, now: float) -> None:
        """Nobody knows anything of it: all of it is to be told."""
        self._told.clear()
        self._waiting = dict.fromkeys(self._values, now)

    def wake_at(self) -> float:
        """When something is to be told next."""
        if not self._told:
            return self._soon()
        oldest, _given = next(iter(self._told.values()))
        return min(self._soon(), max(self._again_at + self._gap(), oldest + self.pace.period_s * _EARLY))

    def _soon(self) -> float:
        first = next(iter(self._waiting.values()), math.inf)
        return max(first + self.pace.gather_s, self._changed_at + self.pace.pace_s)

    def _gap(self) -> float:
        """Seconds between two parts, so that all parts find their time in a period."""
        fit = min(self.pace.fit, max(self.pace.few, self._room / self.octets[True]))
        return self.pace.period_s / (math.ceil(len(self._told) / fit) + 1)
