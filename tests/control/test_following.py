"""Which addresses a node needs to answer for a prefix."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from gslb.control.following import addresses_of
from gslb.control.wanted import Wanted

HERE = frozenset(map(ip_address, ("127.0.0.1", "10.0.0.1", "203.0.113.7", "2001:db8:7::7")))
WILD = ("0.0.0.0", "::")


@pytest.mark.parametrize(
    ("prefix", "listen", "needed"),
    [
        ("198.51.100.53/32", WILD, {"198.51.100.53"}),
        ("2001:db8:53::53/128", ("198.51.100.53",), {"2001:db8:53::53"}),
        ("198.51.100.0/24", ("198.51.100.53", "198.51.100.54", "10.0.0.1"), {"198.51.100.53", "198.51.100.54"}),
        ("203.0.113.0/24", ("203.0.113.53",), {"203.0.113.53"}),
        ("203.0.113.0/24", WILD, {"203.0.113.7"}),
        ("2001:db8:7::/48", WILD, {"2001:db8:7::7"}),
        ("198.51.100.0/24", WILD, {"198.51.100.0"}),
        ("2001:db8:53::/64", WILD, {"2001:db8:53::"}),
    ],
)
def test_addresses_of_a_prefix(prefix: str, listen: tuple[str, ...], needed: set[str]) -> None:
    wanted = Wanted("example", "fra", tuple((one, 53) for one in listen), (ip_network(prefix),), None, 1000)
    assert {str(one) for one in addresses_of(ip_network(prefix), wanted, HERE)} == needed
