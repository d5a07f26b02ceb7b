"""One run a node: a lock file that the supervisor holds as long as it lives.  IO."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

NAME = "lock"


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
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise AlreadyRunning(_pid(os.read(self._handle, 32))) from error
        os.ftruncate(self._handle, 0)
        os.write(self._handle, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let another run start."""
        os.ftruncate(self._handle, 0)
        os.close(self._handle)


def holder(folder: Path) -> int | None:
    """The supervisor's process id while one lives, else None."""
    try:
        handle = os.open(folder / NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(os.read(handle, 32))
    finally:
        os.close(handle)
    return None


def _pid(data: bytes) -> int:
    return int(data) if data.strip().isdigit() else 0
