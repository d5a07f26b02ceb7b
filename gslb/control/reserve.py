"""Room on the disk that is kept for the day when it is full: answers must follow verdicts then too.  IO.

A file of zeros that is allocated in good times and removed when a plan cannot be written.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

NAME = "reserve"
LEAST_BYTES = 1 << 18
PLANS = 8  # of the last plan's size: its files, those of the one before, and some to come


def is_full(error: BaseException | None) -> bool:
    """Whether it is for want of room that a file could not be written; also where that is the cause of `error`."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


class Reserve:
    """The reserve in one folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._bytes = 0

    def keep(self, plan_bytes: int) -> bool:
        """Have a reserve for plans of this size; False where there is no room for one."""
        wanted = max(LEAST_BYTES, PLANS * plan_bytes)
        if self._bytes >= wanted:
            return True
        beside = self._path.with_name(f".{NAME}.new")
        try:
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(handle, 0, wanted)
            finally:
                os.close(handle)
            beside.replace(self._path)
        except OSError:
            beside.unlink(missing_ok=True)
            return False
        self._bytes = wanted
        return True

    def spend(self) -> bool:
        """Give the room away; False where there is none."""
        self._bytes = 0
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
