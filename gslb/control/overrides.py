"""The overrides file, and one override as a key's value on the bus: canonical JSON from and to words.  Pure.

Rule 1: a file is read whole or not at all; one wrong entry makes all of it unreadable.
Rule 2: one word a target (gslb.control.words); the file of format 1 has overrides without stamps and is still read.
Rule 3: what comes by the bus is read as strictly as the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

from gslb.bus.stamps import MOST_MS, Written
from gslb.control.words import MAX_OVERRIDES, MAX_WORDS, Ended, Word, merged, unstamped
from gslb.model.unreadable import defect, shown
from gslb.model.world import Forced, Override

FORMAT = 2
KEY = "override."  # the beginning of a key on the bus
_UNSTAMPED = 1  # the format before
_TEXT_LIMIT = 1_000  # characters of a target, a name, a reason
_KEYS = {"target", "state", "who", "why", "since", "until", "force"}
_ENDED = {"target", "who", "why", "at"}
_STAMPS = {"stamp", "after"}


class OverridesUnreadable(ValueError):
    """The bytes are no overrides of this format and deployment."""


def parse_overrides(data: bytes, deployment: str) -> tuple[Word, ...]:
    """Read what `dump_overrides` wrote.  Raises OverridesUnreadable."""
    try:
        raw = json.loads(data)
        if not isinstance(raw, dict):
            raise OverridesUnreadable("not an overrides file: not a mapping")
        found = raw["format"]
        if isinstance(found, bool) or found not in (_UNSTAMPED, FORMAT):
            raise OverridesUnreadable(f"overrides format {shown(found)}, expected {_UNSTAMPED} or {FORMAT}")
        _of_deployment(raw, deployment)
        entries = _list(raw, "overrides", MAX_OVERRIDES)
        if found == _UNSTAMPED:
            return unstamped(_override(entry, _KEYS) for entry in entries)
        ended = _list(raw, "ended", MAX_WORDS)
        words = [*map(_begun, entries), *map(_end, ended)]
        return tuple(merged({}, words).words.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        if isinstance(error, OverridesUnreadable):
            raise
        raise OverridesUnreadable(f"not an overrides file: {defect(error)}") from error


def dump_overrides(deployment: str, words: Iterable[Word]) -> bytes:
    """Canonical JSON, one word a line so that a person can read it.

    Raises OverridesUnreadable rather than give what `parse_overrides` would refuse.
    """
    ordered = sorted(words, key=lambda word: word.target)
    begun = ",\n".join(_dump(_entry(word)) for word in ordered if isinstance(word.said, Override))
    ended = ",\n".join(_dump(_entry(word)) for word in ordered if isinstance(word.said, Ended))
    head = f'{{"deployment":{_dump(deployment)},"format":{FORMAT}'
    data = f'{head},"overrides":[\n{begun}\n],"ended":[\n{ended}\n]}}\n'.encode()
    parse_overrides(data, deployment)
    return data


@lru_cache(maxsize=2 * MAX_WORDS)
def key_of(target: str) -> str:
    """The key of a target's word on the bus."""
    return KEY + blake2b(target.encode(), digest_size=16).hexdigest()


def dump_word(deployment: str, word: Word) -> bytes:
    """A word as the value of its key."""
    return _dump({"deployment": deployment, "format": FORMAT, **_entry(word)}).encode()


def parse_word(key: str, data: bytes, deployment: str) -> Word:
    """Read what `dump_word` wrote under `key`.  Raises OverridesUnreadable."""
    try:
        raw = json.loads(data)
        if not isinstance(raw, dict):
            raise OverridesUnreadable("not an override: not a mapping")
        if raw.pop("format") != FORMAT:
            raise OverridesUnreadable(f"not an override of format {FORMAT}")
        _of_deployment(raw, deployment)
        del raw["deployment"]
        word = _begun(raw) if "state" in raw else _end(raw)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        if isinstance(error, OverridesUnreadable):
            raise
        raise OverridesUnreadable(f"not an override: {defect(error)}") from error
    texts = (word.target, word.said.who, word.said.why, word.stamp.node)
    if not all(text.isprintable() for text in texts):
        raise OverridesUnreadable("a text has characters that cannot be shown")
    if key_of(word.target) != key:
        raise OverridesUnreadable(f"the override of {shown(word.target)} stands under another target's key")
    return word


