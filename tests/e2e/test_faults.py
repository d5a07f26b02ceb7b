"""Faults of a node itself: its checking process frozen or killed, its state files cut, far too many overrides.  Answers stay, and
one line says what happened.  Asked over DNS all the time."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from gslb.control.overrides import dump_overrides
from gslb.control.words import MAX_OVERRIDES, unstamped
from gslb.model.world import Forced, Override
from tests.e2e.lifecycle import wait_until
from tests.e2e.pairs import SPARE, Node, Pair, node_with
from tests.e2e.services import Service, services
from tests.ports import free_port

WWW, API = "127.0.5.1", "127.0.5.2"
REPLACED_S = 25.0  # a silence of 10 s, a start, and a busy machine


@pytest.fixture
def sites() -> Iterator[tuple[Service, Service]]:
    with services(free_port(), WWW, API) as (www, api):
        yield www, api


@pytest.fixture
def node(tmp_path: Path, sites: tuple[Service, Service]) -> Iterator[Node]:
    """`www` is down and answered by its spare; `api` is up."""
    monitor = f"type: http, port: {sites[0].port}, path: /healthz"
    with node_with(tmp_path, Pair("www", WWW, monitor), Pair("api", API, monitor)) as node:
        wait_until(lambda: node.at_home("www") and node.at_home("api"), "all is well")
        sites[0].kill()
        node.leaves("www", "killed")
        yield node


@contextmanager
def unchanged(node: Node, api: str = API) -> Iterator[None]:
    """Ask all the time while the block runs, and a second longer: `www` is answered by its spare, and `api` by this."""
    expected = {"www": [SPARE], "api": [api]}
    others: list[object] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.01):
            if node.server.answers() and (now := node.answers()) != expected:
                others.append(now)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
        over.wait(1.0)
    finally:
        over.set()
        asking.join()
    assert not others, others[:3]
    assert node.answers() == expected


def checking(node: Node) -> psutil.Process:
    """The checking process."""
    controller = psutil.Process(node.server.status()["controller"]["pid"])
    (found,) = [one for one in controller.children() if "healthcheck" in one.cmdline()]
    return found


def checks_again(node: Node, old: psutil.Process) -> bool:
    """Whether another process checks in the place of `old`."""
    pid = node.server.status()["checks"].get("pid")
    return pid is not None and pid != old.pid


def lines(node: Node, text: str) -> list[str]:
    """The lines of the log that hold `text`."""
    return [line for line in node.server.said().splitlines() if text in line]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_checking_process_that_is_lost_is_replaced(
    node: Node, sites: tuple[Service, Service], number: signal.Signals
) -> None:
    old = checking(node)
    with unchanged(node):
        old.send_signal(number)
        wait_until(lambda: bool(lines(node, "the checking process is lost")), "the loss is noticed", REPLACED_S)
        wait_until(lambda: checks_again(node, old), "another one checks", REPLACED_S)
        assert not old.is_running()
    assert len(lines(node, "the checking process is lost")) == 1
    assert node.server.status()["checks"]["restarts"] == 1
    sites[0].start()
    node.returns("www", "the new process checks")
    sites[1].kill()
    node.leaves("api", "the new process checks")


@pytest.mark.slow
def test_a_controller_that_hangs_is_told_until_it_goes_on(node: Node) -> None:
    controller = psutil.Process(node.server.status()["controller"]["pid"])
    assert node.server.status()["controller"]["silent_s"] is None
    with unchanged(node):
        controller.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: node.server.status()["controller"]["silent_s"], "its silence is told", REPLACED_S)
        finally:
            controller.send_signal(signal.SIGCONT)
    wait_until(lambda: node.server.status()["controller"]["silent_s"] is None, "it goes on")
    assert node.server.status()["controller"]["pid"] == controller.pid


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plan.json", "stored plan not taken"),
        ("observed.json", "what was observed last is not known"),
    ],
)
def test_a_state_file_that_was_cut_in_half(node: Node, name: str, said: str) -> None:
    assert node.server.stop() == 0
    path = node.server.state / "example" / "fra" / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with unchanged(node):
        node.server.start()
        wait_until(node.api.listens, "the API answers")
        wait_until(lambda: node.pool("www")["true_state"] == "down", "it is checked")
    (line,) = lines(node, said)
    assert name in line


def test_what_is_drained_stays_so_over_a_restart_and_is_told_once(node: Node) -> None:
    assert node.server.command("drain", "pool/api-home", "--why", "CHG-1").returncode == 0
    node.leaves("api", "drained")
    version = node.server.status()["generation"]["plan_version"]
    for _ in range(2):
        assert node.server.stop() == 0
        with unchanged(node, api=SPARE):
            node.server.start()
    assert node.server.status()["generation"]["plan_version"] == version
    assert len([line for line in node.audit() if line["what"] == "override"]) == 1
    assert node.server.stop() == 0
    assert node.server.command("auto", "pool/api-home").returncode == 0
    node.server.start()
    node.returns("api", "ended while the node was away")


def override(number: int, target: str, state: Forced = Forced.DRAIN) -> Override:
    return Override(target, state, "ops", f"CHG-{number}", time.time())


def test_ten_thousand_overrides(node: Node) -> None:
    folder = node.server.state / "example" / "fra"
    many = [override(number, f"pool/no-such-{number}") for number in range(MAX_OVERRIDES - 1)]
    assert node.server.stop() == 0
    (folder / "overrides.json").write_bytes(dump_overrides("example", unstamped([*many, override(0, "pool/api-home")])))
    began = time.monotonic()
    node.server.start()
    node.leaves("api", "the one that names a pool holds")
    assert not node.at_home("www")
    assert time.monotonic() - began < 10
    done = node.server.command("drain", "pool/www-home", "--why", "one more")
    assert done.returncode == 0
    assert "overrides of targets that do not exist: 9,999 removed" in done.stderr
    assert len(lines(node, "overrides of no such target")) == 1
    assert node.server.command("auto", "pool/api-home").returncode == 0
    node.returns("api", "the override ended")


def test_more_overrides_than_there_may_be_are_not_taken(node: Node) -> None:
    folder = node.server.state / "example" / "fra"
    assert node.server.command("drain", "pool/api-home", "--why", "CHG-1").returncode == 0
    node.leaves("api", "drained")
    assert node.server.stop() == 0
    stored = json.loads((folder / "overrides.json").read_text())
    stored["overrides"] *= MAX_OVERRIDES + 1
    (folder / "overrides.json").write_text(json.dumps(stored))
    node.server.start()
    assert node.answers() == {"www": [SPARE], "api": [SPARE]}, "the last good copy holds"
    wait_until(lambda: "overrides" in node.server.status()["problems"], "it is a problem in gslb status")
    (line,) = lines(node, f"expected at most {MAX_OVERRIDES}")
    assert "the last good copy is used instead" in line


def test_overrides_cut_in_half(node: Node) -> None:
    folder = node.server.state / "example" / "fra"
    assert node.server.command("drain", "pool/api-home", "--why", "CHG-1").returncode == 0
    node.leaves("api", "drained")
    data = (folder / "overrides.json").read_bytes()
    (folder / "overrides.json").write_bytes(data[: len(data) // 2])
    wait_until(lambda: bool(lines(node, "the last good copy is used instead")), "it is said")
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        assert node.answers() == {"www": [SPARE], "api": [SPARE]}
    assert len(lines(node, "the last good copy is used instead")) == 1
