"""Sessions that fail at BIRD and at FRR: told with a reason, not tried in a loop, whole again when the router is mended.

Each session of three sites has a fault of its own, all at the same moment:

    a4 the router expects another AS        a6 it has a password
    b4 it takes one prefix at most          b6 it has the other family on that session
    c4 it refuses the prefix                c6 none        c also has a neighbor to which there is no route
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Protocol

import pytest

from bgp.proof import Standing, Unanswered, ask_bird, ask_frr, standing
from bgp.routes import Route
from tests.bgp.birdsite import VIPS
from tests.bgp.controlled import Controlled, Said, now
from tests.bgp.lab import OURS, THEIRS, Lab, RouteClock
from tests.bgp.routers import Bird, Frr, Router, peers
from tests.e2e.lifecycle import wait_until
from tests.namespaces import World, stop

pytestmark = [pytest.mark.root, pytest.mark.slow]

UP_S = 40.0
TOLD_S = 5.0
MOST_ATTEMPTS = 8  # in TOLD_S: ExaBGP waits 1, 2, 3 .. s after each, and the kernel repeats what nobody answers
MOST_SAID = 8  # changes of one session in TOLD_S
MORE = "203.0.113.54/32"  # so that one prefix is too few
NOBODY = "192.0.2.99"  # there is no route to it

# What is then said of each session; of the others nothing.
REASONS = {
    ("a", 4): "notification received (2,2)",  # RFC 4271 section 6.2: bad peer AS
    ("a", 6): "notification received (6,",  # how the last one ended: of a wrong password nobody says anything
    ("b", 4): "notification received (6,1)",  # RFC 4486: maximum number of prefixes reached
    ("b", 6): "notification received (2,7)",  # RFC 5492: unsupported capability
}


class Breakable(Protocol):
    """A router that can be broken as the module says, and mended."""

    @property
    def router(self) -> Router:
        """It."""

    def broken(self, *, broken: bool) -> None:
        """Break or mend all at once, while it serves."""

    def restart(self) -> None:
        """End the router and start it again."""


class BreakableBird:
    """BIRD; each change is another configuration."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self.router = Bird(lab.router, folder, _bird_config(lab, broken=False))

    def broken(self, *, broken: bool) -> None:
        self.router.config.write_text(_bird_config(self._lab, broken=broken))
        assert "Reconfig" in self.router.say("configure")

    def restart(self) -> None:
        self.router.stop()
        self.router.start()


class BreakableFrr:
    """FRR; each change is a list of commands."""

    def __init__(self, lab: Lab, _: Path) -> None:
        self.router = Frr(lab, peers(lab, 4, 6))

    def broken(self, *, broken: bool) -> None:
        undo = "no " if not broken else ""
        do = "no " if broken else ""
        commands = (
            "configure terminal",
            "route-map nothing deny 10",
            f"router bgp {THEIRS}",
            f"neighbor 10.99.1.2 remote-as {OURS + 9 if broken else OURS}",
            f"{undo}neighbor fd99:1::2 password other",
            "address-family ipv4 unicast",
            f"{undo}neighbor 10.99.2.2 maximum-prefix 1",
            f"{undo}neighbor fd99:2::2 activate",
            f"{undo}neighbor 10.99.3.2 route-map nothing in",
            "exit-address-family",
            "address-family ipv6 unicast",
            f"{do}neighbor fd99:2::2 activate",
        )
        words = [word for command in commands for word in ("-c", command)]
        self.router.host.run("vtysh", "--vty_socket", str(self.router.folder), *words)

    def restart(self) -> None:
        stop(self.router.processes["bgpd"])
        self.router.start()


def _bird_config(lab: Lab, *, broken: bool) -> str:
    """As in the lab, but for the faults."""
    faults = {("a", 4): f"neighbor as {OURS + 9};", ("a", 6): 'password "other";'} if broken else {}
    takes = {("b", 4): "import limit 1 action restart; import all;", ("c", 4): "import none;"} if broken else {}
    other = {("b", 6): 4} if broken else {}
    sessions = "".join(
        f"protocol bgp {site}{version} {{ local {lab.gateway(site, version)} as {THEIRS};"
        f" neighbor {lab.address(site, version)} as {OURS}; {faults.get((site, version), '')}"
        f" hold time 9; connect delay time 1; connect retry time 2; error wait time 1,2;"
        f" ipv{other.get((site, version), version)} {{ {takes.get((site, version), 'import all;')} export none; }}; }}\n"
        for site in lab.sites
        for version in (4, 6)
    )
    kernels = "".join(
        f"protocol kernel {{ merge paths yes; ipv{version} {{ import none; export where source = RTS_BGP; }}; }}\n"
        for version in (4, 6)
    )
    return f"router id 10.99.0.1;\nlog stderr all;\nprotocol device {{ scan time 1; }}\n{kernels}{sessions}"


