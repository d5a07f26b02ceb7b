"""One process at a time drives a pin folder, by the kernel's lock on the folder in bpffs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gslb.layout import LAYOUT_HASH
from tests.xdp.fakekernel import fake_parts
from xdp import parts, pins, seat
from xdp.driver import SOON_S, Driver, Parts
from xdp.loader import DataPlane
from xdp.preflight import Refused, Taken
from xdp.seat import Seat

pytestmark = pytest.mark.root

DRIVES = """
import sys
from xdp import parts
opened = parts.opened(*sys.argv[1:], balances=True)
print("drives", flush=True)
sys.stdin.read()
"""


@contextmanager
def another(*names: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that drives the balancer of this deployment and node, until it is killed."""
    argv = [sys.executable, "-c", DRIVES, *names]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"drives\n"
            yield child
        finally:
            child.kill()


def driven(home: Path, folder: Path) -> Parts:
    """What this process drives, with tables and counters of no kernel."""
    return replace(fake_parts(folder), plane=DataPlane.open(home, drives=True))


def names_of(home: Path) -> tuple[str, str]:
    deployment, _, node = home.name.partition("-")
    return deployment, node


@pytest.mark.usefixtures("objects")
def test_a_second_run_is_refused_and_takes_nothing_away(home: Path, tmp_path: Path) -> None:
    with another(*names_of(home)) as child:
        driver = Driver(lambda: driven(home, tmp_path))
        driver.tick(0.0)
        told = driver.state.refused
        assert f"pid {child.pid} of the run {os.getpid()} drives it" in told, told
        assert told.endswith(f"; kill {os.getpid()}"), told
        with pytest.raises(Refused):
            driver.remove()
        assert seat.driver(home) == child.pid
        assert pins.layouts(home), "what is in force stays"
        DataPlane.open(home).close()  # who only looks after it is not in the way
        child.send_signal(signal.SIGKILL)
        child.wait()
        driver.tick(SOON_S)
        assert driver.state.refused == ""
        assert driver.state.adopted
        assert seat.driver(home) == os.getpid()
        driver.remove()
        assert not home.exists()


@pytest.mark.usefixtures("objects")
def test_what_was_removed_from_bpffs_can_be_driven_anew(home: Path) -> None:
    first = DataPlane.open(home, drives=True)
    pins.clear(home)
    assert not first.pinned
    first.close()
    second = DataPlane.open(home, drives=True)
    assert seat.driver(home) == os.getpid()
    second.remove()
    assert not home.exists()


@pytest.mark.usefixtures("objects")
def test_an_attempt_that_fails_half_way_is_not_in_the_way_of_the_next(home: Path) -> None:
    """A pin of a ring is taken away: the tables cannot be read.  Once all of it is, it can be driven again."""
    plane = DataPlane.open(home, drives=True)
    ring = plane.new_inner("rings")
    plane.maps["rings"].update((1).to_bytes(4, sys.byteorder), ring.fd.to_bytes(4, sys.byteorder))
    os.close(ring.fd)
    plane.close()
    (pin,) = (home / LAYOUT_HASH / pins.INNER).iterdir()
    pin.unlink()
    with pytest.raises(OSError, match="rings"):
        parts.opened(*names_of(home), balances=True)
    assert seat.driver(home) is None
    pins.clear(home)
    DataPlane.open(home, drives=True).remove()
    assert not home.exists()


def test_a_folder_that_came_to_hold_nothing_goes_with_its_driver(home: Path) -> None:
    one = Seat(home)
    with pytest.raises(Taken, match=f"pid {os.getpid()} of the run {os.getppid()} drives it"):
        Seat(home)
    one.release()
    assert not home.exists()


def test_a_driver_that_cannot_be_seen_has_no_line() -> None:
    who, line = seat.told(0)
    assert "cannot be seen from here" in who
    assert not line
