"""A process that is watched by its pidfd, whether or not it is our child.  IO."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from pathlib import Path

END_S = 5.0  # from SIGTERM to SIGKILL


class Watched:
    """A process that is watched, whether or not it is our child."""

    def __init__(self, pid: int, child: subprocess.Popen[bytes] | None = None) -> None:
        """Raises ProcessLookupError if it is gone."""
        self.pid = pid
        self._notice = os.pidfd_open(pid)
        self._child = child
        self._gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._notice, self._ended)

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._notice)
        if self._child:
            self._child.wait()
        self._gone.set()

    async def ended(self, within_s: float) -> bool:
        """Whether it ends within that time."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), within_s)
        return self._gone.is_set()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still lives."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._notice, number)

    async def end(self) -> None:
        """SIGTERM, and SIGKILL where that is not enough."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.signal(number)
            if await self.ended(END_S):
                return

    def leave(self) -> None:
        """Watch it no more."""
        if not self._gone.is_set():
            asyncio.get_running_loop().remove_reader(self._notice)
            if self._child:
                _left.append(self._child)
        os.close(self._notice)


_left: list[subprocess.Popen[bytes]] = []  # children that live on: Popen warns of those that it forgets


def parent_of(process: int, user: int) -> int | None:
    """The parent of `process`, if it is of the same user: a process id that is only told could be anybody's."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        if parent > 1 and Path(f"/proc/{parent}").stat().st_uid == user:
            return parent
    return None
