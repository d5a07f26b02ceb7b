"""What clients of an anycast address notice of sites that come, drain, fail and leave; with the real program at both sites."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import pytest

from tests.bus.cluster import installed
from tests.e2e.anycastbackends import WithBackends
from tests.e2e.anycasting import ADDRESSES, ALL, VIPS, WEB, Anycasting, Site, row
from tests.namespaces import World

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(installed() is None, reason="needs nats-server"),
]
WATCHED_S = 2.0  # for what must not happen


@pytest.fixture(scope="module", params=["bird", "frr"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]
) -> Iterator[Anycasting]:
    tool("bird" if request.param == "bird" else "vtysh")
    with World() as world:
        made = Anycasting(world, tmp_path_factory.mktemp(request.param), request.param)
        with made.running():
            yield made


@pytest.fixture
def sites(made: Anycasting) -> Iterator[Anycasting]:
    """All is well before, and no override is left behind."""
    made.well()
    made.routes.events()
    yield made
    for site in made.sites.values():
        for name in set(site.overrides()) & {f"site/{name}" for name in made.sites}:
            site.operate("auto", name)


only_bird = pytest.mark.parametrize("made", ["bird"], indirect=True)


def router_dies(sites: Anycasting, number: signal.Signals) -> None:
    """Each site has all its sessions again, and nothing more was said than what stood before."""
    counts = sites.a.announcing()["counts"]["transitions"]
    began = time.monotonic()
    for process in sites.routers():
        process.send_signal(number)
    if number == SIGSTOP:
        for site in sites.sites.values():
            sites.until(lambda site=site: site.sessions() == {False}, f"{site.site} has lost its sessions")  # type: ignore[misc]
        for process in sites.routers():
            process.send_signal(SIGCONT)
    else:
        for process in sites.routers():
            process.wait(15)
        sites.router.start()
    sites.well()
    for site in sites.sites.values():
        sites.until(lambda site=site: site.sessions() == {True}, f"{site.site} has its sessions again")  # type: ignore[misc]
    row(
        f"router {number.name}",
        sites.kind,
        f"lost {sites.lost(began)}",
        f"well again after {time.monotonic() - began:.1f} s",
    )
    assert sites.a.announcing()["counts"]["transitions"] == counts


def _is_spare(site: Site, prefix: str) -> bool:
    return {one["standing"] for one in site.says(prefix)["in_router"]} == {"unused"}


def _left_full(site: Site) -> bool:
    return site.says(WEB).get("state") in ("drain", "off")


def test_nothing_is_announced_before_it_is_served(sites: Anycasting) -> None:
    """A site that announces too early would have lost what the other one answered until then."""
    for prefix in ALL:
        losses = sites.meters[prefix].losses
        first = min(losses.sent[number] for number in losses.answered)
        assert not [at for at in losses.lost if first <= at < sites.began], prefix
    for site in sites.sites.values():
        assert site.on_lo() == ADDRESSES


def test_drain_and_back(sites: Anycasting) -> None:
    began = time.monotonic()
    assert sites.a.command("drain", "site/a", "--why", "a test").returncode == 0
    sites.reached_at({"b"})
    for prefix in ALL:
        assert sites.drained(prefix) == {"a"}, "a drained route is still there"
        assert sites.a.is_at(prefix, "drain")
        sites.meters[prefix].answers_from("b")
    shown = sites.a.command("status").stdout
    sys.stdout.write(shown)
    assert "not safe to stop yet" in shown, "answers of before are kept by resolvers"
    assert "192.0.2.53/32 (ns): drain" in shown
    if sites.kind == "bird":
        for prefix in ALL:
            sites.until(partial(_is_spare, sites.a, prefix), f"the look into BIRD shows that {prefix} is spare")
    lost = sites.lost(began)
    row("drain of one of two sites", sites.kind, lost, f"{sites.last_from('a', sites.a.acted()):.3f} s")
    sites.a.operate("auto", "site/a")
    sites.well()
    assert sites.lost(began) == 0


@only_bird
def test_a_partition_lets_nobody_leave(sites: Anycasting) -> None:
    began = time.monotonic()
    with sites.cut(), sites.checked.fails("a"):
        sites.reached_at({"b"}, WEB)
        until = time.monotonic() + 2 * WATCHED_S
        while time.monotonic() < until:
            assert sites.drained(WEB) == {"a"}, "drained, and not withdrawn"
        row("a check fails while the bus is cut", sites.kind, sites.lost(began), sites.a.says(WEB)["veto"])
    sites.well()
    assert sites.lost(began) == 0


@only_bird
@pytest.mark.parametrize("number", [SIGTERM, SIGKILL, SIGSTOP])
def test_the_router_dies(sites: Anycasting, number: signal.Signals) -> None:
    router_dies(sites, number)


@pytest.mark.parametrize("made", ["frr"], indirect=True)
def test_frr_dies(sites: Anycasting) -> None:
    router_dies(sites, SIGKILL)


@only_bird
def test_all_sites_fail_at_once(sites: Anycasting) -> None:
    began = time.monotonic()
    with sites.checked.fails("a", "b"):
        for site in sites.sites.values():
            sites.until(partial(_left_full, site), f"{site.site} acts")
        until = time.monotonic() + WATCHED_S
        while time.monotonic() < until:
            assert sites.held(WEB), "the address is announced by at least one"
        held = sites.held(WEB)
        assert sites.lost(began, WEB) == 0
    row("all sites' checks fail at once", sites.kind, 0, f"still announced by {sorted(held)}")
    sites.well()
    assert sites.lost(began) == 0


def test_a_failed_check_moves_clients(sites: Anycasting) -> None:
    began = time.monotonic()
    with sites.checked.fails("a"):
        moved = sites.routes.wait(WEB, there=None, since=began, within_s=20)
        verdict = sites.verdict("a", moved)
        withdrawn = "drained"
        if sites.kind == "bird":  # where the first lease may be had by now
            sites.until(partial(sites.is_held_by, WEB, {"b"}), "it is withdrawn under a lease", 60)
            withdrawn = f"withdrawn after {time.monotonic() - moved:.1f} s"
            assert sites.a.is_at(WEB, "off")
        for vip in VIPS.values():
            assert sites.lab.reached(vip) == {"a", "b"}, "DNS answers, so its addresses stay"
    row(
        "a site's check fails",
        sites.kind,
        sites.lost(began, WEB),
        f"{moved - verdict:.3f} s; {withdrawn}",
    )
    sites.well()
    assert sites.lost(began) == 0


@only_bird
def test_down_drains_then_withdraws_and_the_last_site_stays(sites: Anycasting) -> None:
    began = time.monotonic()
    sites.a.operate("down", "site/a")
    sites.until(lambda: sites.drained(WEB) == {"a"}, "it is drained first")
    for prefix in ALL:
        sites.until(partial(sites.is_held_by, prefix, {"b"}), f"{prefix} is withdrawn")
        assert sites.a.is_at(prefix, "off")
    took = time.monotonic() - began
    assert took >= 2.0, "drained for drain_for"
    assert sites.lost(began) == 0
    row("down of one of two sites: drained, withdrawn after drain_for", sites.kind, 0, f"{took:.1f} s")
    sites.b.operate("down", "site/b")
    for prefix in ALL:
        sites.until(lambda prefix=prefix: bool(sites.b.says(prefix).get("veto")), f"{prefix}: it may not leave")  # type: ignore[misc]
    until = time.monotonic() + 2.0 + WATCHED_S
    while time.monotonic() < until:
        assert all(sites.held(prefix) == {"b"} for prefix in ALL), "the last site leaves"
    row("down of the last site", sites.kind, sites.lost(began), sites.b.says(WEB)["veto"])
    sites.b.operate("auto", "site/b")
    sites.a.operate("auto", "site/a")
    sites.well()
    assert sites.lost(began) == 0


@only_bird
def test_a_site_that_is_stopped_leaves_in_order(sites: Anycasting) -> None:
    began = time.monotonic()
    process = sites.a.runs[-1]
    process.send_signal(SIGTERM)
    sites.reached_at({"b"})
    assert process.wait(30) == 0, sites.a.said()
    took = time.monotonic() - began
    assert all(sites.held(prefix) == {"b"} for prefix in ALL)
    assert not sites.a.left(), "nothing of it runs on"
    assert not sites.a.on_lo(), "addresses that it added are gone"
    lost = sites.lost(began)
    row("SIGTERM of gslb run", sites.kind, lost, f"{took:.1f} s to its end")
    sites.a.start(ready=False)
    sites.well()
    assert sites.lost(began) == 0


def test_a_balanced_address_leaves_with_its_backends(netns: World, tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("bird")
    made = WithBackends(netns, tmp_path)
    with made.running():
        assert not any(
            WEB.partition("/")[0] in site.host.run("ip", "addr", "show", "lo") for site in made.sites.values()
        )
        began = time.monotonic()
        made.kill("a")
        made.reached_at({"b"}, WEB)
        moved = time.monotonic()
        row("all backends of a site die", made.kind, made.lost(began, WEB), f"{moved - began:.1f} s")
        assert made.lost(moved, WEB) == 0
        made.serve("a")
        made.well()
        assert made.lost(moved + 0.1) == 0
