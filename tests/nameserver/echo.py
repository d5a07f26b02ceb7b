"""A fake of what answers, for the workers' tests: it meets `follower.Answers` and says what it was made of."""

from __future__ import annotations

import mmap
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gslb.nameserver import channel
from gslb.nameserver.generation import File, Publisher
from gslb.nameserver.given import Given
from gslb.nameserver.worker import Post

DEPLOYMENT = "example"
ARRIVED = 0  # index into the counts
CRASH = b"crash......."
SILENT = b"silent......"
LARGE = b"large......."
LARGE_OCTETS = 40_000


class Echo:
    """Replies with the names of its generation, then the query."""

    def __init__(self, names: bytes) -> None:
        self.names = names
        self.counts = [0, 0]
        self.given = Given()
        self.limited = ""

    def udp(self, query: bytes, source: str, /) -> bytes | None:
        self.counts[ARRIVED] += 1
        if query.startswith(CRASH):
            raise RuntimeError(f"asked to fail by {source}")
        if query.startswith(SILENT):
            return None
        if query.startswith(LARGE):
            return bytes(LARGE_OCTETS)
        return self.names + b" " + query

    def tcp(self, query: bytes, source: str, /) -> bytes | None:
        return self.udp(query, source)


def make_echo(names: bytes, plan: bytes, geography: mmap.mmap, digest: str, /) -> Echo:
    if b"unreadable" in (names, plan, geography[:], digest):
        raise ValueError("asked to be unreadable")
    return Echo(names)


class Stage:
    """The folders of a node, and a publisher of one-word generations."""

    def __init__(self, root: Path) -> None:
        self.serving = root / "serving"
        self.run = root / "run"
        self.run.mkdir()
        self.publisher = Publisher(self.serving, DEPLOYMENT)
        self.post = Post(DEPLOYMENT, self.serving, self.run, 0)

    def store(self, names: bytes, version: int) -> tuple[File, File, File]:
        publisher = self.publisher
        plan = publisher.store("plan", b"plan", str(version))
        return publisher.store("geography", b"geography"), publisher.store("names", names), plan

    def publish(self, names: bytes, version: int = 1) -> None:
        geography, stored, plan = self.store(names, version)
        self.publisher.publish((version, "digest"), geography, stored, plan)


def bound(kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
    sock.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        sock.listen(64)
    return sock


@contextmanager
def running(body: Callable[[socket.socket], None]) -> Iterator[tuple[int, socket.socket]]:
    """`body` in a child process: its process id and our end of its channel.  At the end it must finish by itself."""
    ours, theirs = channel.pair()
    pid = os.fork()
    if pid == 0:
        live(body, theirs)
    theirs.close()
    notice = os.pidfd_open(pid)
    try:
        yield pid, ours
    finally:
        channel.send(ours, {"do": "finish"})
        ended, _, _ = select.select([notice], [], [], 15)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(notice)
        ours.close()
    assert os.waitstatus_to_exitcode(status) == 0


def live(body: Callable[[socket.socket], None], line: socket.socket) -> None:
    status = 1
    try:
        body(line)
        status = 0
    except BaseException:  # noqa: BLE001  # the parent sees the status, a person the traceback
        traceback.print_exc()
    finally:
        os._exit(status)


def wait_until(condition: Callable[[], bool], what: str, within_s: float = 10.0) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, f"not within {within_s} s: {what}"
        time.sleep(0.01)
