"""The opinions of one other node, kept as rows in the order of their keys.  Pure.

Rule 1: of each target the opinion that was told last counts, in whatever order messages come.
Rule 2: nothing is forgotten by age alone: what ceased to be fresh is told once, and stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gslb.bus.messages import Opinion, Rows
from gslb.bus.rows import CUT, ROW, UNSAID, opinion

TARGETS_MOST = 20_000  # of one node
TEXTS_MOST = 4_000  # reasons of one node
MOVED_S = 1.0  # an opinion that began this much later than the one before was changed in between
_LONGEST_MS = 0xFFFFFFFF
_KEPT = np.dtype(
    [
        ("at", "f8"),  # when the target was last asked, and since when the answer is the same: our monotonic clock
        ("since", "f8"),
        ("ttl", "u2"),
        ("settles", "u2"),
        ("flags", "u1"),
        ("fresh", "?"),
        ("order", "i8"),  # of the message that told it
    ]
)

Array = npt.NDArray[Any]
Keys = frozenset[int]
NONE: Keys = frozenset()


class Held:
    """What one node has told of targets."""

    def __init__(self) -> None:
        self._keys: Array = np.empty(0, np.uint64)
        self._kept: Array = np.empty(0, _KEPT)
        self._texts: dict[int, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def keys(self) -> Keys:
        """Every target of which something is known."""
        return frozenset(self._keys.tolist())

    def newest(self) -> float:
        """When the target that was asked last was asked."""
        return float(self._kept["at"].max(initial=-np.inf))

    def merge(self, told: Rows, sent_at: float, order: int, now: float) -> Keys:
        """Learn what was told at `sent_at` (our clock); the targets to be judged anew."""
        rows, places = _single(told.rows)
        if not len(rows):
            return NONE
        keys, new = rows["key"].astype(np.uint64), _kept(rows, sent_at, order, now)
        where = np.searchsorted(self._keys, keys)
        known = where < len(self._keys)
        known[known] = self._keys[where[known]] == keys[known]
        old = self._kept[where[known]]
        newer = order > old["order"]
        matter = _differ(old, new[known]) & newer
        accepted = ~known
        accepted[known] = newer
        changed = set(keys[known][matter].tolist())
        stands = np.zeros(
            len(keys), bool
        )  # health and the like are as they were: a reason that was left out still holds
        stands[known] = old["flags"] == new["flags"][known]
        self._kept[where[known][newer]] = new[known][newer]
        changed |= set(keys[~known].tolist())
        if not known.all():
            self._insert(keys[~known], new[~known])
        if told.texts or self._texts:
            held = stands & (rows["flags"] & CUT != 0)
            changed |= self._say(
                told,
                list(zip(keys[accepted].tolist(), places[accepted].tolist(), held[accepted].tolist(), strict=True)),
            )
        return frozenset(changed)

    def aged(self, now: float) -> Keys:
        """The targets of which the opinion ceased to be fresh since this was last asked."""
        fresh = _fresh(self._kept, now)
        changed = fresh != self._kept["fresh"]
        if not changed.any():
            return NONE
        self._kept["fresh"] = fresh
        return frozenset(self._keys[changed].tolist())

    def of(self, keys: Array, now: float) -> Iterator[tuple[int, Opinion]]:
        """What is held on these targets (sorted), aged to `now`."""
        where = np.searchsorted(self._keys, keys)
        known = where < len(self._keys)
        known[known] = self._keys[where[known]] == keys[known]
        kept = self._kept[where[known]]
        columns = (
            keys[known],
            np.maximum(now - kept["at"], 0.0),
            np.maximum(now - kept["since"], 0.0),
            kept["ttl"],
            kept["settles"],
            kept["flags"],
        )
        texts = self._texts
        for key, age_s, for_s, ttl, settles, flags in zip(*(one.tolist() for one in columns), strict=True):
            yield key, opinion((age_s, for_s), ttl, settles, flags, texts.get(key, UNSAID))

    def rows(self, now: float, most: int) -> Iterator[Rows]:
        """All of it as it would be told at `now`, at most so many rows at once."""
        for first in range(0, len(self._keys), most):
            keys, kept = self._keys[first : first + most], self._kept[first : first + most]
            rows = np.empty(len(keys), ROW)
            rows["key"] = keys
            rows["age"] = np.clip((now - kept["at"]) * 1000, 0, _LONGEST_MS)
            rows["for"] = np.clip((now - kept["since"]) * 1000, 0, _LONGEST_MS)
            for name in ("ttl", "settles", "flags"):
                rows[name] = kept[name]
            texts = {place: self._texts[key] for place, key in enumerate(keys.tolist()) if key in self._texts}
            yield Rows(rows, texts)

    def _insert(self, keys: Array, new: Array) -> None:
        keys, kept = np.concatenate((self._keys, keys)), np.concatenate((self._kept, new))
        if len(keys) > TARGETS_MOST:  # those that were asked last
            newest = np.argsort(-kept["at"], kind="stable")[:TARGETS_MOST]
            keys, kept = keys[newest], kept[newest]
            left = set(keys.tolist())
            self._texts = {key: text for key, text in self._texts.items() if key in left}
        order = np.argsort(keys, kind="stable")
        self._keys, self._kept = keys[order], kept[order]

    def _say(self, told: Rows, accepted: list[tuple[int, int, bool]]) -> set[int]:
        changed = set()
        for key, place, held in accepted:
            before, text = self._texts.get(key, UNSAID), told.texts.get(place, UNSAID)
            if text == before or (held and text == UNSAID):
                continue
            changed.add(key)
            if text == UNSAID:
                del self._texts[key]
            elif before != UNSAID or len(self._texts) < TEXTS_MOST:
                self._texts[key] = text
        return changed


def _single(rows: Array) -> tuple[Array, Array]:
    """The rows in the order of their keys, the last of each key, and their places in what was told."""
    order = np.argsort(rows["key"], kind="stable")
    keys = rows["key"][order]
    last = np.append(keys[1:] != keys[:-1], np.ones(min(len(keys), 1), bool))
    return rows[order[last]], order[last]


def _kept(rows: Array, sent_at: float, order: int, now: float) -> Array:
    kept = np.empty(len(rows), _KEPT)
    kept["at"] = sent_at - rows["age"] / 1000
    kept["since"] = sent_at - rows["for"] / 1000
    kept["ttl"], kept["settles"], kept["flags"] = rows["ttl"], rows["settles"], rows["flags"] & ~np.uint8(CUT)
    kept["order"] = order
    kept["fresh"] = _fresh(kept, now)
    return kept


def _fresh(kept: Array, now: float) -> Array:
    return np.asarray(now - kept["at"] <= kept["ttl"])


def _differ(old: Array, new: Array) -> Array:
    differ = np.abs(old["since"] - new["since"]) > MOVED_S
    for name in ("flags", "settles", "fresh"):
        differ |= old[name] != new[name]
    return np.asarray(differ)
