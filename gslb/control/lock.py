"""One run a node: a lock file that the supervisor holds as long as it lives.  IO.

The time of a lock file is when its holder last showed that it goes on, where it does so (`Lock.beat`).
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

NAME = "lock"  # the supervisor's
CONTROLLER = "controller.lock"
BEAT_S = 1.0  # between two signs of life of a holder that gives them
SILENCE_S = 10.0  # after which it does not answer
_INSTANT_S = 0.02


class AlreadyRunning(Exception):
    """Another living run holds the lock; `pid` is its supervisor, 0 if not known."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"pid {pid}")
        self.pid = pid


class Lock:
    """The lock of a node's state folder.  It ends with its process, however that ends."""

    def __init__(self, folder: Path, name: str = NAME, *, wait: bool = False) -> None:
        """Take the lock, or wait for it.  Raises AlreadyRunning, OSError."""
        self._handle = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if wait:
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        else:
            self._take_soon()
        os.ftruncate(self._handle, 0)
        os.write(self._handle, f"{os.getpid()}\n".encode())

    def _take_soon(self) -> None:
        """Take the lock; `holder` may have it for an instant, so one refusal is none."""
        for last in (False, False, False, True):
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if last:
                    raise AlreadyRunning(_pid(os.pread(self._handle, 32, 0))) from error
                time.sleep(_INSTANT_S)
            else:
                return

    def beat(self) -> None:
        """Show that the holder goes on.  A full disk has room for it."""
        with suppress(OSError):
            os.utime(self._handle)

    def release(self) -> None:
        """Let another run start."""
        os.ftruncate(self._handle, 0)
        os.close(self._handle)


def holder(folder: Path, name: str = NAME) -> int | None:
    """The process id of the lock's living holder, else None."""
    try:
        handle = os.open(folder / name, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(os.pread(handle, 32, 0))
    finally:
        os.close(handle)
    return None


def silent_s(folder: Path, name: str, now: float) -> float | None:
    """For how long a holder that gives signs of life has given none; None where that is not long."""
    try:
        age_s = now - (folder / name).stat().st_mtime
    except OSError:
        return None
    return age_s if age_s >= SILENCE_S else None


def _pid(data: bytes) -> int:
    return int(data) if data.strip().isdigit() else 0
