"""Noticing that files changed: by the kernel's notices on their folders, settled, and only when a file really differs.  IO.

Folders are watched and not files, so that a file that is replaced, made, or reached by a symbolic link is noticed too.
Every LOOK_S the files are looked at without a notice: network file systems send none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import watchfiles

SETTLE_MS = 100  # a change is told when nothing more happened for so long
SETTLE_MOST_MS = 1000  # or after this, when changes never end
LOOK_S = 2.0
_CLOCK_STEP_NS = 20_000_000  # file systems stamp with a coarse clock

log = logging.getLogger("gslb.node")

Signature = tuple[tuple[str, int, int, int], ...]


def signature(paths: Iterable[Path]) -> Signature:
    """What tells one state of these paths from another: inode, size and modification time in ns of those that exist."""
    found = []
    for path in sorted(set(paths)):
        try:
            stat = path.stat()
        except OSError:
            continue
        found.append((str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def touched_between(paths: Iterable[Path], start_ns: int, end_ns: int) -> bool:
    """Whether one of these paths was written, or put in its place, between two moments (or just before)."""
    stamps = (path.stat().st_ctime_ns for path in paths if path.exists())
    return any(start_ns - _CLOCK_STEP_NS <= stamp <= end_ns for stamp in stamps)


async def watch(
    paths: Callable[[], Iterable[Path]], changed: Callable[[], None], stop: asyncio.Event, since: Signature = ()
) -> None:
    """Call `changed` once for each settled change of what `paths` gives at that moment, until `stop`.

    `since` is the state that the caller knows: a difference from it is the first change.
    """
    before = _compare(since, signature(paths()), changed)
    while not stop.is_set():
        folders = _folders(paths())
        try:
            before = await _watch_folders(folders, paths, changed, stop, before)
        except (OSError, RuntimeError) as error:  # a folder vanished, or the kernel's watches are used up
            log.warning("files cannot be watched", extra={"why": str(error), "next_look_s": LOOK_S})
            await _pause(stop)
            before = _compare(before, signature(paths()), changed)


async def _watch_folders(
    folders: tuple[str, ...],
    paths: Callable[[], Iterable[Path]],
    changed: Callable[[], None],
    stop: asyncio.Event,
    before: Signature,
) -> Signature:
    """Watch until the folders are others; the signature then."""
    notices = watchfiles.awatch(
        *folders,
        watch_filter=None,
        step=SETTLE_MS,
        debounce=SETTLE_MOST_MS,
        stop_event=stop,
        rust_timeout=int(LOOK_S * 1000),
        yield_on_timeout=True,
        recursive=False,
    )
    try:
        async for _ in notices:
            before = _compare(before, signature(paths()), changed)
            if _folders(paths()) != folders:
                break
    finally:
        await notices.aclose()
    return before


def _compare(before: Signature, now: Signature, changed: Callable[[], None]) -> Signature:
    if now != before:
        changed()
    return now


async def _pause(stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), LOOK_S)
    except TimeoutError:
        return


def _folders(paths: Iterable[Path]) -> tuple[str, ...]:
    folders = {folder for path in paths for folder in _places(path)}
    return tuple(sorted(str(folder) for folder in folders if folder.is_dir()))


def _places(path: Path) -> tuple[Path, ...]:
    """A folder itself; the folder of a file, and that of what it is a link to."""
    if path.is_dir():
        return (path.absolute(),)
    parent = path.absolute().parent
    return (parent, path.resolve().parent) if path.is_symlink() else (parent,)
