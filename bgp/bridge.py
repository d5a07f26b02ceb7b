"""ExaBGP's helper: its pipes on one side, the controller's unix socket on the other.  IO.  Standard library alone.

    ExaBGP ──stdin──> bridge ──socket──> controller          (events as JSON, answers as text)
    ExaBGP <─stdout── bridge <──socket── controller          (commands, one line each)

Rule 1: stdin is always read.  ExaBGP writes to its helper with a blocking call: a full pipe stops every session.
Rule 2: it never exits while ExaBGP lives.  ExaBGP ends itself, and every route, when a helper dies too often.
Rule 3: with no word of a fenced controller for the agreed time it says the prepared commands, once, one after the other.
Run as `bridge.py SOCKET`, under ExaBGP's user and perhaps by another Python: nothing of this project is imported.

Lines that begin with "#" are between controller and bridge, and never go to ExaBGP.  From the controller: `#hb` (it lives),
`#fenced` (it knows what ExaBGP has: from now on its words count), `#deadman SECONDS`, `#do COMMAND` for each command, `#armed`.
To the controller: `#hello BRIDGE EXABGP TRIPPED` (process ids; TRIPPED is 1 after rule 3), `#dropped EVENTS`, `#refused LINES`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time

RETRY_S = 0.2  # between attempts to reach the controller, which waits 2 s for us when it starts
ANSWER_S = 2.0  # how long ExaBGP may take to answer one of the prepared commands
LONGEST_LINE = 8192  # bytes of one command
MOST_UNREAD = 1 << 20  # bytes kept for a controller that does not read; then events are dropped
MOST_ANSWERS = 8 << 20  # bytes of answers kept for it; then it must come again
MOST_UNSAID = 1 << 16  # bytes kept for ExaBGP; then the controller must wait
MOST_PREPARED = 10_000  # commands
CHUNK = 1 << 16


class Lines:
    """Bytes cut into lines.  An unfinished line longer than `longest` is thrown away to its end."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._rest = bytearray()
        self._skipping = False
        self.lost = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends."""
        self._rest += data
        *whole, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        if whole and self._skipping:
            self._skipping = False
            whole = whole[1:]
        if len(self._rest) > self._longest:
            self.lost += 0 if self._skipping else 1
            self._skipping = True
            self._rest.clear()
        return whole


def is_event(line: bytes) -> bool:
    """Whether ExaBGP said this unasked: its events are JSON objects, its answers are not."""
    return line.startswith(b"{")


def is_clean(line: bytes) -> bool:
    """Whether ExaBGP can be given this line: one byte outside of ASCII makes it kill its helper."""
    return len(line) <= LONGEST_LINE and all(0x20 <= byte < 0x7F for byte in line)


class Deadman:
    """The prepared commands, and when they are due.  Pure: the moment is an argument."""

    def __init__(self) -> None:
        self.tripped = False
        self._after_s = 0.0
        self._commands: tuple[bytes, ...] = ()
        self._coming: tuple[float, list[bytes]] | None = None
        self._heard: float | None = None
        self._fenced = False

    def left(self) -> None:
        """The controller's connection ended: the next one must be fenced before its words count."""
        self._fenced = False
        self._coming = None

    def say(self, line: bytes, now: float) -> bool:
        """A line of the controller that begins with "#"; whether it was understood."""
        word, _, rest = line.partition(b" ")
        if word == b"#fenced":
            self._fenced = True
            self.tripped = False
        elif word == b"#deadman":
            try:
                self._coming = (max(0.0, float(rest)), [])
            except ValueError:
                return False
        elif word == b"#do" and self._coming and len(self._coming[1]) < MOST_PREPARED:
            self._coming[1].append(rest)
        elif word == b"#armed" and self._coming:
            self._after_s, self._commands, self._coming = self._coming[0], tuple(self._coming[1]), None
        elif word != b"#hb":
            return False
        if self._fenced:
            self._heard = now
        return True

    def due_at(self) -> float | None:
        """When the commands are due if nothing is heard until then."""
        if self.tripped or self._heard is None or not self._after_s or not self._commands:
            return None
        return self._heard + self._after_s

    def trip(self, now: float) -> tuple[bytes, ...]:
        """The commands, if they are due now; they are given once."""
        due = self.due_at()
        if due is None or now < due:
            return ()
        self.tripped = True
        return self._commands


