"""Overrides begun and ended: written under the store's lock, and refused where a service would be left without an answer.

The running controller of the node reads the file; the last-site guard of `decide` holds whatever is written.  IO.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from gslb import units
from gslb.config.zonefile import type_text
from gslb.control.endings import Ending, add
from gslb.control.overrides import with_override, without_target
from gslb.control.targets import target_of, targets
from gslb.control.words import GSLB, MAX_OVERRIDES
from gslb.decide.decide import decide
from gslb.decide.guard import harmed
from gslb.decide.moves import Move, Turn, moves, turns
from gslb.inspect.basis import Basis
from gslb.model.deployment import PolicyId
from gslb.model.plan import Mode, Plan
from gslb.model.world import Override

LONGEST_S = 366 * 86_400.0  # an override for longer is a change of the configuration
_WORDS = 500  # characters of a reason or a name
_Overrides = tuple[Override, ...]


class WouldHarm(Exception):
    """The override would leave a service without an answer of its own."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was written about `target`, what it replaced or ended, and what becomes of answers and of backends."""

    target: str
    new: Override | None
    replaced: Override | None
    moves: tuple[Move, ...]
    turns: tuple[Turn, ...]
    note: str | None


@dataclass(frozen=True, slots=True)
class _End:
    """Who ends an override, and who is told which it was, before it ends."""

    noted: Callable[[Override], None]
    who: str
    why: str


def begin(basis: Basis, new: Override) -> Done:
    """Put `new` in force in place of an earlier override of its target.  Raises StateError, WouldHarm."""
    return _edit(basis, new.target, new)


def end(basis: Basis, what: str, who: str, why: str = "") -> Done:
    """End the override of `what`; nothing is replaced where there is none.  Raises StateError, UnknownTarget.

    `who` and `why` are for the audit log.
    """
    stored = basis.store.load_overrides().overrides or ()
    # What the configuration no longer knows can still be ended by its name in the file.
    target = what if any(override.target == what for override in stored) else target_of(basis.model, what)

    def noted(ended: Override) -> None:
        add(basis.store.folder, Ending(target, ended.since, who, basis.world.now, why))

    return _edit(basis, target, None, _End(noted, who, why))


def lasting(text: str) -> float:
    """Seconds of a time such as 2h, for an override.  Raises ValueError with what was expected."""
    lasts = units.seconds(text)
    if not 0 < lasts <= LONGEST_S:
        raise ValueError("more than 0s and at most 366d")
    return lasts


def words(text: str) -> str:
    """A reason or a name, trimmed.  Raises ValueError with what was expected."""
    if not text.strip() or not text.isprintable() or len(text) > _WORDS:
        raise ValueError(f"some words on one line, at most {_WORDS} characters")
    return text.strip()


def _edit(basis: Basis, target: str, new: Override | None, ending: _End | None = None) -> Done:
    """Replace the override of `target` under the store's lock; one that ends is told to `ending` before it does."""
    now = basis.world.now
    asked = _asked_for(basis)
    seen: list[tuple[_Overrides, _Overrides]] = []
    notes: list[str] = []

    def plan(overrides: _Overrides) -> Plan:
        return decide(basis.model, basis.geography, replace(basis.world, overrides=overrides), basis.previous)

    def change(before: _Overrides) -> _Overrides:
        after = without_target(before, target) if new is None else with_override(before, new)
        if ending is not None:
            for ended in (override for override in before if override.target == target):
                ending.noted(ended)
        if new is not None and not new.force:
            _refuse_harm(new, [harm for harm in harmed(plan(before), plan(after)) if harm[:2] in asked])
        if new is not None and len(after) > MAX_OVERRIDES:
            after, removed = _without_unknown(basis, after)
            notes.append(f"overrides of targets that do not exist: {removed:,} removed, to make room for this one")
        seen.append((before, after))
        return after

    who, why = (
        (ending.who, ending.why) if ending is not None else (GSLB, "room was needed, and there is no such target")
    )
    edited = basis.store.edit_overrides(change, now, who=who, why=why)
    before, after = seen[0]
    replaced = next((override for override in before if override.target == target), None)
    plans = plan(before), plan(after)
    moved = tuple(move for move in moves(*plans) if (move.policy, move.rtype) in asked)
    turned = turns(*plans, target)
    if edited.note is not None:
        notes.append(edited.note)
    unbalanced = basis.world.unbalanced
    missing = dict.fromkeys(turn.pool for turn in turned if turn.pool in unbalanced)
    notes += [f"pool {pool} is not balanced here: {unbalanced[pool]}" for pool in missing]
    return Done(target, new, replaced, moved, turned, "; ".join(notes) or None)


def _without_unknown(basis: Basis, overrides: _Overrides) -> tuple[_Overrides, int]:
    """The overrides of targets that exist, and how many others there were."""
    known = targets(basis.model)
    kept = tuple(override for override in overrides if override.target in known)
    return kept, len(overrides) - len(kept)


def _asked_for(basis: Basis) -> set[tuple[PolicyId, int]]:
    """The policies and record types that some name is bound to; what becomes of others concerns nobody."""
    records = (record for zone in basis.zones for record in zone.dynamic)
    return {(record.policy, rtype) for record in records for rtype in record.types}


def _refuse_harm(new: Override, harm: Iterable[tuple[str, int, Mode]]) -> None:
    services = [f"policy {policy} {type_text(rtype)}" for policy, rtype, _ in harm]
    if services:
        raise WouldHarm(f"{new.state} {new.target} would leave nothing else to answer for {', '.join(services)}")
