"""Links, routes and neighbours as the kernel tells them."""

from __future__ import annotations

import errno
from contextlib import closing
from ipaddress import IPv4Interface, ip_address

import pytest

from tests.namespaces import World
from xdp.netlink import LOCAL, UNICAST, Link, Netlink, Nud, Told, neighbour_of

ETHERNET = b"\x02" + bytes(5)


@pytest.mark.parametrize(
    ("link", "carrier"),
    [
        (Link(7, "eth0", "", ETHERNET, 1500, 0), 7),
        (Link(8, "eth0.7", "vlan", ETHERNET, 1500, 7), 7),
        (Link(9, "v0", "veth", ETHERNET, 1500, 3), 9),
    ],
    ids=["plain", "vlan", "veth"],
)
def test_frames_leave_by_what_a_vlan_stands_on(link: Link, carrier: int) -> None:
    assert link.carrier == carrier


def test_what_everybody_may_ask_is_answered_without_rights() -> None:
    with Netlink() as netlink:
        (loopback,) = (link for link in netlink.links() if link.name == "lo")
        assert (loopback.address, loopback.parent) == (bytes(6), 0)
        route = netlink.route(ip_address("127.0.0.1"))
        assert (route.type, route.index, str(route.source)) == (LOCAL, loopback.index, "127.0.0.1")
        assert isinstance(netlink.neighbours(), list)
        assert IPv4Interface("127.0.0.1/8") in netlink.networks()


@pytest.mark.root
def test_routes_and_neighbours_of_a_small_world(netns: World) -> None:
    one, two = netns.namespace("one"), netns.namespace("two")
    port, _ = netns.join(one, two, "10.7.0.1/24", "10.7.0.2/24")
    one.run("ip", "route", "add", "10.9.0.0/24", "via", "inet6", "fe80::7", "dev", port, "mtu", "1400")
    with closing(one.call(Netlink)) as netlink, closing(one.call(lambda: Netlink(0x4))) as told:
        near, far = netlink.route(ip_address("10.7.0.2")), netlink.route(ip_address("10.9.0.1"))
        assert (near.type, near.gateway, str(near.source), near.mtu) == (UNICAST, None, "10.7.0.1", 0)
        assert (str(far.gateway), far.mtu) == ("fe80::7", 1400)
        with pytest.raises(OSError, match="unreachable") as refused:
            netlink.route(ip_address("192.0.2.1"))
        assert refused.value.errno == errno.ENETUNREACH
        one.run("ip", "neigh", "replace", "10.7.0.9", "lladdr", "02:00:00:00:00:09", "dev", port)
        (known,) = (each for each in netlink.neighbours() if str(each.address) == "10.7.0.9")
        assert (known.index, known.ethernet, known.state) == (near.index, bytes.fromhex("020000000009"), Nud.PERMANENT)
        heard = [neighbour_of(body) for kind, body in told.changes() if kind == Told.NEWNEIGH]
        assert known in heard
        assert list(told.changes()) == []
        with pytest.raises(OSError, match="No such device"):
            netlink.use(999, ip_address("10.7.0.2"))