class Bridge:
    """The two sides, the prepared commands, and what is on its way between them."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._retry_at = 0.0
        self._from_exabgp = Lines(MOST_ANSWERS)
        self._from_controller = Lines(LONGEST_LINE)
        self._to_exabgp = bytearray()
        self._to_controller = bytearray()
        self._dropped = 0
        self._deadman = Deadman()
        self._own: list[bytes] = []  # prepared commands that are still to be said
        self._own_until: float | None = None  # ExaBGP owes us an answer until then

    def run(self) -> None:
        """Until ExaBGP is gone."""
        for descriptor in (0, 1):
            os.set_blocking(descriptor, False)
        while self._turn():
            pass

    def _turn(self) -> bool:
        now = time.monotonic()
        self._connect(now)
        self._act(now)
        readable, writable = [0], [1] if self._to_exabgp else []
        if self._socket:
            if len(self._to_exabgp) < MOST_UNSAID and not self._acting():
                readable.append(self._socket.fileno())
            if self._to_controller:
                writable.append(self._socket.fileno())
        ready, free, _ = select.select(readable, writable, [], self._pause(now))
        if 0 in ready and not self._read_exabgp():
            return False
        if 1 in free:
            self._write_exabgp()
        if self._socket and self._socket.fileno() in free:
            self._write_controller()
        if self._socket and self._socket.fileno() in ready:
            self._read_controller()
        return True

    def _pause(self, now: float) -> float:
        moments = [now + 1.0, *([] if self._socket else [self._retry_at])]
        moments += [moment for moment in (self._deadman.due_at(), self._own_until) if moment is not None]
        return max(0.0, min(moments) - now)

    def _connect(self, now: float) -> None:
        if self._socket or now < self._retry_at:
            return
        self._retry_at = now + RETRY_S
        with contextlib.ExitStack() as undone, contextlib.suppress(OSError):  # no more files or memory: later
            made = undone.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            made.settimeout(0)
            made.connect(self._path)
            undone.pop_all()
            self._greet(made)

    def _greet(self, made: socket.socket) -> None:
        self._socket = made
        self._from_controller = Lines(LONGEST_LINE)
        self._to_controller = bytearray(b"#hello %d %d %d\n" % (os.getpid(), os.getppid(), self._deadman.tripped))

    def _leave(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None
        self._to_controller.clear()
        self._dropped = 0
        self._deadman.left()

    # Rule 3.  The controller is cut off meanwhile: it comes again, and asks what is so before it says anything.

    def _acting(self) -> bool:
        return bool(self._own) or self._own_until is not None

    def _act(self, now: float) -> None:
        if commands := self._deadman.trip(now):
            self._own = list(commands)
            self._leave()
        if self._own_until is not None and now >= self._own_until:
            self._own_until = None
        if self._own and self._own_until is None:
            self._to_exabgp += self._own.pop(0) + b"\n"
            self._own_until = now + ANSWER_S

    def _read_exabgp(self) -> bool:
        try:
            data = os.read(0, CHUNK)
        except BlockingIOError:
            return True
        for line in self._from_exabgp.feed(data):
            if self._own_until is not None and line in (b"done", b"error"):
                self._own_until = None
            elif self._socket:
                self._keep(line)
        return bool(data)

    def _keep(self, line: bytes) -> None:
        unread = len(self._to_controller)
        if is_event(line) and unread > MOST_UNREAD:
            self._dropped += 1
        elif unread > MOST_ANSWERS:
            self._leave()
        else:
            self._to_controller += line + b"\n"

    def _write_exabgp(self) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):  # gone: its end of stdin tells
            del self._to_exabgp[: os.write(1, self._to_exabgp[:CHUNK])]

    def _write_controller(self) -> None:
        assert self._socket
        try:
            del self._to_controller[: self._socket.send(self._to_controller[:CHUNK])]
        except BlockingIOError:
            return
        except OSError:
            self._leave()
            return
        if self._dropped and len(self._to_controller) < MOST_UNREAD // 2:
            self._to_controller += b"#dropped %d\n" % self._dropped
            self._dropped = 0

    def _read_controller(self) -> None:
        assert self._socket
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._leave()
            return
        now = time.monotonic()
        refused = 0
        for line in self._from_controller.feed(data):
            if line.startswith(b"#"):
                refused += not (is_clean(line) and self._deadman.say(line, now))
            elif line and is_clean(line):
                self._to_exabgp += line + b"\n"
            else:
                refused += 1
        refused += self._from_controller.lost
        self._from_controller.lost = 0
        if refused:
            self._to_controller += b"#refused %d\n" % refused


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    Bridge(sys.argv[1]).run()
