"""Child processes: fork, a channel to each, notice of its end, and how soon a dead one is replaced.  IO.

Children are forked and not executed anew: a replacement serves within milliseconds and shares the pages of its
imports.  The parent has one thread, so a fork is safe.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gslb.nameserver import channel

STEADY_S = 10.0  # a child that lived so long did not die of its start
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0

log = logging.getLogger("gslb.supervisor")

Body = Callable[[socket.socket], int]


@dataclass(eq=False, slots=True)
class Child:
    """A process of ours: `line` is our end of its channel, `notice` a pidfd that is readable when it has ended."""

    kind: str
    slot: int
    pid: int
    notice: int
    line: socket.socket
    born_s: float
    serving: bool = False


@dataclass(slots=True)
class Restarts:
    """How soon the next replacement comes: at once after a steady life, later with each quick death."""

    quick_deaths: int = field(default=0)

    def delay_s(self, lived_s: float) -> float:
        """Seconds to wait, after one more death at the age of `lived_s`."""
        self.quick_deaths = 0 if lived_s >= STEADY_S else self.quick_deaths + 1
        if self.quick_deaths <= 1:
            return 0.0
        return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(self.quick_deaths - 2, 16))


def fork(kind: str, slot: int, body: Body, keep: Iterable[int], now: float) -> Child:
    """Run `body` in a child that holds only the descriptors `keep`, the channel, and the standard ones.  Raises OSError."""
    ours, theirs = channel.pair()
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        _live(body, theirs, {*keep, theirs.fileno()})
    theirs.close()
    return Child(kind, slot, pid, os.pidfd_open(pid), ours, now)


def bury(child: Child) -> int:
    """Collect an ended child; its exit status, negative for a signal."""
    _, status = os.waitpid(child.pid, 0)
    os.close(child.notice)
    child.line.close()
    return os.waitstatus_to_exitcode(status)


def _live(body: Body, line: socket.socket, keep: set[int]) -> None:
    """The child: never returns, so objects of the parent's frames that wrap closed descriptors are never finalised."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _close_all_but({0, 1, 2} | keep)
        status = body(line)
    except BaseException:
        log.exception("process ended by an error", extra={"pid": os.getpid()})
    finally:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(status)


def _close_all_but(keep: set[int]) -> None:
    for entry in list(Path("/proc/self/fd").iterdir()):
        if int(entry.name) not in keep:
            with suppress(OSError):  # the listing's own descriptor is closed already
                os.close(int(entry.name))
