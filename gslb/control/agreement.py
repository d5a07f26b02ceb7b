"""The overrides of this node and of all others: the overrides file and the keys `override.*` of the bus, kept alike.  IO.

Rule 1: the file is this node's truth: what stands in it acts, whether or not the bus is there.
Rule 2: what is later in the bucket is taken into the file, what is later in the file is put into the bucket; into a bucket that
was lost, all of it.
Rule 3: a bad entry changes nothing: it is refused, counted and told once.  It is written over, but not in haste: the clock of its
writer or ours is wrong, and both would go on for ever.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from gslb.bus.bus import Away, Bus, Conflict, Entry, Standing
from gslb.control import endings
from gslb.control.facts import AGREEMENT, Facts
from gslb.control.overrides import KEY, OverridesUnreadable, dump_word, key_of, parse_word
from gslb.control.store import StateError, Store, Took
from gslb.control.words import MAX_WORDS, Ended, Lost, Word, merged
from gslb.model.world import Override

_AT_ONCE = 16  # keys that are written at once
_ASKED = 8  # refused keys that are asked for at once
_MAX_KEYS = 2 * MAX_WORDS  # in the bucket that are remembered
_MAX_OCTETS = 32 << 10  # of a key's value
_MAX_TOLD = 1_000  # refusals and losses that are remembered, to tell them once

log = logging.getLogger("gslb.node")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long it waits before it tries again: after the bus could not be reached; with an entry that was refused."""

    away_s: float = 1.0
    refused_s: float = 30.0


@dataclass(slots=True)
class _Held:
    """What the bucket holds under a key, heard at `at` (monotonic).  `word` is None where it was refused, or deleted."""

    revision: int
    word: Word | None
    at: float


@dataclass(slots=True)
class _Told:
    """What was told already; the oldest is forgotten."""

    known: dict[object, None] = field(default_factory=dict)

    def new(self, one: object) -> bool:
        """Whether it is told for the first time."""
        if one in self.known:
            return False
        self.known[one] = None
        if len(self.known) > _MAX_TOLD:
            del self.known[next(iter(self.known))]
        return True


