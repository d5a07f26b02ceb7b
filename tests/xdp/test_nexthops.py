"""Next hops as the kernel has them: found, followed, refused with a reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.namespaces import Namespace, World
from xdp.netlink import Netlink
from xdp.nexthops import GRACE_S, Hop, NextHops

pytestmark = pytest.mark.root
NEAR4, NEAR6, FAR, NOBODY = "10.7.0.2", "fd07::2", "10.9.0.2", "10.7.0.9"


class Lab:
    """A balancer, a backend beside it, and one behind a gateway."""

    def __init__(self, world: World) -> None:
        self.balancer = world.namespace("balancer")
        self.near = world.namespace("near")
        self.gateway = world.namespace("gateway")
        self.port, self.near_port = world.join(self.balancer, self.near, "10.7.0.1/24", f"{NEAR4}/24")
        self.balancer.add_address(self.port, "fd07::1/64")
        self.near.add_address(self.near_port, f"{NEAR6}/64")
        self.side, self.gateway_port = world.join(self.balancer, self.gateway, "10.8.0.1/24", "10.8.0.2/24")
        self.balancer.add_route("10.9.0.0/24", "10.8.0.2")
        for name, value in (
            ("delay_first_probe_time", "0"),
            ("retrans_time_ms", "50"),
            ("base_reachable_time_ms", "400"),
        ):
            for port in (self.port, self.side):
                self.balancer.run("sysctl", "-qw", f"net.ipv4.neigh.{port}.{name}={value}")


@pytest.fixture
def lab(netns: World) -> Lab:
    return Lab(netns)


@pytest.fixture
def hops(lab: Lab) -> Iterator[NextHops]:
    with closing(lab.balancer.call(NextHops)) as made:
        yield made


def ethernet(member: Namespace, interface: str) -> bytes:
    with closing(member.call(Netlink)) as netlink:
        return next(link.address for link in netlink.links() if link.name == interface)


def until(hops: NextHops, true: Callable[[], bool], seconds: float = 15.0) -> None:
    """Look again and again, as each second would, in the time of the machine's clock."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing came of it"
        hops.refresh(time.monotonic())
        time.sleep(0.02)


def found(hops: NextHops, address: str, *, on_link: bool = False) -> Hop:
    hop = hops.hop(address, time.monotonic(), on_link=on_link)
    assert isinstance(hop, Hop), hop
    return hop


@pytest.mark.parametrize("address", [NEAR4, NEAR6])
def test_a_backend_on_the_link_is_found_at_once(lab: Lab, hops: NextHops, address: str) -> None:
    hops.follow({address}, time.monotonic(), patience_s=5.0)
    hop = found(hops, address, on_link=True)
    assert (hop.ethernet, hop.source) == (ethernet(lab.near, lab.near_port), ethernet(lab.balancer, lab.port))
    assert hop.mtu == 1500
    assert str(hops.own(4 if address == NEAR4 else 6, (lab.port,))) == ("10.7.0.1" if address == NEAR4 else "fd07::1")


def test_a_backend_behind_a_gateway_has_the_gateways_address(lab: Lab, hops: NextHops) -> None:
    lab.balancer.run("ip", "route", "replace", "10.9.0.0/24", "via", "10.8.0.2", "mtu", "1400")
    hops.follow({FAR}, time.monotonic(), patience_s=5.0)
    hop = found(hops, FAR)
    assert (hop.ethernet, hop.mtu) == (ethernet(lab.gateway, lab.gateway_port), 1400)
    refused = hops.hop(FAR, time.monotonic(), on_link=True)
    assert isinstance(refused, str)
    assert refused.startswith("it is behind the gateway 10.8.0.2 - forwarding by l2 needs it on a network of this node")


def test_another_gateway_is_followed(lab: Lab, hops: NextHops) -> None:
    hops.follow({FAR}, time.monotonic(), patience_s=5.0)
    lab.balancer.run("ip", "route", "replace", "10.9.0.0/24", "via", NEAR4)
    until(hops, lambda: found(hops, FAR).ethernet == ethernet(lab.near, lab.near_port) if reached(hops, FAR) else False)


def reached(hops: NextHops, address: str) -> bool:
    return isinstance(hops.hop(address, time.monotonic(), on_link=False), Hop)


def test_another_ethernet_address_is_followed(lab: Lab, hops: NextHops) -> None:
    """The backend's card is replaced and nobody says so: the kernel is made to look."""
    hops.follow({NEAR4}, time.monotonic(), patience_s=5.0)
    lab.near.run("ip", "link", "set", lab.near_port, "address", "02:00:00:00:00:99")
    until(hops, lambda: found(hops, NEAR4).ethernet == bytes.fromhex("020000000099"))


def test_another_mtu_is_followed(lab: Lab, hops: NextHops) -> None:
    hops.follow({NEAR4}, time.monotonic(), patience_s=5.0)
    lab.balancer.run("ip", "link", "set", lab.port, "mtu", "1380")
    until(hops, lambda: reached(hops, NEAR4) and found(hops, NEAR4).mtu == 1380)


def test_who_stops_answering_is_kept_for_a_while_and_then_given_up(lab: Lab, hops: NextHops) -> None:
    hops.follow({NEAR4}, time.monotonic(), patience_s=5.0)
    lab.near.run("ip", "addr", "flush", "dev", lab.near_port)
    lab.balancer.run("ip", "neigh", "flush", "dev", lab.port)
    until(hops, lambda: isinstance(hops.hop(NEAR4, time.monotonic() + GRACE_S, on_link=True), str))
    assert found(hops, NEAR4).ethernet == ethernet(lab.near, lab.near_port)
    reason = hops.hop(NEAR4, time.monotonic() + GRACE_S, on_link=True)
    assert reason == f"it answers no longer on {lab.port}: its Ethernet address is not known now"
    assert hops.refresh(time.monotonic()), "the tables look again while somebody may be given up"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (NOBODY, "it does not answer on v0l: its Ethernet address is not known"),
        ("10.7.0.1", "it is an address of this node itself, which does not forward to itself"),
        ("10.66.0.1", "no route leads to it: Network is unreachable"),
        ("10.7.0.255", "no route leads to it as to one host"),
        ("10.5.0.1", "tun0, by which it is reached, has no Ethernet addresses"),
    ],
)
def test_why_a_backend_is_not_reached(lab: Lab, hops: NextHops, address: str, reason: str) -> None:
    lab.balancer.run("ip", "tuntap", "add", "tun0", "mode", "tun")
    lab.balancer.run("ip", "addr", "add", "10.5.0.2/24", "dev", "tun0")
    lab.balancer.run("ip", "link", "set", "tun0", "up")
    hops.follow({address}, time.monotonic())
    assert hops.hop(address, time.monotonic(), on_link=False) == reason


def test_who_is_not_followed_any_more_is_forgotten(hops: NextHops) -> None:
    hops.follow({NEAR4, FAR}, time.monotonic(), patience_s=5.0)
    hops.follow({NEAR4}, time.monotonic())
    assert hops.hop(FAR, time.monotonic(), on_link=False) == "its route is not looked up yet"
    assert reached(hops, NEAR4)
    until(hops, lambda: not hops.refresh(time.monotonic()), 5.0)