@pytest.fixture(params=["bird", "vtysh"])
def world(
    request: pytest.FixtureRequest, netns: World, tmp_path: Path, tool: Callable[[str], str]
) -> Iterator[tuple[Lab, Breakable, dict[str, Controlled]]]:
    """Three sites whose routes are in the router's kernel."""
    tool(request.param)
    tool("nft")
    lab = Lab(netns, "a", "b", "c")
    lab.sites["c"].run("ip", "route", "add", "unreachable", NOBODY)
    made: Breakable = (BreakableBird if request.param == "bird" else BreakableFrr)(lab, tmp_path / "router")
    with ExitStack() as ends:
        ends.callback(made.router.stop)
        made.router.start()
        nobody = {"c": (NOBODY,)}
        sites = {name: Controlled(lab, name, tmp_path / name, nobody=nobody.get(name, ())) for name in lab.sites}
        for site in sites.values():
            ends.callback(site.close)
            site.start()
            site.announce(**dict.fromkeys((*VIPS.values(), MORE), "announced"))
        whole(lab)
        yield lab, made, sites


def whole(lab: Lab, without: str = "") -> None:
    """Wait until the router's kernel spreads over all sites."""
    for vip in VIPS.values():
        wait_until(lambda vip=vip: lab.reached(vip) == set(lab.sites) - {without}, f"{vip} by all", UP_S)  # type: ignore[misc]


def test_each_fault_is_told_and_nothing_spins(world: tuple[Lab, Breakable, dict[str, Controlled]]) -> None:
    lab, made, sites = world
    wait_until(lambda: found(made.router, lab, "c") in (Standing.USED, Standing.UNUSED), "the proof sees it", UP_S)
    count_attempts(lab)
    began = now()
    made.broken(broken=True)
    for (site, version), reason in REASONS.items():
        left = max(0.1, began + TOLD_S - now())
        text = f"{lab.gateway(site, version)}'), up=False, reason='{reason}"
        sites[site].wait("SessionSaid", text=text, since=began, within_s=left)
    wait_until(lambda: found(made.router, lab, "c") is Standing.MISSING, "the proof says it", UP_S)
    assert any(NOBODY in said.said and "up=False" in said.said for said in sites["c"].said)
    wait_until(lambda: lab.reached(VIPS[6]) == {"c"}, "IPv6 by c alone", UP_S)
    wait_until(lambda: not lab.reached(VIPS[4]) & {"a", "c"}, "IPv4 by none of these", UP_S)
    time.sleep(max(0.0, began + TOLD_S - now()))  # not a wait: so long everything is counted
    said = {(site, v): changes(sites[site], lab.gateway(site, v), began) for site in lab.sites for v in VIPS}
    assert said["c", 4] == said["c", 6] == []
    assert all(len(lines) <= MOST_SAID for lines in said.values()), said
    tried = attempts(lab)
    assert all(count <= MOST_ATTEMPTS for count in tried.values()), tried
    assert sum(tried.values()) > 0
    made.broken(broken=False)
    whole(lab)
    wait_until(lambda: found(made.router, lab, "c") in (Standing.USED, Standing.UNUSED), "the proof sees it", UP_S)
    with RouteClock(lab.router) as clock:
        made.restart()
        for vip in VIPS.values():
            clock.wait(vip, there=False, within_s=UP_S)
        whole(lab)


def found(router: Router, lab: Lab, site: str) -> Standing | None:
    """How the prefix of IPv4 stands in the router, by the proof; None where that was too busy to answer."""
    prefix = ip_network(VIPS[4])
    try:
        if isinstance(router, Bird):
            held = asyncio.run(ask_bird(router.socket, prefix))
        else:
            assert isinstance(router, Frr)
            held = asyncio.run(ask_frr(["vtysh", "--vty_socket", str(router.folder)], prefix))
    except Unanswered:
        return None
    return standing(held, Route(ip_address(lab.gateway(site)), prefix), ip_address(lab.address(site)))


def changes(site: Controlled, gateway: str, since: float) -> list[Said]:
    """What was said of one session."""
    return [
        said for said in site.said if said.what == "SessionSaid" and f"{gateway}'" in said.said and said.at >= since
    ]


def count_attempts(lab: Lab) -> None:
    """From now on, by address of a site."""
    rules = "".join(
        f"{'ip' if version == 4 else 'ip6'} saddr {lab.address(site, version)} tcp dport 179 "
        f'tcp flags & (syn|ack) == syn counter comment "{lab.address(site, version)}"\n'
        for site in lab.sites
        for version in VIPS
    )
    lab.router.run("nft", f"table inet count {{ chain in {{ type filter hook input priority -200;\n{rules}}}\n}}")


def attempts(lab: Lab) -> dict[str, int]:
    """How often each address has begun a connection."""
    listed = json.loads(lab.router.run("nft", "-j", "list", "table", "inet", "count"))["nftables"]
    rules = [each["rule"] for each in listed if "rule" in each]
    return {rule["comment"]: part["counter"]["packets"] for rule in rules for part in rule["expr"] if "counter" in part}
