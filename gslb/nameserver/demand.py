"""The page on which one worker shows what it answered from policies: a file that the controller reads.  IO.

A worker writes its own page, about once a second, and never reads another's.  The page outlives it: the supervisor adds the
counts by pool of a dead one to the page `retired`; its counts by cell, which tell of the present, go with it.

| octets | field (little endian) |
|---|---|
| 0-7 | magic |
| 8-15 | how often the page was written; the lowest bit names the half that was written last |
| from HALVES_AT, and HALF_OCTETS after that | two halves: length of the body (8), its BLAKE2b (16), the body in MessagePack |

Rule 1: the half that is not named is written, and then named: whoever reads, whenever the writer dies and whether or not the
disk is full, there is a whole half.  Rule 2: the file is written, not mapped, so a full disk is an error and no signal.
"""

from __future__ import annotations

import logging
import os
import time
from array import array
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgpack

from gslb.nameserver.given import POOLS_MAX, Cell, Given, OfPool

MAGIC = b"gslbdmd\x01"
SUFFIX = ".demand"
RETIRED = "retired" + SUFFIX
WRITE_S = 1.0  # between two writings
SHARE = 0.01  # of a worker's time that writing may take
DECAY_S = 30.0  # counts of sources are halved as often
HALVES_AT = 64
HALF_OCTETS = 8 << 20  # most of it is never written, so the file has holes
CELLS_MAX = 1 << 19  # of all policies; policies beyond count as if nobody asked
_DIGEST_OCTETS = 16
_HEAD_OCTETS = 8 + _DIGEST_OCTETS
_TRIES = 3  # a reader that is overtaken by two writings looks again

log = logging.getLogger("gslb.worker")


@dataclass(frozen=True, slots=True)
class Asked:
    """Of one policy's choices with parts, recently: all queries, and by source those that surely came from it."""

    total: int
    sources: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Page:
    """One page as read.  `cells[policy, rtype]` counts answers by ranking of the location table `geography`."""

    pid: int = 0
    started_ns: int = 0  # since the epoch: with the pid, the name of the writer
    geography: str = ""
    cells: Mapping[Cell, array[int]] = field(default_factory=dict)
    pools: Mapping[OfPool, int] = field(default_factory=dict)
    asked: Mapping[str, Asked] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pages:
    """All pages of a node: those of living workers, and the counts by pool of the dead."""

    living: tuple[Page, ...]
    retired: Mapping[OfPool, int]


class DemandPage:
    """The page of this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started_ns = time.time_ns()
        self._turn = 0
        self._digest = b""
        self._due_s = self._decay_s = 0.0
        self._failed = False
        self._file: int | None = None

    def show(self, given: Given, now: float) -> None:
        """Write `given` out when that is due; `now` is monotonic.  Never raises: what cannot be written is tried again."""
        if now < self._due_s:
            return
        if now >= self._decay_s:
            given.decay()
            self._decay_s = now + DECAY_S
        began = time.monotonic()
        self._write(given)
        self._due_s = now + max(WRITE_S, (time.monotonic() - began) / SHARE)

    def close(self, given: Given | None) -> None:
        """Write `given` a last time; the file stays."""
        if given is not None:
            self._write(given)
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, given: Given) -> None:
        half = _half(_body(os.getpid(), self._started_ns, given))
        digest = half[8:_HEAD_OCTETS]
        if digest == self._digest or len(half) > HALF_OCTETS:
            return
        turn = self._turn + 1
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            _write_all(self._file, half, HALVES_AT + (turn & 1) * HALF_OCTETS)
            _write_all(self._file, MAGIC + turn.to_bytes(8, "little"), 0)
        except OSError as error:
            if not self._failed:
                fields = {"pid": os.getpid(), "why": error.strerror}
                log.warning("counts for the controller cannot be written; they go on in memory", extra=fields)
            self._failed = True
            return
        self._turn, self._digest, self._failed = turn, digest, False


def read_page(path: Path) -> Page | None:
    """A page; None where the file is absent, damaged, or none."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        for _ in range(_TRIES):
            body = _newest(file)
            if body is not None:
                return _page(msgpack.unpackb(body, strict_map_key=False))
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
        return None
    finally:
        os.close(file)
    return None


