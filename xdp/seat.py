"""One process drives the balancer whose pins lie in a folder: it holds a lock on that folder, in bpffs itself.  IO.

Rule 1: the lock ends with its process, however that ends: nobody waits for the dead.
Rule 2: the lock is that of the folder that lies there now: of one that was removed in between nobody is the driver.
Sources: flock(2), proc_locks(5).
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from xdp.preflight import Taken

_INSTANT_S = 0.02  # that `driver` may hold the lock
_ATTEMPTS = 4


class Seat:
    """The lock of a pin folder."""

    def __init__(self, home: Path) -> None:
        """Take it; the folder is made where it is missing.  Raises Taken, OSError."""
        self._home = home
        for _ in range(_ATTEMPTS):
            handle = _attempt(home)
            if handle is not None:
                self._handle = handle
                return
            time.sleep(_INSTANT_S)
        raise _taken(home)

    def release(self) -> None:
        """Let another drive; a folder that has come to hold nothing goes."""
        with suppress(OSError):
            self._home.rmdir()
        os.close(self._handle)


def _attempt(home: Path) -> int | None:
    """The folder locked, or None where another has it or removed it just now.  Raises OSError."""
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(handle), home.stat()):
                return None
        except (BlockingIOError, FileNotFoundError):
            return None
        stack.pop_all()
        return handle


def _taken(home: Path) -> Taken:
    who, line = told(driver(home) or 0)
    return Taken(f"the balancer of {home.name} runs already and is left alone: {who}", line)


def told(pid: int) -> tuple[str, str]:
    """Which process drives, and the line that ends its run with its balancer; empty where it cannot be seen from here."""
    if not pid:
        return "a process that cannot be seen from here drives it; end its run, or give this one another --node", ""
    run = _parent(pid) or pid
    return f"pid {pid} of the run {run} drives it; end that run, or give this one another --node", f"kill {run}"


def driver(home: Path) -> int | None:
    """The process that drives the balancer of a pin folder; 0 where it cannot be seen from here, None where there is none.

    Raises OSError for a folder that may not be looked at.
    """
    handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(os.fstat(handle))
    finally:
        os.close(handle)
    return None


def _holder(folder: os.stat_result) -> int:
    """By the kernel's list, `1: FLOCK  ADVISORY  WRITE 4711 00:1f:42 0 EOF`; other namespaces' processes are not in it."""
    device = f"{os.major(folder.st_dev):02x}:{os.minor(folder.st_dev):02x}:{folder.st_ino}"
    with suppress(OSError):  # a service may be shown no more of /proc than processes
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[3] == "WRITE" and words[5] == device:
                return int(words[4])
    return 0


def _parent(pid: int) -> int:
    """The process that began another: the supervisor of its run.  0 where there is none to be seen."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("PPid:"):
                return int(line.split()[1])
    return 0
