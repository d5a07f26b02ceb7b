"""Network namespaces for tests and for the bench: hosts of a small world on this machine.  IO; needs root.

Everything that a `World` made (processes, links, namespaces) is gone when its `with` block ends, however it ends.
`nsenter` is used and not `ip netns exec`, which would mount a /sys of its own and hide bpffs and cgroups.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import itertools
import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

T = TypeVar("T")
LOCAL_S = 5.0
_CLONE_NEWNET = 0x40000000
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """One host: its own links, addresses, routes and ports."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path("/run/netns") / name
        self.processes: list[subprocess.Popen[bytes]] = []

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` as it must be given to run in this namespace."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def run(self, *argv: str, timeout: float = 30) -> str:
        """Run to its end and return its standard output.  Raises CalledProcessError (with its stderr) if it fails."""
        done = subprocess.run(self.command(argv), capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, argv, done.stdout, f"{done.stderr}{done.stdout}")
        return done.stdout

    def start(
        self, *argv: str, stdout: IO[bytes] | int | None = None, stderr: IO[bytes] | int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process in a session of its own; it and what it started in that session end with the world."""
        process = subprocess.Popen(
            self.command(argv), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
        )
        self.processes.append(process)
        return process

    def call(self, function: Callable[[], T]) -> T:
        """Call `function` in a thread inside this namespace: the sockets that it makes belong there for good."""
        outcome: list[T] = []
        failure: list[BaseException] = []

        def enter() -> None:
            try:
                with self.path.open("rb") as handle:
                    if _libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                        number = ctypes.get_errno()
                        raise OSError(number, os.strerror(number), str(self.path))
                outcome.append(function())
            except BaseException as error:  # noqa: BLE001  handed to the caller's thread
                failure.append(error)

        thread = threading.Thread(target=enter, name=f"in {self.name}")
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return outcome[0]

    def add_address(self, interface: str, network: str) -> None:
        """Give `interface` (`lo` as well) an address such as "198.18.0.1/24", usable at once (no IPv6 DAD)."""
        address = ipaddress.ip_interface(network)
        self.run("ip", "addr", "add", network, "dev", interface, *(["nodad"] if address.version == 6 else []))
        until = time.monotonic() + LOCAL_S
        while address.version == 6 and not self.run("ip", "-6", "route", "show", "table", "local", str(address.ip)):
            assert time.monotonic() < until, f"{network} is not local"
            time.sleep(0.001)  # a worker of the kernel makes its route; until then nothing reaches it

    def add_route(self, network: str, via: str) -> None:
        """Route `network` by the neighbour `via`."""
        self.run("ip", "route", "add", network, "via", via)


class World:
    """Namespaces, the links between them, and their end."""

    def __init__(self) -> None:
        self._prefix = f"gslb{os.getpid()}-{next(_numbers)}"
        self._members: list[Namespace] = []
        self._links = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def namespace(self, name: str) -> Namespace:
        """A new namespace with its loopback up; it forwards nothing, also on a machine that forwards (one with Docker does)."""
        member = Namespace(f"{self._prefix}-{name}")
        _ip("netns", "add", member.name)
        self._members.append(member)
        member.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        member.run("ip", "link", "set", "lo", "up")
        return member

    def join(self, left: Namespace, right: Namespace, left_address: str, right_address: str) -> tuple[str, str]:
        """A veth pair between two namespaces, addressed and up; the names of its two ends."""
        number = next(self._links)
        ends = (f"v{number}l", f"v{number}r")
        _ip("link", "add", ends[0], "netns", left.name, "type", "veth", "peer", "name", ends[1], "netns", right.name)
        for member, end, address in ((left, ends[0], left_address), (right, ends[1], right_address)):
            member.add_address(end, address)
            member.run("ip", "link", "set", end, "up")
        return ends

    def close(self) -> None:
        """End the processes, then remove the namespaces, which takes their links along."""
        for member in self._members:
            for process in member.processes:
                stop(process)
        for member in self._members:
            _ip("netns", "del", member.name)
        self._members.clear()


def stop(process: subprocess.Popen[bytes], grace_s: float = 5.0) -> None:
    """End a process that `Namespace.start` made: SIGTERM, after `grace_s` SIGKILL to its whole session."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


def unavailable() -> str | None:
    """Why namespaces cannot be made here, or None if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with World() as world:
            world.namespace("try")
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    except subprocess.CalledProcessError as error:
        return f"network namespaces cannot be made: {str(error.stderr).strip()}"
    return None


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30)
