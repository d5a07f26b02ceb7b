"""What is found in BIRD and in FRR, and what is said where they do not answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from bgp import proof
from bgp.proof import Standing, Unanswered, ask_bird, ask_frr, standing
from bgp.routertext import InRouter, Unreadable, bird_routes, frr_routes
from bgp.routes import Attributes, Route
from tests.bgp.birdsite import VIPS, Announcer
from tests.bgp.lab import OURS, Lab
from tests.bgp.routers import Bird, Frr, Router
from tests.e2e.lifecycle import wait_until

FOUR = ip_network(VIPS[4])
A, B, ROUTER = ip_address("10.99.1.2"), ip_address("10.99.2.2"), ip_address("10.99.1.1")
DRAINED = Attributes(70, None, (OURS, OURS), ((65535, 0),), ((65010, 1, 2),))


def asked(router: Router, prefix: str) -> tuple[InRouter, ...]:
    if isinstance(router, Frr):
        return asyncio.run(ask_frr(["vtysh", "--vty_socket", str(router.folder)], ip_network(prefix)))
    assert isinstance(router, Bird)
    return asyncio.run(ask_bird(router.socket, ip_network(prefix)))


@pytest.mark.root
@pytest.mark.slow
def test_a_route_is_found_as_it_stands(router: tuple[Lab, Router], tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("bird")
    lab, seen = router
    sites = {name: Announcer(lab, name, tmp_path / name) for name in lab.sites}
    assert [asked(seen, vip) for vip in VIPS.values()] == [(), ()]
    for site in sites.values():
        site.start()
    for version, vip in VIPS.items():
        wait_until(lambda vip=vip: lab.reached(vip) == {"a", "b"}, "both", 15.0)  # type: ignore[misc]
        found = asked(seen, vip)
        local = ip_address(lab.address("a", version))
        assert {route.giver for route in found} == {ip_address(lab.address(name, version)) for name in lab.sites}
        assert standing(found, Route(ip_address(lab.gateway("a", version)), ip_network(vip)), local) in (
            Standing.USED,
            Standing.UNUSED,  # BIRD says of one of two equal routes that it is the best
        )
    sites["a"].announce(
        f"bgp_community.add((65535,0)); bgp_large_community.add((65010,1,2)); bgp_med = 70; "
        f"bgp_path.prepend({OURS}); accept;"
    )
    for version, vip in VIPS.items():
        wait_until(lambda vip=vip: lab.reached(vip) == {"b"}, "b alone", 15.0)  # type: ignore[misc]
        found = asked(seen, vip)
        by_giver = {route.giver: route for route in found}
        drained = by_giver[ip_address(lab.address("a", version))]
        assert replace(drained.attributes, local_pref=None) == DRAINED
        assert not drained.used
        assert by_giver[ip_address(lab.address("b", version))].used
    sites["a"].announce("reject;")
    wait_until(lambda: len(asked(seen, VIPS[4])) == 1, "the route of a is gone", 15.0)
    for site in sites.values():
        site.stop()


HELD = InRouter(A, used=True, attributes=replace(DRAINED, communities=((65001, 9), (65535, 0)), local_pref=0))


@pytest.mark.parametrize(
    ("routes", "attributes", "found"),
    [
        ([], DRAINED, Standing.MISSING),
        ([replace(HELD, giver=B)], DRAINED, Standing.MISSING),
        ([HELD], DRAINED, Standing.USED),
        ([replace(HELD, used=False)], DRAINED, Standing.UNUSED),
        ([HELD], replace(DRAINED, communities=((65535, 1),)), Standing.OTHERWISE),
        ([HELD], replace(DRAINED, med=None), Standing.OTHERWISE),
        ([HELD], replace(DRAINED, as_path=(OURS,)), Standing.OTHERWISE),
        ([HELD], replace(DRAINED, as_path=()), Standing.USED),
    ],
)
def test_what_was_sent_is_compared_with_what_is_held(
    routes: list[InRouter], attributes: Attributes, found: Standing
) -> None:
    assert standing(routes, Route(ROUTER, FOUR, attributes=attributes), A) is found


@pytest.mark.parametrize("text", ["", "[]", "{", '{"paths": [{}]}', '{"paths": [{"peer": {"peerId": "x"}}]}'])
def test_what_is_no_answer_of_frr_is_told(text: str) -> None:
    with pytest.raises(Unreadable, match="FRR said"):
        frr_routes(text)


def test_what_is_no_answer_of_bird_is_told() -> None:
    with pytest.raises(Unreadable, match="BIRD said"):
        bird_routes("Table master4:\n203.0.113.53/32 unicast [s 17:00:00.000] * (100)\n\tBGP.med: x\n")
    assert bird_routes("Table master4:") == ()


def test_a_route_whose_next_hop_cannot_be_reached_is_not_used() -> None:
    (route,) = bird_routes(
        "Table master4:\n"
        "203.0.113.53/32      unreachable [s_10_99_1_2 18:01:20.567 from 10.99.1.2] * (100) [i]\n"
        "\tType: BGP univ\n\tBGP.origin: IGP\n\tBGP.as_path: \n\tBGP.next_hop: 10.99.1.2\n\tBGP.local_pref: 100\n"
    )
    assert route == InRouter(A, used=False, attributes=Attributes(local_pref=100))


def test_nobody_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unanswered, match="does not answer"):
        asyncio.run(ask_bird(tmp_path / "none.ctl", FOUR))
    with pytest.raises(Unanswered, match="cannot be run"):
        asyncio.run(ask_frr([str(tmp_path / "vtysh")], FOUR))
    with pytest.raises(Unanswered, match="failed: no such thing"):
        asyncio.run(ask_frr(["/bin/sh", "-c", "echo no such thing >&2; exit 1"], FOUR))


def test_silence_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "PATIENCE_S", 0.05)
    path = tmp_path / "silent.ctl"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(Unanswered, match=r"within 0\.05 s"):
            asyncio.run(ask_bird(path, FOUR))
    with pytest.raises(Unanswered, match=r"within 0\.05 s"):
        asyncio.run(ask_frr(["/bin/sh", "-c", "exec sleep 10"], FOUR))
