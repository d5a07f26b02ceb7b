"""Real ExaBGP under our code, and BIRD as the router: states, deaths of every part, and how soon routes move."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bgp.controlled import Controlled, arguments, now
from tests.bgp.lab import OURS, Lab, RouteClock
from tests.bgp.routers import Bird, bird_router, peers
from tests.e2e.lifecycle import wait_until
from tests.namespaces import World

pytestmark = [pytest.mark.root, pytest.mark.slow]

VIPS = ("203.0.113.53/32", "2001:db8:53::53/128")
AFTER_S = 3.0  # the bridge acts then
MOVED_S = 10.0  # on a busy machine
KERNEL_MS = 50.0  # from the write to the router's kernel


@pytest.fixture
def site(netns: World, tmp_path: Path, tool: Callable[[str], str]) -> Iterator[tuple[Controlled, Bird, Lab]]:
    tool("bird")
    lab = Lab(netns, "a")
    router = bird_router(lab, tmp_path / "router", peers(lab, 4, 6))
    controlled = Controlled(lab, "a", tmp_path / "exabgp", after_s=AFTER_S)
    router.start()
    try:
        controlled.start()
        for version in (4, 6):
            controlled.wait("SessionSaid", text=lab.gateway("a", version))
        yield controlled, router, lab
    finally:
        controlled.close()
        router.stop()


def seen(router: Bird, state: str) -> bool:
    """Whether the router holds both prefixes in that state."""
    for vip in VIPS:
        paths = router.paths(vip)
        if state == "off":
            if paths:
                return False
            continue
        if len(paths) != 1:
            return False
        drained = paths[0].med == 100 and "65535:0" in paths[0].communities and paths[0].as_path == (OURS,) * 4
        plain = paths[0].med is None and not paths[0].communities and paths[0].as_path == (OURS,)
        if not (drained if state == "drain" else plain):
            return False
    return True


def becomes(router: Bird, state: str, within_s: float = MOVED_S) -> None:
    wait_until(lambda: seen(router, state), f"both prefixes {state}", within_s)


def test_states_reach_the_router(site: tuple[Controlled, Bird, Lab]) -> None:
    controlled, router, _ = site
    for state in ("announced", "drain", "announced", "off", "drain", "off"):
        controlled.announce(**dict.fromkeys(VIPS, state))
        becomes(router, state)


def test_an_orderly_end_drains_first(site: tuple[Controlled, Bird, Lab]) -> None:
    controlled, router, _ = site
    controlled.announce(**dict.fromkeys(VIPS, "announced"))
    becomes(router, "announced")
    pid = controlled.exabgp
    controlled.stop(2.0)
    becomes(router, "drain")
    becomes(router, "off")
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "ExaBGP is gone")


def test_a_bridge_that_dies_moves_no_route(site: tuple[Controlled, Bird, Lab]) -> None:
    controlled, router, lab = site
    controlled.announce(**dict.fromkeys(VIPS, "announced"))
    becomes(router, "announced")
    with RouteClock(lab.router) as clock:
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            at, bridge = now(), controlled.bridge
            os.kill(bridge, number)
            controlled.wait("Ready", since=at)
        assert clock.events() == []
    controlled.announce(**dict.fromkeys(VIPS, "drain"))
    becomes(router, "drain")


def test_a_controller_that_comes_back_in_time_moves_no_route(site: tuple[Controlled, Bird, Lab]) -> None:
    controlled, router, lab = site
    controlled.announce(**dict.fromkeys(VIPS, "announced"))
    becomes(router, "announced")
    pid = controlled.exabgp
    with RouteClock(lab.router) as clock:
        for end in (controlled.kill, controlled.leave):
            end()
            at = now()
            controlled.start()
            assert f"pid={pid}, adopted=True" in controlled.wait("Running", since=at).said
            controlled.wait("Ready", since=at)
            controlled.announce(**dict.fromkeys(VIPS, "announced"))
            controlled.wait("Ready", since=at)
        assert clock.events() == []
    controlled.announce()
    becomes(router, "off")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["dead", "hung"])
def test_without_a_controller_the_bridge_drains(site: tuple[Controlled, Bird, Lab], number: signal.Signals) -> None:
    controlled, router, _ = site
    controlled.announce(**dict.fromkeys(VIPS, "announced"))
    becomes(router, "announced")
    controlled.wait("Applied")
    at = now()
    controlled.kill() if number is signal.SIGKILL else controlled.signal(number)
    becomes(router, "drain")
    assert 0.7 * AFTER_S < now() - at < AFTER_S + 2
    at = now()
    if number is signal.SIGSTOP:
        controlled.signal(signal.SIGCONT)
    else:
        controlled.start()
    assert "tripped=True" in controlled.wait("Hello", since=at).said
    if number is signal.SIGKILL:
        controlled.announce(**dict.fromkeys(VIPS, "announced"))
    becomes(router, "announced")


def test_a_controller_that_does_not_read_stops_no_session(site: tuple[Controlled, Bird, Lab]) -> None:
    controlled, router, lab = site
    controlled.announce(**dict.fromkeys(VIPS, "announced"))
    becomes(router, "announced")
    controlled.wait("Applied")
    controlled.signal(signal.SIGSTOP)
    until = time.monotonic() + 12  # longer than the hold time
    while time.monotonic() < until:
        for version in (4, 6):
            router.refresh(lab.address("a", version))
            assert router.is_up(lab.address("a", version))
        time.sleep(0.2)
    assert seen(router, "drain")
    controlled.signal(signal.SIGCONT)
    becomes(router, "announced")


def test_exabgp_that_dies_is_started_again_with_its_routes(site: tuple[Controlled, Bird, Lab]) -> None:
    controlled, router, _ = site
    controlled.announce(**dict.fromkeys(VIPS, "announced"))
    becomes(router, "announced")
    for number in (signal.SIGTERM, signal.SIGKILL):
        at, pid = now(), controlled.exabgp
        os.kill(pid, number)
        controlled.wait("Ended", since=at)
        controlled.wait("Running", since=at, text="adopted=False")
        controlled.wait("Ready", since=at)
        assert controlled.exabgp != pid
        becomes(router, "announced", 20)


def test_exabgp_that_hangs_is_replaced(site: tuple[Controlled, Bird, Lab]) -> None:
    controlled, router, _ = site
    controlled.announce(**dict.fromkeys(VIPS, "announced"))
    becomes(router, "announced")
    at = now()
    os.kill(controlled.exabgp, signal.SIGSTOP)
    controlled.wait("Lost", since=at, text="did not answer")
    controlled.wait("Running", since=at, text="adopted=False", within_s=40)
    becomes(router, "announced", 20)


def test_a_bridge_that_hangs_is_replaced_and_no_route_moves(site: tuple[Controlled, Bird, Lab]) -> None:
    controlled, router, lab = site
    controlled.announce(**dict.fromkeys(VIPS, "announced"))
    becomes(router, "announced")
    pid, at, bridge = controlled.exabgp, now(), controlled.bridge
    with RouteClock(lab.router) as clock:
        os.kill(bridge, signal.SIGSTOP)
        controlled.wait("Ready", since=at, within_s=40)
        assert clock.events() == []
    assert controlled.bridge != bridge
    assert controlled.exabgp == pid
    controlled.announce()
    becomes(router, "off")


def test_exabgp_that_hung_without_a_controller_is_not_doubled(site: tuple[Controlled, Bird, Lab]) -> None:
    controlled, router, _ = site
    pid = controlled.exabgp
    controlled.kill()
    os.kill(pid, signal.SIGSTOP)
    os.kill(controlled.bridge, signal.SIGKILL)
    at = now()
    controlled.start()
    controlled.wait("Running", since=at, text="adopted=False", within_s=40)
    assert str(controlled.folder).encode() not in arguments(pid)
    controlled.announce(**dict.fromkeys(VIPS, "announced"))
    becomes(router, "announced", 20)


def test_a_bridge_that_dies_too_often_takes_exabgp_along_and_it_is_started_again(
    site: tuple[Controlled, Bird, Lab],
) -> None:
    controlled, router, _ = site
    controlled.announce(**dict.fromkeys(VIPS, "announced"))
    becomes(router, "announced")
    pid, at = controlled.exabgp, now()
    while controlled.exabgp == pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(controlled.bridge, signal.SIGKILL)
        controlled.wait("Hello", since=at)
        at = now()
    becomes(router, "announced", 20)


def test_a_refresh_moves_nothing_and_a_router_that_starts_anew_has_all(site: tuple[Controlled, Bird, Lab]) -> None:
    controlled, router, lab = site
    controlled.announce(**dict.fromkeys(VIPS, "announced"))
    becomes(router, "announced")
    with RouteClock(lab.router) as clock:
        for version in (4, 6):
            router.refresh(lab.address("a", version))
        controlled.announce(**dict.fromkeys(VIPS, "announced"))
        becomes(router, "announced")
        assert clock.events() == []
    at = now()
    router.stop()
    controlled.wait("SessionSaid", text="up=False", since=at)
    router.start()
    becomes(router, "announced", 30)


def test_from_the_wish_to_the_routers_kernel(site: tuple[Controlled, Bird, Lab]) -> None:
    controlled, router, lab = site
    controlled.announce(**dict.fromkeys(VIPS, "off"))
    took: dict[str, list[float]] = {"announced": [], "off": []}
    with RouteClock(lab.router) as clock:
        for _ in range(10):
            for state in ("announced", "off"):
                at = now()
                controlled.announce(**dict.fromkeys(VIPS, state))
                for vip in VIPS:
                    there = state == "announced"
                    took[state].append(1000 * (clock.wait(vip, there=there, within_s=MOVED_S, since=at) - at))
    for times in took.values():
        assert statistics.median(times) < KERNEL_MS, took
    assert not router.paths(VIPS[0])


def test_another_user_runs_it(netns: World, tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("bird")
    assert Path("/usr/bin/python3").exists()
    lab = Lab(netns, "a")
    router = bird_router(lab, tmp_path / "router", peers(lab, 4, 6))
    folder = Path(f"/run/{netns.namespace('x').name}")  # one that other users can reach
    controlled = Controlled(lab, "a", folder, user="nobody")
    router.start()
    try:
        controlled.start()
        controlled.announce(**dict.fromkeys(VIPS, "announced"))
        becomes(router, "announced", 20)
        users = {Path(f"/proc/{pid}").stat().st_uid for pid in (controlled.exabgp, controlled.bridge)}
        assert len(users) == 1
        assert 0 not in users
        assert (folder / "exabgp.conf").stat().st_mode & 0o777 == 0o600
    finally:
        controlled.close()
        router.stop()
        shutil.rmtree(folder)
