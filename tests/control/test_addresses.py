"""Where to listen: the configuration joined with the node's interfaces."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gslb.control import wanted
from gslb.control.addresses import Present, absent, endpoints, ours, present
from gslb.control.wanted import Wanted
from gslb.nameserver.sockets import Endpoint
from tests.namespaces import World

HERE = (
    Present("127.0.0.1"),
    Present("192.0.2.1"),
    Present("::1"),
    Present("2001:db8::1"),
    Present("fe80::1", 3),
)
WITHOUT_IPV6 = HERE[:2]


def orders(*listen: tuple[str, int], later: tuple[str, ...] = ()) -> Wanted:
    return Wanted("example", "fra", listen, tuple(ip_network(text) for text in later), None, 1000)


CASES = [
    ("one", [("192.0.2.1", 53)], {"192.0.2.1"}),
    ("every IPv4", [("0.0.0.0", 53)], {"127.0.0.1", "192.0.2.1"}),
    ("every IPv6", [("::", 53)], {"::1", "2001:db8::1", "fe80::1"}),
    ("every and one", [("0.0.0.0", 53), ("192.0.2.1", 53)], {"127.0.0.1", "192.0.2.1"}),
    ("one that may come", [("203.0.113.53", 53)], {"203.0.113.53"}),
]


@pytest.mark.parametrize(("listen", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_endpoints(listen: list[tuple[str, int]], expected: set[str]) -> None:
    found = endpoints(orders(*listen), HERE)
    assert {one.address for one in found} == expected
    assert {one.transport for one in found} == {"udp", "tcp"}


def test_a_link_local_address_carries_its_interface() -> None:
    assert Endpoint("udp", "fe80::1", 53, 3) in endpoints(orders(("::", 53)), HERE)


def test_a_kernel_without_ipv6_is_no_mistake() -> None:
    assert endpoints(orders(("::1", 53), ("127.0.0.1", 53)), WITHOUT_IPV6) == endpoints(
        orders(("127.0.0.1", 53)), WITHOUT_IPV6
    )
    assert absent(orders(("::1", 53)), WITHOUT_IPV6) == ()


@pytest.mark.parametrize(
    ("listen", "later", "expected"),
    [
        ("192.0.2.1", (), ()),
        ("0.0.0.0", (), ()),
        ("127.5.5.5", (), ()),
        ("192.0.2.9", (), ("192.0.2.9",)),
        ("203.0.113.53", ("203.0.113.53/32",), ()),
        ("2001:db8::53", ("203.0.113.53/32",), ("2001:db8::53",)),
        ("2001:db8::53", ("2001:db8::/64",), ()),
    ],
)
def test_only_addresses_that_nothing_accounts_for_are_absent(
    listen: str, later: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert absent(orders((listen, 53), later=later), HERE) == expected


def test_this_machine_has_a_loopback() -> None:
    assert Present("127.0.0.1") in present()


def test_orders_survive_the_channel() -> None:
    one = orders(("0.0.0.0", 53), ("2001:db8::1", 5300), later=("203.0.113.53/32", "2001:db8::/64"))
    assert wanted.from_json(one.to_json()) == one


def test_ours_are_those_whose_packets_come_to_us() -> None:
    assert ours(["127.0.0.1", "127.1.2.3", "192.0.2.77", "2001:db8::77"]) == {"127.0.0.1", "127.1.2.3"}


@pytest.mark.root
def test_ours_go_with_their_interface_and_routes_of_type_local_count(netns: World) -> None:
    node = netns.namespace("node")
    node.run("ip", "link", "add", "anycast", "type", "veth", "peer", "name", "other")
    node.add_address("anycast", "192.0.2.53/32")
    node.run("ip", "link", "set", "anycast", "up")
    node.run("ip", "route", "add", "local", "198.51.100.0/24", "dev", "lo")
    asked = ("192.0.2.53", "198.51.100.53", "203.0.113.53")
    assert node.call(lambda: ours(asked)) == {"192.0.2.53", "198.51.100.53"}
    node.run("ip", "address", "del", "192.0.2.53/32", "dev", "anycast")
    assert node.call(lambda: ours(asked)) == {"198.51.100.53"}