def with_override(overrides: Iterable[Override], new: Override) -> tuple[Override, ...]:
    """The overrides with `new` in place of an earlier one of its target."""
    return (*without_target(overrides, new.target), new)


def without_target(overrides: Iterable[Override], target: str) -> tuple[Override, ...]:
    """The overrides of all other targets."""
    return tuple(override for override in overrides if override.target != target)


def _of_deployment(raw: dict[str, object], deployment: str) -> None:
    if raw["deployment"] != deployment:
        raise OverridesUnreadable(f"it is of deployment {shown(raw['deployment'])}, expected {deployment!r}")


def _list(raw: dict[str, object], name: str, most: int) -> list[object]:
    entries = raw[name]
    if not isinstance(entries, list):
        raise OverridesUnreadable(f"not an overrides file: {name!r} is not a list")
    if len(entries) > most:
        raise OverridesUnreadable(f"{len(entries)} {name}, expected at most {most}")
    return entries


def _entry(word: Word) -> dict[str, object]:
    said = word.said
    stamps = {"stamp": _written(word.stamp), "after": None if word.after is None else _written(word.after)}
    if isinstance(said, Ended):
        return {"target": word.target, "who": said.who, "why": said.why, "at": said.at, **stamps}
    return {
        "target": said.target,
        "state": said.state.value,
        "who": said.who,
        "why": said.why,
        "since": said.since,
        "until": said.until,
        "force": said.force,
        **stamps,
    }


def _written(stamp: Written) -> list[object]:
    return [stamp.ms, stamp.node]


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _begun(entry: object) -> Word:
    override = _override(entry, _KEYS | _STAMPS)
    assert isinstance(entry, dict)
    return Word(override.target, override, *_stamps(entry))


def _end(entry: object) -> Word:
    found = _mapping(entry, _ENDED | _STAMPS)
    ended = Ended(_text(found["who"]), _text(found["why"]), _time(found["at"]))
    return Word(_text(found["target"]), ended, *_stamps(found))


def _mapping(entry: object, keys: set[str]) -> dict[str, object]:
    if not isinstance(entry, dict):
        raise OverridesUnreadable(f"an override is {shown(entry)}, expected a mapping")
    if entry.keys() != keys:
        raise OverridesUnreadable(f"an override has the keys {shown(sorted(entry))}, expected {sorted(keys)}")
    return entry


def _override(entry: object, keys: set[str]) -> Override:
    found = _mapping(entry, keys)
    force = found["force"]
    if not isinstance(force, bool):
        raise OverridesUnreadable(f"force is {shown(force)}, expected true or false")
    return Override(
        target=_text(found["target"]),
        state=_state(found["state"]),
        who=_text(found["who"]),
        why=_text(found["why"]),
        since=_time(found["since"]),
        until=None if found["until"] is None else _time(found["until"]),
        force=force,
    )


def _stamps(entry: dict[str, object]) -> tuple[Written, Written | None]:
    return _stamp(entry["stamp"]), None if entry["after"] is None else _stamp(entry["after"])


def _stamp(value: object) -> Written:
    if not isinstance(value, list) or len(value) != 2:  # milliseconds and node
        raise OverridesUnreadable(f"stamp {shown(value)}, expected milliseconds and a node")
    ms, node = value
    if isinstance(ms, bool) or not isinstance(ms, int) or not 0 <= ms <= MOST_MS:
        raise OverridesUnreadable(f"stamp {shown(value)}, expected milliseconds since the epoch")
    return Written(ms, _text(node))


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
