"""How a pool's shed goes on where another node steers it: that node's word is applied.  Pure.

Rule 1: each level has one writer (invariant 9).  Who is given a word (`World.given`) makes no step of its own; only where what
was given cannot be applied to the letter (a receiver answers no more here, clients are ordered by another location table)
does it do the same in other slots, and then leaves those alone until it is given something else.
Rule 2: that a pool is out of the answers is no matter of levels: every node works out at once where its clients go.  What the
writer says of that replaces it.
Rule 3: of a pool that is back here, and of which the writer says that it is out, what this node had stays: for the writer to say
how it comes back.  When nobody says so in time, or nobody has said anything since the pool went out, its return is worked out
here, down to what was given before.
Rule 4: a word is another's octets: what fits neither configuration nor geography is left out of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from gslb.decide.apportion import Apportioned
from gslb.decide.cells import Cell, Key
from gslb.decide.levels import BAND, LONGEST
from gslb.decide.scene import Scene
from gslb.model.deployment import PolicyId, PoolId
from gslb.model.history import WHOLE, Cause, Moved, Shed

SILENT_S = 15.0  # whose word is older than that says nothing more: a dead writer has a successor within 10 s
_MOST_SHARE = 1e3  # capacities: more is no load

Lost = tuple[tuple[PolicyId, int], ...]


class Way(Enum):
    """How a shed goes on."""

    STEERED = auto()  # by the load, here
    OUT = auto()  # as its clients need who have no home, here
    TOLD_OUT = auto()  # so too, and the writer has said where they go
    GIVEN = auto()  # as the writer says
    HELD = auto()  # as it is


@dataclass(frozen=True, slots=True)
class Course:
    """From what a shed goes on, and how.

    `word` is what the writer gives, as far as it fits; `before` what this node had.  `level` is what is to be reached from the base
    where the word is of another geography.  `floor` is where a return ends that is worked out here though another steers the pool.
    """

    way: Way
    base: Shed | None
    word: Shed | None = None
    before: Shed | None = None
    level: float | None = None
    floor: float | None = None

    @property
    def steered(self) -> bool:
        """Whether this node makes the steps."""
        return self.way is Way.STEERED


def course_of(scene: Scene, pool: PoolId, cells: Sequence[Cell], lost: Lost, dwell_s: float) -> Course:
    """The course of one pool; `lost` are the policies and record types whose clients it does not answer here."""
    before, given, now = scene.previous.get(pool), scene.world.given.get(pool), scene.world.now
    if given is None:
        return Course(Way.STEERED, before)
    by_key = {cell.key: cell for cell in cells}
    word = None if given.shed is None else sound(given.shed, pool, scene, by_key)
    told = word is not None and word.cause is Cause.OUT
    news = before is None or before.cause is Cause.LOAD or given.as_of >= before.stepped_at
    if lost:
        way = Way.TOLD_OUT if told and news else Way.OUT
        return Course(way, _without_home(word, before, by_key, scene) if news else before, word, before)
    floor = word.level if word is not None and not told else 0.0
    if not news and before is not None and before.level > floor + 2 * BAND:
        return Course(Way.STEERED, before, floor=floor)
    if word is not None and told:
        if now - given.as_of >= SILENT_S or now - word.stepped_at >= LONGEST * dwell_s:
            return Course(Way.STEERED, before)
        moved = before is not None and before.geography != scene.geography
        return Course(Way.HELD, before, before=before, level=before.level if before is not None and moved else None)
    return _given(word, before, by_key, scene)


def sound(shed: Shed, pool: PoolId, scene: Scene, cells: Mapping[Key, Cell]) -> Shed:
    """What of a word fits: configuration, geography, and the time."""
    now = scene.world.now
    here = shed.geography == scene.geography
    return Shed(
        cause=shed.cause,
        level=_within(shed.level, 1.0),
        stepped_at=min(shed.stepped_at, now) if math.isfinite(shed.stepped_at) else 0.0,
        geography=shed.geography,
        moved=tuple(_fitting(shed.moved, pool, scene, cells)) if here else (),
        fresh={
            name: share
            for name, share in sorted(shed.fresh.items())
            if name in scene.model.pools and abs(share) <= _MOST_SHARE  # false for what is no number
        },
        demand=_within(shed.demand, _MOST_SHARE),
        out=shed.out,
    )


def follow(parts: Apportioned, course: Course, scene: Scene, lost: Lost, fresh: Mapping[PoolId, float]) -> Shed | None:
    """The shed of a course that is not steered; `fresh` is what is still on its way of what was moved before."""
    base, before, now = course.base, course.before, scene.world.now
    if course.way is not Way.OUT:
        parts.replace_lost(elsewhere=True)
    parts.cover()
    if course.level is not None:
        _to_level(parts, course.level)
    moved = parts.moved()
    if base is None and not moved:
        return None
    cause = Cause.OUT if lost or base is None else base.cause
    out = before.out if _returns_at_once(parts.pool, course, scene) and before is not None else lost
    same = next((one for one in (course.word, before) if _says(one, moved, scene, course)), None)
    if same is not None:
        new = replace(same, cause=cause, stepped_at=min(same.stepped_at, now), out=out)
        return before if new == before else new
    sums = {name: fresh.get(name, 0.0) + parts.added.get(name, 0.0) for name in sorted({*fresh, *parts.added})}
    arriving = {name: share for name, share in sums.items() if share}
    at = now if lost or base is None else min(base.stepped_at, now)
    return Shed(cause, parts.share(), at, scene.geography, moved, arriving, parts.demand, out)


def _returns_at_once(pool: PoolId, course: Course, scene: Scene) -> bool:
    """Whether a pool that is held will take its clients back at once, should nobody say how it comes back."""
    return course.way is Way.HELD and pool not in scene.gradual


def _within(number: float, most: float) -> float:
    return min(most, number) if number > 0.0 else 0.0  # also of what is no number


def _fitting(moved: Sequence[Moved], pool: PoolId, scene: Scene, cells: Mapping[Key, Cell]) -> list[Moved]:
    """The entries that can be ours; of each cell at most all slots."""
    found: list[Moved] = []
    taken: dict[Key, int] = {}
    for one in moved:
        key = one.policy, one.rtype, one.ranking
        slots = min(one.slots, WHOLE - taken.get(key, 0))
        if slots > 0 and key in cells and one.receiver in scene.model.pools and one.receiver != pool:
            taken[key] = taken.get(key, 0) + slots
            found.append(one if slots == one.slots else replace(one, slots=slots))
    return found


def _given(word: Shed | None, before: Shed | None, cells: Mapping[Key, Cell], scene: Scene) -> Course:
    """A level that is given: applied from the word, or from what this node already made of it where it does not fit as it is."""
    known = before if before is not None and before.geography == scene.geography else None
    if word is None:
        return Course(Way.GIVEN, None, None, before)
    made = known is not None and known.stepped_at == word.stepped_at and known.cause is word.cause
    if word.geography != scene.geography:
        if made:
            return Course(Way.GIVEN, known, word, before)
        base = replace(word, geography=scene.geography, moved=known.moved if known is not None else ())
        return Course(Way.GIVEN, base, word, before, level=word.level)
    fits = all(one.receiver in cells[one.policy, one.rtype, one.ranking].ground.usable for one in word.moved)
    return Course(Way.GIVEN, known if made and not fits else word, word, before)


def _without_home(word: Shed | None, before: Shed | None, cells: Mapping[Key, Cell], scene: Scene) -> Shed | None:
    """The word, and of cells whose home is out here what this node made of them, where the word does not move them whole."""
    if before is None or before.geography != scene.geography or not before.moved:
        return word
    if word is None or word.geography != scene.geography:
        word = replace(before, moved=()) if word is None else replace(word, geography=scene.geography)
    whole, mine = _slots(word.moved), _slots(before.moved)
    own = {key for key, slots in mine.items() if key in cells and cells[key].out and slots == WHOLE > whole.get(key, 0)}
    if not own:
        return word
    kept = (one for one in word.moved if (one.policy, one.rtype, one.ranking) not in own)
    added = (one for one in before.moved if (one.policy, one.rtype, one.ranking) in own)
    return replace(word, moved=(*kept, *added))


def _slots(moved: Sequence[Moved]) -> Mapping[Key, int]:
    found: dict[Key, int] = {}
    for one in moved:
        key = one.policy, one.rtype, one.ranking
        found[key] = found.get(key, 0) + one.slots
    return found


def _to_level(parts: Apportioned, level: float) -> None:
    """Move what a level means in this geography."""
    share = parts.share()
    if level > share and share < 1.0:
        parts.take((level - share) * parts.total)
    elif level < share:
        parts.give_back(parts.weight * (1.0 - level / share))


def _says(one: Shed | None, moved: tuple[Moved, ...], scene: Scene, course: Course) -> bool:
    """Whether that shed is what was found: the word before what this node had, unless the pool was worked out here since."""
    if one is None or one.moved != moved or one.geography != scene.geography:
        return False
    return one is course.before or course.base is not course.before
