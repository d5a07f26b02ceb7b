"""The balancer's process as a process: one controller at a time, and what each kind of end leaves."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gslb.model.framing import Frames, frame
from tests.e2e.lifecycle import wait_until
from tests.xdp.fakekernel import fake_parts
from tests.xdp.test_driver import WANT
from xdp import process
from xdp.messages import Report, State

WAIT_S = 10.0


class Controller:
    """The other end of the door."""

    def __init__(self, door: Path) -> None:
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._line.settimeout(WAIT_S)
        self._line.connect(str(door))
        self._frames: Frames[Report] = Frames(Report)
        self._waiting: list[Report] = []

    def say(self, data: bytes) -> None:
        self._line.sendall(data)

    def report(self, wanted: Callable[[Report], bool]) -> Report:
        """The next report that is `wanted`; EOFError where the process hung up."""
        while True:
            while self._waiting:
                if wanted(found := self._waiting.pop(0)):
                    return found
            try:
                data = self._line.recv(1 << 16)
            except ConnectionError:
                data = b""
            if not data:
                raise EOFError
            self._waiting += self._frames.feed(data)

    def state(self) -> State:
        state = self.report(lambda one: one.state is not None).state
        assert state is not None
        return state

    def close(self) -> None:
        self._line.close()


class Running:
    """One process over a folder that stands for the kernel."""

    def __init__(self, folder: Path, name: str = "door") -> None:
        self.folder = folder
        self._path = folder / name
        self._path.unlink(missing_ok=True)
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        door.bind(str(self._path))
        door.listen(4)
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            status = 9
            try:
                self.line.close()
                alive = partial(theirs.send, b"alive", socket.MSG_DONTWAIT)
                status = process.run(partial(fake_parts, folder), door, theirs, partial(_order, theirs), alive)
            finally:
                os._exit(status)
        door.close()
        theirs.close()
        self.status: int | None = None
        self._controllers: list[Controller] = []

    def controller(self) -> Controller:
        self._controllers.append(Controller(self._path))
        return self._controllers[-1]

    def wait(self) -> int:
        wait_until(self._ended, "the end of the process", WAIT_S)
        assert self.status is not None
        return self.status

    def _ended(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def clear(self) -> None:
        if not self._ended():
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        self.line.close()
        for one in self._controllers:
            one.close()


def _order(line: socket.socket) -> bool | None:
    return {b"finish": True, b"": False}.get(line.recv(100))


Start = Callable[[], Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    runs: list[Running] = []

    def begin() -> Running:
        runs.append(Running(tmp_path))
        return runs[-1]

    yield begin
    for one in runs:
        one.clear()


def test_a_want_is_answered_by_the_state_and_pulses_follow(start: Start) -> None:
    controller = start().controller()
    assert controller.state() == State(0, 0, "")
    controller.say(frame(WANT))
    state = controller.state()
    assert (state.serial, state.version) == (1, 7)
    pulse = controller.report(lambda one: one.pulse is not None).pulse
    assert pulse is not None
    assert pulse.vips["web"]["192.0.2.10 tcp/80"].packets >= 1


def test_of_many_wants_the_last_one_counts(start: Start) -> None:
    controller = start().controller()
    controller.say(b"".join(frame(replace(WANT, serial=serial)) for serial in range(1, 50)))
    while controller.state().serial != 49:
        pass


def test_its_supervisor_is_told_that_it_is_alive(start: Start) -> None:
    line = start().line
    line.settimeout(WAIT_S)
    assert [line.recv(100) for _ in range(2)] == [b"alive", b"alive"]


def test_the_newest_controller_is_the_one(start: Start) -> None:
    running = start()
    first = running.controller()
    first.say(frame(WANT))
    while first.state().serial != 1:
        pass
    second = running.controller()
    assert second.state().serial == 1, "it is told what is in force"
    with pytest.raises(EOFError):
        first.report(lambda _: False)


def test_a_controller_that_garbles_is_let_go_and_the_next_is_heard(start: Start) -> None:
    running = start()
    first = running.controller()
    first.say(b"\xff" * 100)
    with pytest.raises(EOFError):
        first.report(lambda _: False)
    second = running.controller()
    second.say(frame(WANT))
    while second.state().serial != 1:
        pass


def test_a_refusal_is_told_every_second_that_it_lives(start: Start, tmp_path: Path) -> None:
    (tmp_path / "refuse").touch()
    controller = start().controller()
    assert controller.state().refused == "no such kernel here; apt-get install one"
    assert controller.report(lambda _: True) == Report()


def test_told_to_finish_it_removes_all(start: Start, tmp_path: Path) -> None:
    running = start()
    controller = running.controller()
    controller.say(frame(WANT))
    while controller.state().serial != 1:
        pass
    running.line.send(b"finish")
    assert running.wait() == 0
    assert not (tmp_path / "pins").exists()


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "without its supervisor"])
def test_however_else_it_ends_all_stays_and_the_next_adopts(start: Start, tmp_path: Path, *, killed: bool) -> None:
    running = start()
    controller = running.controller()
    controller.say(frame(WANT))
    while controller.state().serial != 1:
        pass
    if killed:
        os.kill(running.pid, signal.SIGKILL)
    else:
        running.line.close()
    assert running.wait() == (-signal.SIGKILL if killed else 0)
    assert (tmp_path / "pins" / "links" / "eth0").exists()
    again = start().controller()
    assert again.state().adopted


def test_signals_to_all_are_the_supervisors_matter(start: Start) -> None:
    running = start()
    controller = running.controller()
    controller.state()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(running.pid, number)
    controller.report(lambda one: one.pulse is not None)
