"""What docs/anycast.md gives to routers is taken by BIRD, FRR and GoBGP, and does what the page says.  Real ExaBGP beside."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gslb.config.load import load
from tests.bgp.birdsite import VIPS
from tests.bgp.controlled import Controlled, now
from tests.bgp.gobgp import GoBgp
from tests.bgp.lab import OURS, Lab, RouteClock
from tests.bgp.page import SESSION, snippet
from tests.bgp.routers import Bird, Frr, Router
from tests.e2e.lifecycle import wait_until
from tests.namespaces import World

STRANGE = {4: "203.0.113.99/32", 6: "2001:db8:53::99/128"}  # what the page's filters do not take
UP_S = 40.0
PROGRAMS = {"bird": "bird", "frr": "vtysh", "gobgp": "gobgpd"}
REFRESH = {"bird": "reload in all", "frr": "clear bgp {} soft in", "gobgp": "neighbor {} softresetin"}
LOWEST = {"bird": 0, "frr": 0, "gobgp": 1}  # local preference of a drained route


def test_the_configuration_of_the_page_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "gslb.yaml"
    path.write_text(snippet("Configuration"))
    assert [str(problem) for problem in load(path).warnings] == []


@pytest.fixture(params=list(PROGRAMS))
def routed(
    request: pytest.FixtureRequest, netns: World, tmp_path: Path, tool: Callable[[str], str]
) -> Iterator[tuple[str, Lab, Router, dict[str, Controlled]]]:
    """A lab whose router runs what the page says, and ExaBGP at each site that it knows."""
    tool(PROGRAMS[request.param])
    lab = Lab(netns, *("a" if request.param == "gobgp" else "ab"))
    made = router(request.param, lab, tmp_path)
    with contextlib.ExitStack() as ends:
        ends.callback(made.stop)
        made.start()
        sites = {name: Controlled(lab, name, tmp_path / name, session=SESSION) for name in lab.sites}
        for site in sites.values():
            ends.callback(site.close)
            site.start()
        for name, site in sites.items():
            for version in VIPS:
                site.wait("SessionSaid", text=f"{lab.gateway(name, version)}'), up=True", within_s=UP_S)
        yield request.param, lab, made, sites


def router(kind: str, lab: Lab, folder: Path) -> Router:
    """The router of that kind with the page's configuration."""
    if kind == "bird":
        return Bird(lab.router, folder / kind, snippet("BIRD 2"))
    return Frr(lab, (), snippet("FRR")) if kind == "frr" else GoBgp(lab, folder / kind, snippet("GoBGP"))


@pytest.mark.root
@pytest.mark.slow
def test_a_router_takes_our_prefixes_and_no_others_and_prefers_others_to_a_drained_one(
    routed: tuple[str, Lab, Router, dict[str, Controlled]],
) -> None:
    kind, lab, made, sites = routed
    for site in sites.values():
        site.announce(**dict.fromkeys((*STRANGE.values(), *VIPS.values()), "announced"))
    for version, vip in VIPS.items():
        wait_until(lambda vip=vip: len(made.paths(vip)) == len(sites), f"{vip} is there", UP_S)  # type: ignore[misc]
        assert made.paths(STRANGE[version]) == []
        if kind != "gobgp":
            wait_until(lambda vip=vip: lab.reached(vip) == set(sites), f"{vip} by all sites", UP_S)  # type: ignore[misc]
    refresh_moves_nothing(kind, lab, made, sites)
    sites["a"].announce(**dict.fromkeys(VIPS.values(), "drain"))
    for version, vip in VIPS.items():
        address = lab.address("a", version)
        wait_until(lambda vip=vip, a=address: drained(made, vip, a) == LOWEST[kind], f"{vip} is drained", UP_S)  # type: ignore[misc]
        if kind != "gobgp":
            wait_until(lambda vip=vip: lab.reached(vip) == {"b"}, f"{vip} by b", UP_S)  # type: ignore[misc]
    for site in sites.values():
        site.announce()
    for vip in VIPS.values():
        wait_until(lambda vip=vip: made.paths(vip) == [], f"{vip} is gone", UP_S)  # type: ignore[misc]


def drained(made: Router, vip: str, address: str) -> int | None:
    """The local preference of the route of `address`, where that carries what a drained one does."""
    for held in made.paths(vip):
        if (held.neighbor, held.communities, held.med, held.as_path) == (
            address,
            frozenset({"65535:0"}),
            100,
            (OURS,) * 4,
        ):
            return held.local_pref
    return None


def refresh_moves_nothing(kind: str, lab: Lab, made: Router, sites: dict[str, Controlled]) -> None:
    """The router asks for all routes again; no session ends, and its kernel sees nothing of it."""
    began = now()
    with RouteClock(lab.router) as clock:
        before = {} if kind == "gobgp" else received(made)
        for address in [lab.address(site, version) for site in lab.sites for version in VIPS]:
            made.say(REFRESH[kind].format(address))
        if kind != "gobgp":  # which keeps what it was told, and applies its policies anew
            wait_until(lambda: all(received(made)[name] > count for name, count in before.items()), "sent again", UP_S)
        assert clock.events() == []
    for site in sites.values():
        assert [said for said in site.said if said.what == "SessionSaid" and said.at >= began] == []


def received(made: Router) -> dict[str, int]:
    """How many updates each neighbor has sent."""
    if isinstance(made, Bird):
        text = made.say("show protocols all")
        found = re.findall(r"Neighbor address: (\S+)\n.*?Import updates: +(\d+)", text, re.S)
        return {name: int(count) for name, count in found}
    said = json.loads(made.say("show bgp neighbors json"))
    return {name: one["messageStats"]["updatesRecv"] for name, one in said.items() if "messageStats" in one}
