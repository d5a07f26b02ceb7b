"""Workers that outlived their supervisor: found by their unix sockets, asked for their own sockets, ended later.  IO."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gslb.nameserver import channel, demand, orders, scoreboard

PATIENCE_S = 2.0  # a worker answers between two turns; one that does not hangs
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid

log = logging.getLogger("gslb.supervisor")


@dataclass(eq=False, slots=True)
class Orphan:
    """A worker of an earlier run, still serving.  `notice` is a pidfd."""

    name: str
    pid: int
    notice: int
    line: socket.socket

    def finish(self) -> None:
        """Let it answer what is under way and end."""
        channel.send(self.line, {"do": "finish"})

    def forget(self) -> None:
        """It has ended."""
        os.close(self.notice)
        self.line.close()


@dataclass(slots=True)
class Found:
    """What an earlier run left: workers that serve on, and all their sockets."""

    serving: list[Orphan] = field(default_factory=list)
    sockets: list[socket.socket] = field(default_factory=list)


def find(run: Path) -> Found:
    """Look through the folder `run`; what dead workers left there is removed.

    A worker that hangs is killed: its sockets would go on taking their share of the queries, and answer none.
    """
    found = Found()
    for path in sorted(run.glob(f"*{channel.SUFFIX}")):
        _greet(path, found)
    kept = {orphan.name for orphan in found.serving}
    for suffix in (scoreboard.SUFFIX, demand.SUFFIX):
        for path in run.glob(f"*{suffix}"):
            if path.stem not in kept:
                path.unlink(missing_ok=True)
    return found


def _greet(path: Path, found: Found) -> None:
    try:
        line = channel.connect(path.parent, path.name, PATIENCE_S)
    except OSError:  # nobody listens: it is dead
        path.unlink(missing_ok=True)
        return
    given = orders.ask_to_give(line)
    if given is None:
        _kill(line, path.stem)
        line.close()
        path.unlink(missing_ok=True)
        return
    pid, sockets = given
    found.sockets.extend(sockets)
    try:
        found.serving.append(Orphan(path.stem, pid, os.pidfd_open(pid), line))
    except OSError:  # it ended after it gave
        line.close()


def _kill(line: socket.socket, name: str) -> None:
    """End the process that listens at the other end, and wait until it has."""
    pid, _, _ = _CREDENTIALS.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    log.warning("an orphaned worker hangs and is killed", extra={"worker": name, "pid": pid})
    try:
        notice = os.pidfd_open(pid)
    except OSError:  # it has ended meanwhile
        return
    with suppress(OSError):
        signal.pidfd_send_signal(notice, signal.SIGKILL)
        select.select([notice], [], [], PATIENCE_S)
    os.close(notice)
