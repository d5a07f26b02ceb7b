"""What the rounds of checks of one target amount to: up or down.  Pure.

Rule 1: failures accumulate, also when passes lie between them; only passes in a row clear them (gdnsd's rule, so that a
target that flaps settles on down).
Rule 2: each fall that is not forgiven yet doubles the passes in a row that the next return takes, so that a target
that falls and returns again and again changes ever more seldom; FORGIVEN_AFTER passes in a row while up forgive one.
Rule 3: a fall counts when this site is known to see: a reference target answered after the failing check began.
Rule 4: a target that nothing is known of is what its first round says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from gslb.model.world import Health
from healthcheck.check import Sample

FORGIVEN_AFTER = 60  # rounds
MOST_DOUBLINGS = 4
WHY_OCTETS = 200
PATHS_NAMED = 3


class State(Enum):
    """Where a target stands."""

    NEW = auto()  # no round has been judged
    UP = auto()
    FALLING = auto()  # up, with failures that are not cleared
    DOWN = auto()
    RISING = auto()  # down, and its last rounds passed


class Event(Enum):
    """What a round, or news of this site's sight, means to a target."""

    PASSED = auto()
    CLEARED = auto()  # passed, and with it as many in a row as are needed
    FAILED = auto()
    FELL = auto()  # failures amount to a fall, and this site sees
    BLINDED = auto()  # this site does not see: what has been counted says nothing


NEXT = {
    (State.NEW, Event.PASSED): State.UP,
    (State.NEW, Event.CLEARED): State.UP,
    (State.NEW, Event.FAILED): State.NEW,
    (State.NEW, Event.FELL): State.DOWN,
    (State.NEW, Event.BLINDED): State.NEW,
    (State.UP, Event.PASSED): State.UP,
    (State.UP, Event.CLEARED): State.UP,
    (State.UP, Event.FAILED): State.FALLING,
    (State.UP, Event.FELL): State.DOWN,
    (State.UP, Event.BLINDED): State.UP,
    (State.FALLING, Event.PASSED): State.FALLING,
    (State.FALLING, Event.CLEARED): State.UP,
    (State.FALLING, Event.FAILED): State.FALLING,
    (State.FALLING, Event.FELL): State.DOWN,
    (State.FALLING, Event.BLINDED): State.UP,
    (State.DOWN, Event.PASSED): State.RISING,
    (State.DOWN, Event.CLEARED): State.UP,
    (State.DOWN, Event.FAILED): State.DOWN,
    (State.DOWN, Event.BLINDED): State.DOWN,
    (State.RISING, Event.PASSED): State.RISING,
    (State.RISING, Event.CLEARED): State.UP,
    (State.RISING, Event.FAILED): State.DOWN,
    (State.RISING, Event.BLINDED): State.DOWN,
}
IMPOSSIBLE = frozenset({(State.DOWN, Event.FELL), (State.RISING, Event.FELL)})  # what is down does not fall

_HEALTH = {State.UP: Health.UP, State.FALLING: Health.UP, State.DOWN: Health.DOWN, State.RISING: Health.DOWN}


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a target's checks: it failed when any path failed; `double` when there are several and all failed."""

    ok: bool
    why: str = ""
    double: bool = False


def round_of(samples: Sequence[Sample]) -> Round:
    """What the samples of one probe say together."""
    if not samples:
        return Round(ok=False, why="the check gave no result")
    failed = [sample for sample in samples if not sample.ok]
    if not failed:
        return Round(ok=True)
    named = [f"{one.path}: {one.why}" if one.path else one.why for one in failed[:PATHS_NAMED]]
    if len(failed) > PATHS_NAMED:
        named.append(f"and {len(failed) - PATHS_NAMED} more paths")
    return Round(ok=False, why="; ".join(named)[:WHY_OCTETS], double=len(samples) > 1 and len(failed) == len(samples))


class Standing:
    """One target.  `fall` and `rise` are counts of rounds, `interval_s` lies between two of them.

    Times are of one monotonic clock.  `known` is what was known of the target before.
    """

    __slots__ = (
        "_failed_at",
        "_failures",
        "_fall",
        "_falls",
        "_interval_s",
        "_passes",
        "_rise",
        "double",
        "state",
        "why",
    )

    def __init__(self, fall: int, rise: int, interval_s: float, known: Health | None = None, why: str = "") -> None:
        self._fall, self._rise, self._interval_s = fall, rise, interval_s
        self.state = State.NEW if known is None else State.UP if known is Health.UP else State.DOWN
        self.why = why if known is Health.DOWN else ""
        self.double = False
        self._failures = 0
        self._passes = 0  # in a row
        self._falls = 1 if known is Health.DOWN else 0  # not forgiven
        self._failed_at: float | None = None  # when the check began that made the failures a fall

    @property
    def health(self) -> Health | None:
        """The verdict; None before the first round."""
        return _HEALTH.get(self.state)

    @property
    def settles_s(self) -> float | None:
        """How long the rounds that remain need before the verdict could change; None where nothing speaks against it."""
        if self.state is State.FALLING:
            return max(1, self._fall - self._failures) * self._interval_s  # 1: it waits for this site's sight
        if self.state is State.RISING:
            return (self._needed - self._passes) * self._interval_s
        return None

    @property
    def awaits_sight(self) -> float | None:
        """Since when this site's sight must be shown for the target to fall; None where it does not hang on that."""
        return self._failed_at

    def took(self, result: Round, began: float, seen_at: float) -> None:
        """Judge a round that began at `began`; a reference target last answered a check begun at `seen_at`."""
        if result.ok:
            self._passed()
        else:
            self._failed(result, began, seen_at)

    def saw(self, seen_at: float) -> None:
        """A reference target answered a check that was begun at `seen_at`."""
        if self._failed_at is not None and seen_at >= self._failed_at:
            self._fell()

    def blinded(self) -> None:
        """This site does not see: the verdict stays, and what was counted against it is forgotten."""
        self._step(Event.BLINDED)
        self._failures = self._passes = 0
        self._failed_at = None
        if self.state is not State.DOWN:
            self.why, self.double = "", False

    @property
    def _needed(self) -> int:
        """Passes in a row that clear."""
        return self._rise << min(max(self._falls - 1, 0), MOST_DOUBLINGS)

    def _passed(self) -> None:
        self._passes += 1
        if self.state is State.UP:
            if self._passes >= FORGIVEN_AFTER:
                self._passes = 0
                self._falls = max(0, self._falls - 1)
        elif self.state is State.NEW or self._passes >= self._needed:
            self._step(Event.CLEARED)
            self._passes = self._failures = 0
            self._failed_at = None
            self.why, self.double = "", False
        else:
            self._step(Event.PASSED)

    def _failed(self, result: Round, began: float, seen_at: float) -> None:
        self._passes = 0
        self.why, self.double = result.why, result.double
        if self.state in (State.DOWN, State.RISING):
            self._step(Event.FAILED)
            return
        self._failures += 1
        self._step(Event.FAILED)
        if self.state is State.NEW or self._failures >= self._fall:
            self._failed_at = began if self._failed_at is None else self._failed_at
            self.saw(seen_at)

    def _fell(self) -> None:
        self._step(Event.FELL)
        self._falls = min(self._falls + 1, MOST_DOUBLINGS + 1)
        self._failures = self._passes = 0
        self._failed_at = None

    def _step(self, event: Event) -> None:
        self.state = NEXT[self.state, event]
