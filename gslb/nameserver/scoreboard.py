"""The page on which one worker shows what it is and what it did: a mapped file of 64-bit words.  IO.

A worker writes its own page and never reads another's; `gslb status` reads all pages.  A word is stored whole
(aligned), so a reader may see counters of two moments but never half a number.  The page outlives the worker: the
supervisor adds the counts of a dead one to the page `retired`.
"""

from __future__ import annotations

import mmap
import os
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, unique
from pathlib import Path

MAGIC = int.from_bytes(b"gslbbrd\x01", "little")
SUFFIX = ".board"
RETIRED = "retired" + SUFFIX
_HEAD = 16  # words before the counts
_COUNTS = 112  # words for counts: a page of 1024 octets
_UPS_AT, _QTYPES_AT = 64, 80  # of these words: what executors in C handed on, and the types that they were asked
_MORE = 16  # of each
_PAGE_BYTES = (_HEAD + _COUNTS) * 8


@unique
class Kind(IntEnum):
    """What the writer of a page does."""

    RETIRED = 0
    UDP = 1
    TCP = 2
    XDP = 3  # the controller, for the driver


@unique
class Word(IntEnum):
    """The words of the head.  Times are milliseconds since the epoch."""

    MAGIC = 0
    PID = 1
    KIND = 2
    SLOT = 3
    STARTED = 4
    SEEN = 5  # when the page was last written
    GENERATION = 6
    PLAN_VERSION = 7
    COUNTS = 8  # how many counts follow the head
    EXECUTOR = 9


@unique
class Executor(IntEnum):
    """What answers first in a worker; if that is Python, why."""

    PYTHON = 0  # as it should be
    NATIVE = 1
    NO_LIBRARY = 2
    OTHER_LAYOUT = 3  # the library is of another version than the rest
    NO_IMAGE = 4  # the generation has none that is whole
    UNFIT = 5  # the image does not fit together


@unique
class Tally(IntEnum):
    """What a worker counts beside the answers themselves (`gslb.nameserver.counters`)."""

    SEND_FAILED = 0
    RECEIVE_FAILED = 1
    RESPONDER_FAILED = 2
    GENERATION_REFUSED = 3
    TCP_ACCEPTED = 4
    TCP_OVER_LIMIT = 5
    TCP_TIMED_OUT = 6


@dataclass(frozen=True, slots=True)
class Page:
    """One page as read.  `tallies` are indexed by `Tally`, `counts` by `gslb.nameserver.counters.Counter`, `ups` and `qtypes` by
    `DnsUp` and `DnsQtype` of `gslb.dnslayout`.
    """

    kind: Kind
    pid: int
    slot: int
    started_s: float
    seen_s: float
    generation: int
    plan_version: int
    tallies: tuple[int, ...]
    counts: tuple[int, ...]
    ups: tuple[int, ...] = ()
    qtypes: tuple[int, ...] = ()
    executor: Executor = Executor.PYTHON


class Scoreboard:
    """The page of this process.  `tallies` is a plain list, written out with the counts by `show`."""

    def __init__(self, path: Path | None, kind: Kind, slot: int) -> None:
        """Make the page; without a path, or where the disk is full, one that nobody else sees."""
        self._map = _page(path)
        self._words = memoryview(self._map).cast("Q")
        self.tallies = [0] * len(Tally)
        now = _now_ms()
        head = {Word.PID: os.getpid(), Word.KIND: kind, Word.SLOT: slot, Word.STARTED: now, Word.SEEN: now}
        for word, value in head.items():
            self._words[word] = value
        self._words[Word.MAGIC] = MAGIC

    def serving(self, generation: int, plan_version: int) -> None:
        """Say which generation is being served."""
        self._words[Word.GENERATION] = generation
        self._words[Word.PLAN_VERSION] = plan_version

    def show(self, counts: Sequence[int], ups: Sequence[int] = (), qtypes: Sequence[int] = ()) -> None:
        """Write the tallies and all counts out."""
        values = array("Q", (*self.tallies, *counts))
        words = self._words
        words[_HEAD : _HEAD + len(values)] = memoryview(values)
        words[Word.COUNTS] = len(counts)
        for at, more in ((_UPS_AT, ups), (_QTYPES_AT, qtypes)):
            words[_HEAD + at : _HEAD + at + len(more)] = memoryview(array("Q", more))
        words[Word.SEEN] = _now_ms()

    def answering(self, executor: Executor) -> None:
        """Say what answers first."""
        self._words[Word.EXECUTOR] = executor

    def to_bytes(self) -> bytes:
        """The page as it lies in a file."""
        return self._map[:]

    def close(self) -> None:
        """Unmap the page; the file stays."""
        self._words.release()
        self._map.close()


def read(path: Path) -> Page | None:
    """A page; None where the file is absent or none."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) != _PAGE_BYTES:
        return None
    words = array("Q", data)
    try:
        kind, executor = Kind(words[Word.KIND]), Executor(words[Word.EXECUTOR])
    except ValueError:
        return None
    if words[Word.MAGIC] != MAGIC:
        return None
    start = _HEAD + len(Tally)
    return Page(
        kind=kind,
        pid=words[Word.PID],
        slot=words[Word.SLOT],
        started_s=words[Word.STARTED] / 1000,
        seen_s=words[Word.SEEN] / 1000,
        generation=words[Word.GENERATION],
        plan_version=words[Word.PLAN_VERSION],
        tallies=tuple(words[_HEAD:start]),
        counts=tuple(words[start : start + min(words[Word.COUNTS], _UPS_AT - len(Tally))]),
        ups=_more(words, _UPS_AT),
        qtypes=_more(words, _QTYPES_AT),
        executor=executor,
    )


def retire(folder: Path, path: Path) -> None:
    """Add the counts of the dead writer of `path` to the page of the retired, and remove its page.

    On a full disk its counts are lost.
    """
    page = read(path)
    if page is not None:
        before = read(folder / RETIRED)
        board = Scoreboard(None, Kind.RETIRED, 0)
        board.tallies = _sum(page.tallies, before.tallies if before else ())
        board.show(
            _sum(page.counts, before.counts if before else ()),
            _sum(page.ups, before.ups if before else ()),
            _sum(page.qtypes, before.qtypes if before else ()),
        )
        beside = folder / f".{RETIRED}.new"
        try:
            beside.write_bytes(board.to_bytes())
            beside.replace(folder / RETIRED)
        except OSError:
            beside.unlink(missing_ok=True)
        board.close()
    path.unlink(missing_ok=True)


def _page(path: Path | None) -> mmap.mmap:
    if path is not None:
        try:
            with path.open("w+b") as file:
                os.posix_fallocate(file.fileno(), 0, _PAGE_BYTES)  # else a full disk is a SIGBUS at the first store
                return mmap.mmap(file.fileno(), 0)
        except OSError:
            path.unlink(missing_ok=True)
    return mmap.mmap(-1, _PAGE_BYTES)


def _more(words: array[int], at: int) -> tuple[int, ...]:
    return tuple(words[_HEAD + at : _HEAD + at + _MORE])


def _sum(left: Sequence[int], right: Sequence[int]) -> list[int]:
    longer, shorter = (left, right) if len(left) >= len(right) else (right, left)
    return [value + (shorter[index] if index < len(shorter) else 0) for index, value in enumerate(longer)]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