class Agreement:
    """For the controller's event loop."""

    def __init__(
        self,
        store: Store,
        facts: Facts,
        now: Callable[[], float],
        written: Callable[[], None],
        lost: Callable[[Lost], None],
        pace: Pace = Pace(),  # frozen
    ) -> None:
        """`now` is seconds since the epoch; `written` is called when the file was, `lost` for each word that lost unknown."""
        self._store = store
        self._facts = facts
        self._now = now
        self._written = written
        self._lost = lost
        self._pace = pace
        self._wake = asyncio.Event()
        self._bucket: dict[str, _Held] = {}
        self._news: dict[str, Word] = {}  # by target: what was heard and not taken yet
        self._words: dict[str, Word] = {}
        self._read: str | None = ""  # the stamp of the file when it was read; never that of a file at first
        self._connected = False
        self._listed = False  # a key that did not come is not there
        self._asked_at = 0.0
        self._refused: Counter[str] = Counter()
        self._losses = 0
        self._waiting = 0
        self._told = _Told()
        self._said: Mapping[str, object] = {}

    def state(self) -> Mapping[str, object]:
        """For status: words that the bus has not yet, refusals by cause, words that were lost."""
        return {"waiting": self._waiting, "refused": dict(self._refused), "lost": self._losses}

    def entry(self, entry: Entry) -> None:
        """A key of the bus has this value now; keys of others are passed over."""
        if not entry.key.startswith(KEY):
            return
        if entry.key not in self._bucket and len(self._bucket) >= _MAX_KEYS:
            self._refuse("too many", entry, f"more than {_MAX_KEYS:,} keys")
            return
        if entry.revision == 0:
            self._bucket.pop(entry.key, None)
        else:
            word = self._accepted(entry)
            self._bucket[entry.key] = _Held(entry.revision, word, time.monotonic())
            if word is not None:
                self._hear(word)
        self._wake.set()

    def listed(self, keys: frozenset[str]) -> None:
        """These keys are in the bucket and no others."""
        self._bucket = {key: held for key, held in self._bucket.items() if key in keys}
        self._listed = True
        self._wake.set()

    def standing(self, standing: Standing) -> None:
        """The connection was made or lost."""
        if standing.connected and not self._connected:
            self._bucket.clear()
            self._listed = False
            self._asked_at = time.monotonic()
        self._connected = standing.connected
        self._wake.set()

    def changed(self) -> None:
        """The overrides file was written."""
        self._wake.set()

    async def run(self, bus: Bus, stop: asyncio.Event) -> None:
        """Keep both alike until `stop`."""
        if bus.standing.alone:
            await stop.wait()
            return
        self.standing(bus.standing)
        ending = asyncio.create_task(stop.wait())
        ending.add_done_callback(lambda _: self._wake.set())
        try:
            while not stop.is_set():
                self._wake.clear()
                wait_s = await self._step(bus)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), wait_s)
        finally:
            ending.cancel()
            self.standing(replace(bus.standing, connected=False))

    async def _step(self, bus: Bus) -> float:
        """Take and put what is due; how long nothing more is."""
        try:
            await self._take()
            self._facts.problem("overrides of other nodes", ())
        except StateError as error:  # a full disk: what was heard stays in the bucket
            self._facts.problem("overrides of other nodes", (str(error),))
        due = [word for word in self._words.values() if self._is_due(word)]
        self._waiting = len(due)
        wait_s = self._pace.refused_s
        if self._connected and self._listed:
            try:
                await self._put(bus, due)
                await self._ask(bus)
            except Away:
                wait_s = self._pace.away_s
        self._say()
        return wait_s

    def _say(self) -> None:
        if self._said != (state := self.state()):
            self._said = state
            self._facts.say(**{AGREEMENT: dict(state)})

    # --- into the file ---

    async def _take(self) -> None:
        """Take into the file what is later than it.  Raises StateError."""
        written = self._store.overrides_stamp()
        if written != self._read:
            self._words = await asyncio.to_thread(self._store.load_words)
            self._read = written
            for held in self._bucket.values():  # also for a file that somebody took away
                if held.word is not None:
                    self._hear(held.word)
        if not self._news:
            return
        news, self._news = list(self._news.values()), {}
        found = merged(self._words, news)
        for lost in found.lost:
            self._tell(lost)
        if found.words == self._words:
            return
        try:
            took = await asyncio.to_thread(self._merge, news, self._now())
        except StateError:
            for word in news:
                self._hear(word)
            raise
        self._read = ""  # the file was written, by us and perhaps by a command just after that
        self._words = dict(took.words)
        if took.changed:
            self._written()

    def _hear(self, word: Word) -> None:
        known = self._news.get(word.target)
        if known is None or known.stamp <= word.stamp:
            self._news[word.target] = word

    def _merge(self, news: list[Word], now: float) -> Took:
        for word in news:
            ended, before = word.said, self._words.get(word.target)
            if isinstance(ended, Ended) and before is not None and isinstance(before.said, Override):
                ending = endings.Ending(word.target, before.said.since, ended.who, ended.at, ended.why)
                endings.add(self._store.folder, ending)
        return self._store.merge_overrides(news, now)

    def _tell(self, lost: Lost) -> None:
        if self._told.new((lost.loser.target, lost.loser.stamp, lost.winner.stamp)):
            self._losses += 1
            self._lost(lost)

    # --- into the bucket ---

    async def _put(self, bus: Bus, due: Sequence[Word]) -> None:
        """Put into the bucket what is later than it, or missing there.  Raises Away."""
        for first in range(0, len(due), _AT_ONCE):
            done = await asyncio.gather(
                *(self._put_one(bus, word) for word in due[first : first + _AT_ONCE]), return_exceptions=True
            )
            for error in done:
                if error is not None:
                    raise error

    async def _put_one(self, bus: Bus, word: Word) -> None:
        key = key_of(word.target)
        held = self._bucket.get(key)
        data = dump_word(self._store.deployment, word)
        try:
            revision = await bus.put(key, data, held.revision if held is not None else 0)
        except Conflict:
            self.entry(await bus.get(key))  # another was quicker: that is looked at first
            return
        self._bucket[key] = _Held(revision, word, time.monotonic())
        self._waiting -= 1

    def _is_due(self, word: Word) -> bool:
        """Whether the bucket has less than `word`.  What nobody would take, with a stamp from the future, is not put there."""
        if word.stamp.ahead(self._now()):
            return False
        held = self._bucket.get(key_of(word.target))
        if held is None:
            return True
        if held.word is None:
            return time.monotonic() - held.at >= self._pace.refused_s / 2
        return held.word.stamp < word.stamp

    async def _ask(self, bus: Bus) -> None:
        """Ask again for some of what was refused: what was from the future may not be any more.  Raises Away."""
        now = time.monotonic()
        if now - self._asked_at >= self._pace.refused_s:
            self._asked_at = now
            refused = sorted((held.at, key) for key, held in self._bucket.items() if held.word is None)
            for _, key in refused[:_ASKED]:
                self.entry(await bus.get(key))

    # --- what is refused ---

    def _accepted(self, entry: Entry) -> Word | None:
        """The word under a key; None where there is none, or none that we take."""
        if entry.value is None:
            return None
        if len(entry.value) > _MAX_OCTETS:
            self._refuse("oversized", entry, f"{len(entry.value):,} octets, expected at most {_MAX_OCTETS:,}")
            return None
        try:
            word = parse_word(entry.key, entry.value, self._store.deployment)
        except OverridesUnreadable as error:
            self._refuse("malformed", entry, str(error))
            return None
        if word.stamp.ahead(self._now()):
            ahead_s = word.stamp.ms / 1000 - self._now()
            self._refuse("future", entry, f"{word.target}: written on {word.stamp.node} {ahead_s:,.0f} s from now")
            return None
        return word

    def _refuse(self, cause: str, entry: Entry, why: str) -> None:
        self._refused[cause] += 1
        if self._told.new((entry.key, cause)):
            log.warning("an override on the bus is refused", extra={"cause": cause, "key": entry.key, "why": why})
