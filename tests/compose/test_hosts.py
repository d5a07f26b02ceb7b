"""Machines made of namespaces: what runs there ends with them, and a daemon with its workers."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose.hosts import Host, join, unavailable

ROOT = Path(__file__).resolve().parent.parent.parent
MAKER = "import time; from compose.hosts import Host; print(Host('lone').pid, flush=True); time.sleep(600)"

pytestmark = pytest.mark.root


@pytest.fixture
def pair() -> Iterator[tuple[Host, Host]]:
    if why := unavailable():
        pytest.skip(why)
    left, right = Host("left"), Host("right")
    yield left, right
    left.close()
    right.close()


def running(host: Host) -> int:
    """How many of our processes run there."""
    return host.run("ps", "-eo", "args").count("sleep 4321")


def started(host: Host) -> subprocess.Popen[bytes]:
    process = host.start("sh", "-c", "sleep 4321 & sleep 4321 & wait", output=subprocess.DEVNULL)
    until = time.monotonic() + 10
    while running(host) < 3:  # the shell's own line has it twice
        assert time.monotonic() < until
        time.sleep(0.02)
    return process


def test_a_daemon_is_killed_with_its_workers(pair: tuple[Host, Host]) -> None:
    host, _ = pair
    process = started(host)
    host.kill(process)
    process.wait(10)
    assert running(host) == 0


def test_all_that_runs_on_a_machine_ends_with_it(pair: tuple[Host, Host]) -> None:
    host, other = pair
    process = started(host)
    host.close()
    assert process.wait(10) != 0
    assert running(other) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_machine_ends_with_whom_made_it(number: signal.Signals) -> None:
    if why := unavailable():
        pytest.skip(why)
    with subprocess.Popen([sys.executable, "-c", MAKER], cwd=ROOT, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        first = Path("/proc", maker.stdout.readline().strip())
        assert first.exists()
        maker.send_signal(number)
    until = time.monotonic() + 10
    while first.exists():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_machines_reach_each_other_over_their_line_only(pair: tuple[Host, Host]) -> None:
    left, right = pair
    join(left, "eth0", right, "eth0")
    for host, last in ((left, 1), (right, 2)):
        host.run("ip", "address", "add", f"198.51.100.{last}/24", "dev", "eth0")
    assert "198.51.100.0/24" in left.run("ip", "route")
    assert "lo" in left.run("ip", "-o", "link")
    with pytest.raises(subprocess.CalledProcessError):
        left.run("ip", "link", "show", "port0")
