"""What every pool sheds: because it is full, because it is out of the answers, or because it comes back.  Pure.

Rule 1: a pool's own clients have the first claim on it.  Guests (what others sent) come only up to its soft mark, are sent on
or home when it reaches its hard mark, and a pool sheds its own clients only for what its own clients bring.
Rule 2: a pool that sheds is given nothing more by others, and only a client's home sheds it: no cascades.
Rule 3: whoever is out of the answers sheds all at once, whether clients ask or not; coming back, it starts from there and takes them back by
`recover`, or all at once where it is no failure that ends.  While all is down, what is moved waits as it is for that to end.
Rule 4: what is moved stays as it is until the level changes, a receiver fails or carries too much, or geography changes; whose
home is out goes to an earlier pool of the order when that has room again.
Rule 5: a pool that another node steers sheds what that one says (gslb.decide.following).
Rule 6: pools are worked out one after the other, so that no room is given away twice: first those that come back at once,
since they are receivers again, then those that are out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gslb.decide.apportion import Apportioned, Entry
from gslb.decide.cells import Cell, cells_of, out_of
from gslb.decide.following import Course, Way, course_of, follow
from gslb.decide.levels import BAND, Pace, next_level, own_demand, pace_of, wanted
from gslb.decide.receivers import Carrying, Rooms, carrying_of
from gslb.decide.scene import Scene
from gslb.model.deployment import PolicyId, PoolId
from gslb.model.history import Cause, Shed, policy_of

_TELLING = 0.9  # under a higher level, too little is left of a demand to tell it from
_ASSUMED = 0.8  # the demand of a pool of which nothing is known, as a share of what it can carry


@dataclass(slots=True)
class _Shedding:
    """One pool that sheds, or might: what it shed, or is given, and what becomes of it."""

    course: Course
    out: float  # the share of the demand whose home does not answer
    any_out: bool  # whether any client's home does not answer, even of those who ask for nothing now
    lost: tuple[tuple[PolicyId, int], ...]  # whose: policies or parts of them, and record types
    elapsed_s: float
    pace: Pace
    at_once: bool  # what it shed because it was out, and is no longer, it takes back at once
    parts: Apportioned
    arrived: dict[PoolId, float]  # by receiver, as a share of its capacity

    @property
    def turn(self) -> tuple[bool, float]:
        """Its place among the others: before them what gives room back, then what needs room most."""
        return not self.at_once, self.out if self.at_once else -self.out

    @property
    def previous(self) -> Shed | None:
        return self.course.base

    @property
    def level(self) -> float:
        return self.previous.level if self.previous else 0.0

    @property
    def rested(self) -> bool:
        return self.elapsed_s >= self.pace.dwell_s


def sheds_of(scene: Scene) -> Mapping[PoolId, Shed]:
    """What each pool sheds from now on, by name; a pool that did not change keeps the very object."""
    carrying = carrying_of(scene.model, scene.world.loads)
    full = {pool for pool, known in carrying.items() if known.measured and (known.share or 0.0) > known.marks.soft}
    given = {pool for pool, one in scene.world.given.items() if one.shed is not None}
    cells = cells_of(scene.grounds, out_of(scene.grounds) | scene.previous.keys() | full | given)
    rooms = Rooms(scene.model, carrying)
    waiting = {pool for pool, of_pool in cells.items() if all(cell.ground.resting for cell in of_pool)}
    shedding = {pool: _shedding(scene, pool, cells[pool], rooms) for pool in sorted(cells.keys() - waiting)}
    found = {pool: _kept(shed, scene, cells[pool]) for pool, shed in scene.previous.items() if pool in waiting}
    rooms.closed |= {*found, *(pool for pool, one in shedding.items() if one.parts.of_choice)}
    guests = _guests(shedding)
    for pool in sorted(shedding, key=lambda pool: (*shedding[pool].turn, pool)):
        shed = _next(scene, shedding[pool], guests.get(pool, (0.0, 0.0)))
        if shed is not None:
            found[pool] = shed
        if shedding[pool].parts.of_choice:
            rooms.closed.add(pool)
        else:
            rooms.closed.discard(pool)
    return dict(sorted(found.items()))


def _kept(shed: Shed, scene: Scene, cells: Sequence[Cell]) -> Shed:
    """The same, unless the clock went back, or some are at home elsewhere now (an answer's weight changed), and may be answered."""
    here = {cell.key for cell in cells}
    moved = tuple(one for one in shed.moved if (one.policy, one.rtype, one.ranking) in here)
    if shed.geography != scene.geography or len(moved) == len(shed.moved):
        moved = shed.moved
    new = replace(shed, moved=moved, stepped_at=min(shed.stepped_at, scene.world.now))
    return shed if new == shed else new


def _shedding(scene: Scene, pool: PoolId, cells: Sequence[Cell], rooms: Rooms) -> _Shedding:
    """Where the pool stands: what it sheds already, which of that has arrived, and what is on its way."""
    grounds = dict.fromkeys(cell.ground for cell in cells)
    pace = pace_of([ground.routes.policy for ground in grounds])
    was_lost = scene.previous[pool].out if pool in scene.previous else ()
    resting = {ground.name for ground in grounds if ground.resting}
    lost = tuple(sorted({ground.name for ground in grounds if pool in ground.out} | resting.intersection(was_lost)))
    course = course_of(scene, pool, cells, lost, pace.dwell_s)
    previous = course.base
    elapsed = max(0.0, scene.world.now - previous.stepped_at) if previous else pace.dwell_s
    total = sum(cell.weight for cell in cells)
    gone = sum(cell.weight for cell in cells if cell.out)
    any_out = any(cell.out for cell in cells)
    out = gone / total if total > 0 else float(any_out)
    demand = _demand(rooms.carrying.get(pool), previous, seen=elapsed >= pace.dwell_s and not out)
    parts = Apportioned(pool, {cell.key: cell for cell in cells}, demand, rooms)
    if previous is not None and previous.geography == scene.geography:
        keyed = ((parts.cells.get((one.policy, one.rtype, one.ranking)), one) for one in previous.moved)
        parts.entries = [Entry(cell, one.receiver, one.slots) for cell, one in keyed if cell is not None]
    sent = _sent(parts, previous)
    fresh = previous.fresh if previous and elapsed < pace.dwell_s else {}
    for receiver, share in fresh.items():
        way = rooms.coming if share > 0 else rooms.leaving
        way[receiver] = way.get(receiver, 0.0) + share
    for receiver, share in sent.items():
        rooms.sent[receiver] = rooms.sent.get(receiver, 0.0) + share
    if previous is not None and previous.geography != scene.geography:
        for receiver, share in sent.items():  # all is taken anew, and what they were sent makes room for that
            rooms.coming[receiver] = rooms.coming.get(receiver, 0.0) - share
            rooms.sent[receiver] -= share
            parts.added[receiver] = -share
    arrived = {receiver: max(0.0, share - max(0.0, fresh.get(receiver, 0.0))) for receiver, share in sent.items()}
    at_once = course.steered and not {*was_lost} <= {*lost} and pool not in scene.gradual
    return _Shedding(course, out, any_out, lost, elapsed, pace, at_once, parts, arrived)


def _demand(known: Carrying | None, previous: Shed | None, *, seen: bool) -> float:
    """What all of a pool's clients bring, as a share of its capacity.

    What was told last holds while the load does not tell it (not `seen`): the pool is out, or its last step has not arrived.
    """
    level = previous.level if previous else 0.0
    if known is not None and known.share is not None and known.measured and seen and level <= _TELLING:
        return known.share / (1.0 - level)
    if previous is not None and previous.demand > 0:
        return previous.demand
    if known is not None and known.share:
        return known.share / max(1.0 - _TELLING, 1.0 - level)
    return known.marks.soft if known is not None else _ASSUMED


def _sent(parts: Apportioned, previous: Shed | None) -> Mapping[PoolId, float]:
    """What a pool sends to each receiver, as a share of the receiver's capacity.

    With another geography the cells are not what they were: then by the number of slots alone.
    """
    found: dict[PoolId, float] = {}
    if previous is None:
        return found
    if parts.entries:
        for entry in parts.entries:
            found[entry.receiver] = found.get(entry.receiver, 0.0) + parts.part(entry.weight, entry.receiver)
        return found
    slots = sum(one.slots for one in previous.moved)
    for one in previous.moved:
        if one.receiver in parts.rooms.model.pools:
            weight = previous.level * parts.total * one.slots / slots
            found[one.receiver] = found.get(one.receiver, 0.0) + parts.part(weight, one.receiver)
    return found


def _guests(shedding: Mapping[PoolId, _Shedding]) -> Mapping[PoolId, tuple[float, float]]:
    """What has arrived at each pool from others: what has no home to go back to, and what has."""
    found: dict[PoolId, tuple[float, float]] = {}
    for one in shedding.values():
        for receiver, share in one.arrived.items():
            staying, leaving = found.get(receiver, (0.0, 0.0))
            found[receiver] = (staying + share, leaving) if one.out else (staying, leaving + share)
    return found


def _next(scene: Scene, one: _Shedding, guests: tuple[float, float]) -> Shed | None:
    """What the pool sheds from now on."""
    if not one.course.steered:
        return _followed(scene, one)
    parts, previous = one.parts, one.previous
    was = previous.moved if previous else ()
    if previous is not None:
        _mend(scene, one, previous)
    if one.any_out:
        parts.bring_nearer()
        parts.cover()
    aim, lifted = _aim(one, guests)
    if one.at_once:
        _return_at_once(one, aim)
    elif parts.moved() == was:
        _step(one, aim, lifted=lifted)
    moved = parts.moved()
    cause = _cause(one, parts.share() if moved != was else one.level, aim)
    if moved != was:
        return Shed(cause, parts.share(), scene.world.now, scene.geography, moved, _fresh(one), parts.demand, one.lost)
    if previous is None or (not was and one.rested):
        return None
    begins = cause is Cause.RETURN and previous.cause is Cause.OUT
    stepped_at = scene.world.now if begins else min(previous.stepped_at, scene.world.now)
    new = replace(previous, cause=cause, stepped_at=stepped_at, geography=scene.geography, out=one.lost)
    return previous if new == previous else new


def _followed(scene: Scene, one: _Shedding) -> Shed | None:
    """What a pool sheds that another node steers."""
    if one.course.way is Way.OUT:
        if one.previous is not None:
            _mend(scene, one, one.previous)
        one.parts.bring_nearer()
    earlier = one.previous.fresh if one.previous is not None and not one.rested else {}
    return follow(one.parts, one.course, scene, one.lost, earlier)


def _mend(scene: Scene, one: _Shedding, previous: Shed) -> None:
    """What is moved already: taken anew in another geography, and away from who cannot take it any more."""
    parts = one.parts
    if previous.geography != scene.geography:
        parts.cover()
        parts.take(previous.level * _not_lost(one, previous) * parts.total)
    returns = previous.cause is Cause.RETURN or (previous.cause is Cause.OUT and not one.any_out)
    home = parts.rooms.carrying.get(parts.pool)
    full = home is not None and home.share is not None and (home.stale or home.share >= home.marks.soft)
    parts.replace_lost(elsewhere=full or not returns)
    if one.rested:
        for receiver in sorted({entry.receiver for entry in parts.entries}):
            excess = parts.rooms.excess(receiver, hard=not returns)
            if excess > 0:
                parts.relieve(receiver, excess, elsewhere=not returns)


def _not_lost(one: _Shedding, previous: Shed) -> float:
    """What part of the slots that were moved is of clients whom their home does answer, where those are still told apart."""
    here = {cell.key[:2] for cell in one.parts.cells.values()}
    lost = {(policy_of(part), rtype) for part, rtype in one.lost}  # which rankings were whose, nobody knows any more
    known = [moved for moved in previous.moved if (moved.policy, moved.rtype) in here]
    left = sum(moved.slots for moved in known if (moved.policy, moved.rtype) not in lost)
    return left / sum(moved.slots for moved in known) if known else float(not one.lost)


def _aim(one: _Shedding, guests: tuple[float, float]) -> tuple[float, bool]:
    """The level that the load asks for (below 0: there is room), and whether the load has reached the hard mark."""
    known = one.parts.rooms.carrying.get(one.parts.pool)
    if known is None or known.share is None:
        return -1.0, False
    if known.stale:
        return one.level if one.previous and one.previous.cause is Cause.LOAD else -1.0, False
    staying, leaving = guests
    own = one.parts.demand if one.level > _TELLING else own_demand(known.share, staying + leaving, one.level)
    return wanted(own, staying, known.marks), known.share >= known.marks.hard


def _return_at_once(one: _Shedding, aim: float) -> None:
    """Give back at once what no longer has to be elsewhere, down to what the load asks for."""
    share, target = one.parts.share(), max(0.0, aim, one.out)
    if target < share or share <= 0.0:
        _lower(one.parts, share, target)


def _step(one: _Shedding, aim: float, *, lifted: bool) -> None:
    """Move the level towards the aim, as far as it is time, and receivers have room."""
    parts = one.parts
    level = one.level or parts.share()  # who asked for nothing when they were moved may ask now
    if one.previous is not None and one.previous.cause is Cause.OUT and not one.any_out:
        return  # from here the time of its return counts
    target = max(aim, one.out) if one.out else aim
    new = next_level(level, target, one.elapsed_s, one.pace, lifted=lifted)
    if new > level:
        parts.take((parts.total - parts.weight) * (new - level) / (1.0 - level))
    elif new < level or (level <= 0.0 and one.rested):
        _lower(parts, level, new)


def _lower(parts: Apportioned, level: float, new: float) -> None:
    """Give back what the level falls by.  Who asks for nothing makes no level, and goes home all the same."""
    parts.give_back(parts.weight * (1.0 - new / level) if level > 0.0 else parts.weight)


def _cause(one: _Shedding, level: float, aim: float) -> Cause:
    if one.lost:
        return Cause.OUT
    returning = one.previous is not None and one.previous.cause is not Cause.LOAD
    rest = max(0.0, aim) if one.course.floor is None else one.course.floor
    return Cause.RETURN if returning and level > rest + 2 * BAND else Cause.LOAD


def _fresh(one: _Shedding) -> Mapping[PoolId, float]:
    """What is on its way to and from receivers: by this step, and by an earlier one that is not a dwell ago."""
    earlier = one.previous.fresh if one.previous is not None and not one.rested else {}
    sums = {
        pool: earlier.get(pool, 0.0) + one.parts.added.get(pool, 0.0) for pool in sorted({*earlier, *one.parts.added})
    }
    return {pool: share for pool, share in sums.items() if share}