def read(folder: Path) -> Pages:
    """The pages in the run folder of a node.

    The page of the dead is read first, and `retire` removes a page before it adds its counts there: so a worker that is being
    retired may be missing, and is never there twice.
    """
    retired = read_page(folder / RETIRED)
    paths = sorted(path for path in _files(folder) if path.name.endswith(SUFFIX) and path.name != RETIRED)
    living = tuple(page for path in paths if (page := read_page(path)) is not None)
    return Pages(living, retired.pools if retired is not None else {})


def retire(folder: Path, path: Path) -> None:
    """Add the counts by pool of the dead writer of `path` to the page of the retired, and remove its page.

    On a full disk its counts are lost.
    """
    page = read_page(path)
    path.unlink(missing_ok=True)
    if page is None or not page.pools:
        return
    before = read_page(folder / RETIRED)
    pools = dict(before.pools) if before is not None else {}
    for of, count in page.pools.items():
        pools[of] = pools.pop(of, 0) + count
    kept = dict(list(pools.items())[-POOLS_MAX:])
    beside = folder / f".{RETIRED}.new"
    try:
        head = (MAGIC + bytes(8)).ljust(HALVES_AT, b"\0")
        beside.write_bytes(head + _half(_pack(Page(pools=kept))))
        beside.replace(folder / RETIRED)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _files(folder: Path) -> Iterable[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return ()


def _newest(file: int) -> bytes | None:
    """The body of the half that was written last; None where it does not match its digest."""
    head = os.pread(file, len(MAGIC) + 8, 0)
    if len(head) != len(MAGIC) + 8 or not head.startswith(MAGIC):
        return None
    at = HALVES_AT + (head[len(MAGIC)] & 1) * HALF_OCTETS
    front = os.pread(file, _HEAD_OCTETS, at)
    length = int.from_bytes(front[:8], "little")
    if len(front) != _HEAD_OCTETS or length > HALF_OCTETS:
        return None
    body = os.pread(file, length, at + _HEAD_OCTETS)
    return body if blake2b(body, digest_size=_DIGEST_OCTETS).digest() == front[8:] else None


def _body(pid: int, started_ns: int, given: Given) -> bytes:
    cells: dict[Cell, array[int]] = {}
    room = CELLS_MAX
    for cell, counts in sorted(given.cells.items()):
        room -= len(counts)
        if room < 0:
            break
        cells[cell] = array("Q", counts)
    asked = {policy: Asked(one.total, one.certain()) for policy, one in given.sources.items() if one.total}
    return _pack(Page(pid, started_ns, given.geography, cells, given.pools(), asked))


def _pack(page: Page) -> bytes:
    packed: bytes = msgpack.packb(
        [
            page.pid,
            page.started_ns,
            page.geography,
            [[policy, rtype, counts.tobytes()] for (policy, rtype), counts in page.cells.items()],
            [[pool, rtype, count] for (pool, rtype), count in page.pools.items()],
            [[policy, asked.total, dict(asked.sources)] for policy, asked in page.asked.items()],
        ]
    )
    return packed


def _page(raw: Any) -> Page:
    """Raises what a body of another shape leads to."""
    pid, started_ns, geography, cells, pools, asked = raw
    return Page(
        pid=int(pid),
        started_ns=int(started_ns),
        geography=str(geography),
        cells={(str(policy), int(rtype)): array("Q", bytes(counts)) for policy, rtype, counts in cells},
        pools={(str(pool), int(rtype)): int(count) for pool, rtype, count in pools},
        asked={
            str(policy): Asked(int(total), {str(source): int(count) for source, count in sources.items()})
            for policy, total, sources in asked
        },
    )


def _half(body: bytes) -> bytes:
    return len(body).to_bytes(8, "little") + blake2b(body, digest_size=_DIGEST_OCTETS).digest() + body


def _write_all(file: int, content: bytes, at: int) -> None:
    """Write all of `content`: a nearly full disk takes a part of it before it raises."""
    view = memoryview(content)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written
