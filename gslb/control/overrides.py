"""The overrides file: canonical JSON from and to values.  Pure.

Rule 1: a file is read whole or not at all; one wrong entry makes all of it unreadable.
Rule 2: one override a target: a later word replaces an earlier one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

from gslb.model.unreadable import defect, shown
from gslb.model.world import Forced, Override

FORMAT = 1
MAX_OVERRIDES = 10_000
_TEXT_LIMIT = 1_000  # characters of a target, a name, a reason
_KEYS = {"target", "state", "who", "why", "since", "until", "force"}


class OverridesUnreadable(ValueError):
    """The bytes are no overrides of this format and deployment."""


def parse_overrides(data: bytes, deployment: str) -> tuple[Override, ...]:
    """Read what `dump_overrides` wrote.  Raises OverridesUnreadable."""
    try:
        raw = json.loads(data)
        if not isinstance(raw, dict):
            raise OverridesUnreadable("not an overrides file: not a mapping")
        if raw["format"] != FORMAT:
            raise OverridesUnreadable(f"overrides format {shown(raw['format'])}, expected {FORMAT}")
        if raw["deployment"] != deployment:
            raise OverridesUnreadable(f"it is of deployment {shown(raw['deployment'])}, expected {deployment!r}")
        entries = raw["overrides"]
        if not isinstance(entries, list):
            raise OverridesUnreadable("not an overrides file: 'overrides' is not a list")
        if len(entries) > MAX_OVERRIDES:
            raise OverridesUnreadable(f"{len(entries)} overrides, expected at most {MAX_OVERRIDES}")
        return tuple(_override(entry) for entry in entries)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        if isinstance(error, OverridesUnreadable):
            raise
        raise OverridesUnreadable(f"not an overrides file: {defect(error)}") from error


def dump_overrides(deployment: str, overrides: Iterable[Override]) -> bytes:
    """Canonical JSON, one override a line so that a person can read it.

    Raises OverridesUnreadable rather than give what `parse_overrides` would refuse.
    """
    lines = [_dump(_entry(override)) for override in sorted(overrides, key=lambda override: override.target)]
    body = ",\n".join(lines)
    data = f'{{"deployment":{_dump(deployment)},"format":{FORMAT},"overrides":[\n{body}\n]}}\n'.encode()
    parse_overrides(data, deployment)
    return data


def with_override(overrides: Iterable[Override], new: Override) -> tuple[Override, ...]:
    """The overrides with `new` in place of an earlier one of its target."""
    return (*without_target(overrides, new.target), new)


def without_target(overrides: Iterable[Override], target: str) -> tuple[Override, ...]:
    """The overrides of all other targets."""
    return tuple(override for override in overrides if override.target != target)


def _entry(override: Override) -> dict[str, object]:
    return {
        "target": override.target,
        "state": override.state.value,
        "who": override.who,
        "why": override.why,
        "since": override.since,
        "until": override.until,
        "force": override.force,
    }


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _override(entry: object) -> Override:
    if not isinstance(entry, dict):
        raise OverridesUnreadable(f"an override is {shown(entry)}, expected a mapping")
    if entry.keys() != _KEYS:
        raise OverridesUnreadable(f"an override has the keys {shown(sorted(entry))}, expected {sorted(_KEYS)}")
    force = entry["force"]
    if not isinstance(force, bool):
        raise OverridesUnreadable(f"force is {shown(force)}, expected true or false")
    return Override(
        target=_text(entry["target"]),
        state=_state(entry["state"]),
        who=_text(entry["who"]),
        why=_text(entry["why"]),
        since=_time(entry["since"]),
        until=None if entry["until"] is None else _time(entry["until"]),
        force=force,
    )


def _state(value: object) -> Forced:
    for state in Forced:
        if state == value:
            return state
    raise OverridesUnreadable(f"state is {shown(value)}, expected one of {', '.join(Forced)}")


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _TEXT_LIMIT:
        raise OverridesUnreadable(f"{str(value)[:40]!r}, expected a text of at most {_TEXT_LIMIT} characters")
    value.encode()  # a lone surrogate could be stored but not shown
    return value


def _time(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise OverridesUnreadable(f"{str(value)[:40]!r}, expected seconds since the epoch")
    return float(value)
