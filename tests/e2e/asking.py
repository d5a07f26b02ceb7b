"""A client that asks one node all the while, and keeps what was wrong with its answers.  IO."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dns.message
import dns.rcode

from gslb.nameserver.generation import Current, UnusableGeneration, read_manifest
from tests.e2e.sites import Node

PACE_S = 0.05
PATIENCE_S = 3.0
LATE_S = 0.3  # a machine, or a process, that stands still so long makes checks fail


class Asker:
    """Asks 20 times a second from the node's own host; each answer has an address, and the plan's version never goes back."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._over = threading.Event()
        self._free = threading.Event()
        self._idle = threading.Event()
        self._free.set()
        self._thread = threading.Thread(target=self._run, name=f"asks {node.site}")
        self._numbers = itertools.count(1)
        self._version = 0
        self.asked = 0
        self.wrong: list[str] = []
        self.answers: list[tuple[float, tuple[str, ...]]] = []  # each that differs from the one before, and when
        self.late: list[tuple[float, float]] = []  # when this thread was kept from asking, and for how long

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Ask nothing while the block runs: the node is stopped in it."""
        self._free.clear()
        self._idle.wait(2 * PATIENCE_S)
        try:
            yield
        finally:
            self._idle.clear()
            self._free.set()

    def close(self) -> None:
        """End."""
        self._over.set()
        self._free.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def last(self) -> tuple[str, ...]:
        """What was answered last."""
        return self.answers[-1][1] if self.answers else ()

    def since(self, moment: float) -> set[tuple[str, ...]]:
        """What was answered since a moment of the monotonic clock."""
        before = [found for at, found in self.answers if at <= moment][-1:]
        return {*before, *(found for at, found in self.answers if at > moment)}

    def told(self, moment: float) -> str:
        """What was answered since then, and when this thread was kept from asking, in seconds after it."""
        answers = [(round(at - moment, 2), found) for at, found in self.answers if at > moment]
        late = [(round(at - moment, 2), round(late_s, 2)) for at, late_s in self.late if at > moment - 10]
        return f"answers {answers}, kept from asking {late}"

    def ask(self, name: str) -> tuple[str, ...] | None:
        """The addresses of a name; None where nothing came."""
        query = dns.message.make_query(f"{name}.example.com", "A")
        query.id = next(self._numbers) & 0xFFFF
        with self._node.host.call(lambda: socket.socket(type=socket.SOCK_DGRAM)) as sock, suppress(OSError):
            sock.settimeout(PATIENCE_S)
            sock.connect((self._node.address, self._node.port))
            sock.send(query.to_wire())
            reply = dns.message.from_wire(sock.recv(4096))
            if reply.id == query.id and reply.rcode() == dns.rcode.NOERROR:
                return tuple(record.address for rrset in reply.answer for record in rrset)
        return None

    def _run(self) -> None:
        while not self._over.is_set():
            if not self._free.is_set():
                self._idle.set()
                self._free.wait()
                continue
            self.asked += 1
            found = self.ask("www")
            now = time.monotonic()
            if not found:
                self.wrong.append(f"{self._node.site}: {'no answer' if found is None else 'no address'} at {now:.1f}")
            elif not self.answers or self.answers[-1][1] != found:
                self.answers.append((now, found))
            if self.asked % 10 == 0:
                self._look_at_version()
                if self.ask("busy") is None:  # what nobody asks for cannot be shed
                    self.wrong.append(f"{self._node.site}: no answer at {now:.1f}")
            rests_at = time.monotonic()
            self._over.wait(PACE_S)
            if (late_s := time.monotonic() - rests_at - PACE_S) > LATE_S:
                self.late.append((rests_at, late_s))

    def _look_at_version(self) -> None:
        serving = self._node.store.folder / "serving"
        with suppress(OSError, UnusableGeneration):
            current = Current(serving)
            try:
                version = read_manifest(serving, current.number, "example").plan_version
            finally:
                current.close()
            if version < self._version:
                self.wrong.append(f"{self._node.site}: plan {version} after {self._version}")
            self._version = version
