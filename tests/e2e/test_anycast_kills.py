"""What stays announced when parts of a site die, hang or start anew; the real program at both sites, and a real router."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import pytest

from tests.bus.cluster import installed
from tests.e2e.anycasting import ALL, LOSS_S, VIPS, Anycasting, row
from tests.namespaces import World

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(installed() is None, reason="needs nats-server"),
]
STAYS, DRAINS, LEAVES = "nothing moves", "drained", "gone"


@dataclass(frozen=True, slots=True)
class Death:
    """A signal to a part of site a, and what the router then shows of its nameserver's addresses."""

    part: str
    signal: signal.Signals
    then: str
    another: bool = True  # another process takes its place by itself


DEATHS = (
    Death("bridge", SIGTERM, STAYS),
    Death("bridge", SIGKILL, STAYS),
    Death("bridge", SIGSTOP, STAYS),  # one that is silent is killed, and ExaBGP starts another
    Death("exabgp", SIGTERM, LEAVES),
    Death("exabgp", SIGKILL, LEAVES),
    Death("exabgp", SIGSTOP, LEAVES),  # one that does not answer is killed
    Death("controller", SIGTERM, STAYS, another=False),  # the supervisor alone ends it
    Death("controller", SIGKILL, STAYS),
    Death("controller", SIGSTOP, DRAINS, another=False),
    Death("worker", SIGTERM, STAYS),
    Death("worker", SIGKILL, STAYS),
    Death("worker", SIGSTOP, LEAVES, another=False),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Iterator[Anycasting]:
    tool("bird")
    with World() as world:
        made = Anycasting(world, tmp_path_factory.mktemp("kills"))
        with made.running():
            yield made


@pytest.fixture
def sites(made: Anycasting) -> Anycasting:
    """All is well before."""
    made.well()
    return made


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: f"{death.part}-{death.signal.name}")
def test_a_part_of_a_site_dies(sites: Anycasting, death: Death) -> None:
    pid = sites.a.pid(death.part)
    sites.routes.events()
    heard = sites.heard()
    began = time.monotonic()
    os.kill(pid, death.signal)
    acted = began
    if death.then == DRAINS:
        acted = sites.until(lambda: all(sites.drained(vip) == {"a"} for vip in VIPS.values()), "it is drained")
    elif death.then == LEAVES:
        acted = max(sites.routes.wait(vip, there=None, since=began, within_s=30) for vip in VIPS.values())
    if death.another:
        sites.until(lambda: sites.a.pid(death.part) not in (0, pid), f"another {death.part}")
    else:
        os.kill(pid, SIGCONT)
    if death.part == "controller":  # what its predecessor told stays until then
        sites.until(partial(sites.a.has_told, time.time()), "the controller asked ExaBGP")
    sites.well()
    moved = [event for event in sites.routes.events() if event.at >= began]
    if death.then == STAYS:
        assert not moved, sites.told()
        assert sites.heard() == heard, "the router was told something"
    assert all(sites.held(prefix) == {"a", "b"} for prefix in ALL)
    row(
        f"{death.part} {death.signal.name}",
        death.then,
        f"lost {sites.lost(began)}, late {sites.late(began)}",
        f"after {acted - began:.2f} s" if moved else "no route event",
        f"well again after {time.monotonic() - began:.1f} s",
    )


def test_both_controllers_are_gone_for_longer(sites: Anycasting) -> None:
    """One died and nobody replaces it, one hangs: both sites drain by themselves, which leaves them equal, and the addresses answer.

    Those that are back say what stood before.
    """
    began = time.monotonic()
    supervisor, hanging = sites.a.pid("supervisor"), sites.b.pid("controller")
    for pid in (supervisor, hanging):
        os.kill(pid, SIGSTOP)
    try:
        os.kill(sites.a.pid("controller"), SIGKILL)
        acted = [
            sites.until(partial(_is_drained_at_both, sites, prefix), f"{prefix} is drained at both") for prefix in ALL
        ]
        for prefix in ALL:
            sites.meters[prefix].answers_from("a", "b")
    finally:
        for pid in (supervisor, hanging):
            os.kill(pid, SIGCONT)
    for site in sites.sites.values():
        sites.until(partial(site.has_told, time.time()), "the controller asked ExaBGP")
    sites.well()
    row(
        "both controllers gone for longer",
        "drained at both",
        f"lost {sites.lost(began)}",
        f"after {min(acted) - began:.2f} s",
    )
    assert sites.lost(began) == 0
    assert min(acted) - began > LOSS_S - 2.0, "drained before the controllers were taken for lost"


def _is_drained_at_both(sites: Anycasting, prefix: str) -> bool:
    return sites.drained(prefix) == {"a", "b"}
