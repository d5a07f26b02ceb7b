"""What changed between two moments of a node, one by one and with its cause: for the audit log and for events.  Pure.

A target that is checked for the first time and is up, or that was up and is checked no more, is none: the configuration changed.
Nor is a backend that comes and serves, or goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TypeVar

from gslb.control.company import Company
from gslb.control.endings import Ending, ending_of
from gslb.control.words import Ended, Lost, Word
from gslb.model.deployment import TYPE_A, TYPE_AAAA, PolicyId, PoolId
from gslb.model.history import Ejection, History, Kept, Out, Shed
from gslb.model.plan import BalancerTable, Serving
from gslb.model.world import Health, Override, Verdict, Verdicts

_Key = TypeVar("_Key")
_One = TypeVar("_One")

_TYPES = {TYPE_A: "A", TYPE_AAAA: "AAAA"}
GSLB = "gslb"  # who made a change that no operator made


class What(StrEnum):
    """Of what kind a change is."""

    CONFIGURATION = "configuration"
    OVERRIDE = "override"
    CONFLICT = "conflict"
    TARGET = "target"
    POOL = "pool"
    EJECTION = "ejection"
    BACKEND = "backend"
    OUT = "out"
    KEPT = "kept"
    SHED = "shed"
    BLIND = "blind"
    PLAN = "plan"
    BUS = "bus"
    NODE = "node"
    OTHER_CONFIGURATION = "other configuration"
    CLOCK = "clock"
    ROUTE = "route"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Change:
    """`subject` went from `before` to `after`, JSON values; None: there was or is nothing."""

    what: What
    subject: str
    who: str
    why: str
    before: object
    after: object

    def to_json(self) -> dict[str, object]:
        """JSON values."""
        return {**asdict(self), "what": self.what.value}


@dataclass(frozen=True, slots=True)
class Moment:
    """What is compared, as it stands at `now`.  `configuration` is a digest; `plan` is version and digest; `company` are the other
    nodes.
    """

    now: float = 0.0
    configuration: str | None = None
    plan: tuple[int, str] | None = None
    history: History = field(default_factory=History)
    verdicts: Verdicts = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    blind_since: float | None = None
    balancers: Mapping[PoolId, BalancerTable] = field(default_factory=dict)
    company: Company = field(default_factory=Company)


def changes(before: Moment, after: Moment, endings: Iterable[Ending] = ()) -> tuple[Change, ...]:
    """Every change, causes before effects.  `endings` tell who ended the overrides that are gone."""
    return tuple(
        change
        for part in (
            _configuration(before, after),
            _overrides(before, after, tuple(endings)),
            _company(before.company, after.company),
            _blind(before, after),
            _verdicts(before, after),
            _ejections(before, after),
            _backends(before, after),
            _outs(before, after),
            _kept(before, after),
            _sheds(before, after),
            _plan(before, after),
        )
        for change in part
    )


def pool_state(verdicts: Iterable[Verdict]) -> str:
    """`up`, `down`, or `degraded` where only some targets are down."""
    healths = {verdict.health for verdict in verdicts}
    if healths == {Health.DOWN}:
        return "down"
    return "degraded" if Health.DOWN in healths else "up"


def _configuration(before: Moment, after: Moment) -> Iterator[Change]:
    if before.configuration != after.configuration:
        why = "its files changed" if before.configuration is not None else "start"
        yield Change(What.CONFIGURATION, "configuration", GSLB, why, before.configuration, after.configuration)


def _overrides(before: Moment, after: Moment, endings: tuple[Ending, ...]) -> Iterator[Change]:
    was = {one.target: one for one in before.overrides if one.holds_at(before.now)}
    now = {one.target: one for one in after.overrides if one.holds_at(after.now)}
    for target in _keys(was, now):
        old, new = was.get(target), now.get(target)
        if new is not None and old != new:
            yield Change(What.OVERRIDE, target, new.who, new.why, _override(old), _override(new))
        elif old is not None and new is None:
            yield _ended(old, after, endings)


def conflict(lost: Lost) -> Change:
    """A word on a target that lost against one whose writer did not know it."""
    loser, winner = _word(lost.loser), _word(lost.winner)
    why = f"{loser['state']} by {loser['who']} on {loser['node']} is lost: {winner['who']} on {winner['node']} did not know it"
    return Change(What.CONFLICT, lost.winner.target, str(winner["who"]), why, loser, winner)


def _word(word: Word) -> dict[str, object]:
    said = word.said
    where = {"node": word.stamp.node or "an unknown node", "at": word.stamp.ms / 1000}
    if isinstance(said, Ended):
        return {"state": "auto", "who": said.who, "why": said.why, **where}
    return {"state": said.state.value, "who": said.who, "why": said.why, **where}


def _ended(old: Override, after: Moment, endings: tuple[Ending, ...]) -> Change:
    who, why = GSLB, "its time is over"
    if old.holds_at(after.now):
        found = ending_of(endings, old.target, old.since)
        who, why = (found.who, found.why or "ended") if found is not None else ("unknown", "ended")
    return Change(What.OVERRIDE, old.target, who, why, _override(old), None)


def _override(one: Override | None) -> object:
    if one is None:
        return None
    return {"state": one.state.value, "who": one.who, "why": one.why, "until": one.until, "force": one.force}


def _company(before: Company, after: Company) -> Iterator[Change]:
    if before.bus is not None and after.bus is not None and before.bus != after.bus:
        why = "it is connected" if after.bus else "the connection is lost: what other nodes say ages"
        yield Change(What.BUS, "bus", GSLB, why, _there(before.bus), _there(after.bus))
    for node, lives in after.alive.items():
        lived = before.alive.get(node)
        if lived != lives and (lives or lived):
            why = "it is heard" if lives else "it is not heard any more"
            yield Change(What.NODE, node, GSLB, why, None if lived is None else _there(lived), _there(lives))
    for node in _keys(before.configurations, after.configurations):
        was, now = before.configurations.get(node), after.configurations.get(node)
        if was != now:
            why = (
                "it runs another configuration than this node" if now else "it runs the same configuration, or is gone"
            )
            yield Change(What.OTHER_CONFIGURATION, node, GSLB, why, was, now)
    for node in _keys(before.skewed, after.skewed):
        ahead, ahead_now = before.skewed.get(node), after.skewed.get(node)
        if (ahead is None) != (ahead_now is None):
            why = "its clock and this node's differ" if ahead is None else "its clock and this node's agree"
            yield Change(What.CLOCK, node, GSLB, why, ahead, ahead_now)


def _there(there: bool) -> str:  # noqa: FBT001  # a word for it
    return "there" if there else "gone"


def _blind(before: Moment, after: Moment) -> Iterator[Change]:
    if (before.blind_since is None) == (after.blind_since is None):
        return
    blind = after.blind_since is not None
    why = "no reference target can be reached" if blind else "a reference target can be reached again"
    yield Change(What.BLIND, "site", GSLB, why, not blind, blind)


def _verdicts(before: Moment, after: Moment) -> Iterator[Change]:
    for pool in _keys(before.verdicts, after.verdicts):
        was, now = before.verdicts.get(pool, {}), after.verdicts.get(pool, {})
        for address in _keys(was, now):
            old, new = was.get(address), now.get(address)
            if _health(old) != _health(new) and Health.DOWN in (_health(old), _health(new)):
                why = new.why if new is not None else "it is not checked any more"
                yield Change(What.TARGET, f"{pool}/{address}", GSLB, why, _health(old), _health(new))
        states = _state(was), _state(now)
        if states[0] != states[1] and None not in states:
            down = sum(verdict.health is Health.DOWN for verdict in now.values())
            yield Change(What.POOL, pool, GSLB, f"{down} of {len(now)} targets are down", *states)


def _health(verdict: Verdict | None) -> str | None:
    return None if verdict is None else verdict.health.value


def _state(verdicts: Mapping[str, Verdict]) -> str | None:
    return pool_state(verdicts.values()) if verdicts else None


def _ejections(before: Moment, after: Moment) -> Iterator[Change]:
    was, now = _in_force(before), _in_force(after)
    for target in _keys(was, now):
        old, new = was.get(target), now.get(target)
        if old is None and new is not None:
            yield Change(What.EJECTION, target, GSLB, new.why, None, _ejection(new))
        elif old is not None and new is None:
            yield Change(What.EJECTION, target, GSLB, "its time is over", _ejection(old), None)


def _in_force(moment: Moment) -> dict[str, Ejection]:
    return {target: one for target, one in moment.history.ejected.items() if one.until > moment.now}


def _ejection(one: Ejection) -> object:
    return {"until": one.until, "times": one.times}


def _backends(before: Moment, after: Moment) -> Iterator[Change]:
    rulings = {one.target: one for one in after.overrides if one.holds_at(after.now)}
    ejected = _in_force(after)
    for pool, table in after.balancers.items():
        was = before.balancers.get(pool)
        if table == was:
            continue
        known = {one.address: one.serving for one in was.backends} if was is not None else {}
        for one in table.backends:
            if known.get(one.address, Serving.UP) is not one.serving:
                target, verdict = f"{pool}/{one.address}", after.verdicts.get(pool, {}).get(one.address)
                why = _serving_why(one.serving, rulings.get(f"backend/{target}"), verdict, ejected.get(target))
                yield Change(What.BACKEND, target, GSLB, why, _serving(known.get(one.address)), one.serving.value)


def _serving(one: Serving | None) -> str | None:
    return None if one is None else one.value


def _serving_why(serving: Serving, ruling: Override | None, verdict: Verdict | None, ejection: Ejection | None) -> str:
    """Why a backend is given what it is given: the words of gslb.decide.balancers, in their order."""
    if ruling is not None:
        asked = f"{ruling.state} {ruling.target} by {ruling.who}: {ruling.why}"
        return asked if ruling.state.value == serving.value else f"nothing else serves ({asked})"
    if verdict is not None and verdict.health is Health.DOWN:
        return verdict.why if serving is Serving.DOWN else f"its checks fail, and too few others serve ({verdict.why})"
    if ejection is not None:
        return (
            f"an outlier: {ejection.why}"
            if serving is Serving.DRAIN
            else f"an outlier, and too few others serve ({ejection.why})"
        )
    return "nothing speaks against it any more"


def _outs(before: Moment, after: Moment) -> Iterator[Change]:
    names = _keys(before.history.out, after.history.out)
    was, now = _flat(names, before.history.outs_of), _flat(names, after.history.outs_of)
    for key in _keys(was, now):
        old, new = was.get(key), now.get(key)
        if _out(old) != _out(new):
            yield Change(What.OUT, f"{key[0]}/{key[1]}", GSLB, _out_why(old, new), _out(old), _out(new))


def _flat(names: Iterable[PolicyId], found: Callable[[PolicyId], Mapping[PoolId, _One]]) -> dict[tuple[str, str], _One]:
    """By policy, or part of one, and pool: a part without an entry of its own has what its policy has."""
    return {(name, pool): one for name in names for pool, one in found(name).items()}


def _out(one: Out | None) -> object:
    return None if one is None else {"held": one.held, "types": [_TYPES.get(rtype, rtype) for rtype in one.types]}


def _out_why(old: Out | None, new: Out | None) -> str:
    if new is None:
        return "it may be answered again"
    if new.held:
        return "it stays out until an operator's word"
    if old is not None and old.held:
        return "it is no longer held"
    return "none of its addresses is usable" if old is None else "other record types than before"


def _kept(before: Moment, after: Moment) -> Iterator[Change]:
    names = _keys({**before.history.out, **before.history.kept}, {**after.history.out, **after.history.kept})
    was, now = _flat(names, before.history.kept_of), _flat(names, after.history.kept_of)
    for key in _keys(was, now):
        old, new = was.get(key), now.get(key)
        if _keeper(old) != _keeper(new):
            why = "it stays in the answers" if new is not None else "nothing keeps it any more"
            yield Change(What.KEPT, f"{key[0]}/{key[1]}", GSLB, why, _keeper(old), _keeper(new))


def _keeper(one: Kept | None) -> str | None:
    return None if one is None else one.by.value


def _sheds(before: Moment, after: Moment) -> Iterator[Change]:
    was, now = before.history.sheds, after.history.sheds
    for pool in _keys(was, now):
        old, new = was.get(pool), now.get(pool)
        if _shed(old) != _shed(new):
            last = new if new is not None else old
            why = f"{last.cause.value}{'' if new is not None else ': it is over'}" if last is not None else ""
            yield Change(What.SHED, pool, GSLB, why, _shed(old), _shed(new))


def _shed(one: Shed | None) -> object:
    if one is None:
        return None
    to = sorted({moved.receiver for moved in one.moved})
    return {"cause": one.cause.value, "level": round(one.level, 4), "to": to}


def _plan(before: Moment, after: Moment) -> Iterator[Change]:
    if before.plan != after.plan and after.plan is not None:
        why = "answers changed" if before.balancers == after.balancers else "answers or tables of balancers changed"
        yield Change(What.PLAN, "plan", GSLB, why, _version(before.plan), _version(after.plan))


def _version(plan: tuple[int, str] | None) -> object:
    return None if plan is None else {"version": plan[0], "digest": plan[1]}


def _keys(left: Mapping[_Key, object], right: Mapping[_Key, object]) -> list[_Key]:
    return list(dict.fromkeys((*left, *right)))
