"""What people are told of routes with the real program: a router that refuses, a session that fails, and a site that drains."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.bgp.routers import Bird
from tests.bus.cluster import installed
from tests.e2e.anycasting import ALL, VIPS, WEB, Anycasting, row
from tests.namespaces import World

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(installed() is None, reason="needs nats-server"),
]
ROUTER = "10.99.1.1"
SOON_S = 10.0  # for what is told within 5 s, on a busy machine


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anycasting]:
    with World() as world:
        made = Anycasting(world, tmp_path_factory.mktemp("told"))
        with made.running():
            yield made


@pytest.fixture
def sites(made: Anycasting) -> Iterator[Anycasting]:
    """All is well before, and the router is as it was after it."""
    assert isinstance(made.router, Bird)
    whole = made.router.config.read_text()
    made.well()
    yield made
    configure(made, whole)


def configure(made: Anycasting, text: str) -> float:
    """Have the router take another configuration; when it did."""
    assert isinstance(made.router, Bird)
    made.router.config.write_text(text)
    made.router.say("configure")
    return time.monotonic()


def altered(made: Anycasting, old: str, new: str) -> float:
    """Have the router take its configuration with one thing altered; when it did."""
    assert isinstance(made.router, Bird)
    text = made.router.config.read_text()
    assert text.count(old) == 1, text
    return configure(made, text.replace(old, new))


def told(made: Anycasting, part: str) -> bool:
    """Whether a problem of site a has these words."""
    return any(part in line for line in made.a.problems().get("anycast", ()))


def draining(made: Anycasting) -> dict[str, Any]:
    """What site a says of its drain; empty where it says nothing."""
    return made.a.report()["draining"] or {}


def test_a_router_that_refuses_a_prefix_is_told_and_shown(sites: Anycasting) -> None:
    def standing() -> list[str]:
        return [look["standing"] for look in sites.a.says(WEB)["in_router"]]

    sites.until(lambda: standing() == ["used"], "the route is found in the router", SOON_S)
    assert not sites.a.problems().get("anycast")
    began = altered(sites, "filter taken {", f"filter taken {{ if net = {WEB} then reject;")
    words = f"{WEB} is announced (announced) but not in router {ROUTER}"
    row("refused prefix", "bird", f"{sites.until(lambda: told(sites, words), words, SOON_S) - began:.1f} s")
    shown = sites.a.command("status").stdout
    assert f"in router {ROUTER}: missing" in shown
    assert f"problem     anycast: {words}" in shown


def test_a_session_that_fails_is_told_with_its_reason(sites: Anycasting) -> None:
    began = altered(sites, "neighbor 10.99.1.2 as 65010", "neighbor 10.99.1.2 as 65999")
    words = f"no session with router {ROUTER} (AS 65001) since"
    row("wrong AS", "bird", f"{sites.until(lambda: told(sites, words), words, SOON_S) - began:.1f} s")
    sites.until(lambda: told(sites, "OPEN refused by the router: bad peer AS"), "the reason", SOON_S)
    assert sites.a.says(VIPS[6])["acked"], "the other session goes on"
    altered(sites, "neighbor 10.99.1.2 as 65999", "neighbor 10.99.1.2 as 65010")
    sites.well()
    sites.until(lambda: not told(sites, words), "it is mended", SOON_S)
    moves = [(one["subject"], one["before"], one["after"]) for one in sites.a.audited("session")]
    assert moves[-2:] == [(ROUTER, "up", "down"), (ROUTER, "down", "up")]


def test_a_drain_is_shown_until_it_is_safe_to_stop(sites: Anycasting) -> None:
    assert not draining(sites)
    sites.a.operate("drain", "site/a")
    sites.until(lambda: bool(draining(sites)), "the drain is shown", SOON_S)
    sites.reached_at({"b"})

    def arrivals() -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in draining(sites)["arrivals"]}

    def quiet() -> bool:
        return all((arrivals()[prefix]["quiet_s"] or 0) >= 2 for prefix in VIPS.values())

    sites.until(quiet, "nobody asks here any more", SOON_S)
    found = draining(sites)
    assert set(arrivals()) == set(ALL)
    assert arrivals()[WEB]["unknown"] == "nothing here counts what comes to it"
    assert not found["safe"]
    assert f"what comes is not known: prefix {WEB}" in found["obstacles"]
    assert [one["after"] for one in sites.a.audited("route")][-len(ALL) :] == ["drain"] * len(ALL)
    shown = sites.a.command("status").stdout
    assert "draining    not safe to stop yet: " in shown
    assert "draining    site a for " in shown
    sites.a.operate("auto", "site/a")
    sites.until(lambda: not draining(sites), "it is over", SOON_S)
