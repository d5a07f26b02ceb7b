"""The lab itself: BIRD and FRR take routes, spread over sites and prefer one; what is lost is counted.  BIRD announces."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bgp.birdsite import VIPS, Announcer
from tests.bgp.lab import OURS, Lab, LossMeter, RouteClock
from tests.bgp.routers import Held, Router
from tests.e2e.lifecycle import wait_until
from tests.namespaces import World

pytestmark = [pytest.mark.root, pytest.mark.slow]

UP_S = 15.0
MOVED_S = 5.0


def test_routes_are_taken_spread_and_preferred(
    router: tuple[Lab, Router], tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool("bird")
    lab, seen = router
    sites = {name: Announcer(lab, name, tmp_path / name) for name in lab.sites}
    with RouteClock(lab.router) as clock:
        for site in sites.values():
            site.start()
        for version, vip in VIPS.items():
            wait_until(lambda vip=vip: lab.reached(vip) == {"a", "b"}, f"both sites for {vip}", UP_S)  # type: ignore[misc]
            assert all(seen.is_up(lab.address(name, version)) for name in sites)
            assert {(held.neighbor, held.as_path) for held in seen.paths(vip)} == {
                (lab.address(name, version), (OURS,)) for name in sites
            }
            clock.wait(vip, there=True, within_s=1.0)
        _prefer_another(lab, seen, sites["a"])
        sites["b"].stop()
        began = time.monotonic()
        sites["a"].announce("reject;")
        for vip in VIPS.values():
            clock.wait(vip, there=False, within_s=MOVED_S, since=began)
            assert seen.paths(vip) == []
    sites["a"].stop()


def _prefer_another(lab: Lab, seen: Router, site: Announcer) -> None:
    with LossMeter(lab, VIPS[4].split("/")[0]) as four, LossMeter(lab, VIPS[6].split("/")[0]) as six:
        for meter in (four, six):
            meter.answers_from("a", "b")
        community = "bgp_community.add((65535,0)); bgp_large_community.add((65010,1,2));"
        for export in (
            f"{community} accept;",
            f"bgp_path.prepend({OURS}); bgp_path.prepend({OURS}); accept;",
            "bgp_med = 70; accept;",
        ):
            site.announce(export)
            for vip in VIPS.values():
                wait_until(lambda vip=vip: lab.reached(vip) == {"b"}, f"b alone: {export}", MOVED_S)  # type: ignore[misc]
            _holds_what_was_said(lab, seen, export)
            site.announce("accept;")
            for vip in VIPS.values():
                wait_until(lambda vip=vip: lab.reached(vip) == {"a", "b"}, "both again", MOVED_S)  # type: ignore[misc]
    for version, meter in ((4, four), (6, six)):
        assert not meter.losses.lost, f"IPv{version}: {len(meter.losses.lost)} of {len(meter.losses.sent)}"
        assert set(meter.losses.by_site()) == {"a", "b"}


def _holds_what_was_said(lab: Lab, seen: Router, export: str) -> None:
    for vip in VIPS.values():
        version = ipaddress.ip_network(vip).version
        held = next(held for held in seen.paths(vip) if held.neighbor == lab.address("a", version))
        assert _said(held) == export.startswith("bgp_community"), held
        assert (held.as_path, held.med or 0) == (
            (OURS,) * (3 if "prepend" in export else 1),
            70 if "med" in export else 0,
        )


def _said(held: Held) -> bool:
    return (held.communities, held.large, held.local_pref) == (frozenset({"65535:0"}), frozenset({"65010:1:2"}), 0)


def test_what_nobody_answers_is_lost(netns: World) -> None:
    lab = Lab(netns, "a")
    vip = VIPS[4]
    lab.bind(vip)
    lab.router.add_route(vip, lab.address("a"))
    with RouteClock(lab.router) as clock, LossMeter(lab, vip.split("/")[0]) as meter:
        meter.answers_from("a")
        lab.router.run("ip", "route", "del", vip)
        gone = clock.wait(vip, there=False, within_s=1.0)
        meter.answers_from()
        lab.router.add_route(vip, lab.address("a"))
        back = clock.wait(vip, there=True, within_s=1.0, since=gone)
        meter.answers_from("a")
    assert all(gone - 0.1 < at < back + 0.1 for at in meter.losses.lost)
    assert meter.losses.lost
