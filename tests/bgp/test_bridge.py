"""The bridge as a process: it always reads, passes whole lines, acts once when the controller is silent, and outlives it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bgp.bridge
from bgp.bridge import Deadman, Lines, is_clean

PATIENCE_S = 10.0
F_SETPIPE_SZ = 1031


class Line:
    """One end of a stream, read in lines."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def read(self, within_s: float = PATIENCE_S) -> str:
        """The next line; empty where none comes, or where the stream has ended."""
        until = time.monotonic() + within_s
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
                return ""
            if not (data := os.read(self._descriptor, 65536)):
                return ""
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()


class Stand:
    """The bridge between us as ExaBGP and us as the controller."""

    def __init__(self, folder: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "s"))
        self.listener.listen()
        self.listener.settimeout(PATIENCE_S)
        self.process = subprocess.Popen(
            [sys.executable, "-I", bgp.bridge.__file__, str(folder / "s")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self.process.stdin
        assert self.process.stdout
        self.stdin, self.commands = self.process.stdin, Line(self.process.stdout.fileno())
        self.controller: socket.socket | None = None

    def accept(self) -> Line:
        """As the controller, take the bridge's next connection."""
        if self.controller:
            self.controller.close()
        self.controller, _ = self.listener.accept()
        return Line(self.controller.fileno())

    def say(self, text: str) -> None:
        """As the controller."""
        assert self.controller
        self.controller.sendall(text.encode())

    def answer(self, text: str) -> None:
        """As ExaBGP."""
        self.stdin.write(text.encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for each in (self.listener, self.controller, self.process.stdin, self.process.stdout):
            if each:
                with contextlib.suppress(OSError):
                    each.close()


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    yield made
    made.close()


def test_lines_pass_and_others_do_not(stand: Stand) -> None:
    heard = stand.accept()
    assert heard.read() == f"#hello {stand.process.pid} {os.getpid()} 0"
    stand.say("version\n#hb\n#nonsense\nannounce \x1b[2J\nversi")
    assert heard.read() == "#refused 2"
    assert stand.commands.read() == "version"
    stand.say("on\n")
    assert stand.commands.read() == "version"
    stand.answer('exabgp 5.0.15\ndone\n{"type": "state"}\n')
    assert [heard.read() for _ in range(3)] == ["exabgp 5.0.15", "done", '{"type": "state"}']


def test_it_outlives_controllers_and_ends_with_exabgp(stand: Stand) -> None:
    for _ in range(3):
        assert stand.accept().read().startswith("#hello")
    assert stand.controller
    stand.controller.close()
    stand.listener.close()
    stand.answer("nobody is there\n" * 1000)
    assert stand.process.poll() is None
    stand.stdin.close()
    assert stand.process.wait(PATIENCE_S) == 0


def test_without_files_to_open_it_lives_on(stand: Stand) -> None:
    heard = stand.accept()
    assert heard.read().startswith("#hello ")
    few, pid = 3, stand.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    assert stand.controller
    stand.controller.close()
    time.sleep(3 * bgp.bridge.RETRY_S)
    assert stand.process.poll() is None
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert stand.accept().read().startswith("#hello ")


def test_exabgp_never_waits_for_a_controller_that_does_not_read(stand: Stand) -> None:
    fcntl.fcntl(stand.stdin, F_SETPIPE_SZ, 4096)
    heard = stand.accept()
    assert heard.read().startswith("#hello")
    event = '{"filler": "' + "x" * 1000 + '"}\n'
    os.set_blocking(stand.stdin.fileno(), False)
    sent, until = 0, time.monotonic() + 2 * PATIENCE_S
    while sent < 4 << 20:
        assert time.monotonic() < until, "the pipe stayed full"
        if select.select([], [stand.stdin], [], PATIENCE_S)[1]:
            sent += stand.stdin.write((event * 3).encode()) or 0
    os.set_blocking(stand.stdin.fileno(), True)
    lines = 0
    while not (line := heard.read()).startswith("#dropped"):
        assert line
        lines += 1
    assert lines + int(line.split()[1]) >= sent // len(event) - 1
    assert lines * len(event) < 2 << 20


def prepare(stand: Stand, after_s: float, *commands: str) -> None:
    stand.say(f"#deadman {after_s}\n" + "".join(f"#do {command}\n" for command in commands) + "#armed\n#fenced\n")


def test_a_silent_controller_is_replaced_once_and_cut_off(stand: Stand) -> None:
    heard = stand.accept()
    heard.read()
    at = time.monotonic()
    prepare(stand, 0.5, "first", "second")
    assert stand.commands.read() == "first"
    assert 0.4 < time.monotonic() - at < 3
    assert stand.commands.read(0.3) == "", "the first is not answered"
    assert heard.read() == "", "cut off"
    heard = stand.accept()
    assert heard.read().endswith(" 1"), "told that it acted"
    stand.say("version\n")
    assert stand.commands.read(0.3) == "", "a new controller waits for the prepared commands"
    stand.answer("done\n")
    assert stand.commands.read() == "second"
    stand.answer("error\n")
    assert stand.commands.read() == "version"
    stand.answer("done\n")
    assert heard.read() == "done", "answers to the prepared commands are not the controller's"
    assert stand.commands.read(1.0) == "", "it acts once"
    stand.say("#fenced\n")
    assert stand.commands.read() == "first", "and again when a fenced controller was there and fell silent"


def test_words_of_a_controller_that_is_not_fenced_do_not_count(stand: Stand) -> None:
    stand.accept().read()
    prepare(stand, 1.0, "first")
    stand.accept().read()
    until = time.monotonic() + PATIENCE_S
    said = ""
    while not said and time.monotonic() < until:
        with contextlib.suppress(OSError):
            stand.say("#hb\n")
        said = stand.commands.read(0.1)
    assert said == "first"


@given(st.lists(st.binary(max_size=20), max_size=10), st.binary(max_size=5))
def test_lines_are_cut_alike_however_they_come(lines: list[bytes], rest: bytes) -> None:
    whole = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines) + rest.replace(b"\n", b"")
    at_once, one_by_one = Lines(100), Lines(100)
    expected = at_once.feed(whole)
    assert expected == [line.replace(b"\n", b"") for line in lines]
    assert [line for byte in whole for line in one_by_one.feed(bytes([byte]))] == expected


def test_an_endless_line_is_thrown_away_to_its_end() -> None:
    lines = Lines(10)
    assert lines.feed(b"x" * 11) == []
    assert lines.feed(b"x" * 11) == []
    assert lines.lost == 1
    assert lines.feed(b"rest\ngood\n") == [b"good"]


@given(st.binary(max_size=50))
def test_only_printable_ascii_is_clean(line: bytes) -> None:
    assert is_clean(line) == (line.decode("latin-1").isascii() and line.decode("latin-1").isprintable())


def test_a_block_counts_when_it_is_whole() -> None:
    deadman = Deadman()
    for line in (b"#fenced", b"#deadman 1", b"#do a"):
        assert deadman.say(line, 0.0)
    assert deadman.due_at() is None
    deadman.say(b"#armed", 0.0)
    deadman.say(b"#deadman 1", 0.5)
    deadman.say(b"#do b", 0.5)
    assert deadman.trip(1.5) == (b"a",)
    assert deadman.trip(9.0) == ()
