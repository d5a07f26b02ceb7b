"""Machines made of namespaces: each with its own links, processes and mounts, as a container has.  IO; needs root.

A machine's first process holds its namespaces: when it is killed the kernel ends every other process of the machine, whoever
started it, and takes its links away.  Nothing else is left behind.  It ends as well when the thread that made the machine does, so
that a test or a drill that is killed leaves no machines.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PRIVATE = "for d in /run /var/tmp; do mount -t tmpfs tmpfs $d || exit; done; mkdir -p /run/lab /run/lock && mount -t bpf bpf /sys/fs/bpf"
_HOLD = (
    f"{_PRIVATE} && ip link set lo up && touch /run/there || exit; "
    "while :; do sleep 3600 & wait; done"  # reaps what its machine's processes leave
)
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
START_S = 20.0


class Host:
    """One machine.  It ends with the thread that made it, which is what the kernel goes by."""

    def __init__(self, name: str) -> None:
        self.name = name
        bound = ("setpriv", "--pdeathsig", "KILL")
        unshare = ("unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc")
        self._holder = subprocess.Popen(
            [*bound, *unshare, "sh", "-c", _HOLD], start_new_session=True, stdin=subprocess.DEVNULL
        )
        self.started: list[subprocess.Popen[bytes]] = []
        self.pid = self._first()

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` as it must be given to run on this machine."""
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", "--pid", "--uts", "--", *argv]

    def run(self, *argv: str, timeout_s: float = 30, env: Mapping[str, str] | None = None) -> str:
        """Run to its end and return its standard output.  Raises CalledProcessError with what it said."""
        done = subprocess.run(
            self.command(argv), capture_output=True, text=True, timeout=timeout_s, check=False, env=_environment(env)
        )
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, argv, done.stdout, f"{done.stderr}{done.stdout}")
        return done.stdout

    def start(
        self,
        *argv: str,
        output: IO[bytes] | int,
        errors: IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process; it ends with the machine, or by `Host.kill`.  What it says of errors goes to `output` too, if nowhere else."""
        process = subprocess.Popen(
            self.command(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=errors or output, env=_environment(env)
        )
        self.started.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
        """Signal all that `start` started there, the workers of a daemon as well."""
        for pid in _below(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def close(self) -> None:
        """End the machine and all that runs on it."""
        self._holder.kill()  # its child, the first process, goes with it, and then all others
        self._holder.wait()
        for process in self.started:
            process.wait()

    def _first(self) -> int:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            for pid in _children(self._holder.pid):
                if Path(f"/proc/{pid}/root/run/there").exists():
                    return pid
            if self._holder.poll() is not None:
                break
            time.sleep(0.01)
        self._holder.kill()
        self._holder.wait()
        raise OSError(f"{self.name}: its namespaces could not be made")


def unavailable() -> str | None:
    """Why such machines cannot be made here, or None if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        Host("try").close()
    except OSError as error:
        return str(error)
    return None


def join(left: Host, left_end: str, right: Host, right_end: str) -> None:
    """A veth pair between two machines; both ends are up."""
    words = ["ip", "link", "add", left_end, "netns", str(left.pid), "type", "veth", "peer", "name", right_end]
    subprocess.run(
        [*words, "netns", str(right.pid)], check=True, capture_output=True, text=True, env=_environment(None)
    )
    for host, end in ((left, left_end), (right, right_end)):
        host.run("ip", "link", "set", end, "up")


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _below(pid: int) -> list[int]:
    return [found for child in _children(pid) for found in (child, *_below(child))]


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "PATH": _PATH, **(more or {})}
