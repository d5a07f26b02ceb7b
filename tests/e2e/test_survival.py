"""What users notice of a crash: nothing but one retry.  A worker and the controller are killed under steady queries."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.lifecycle import wait_until
from tests.e2e.probes.wire import Target, ecs, opt, query
from tests.e2e.program import Program, acceptance

RETRY_S = 1.0  # a client's patience, and what the issue allows


class Client:
    """Asks all the time from a new port each time, retries once after RETRY_S, and keeps what was never answered."""

    def __init__(self, target: Target) -> None:
        self._thread = threading.Thread(target=self._run)
        self._target = target
        self._over = threading.Event()
        self.asked = 0
        self.retried = 0
        self.lost: list[str] = []

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            packet = query("geo", "A", edns=opt(ecs("192.0.2.0/24")))
            self.asked += 1
            if not self._once(packet):
                self.retried += 1
                if not self._once(packet):
                    self.lost.append(time.strftime("%X"))
            self._over.wait(0.005)

    def _once(self, packet: bytes) -> bool:
        with self._target.udp_socket() as sock:
            sock.settimeout(RETRY_S)
            try:
                sock.send(packet)
                return sock.recv(4096)[3] & 15 == 0
            except OSError:
                return False

    def stop(self) -> None:
        """End and wait."""
        self._over.set()
        self._thread.join()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The real program, and the end of what it left."""
    with acceptance(tmp_path) as started:
        yield started
    for pid in workers(started):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def clients(program: Program) -> Iterator[list[Client]]:
    """Three clients that ask throughout the test, and at its end have lost nothing."""
    asking = [Client(program.target) for _ in range(3)]
    for client in asking:
        client.start()
    yield asking
    for client in asking:
        client.stop()
    assert not [client.lost for client in asking if client.lost], program.log()
    assert all(client.asked > 10 for client in asking)


def workers(program: Program, *kinds: str) -> set[int]:
    """The process ids of those that live, of `kinds` or of all."""
    found = [worker for worker in program.status()["workers"] if worker["alive"]]
    return {worker["pid"] for worker in found if not kinds or worker["kind"] in kinds}


def generations(program: Program) -> list[int]:
    """Which generations the living workers serve."""
    return [worker["generation"] for worker in program.status()["workers"] if worker["alive"]]


def test_a_killed_worker_is_replaced(program: Program, clients: list[Client]) -> None:
    """Each worker in turn; every query is answered within one retry."""
    before = workers(program, "udp")
    assert len(before) == 2
    for pid in before:
        left = workers(program, "udp") - {pid}
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(workers(program, "udp") - {pid}) == 2, f"a successor of {pid} beside {left}")  # noqa: B023
    assert not workers(program, "udp") & before
    assert all(not client.lost for client in clients)


def test_all_workers_killed_at_once(program: Program, clients: list[Client]) -> None:
    """Their sockets are kept by the supervisor, so even then a retry is enough."""
    before = workers(program, "udp")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(workers(program, "udp") - before) == 2, "two successors")
    assert all(not client.lost for client in clients)


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["removed", "emptied"])
def test_the_file_that_names_the_generation_is_lost(
    program: Program, clients: list[Client], harm: Callable[[Path], object]
) -> None:
    """Access to an emptied mapping is a fatal signal; the successors find a whole file, and follow the next plan."""
    (current,) = program.state.rglob("current")
    harm(current)
    for pid in workers(program, "udp"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(workers(program, "udp")) == 2, "two successors")
    assert current.stat().st_size == 16
    drained = program.command("drain", "pool/two", "--why", "a test")
    assert drained.returncode == 0, drained.stderr
    wait_until(lambda: min(generations(program)) > 1, "all workers at the plan with the drain")
    assert all(not client.lost for client in clients)


def test_the_controller_is_killed(program: Program, clients: list[Client]) -> None:
    """Answers go on, the workers stay, and a new controller comes."""
    before = workers(program, "udp")
    killed = int(program.status()["controller"]["pid"])
    os.kill(killed, signal.SIGKILL)
    asked = [client.asked for client in clients]
    wait_until(lambda: program.status()["controller"]["pid"] not in (None, killed), "another controller")
    assert workers(program, "udp") == before
    assert all(client.asked > count and client.retried == 0 for client, count in zip(clients, asked, strict=True))


def test_everything_but_the_workers_is_killed(program: Program, clients: list[Client]) -> None:
    """DNS serves while one worker lives (DESIGN invariant 4); what is left over ends with the test."""
    controller = int(program.status()["controller"]["pid"])
    program.process.kill()
    program.process.wait()
    os.kill(controller, signal.SIGKILL)
    asked = [client.asked for client in clients]
    wait_until(lambda: all(client.asked > count + 50 for client, count in zip(clients, asked, strict=True)), "answers")
    assert all(client.retried == 0 for client in clients)
    for client in clients:
        client.stop()
    for pid in workers(program):
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not workers(program), "their end")
