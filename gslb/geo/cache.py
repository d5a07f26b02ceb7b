"""IO: what was worked out from databases, kept on disk by content, so that it is worked out once.

Rule 1: a file is written whole under another name, synced and renamed, so it is there or it is not.
Rule 2: what is read back is checked; a damaged file is worth as much as none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

KEPT = 3  # files of a kind: the one in use, the one before, and one that somebody tries


def store(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file atomically, and drop the oldest of its kind (`KIND-...`).  Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    _prune(path)


def touch(path: Path) -> None:
    """Note that the file was of use, so that it outlives those that were not."""
    with contextlib.suppress(OSError):  # a read-only cache serves as well
        os.utime(path)


def _prune(newest: Path) -> None:
    kind = newest.name.partition("-")[0]
    with contextlib.suppress(OSError):  # another process prunes too
        found = sorted(newest.parent.glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for old in found[KEPT:]:
            if old != newest:
                old.unlink(missing_ok=True)
