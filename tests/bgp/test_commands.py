"""Lines for ExaBGP: what they say, and that no value of any type makes a second command of one."""

from __future__ import annotations

import importlib
import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.adjrib import route_of
from bgp.commands import Command, Teardown, line_of
from bgp.routes import Announce, Attributes, Route, Withdraw
from gslb.model.deployment import Address, Network

FOUR, SIX = ip_address("10.99.1.1"), ip_address("fd99:1::1")
SIXTEEN, THIRTY_TWO = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
ATTRIBUTES = st.builds(
    Attributes,
    med=st.none() | THIRTY_TWO,
    local_pref=st.none() | THIRTY_TWO,
    as_path=st.lists(st.integers(1, 0xFFFFFFFF), max_size=5).map(tuple),
    communities=st.lists(st.tuples(SIXTEEN, SIXTEEN), max_size=4).map(tuple),
    large=st.lists(st.tuples(THIRTY_TWO, THIRTY_TWO, THIRTY_TWO), max_size=4).map(tuple),
)


def hosts(version: int) -> st.SearchStrategy[Address]:
    return st.ip_addresses(v=4) if version == 4 else st.ip_addresses(v=6)


def networks(version: int) -> st.SearchStrategy[Network]:
    width = 32 if version == 4 else 128
    return st.builds(
        lambda host, length: ip_network(f"{host}/{length}", strict=False), hosts(version), st.integers(0, width)
    )


def routes() -> st.SearchStrategy[Route]:
    return st.sampled_from((4, 6)).flatmap(
        lambda version: st.builds(Route, hosts(version), networks(version), st.none() | hosts(version), ATTRIBUTES)
    )


COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(Announce, routes()),
    routes().map(lambda route: Withdraw(route.neighbor, route.prefix)),
    st.builds(Teardown, hosts(4) | hosts(6), st.integers(0, 255)),
)


@pytest.fixture(scope="module")
def registered() -> list[str]:
    """ExaBGP's own commands, in the order in which it looks for them."""
    for name in ("announce", "neighbor", "reactor", "rib", "watchdog"):
        importlib.import_module(f"exabgp.reactor.api.command.{name}")
    found: list[str] = importlib.import_module("exabgp.reactor.api.command.command").Command.functions
    return list(found)


def dispatched(line: str, registered: list[str]) -> set[str]:
    """What ExaBGP 5.0 could take the line for, by its own three tests."""
    return {name for name in registered if name == line or line.endswith(f" {name}") or f"{name} " in line}


@given(command=COMMANDS)
def test_a_line_is_one_command_of_plain_ascii(command: Command, registered: list[str]) -> None:
    line = line_of(command)
    assert len(dispatched(line, registered)) == 1, line
    assert re.fullmatch(r"[a-z0-9:./,\[\] -]+", line)
    assert line.startswith("neighbor ")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (
            Announce(Route(FOUR, ip_network("192.0.2.1/32"))),
            "neighbor 10.99.1.1 announce route 192.0.2.1/32 next-hop self",
        ),
        (
            Announce(
                Route(
                    SIX,
                    ip_network("2001:db8::1/128"),
                    ip_address("fd99:1::5"),
                    Attributes(100, 0, (65010, 65010), ((65535, 0), (65010, 1)), ((1, 2, 3),)),
                )
            ),
            "neighbor fd99:1::1 announce route 2001:db8::1/128 next-hop fd99:1::5 med 100 local-preference 0 "
            "as-path [ 65010 65010 ] community [ 65535:0 65010:1 ] large-community [ 1:2:3 ]",
        ),
        (Withdraw(FOUR, ip_network("192.0.2.1/32")), "neighbor 10.99.1.1 withdraw route 192.0.2.1/32"),
        (Teardown(FOUR), "neighbor 10.99.1.1 teardown 2"),
    ],
)
def test_lines_read_as_they_should(command: Command, line: str) -> None:
    assert line_of(command) == line


ZONED = IPv6Address("fe80::1%shutdown ")


@pytest.mark.parametrize(
    "command",
    [
        Withdraw(ZONED, IPv6Network("2001:db8::/32")),
        Announce(Route(SIX, IPv6Network("2001:db8::/32"), ZONED)),
        Withdraw(FOUR, IPv6Network("2001:db8::/32")),
        Announce(Route(FOUR, ip_network("192.0.2.1/32"), attributes=Attributes(med=1 << 32))),
        Announce(Route(FOUR, ip_network("192.0.2.1/32"), attributes=Attributes(med=True))),
        Announce(Route(FOUR, ip_network("192.0.2.1/32"), attributes=Attributes(communities=((65536, 0),)))),
        Announce(Route(FOUR, ip_network("192.0.2.1/32"), attributes=Attributes(as_path=(1,) * 34))),
        Teardown(FOUR, 256),
    ],
    ids=str,
)
def test_values_that_no_router_takes_are_refused(command: Command) -> None:
    with pytest.raises(ValueError, match="expected"):
        line_of(command)


def shown(route: Route, local: str) -> str:
    """The route as ExaBGP 5.0.15 shows it: one value stands alone, several in brackets."""
    said = route.attributes
    parts = [f"next-hop {route.next_hop or local}"]
    if said.as_path:
        parts.append(f"as-path ( {' '.join(map(str, said.as_path))} )")
    parts += [f"med {said.med}"] if said.med is not None else []
    parts += [f"local-preference {said.local_pref}"] if said.local_pref is not None else []
    for name, values in (("community", said.communities), ("large-community", said.large)):
        texts = [":".join(map(str, value)) for value in values]
        if texts:
            parts.append(f"{name} {texts[0]}" if len(texts) == 1 else f"{name} [ {' '.join(texts)} ]")
    return (
        f"neighbor {route.neighbor} local-ip {local} local-as 65010 peer-as 65001 router-id 10.99.1.2 "
        f"family-allowed in-open ipv{route.prefix.version} unicast {route.prefix} {' '.join(parts)}"
    )


@given(route=routes())
def test_what_exabgp_shows_is_read_back(route: Route) -> None:
    local = "10.99.1.2" if route.prefix.version == 4 else "fd99:1::2"
    hop = None if str(route.next_hop) == local else route.next_hop
    assert route_of(shown(route, local)) == Route(route.neighbor, route.prefix, hop, route.attributes)


@pytest.mark.parametrize(
    "line", ["", "done", "neighbor 10.0.0.1 local-ip 10.0.0.2 ipv4 unicast", "a b unicast c next-hop"]
)
def test_what_is_no_route_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="expected a route"):
        route_of(line)


def test_names_of_communities_are_read() -> None:
    line = shown(Route(IPv4Address("10.0.0.1"), ip_network("192.0.2.0/24")), "10.0.0.2")
    assert route_of(f"{line} community [ no-export no-peer 1:2 ]").attributes.communities == (
        (0xFFFF, 0xFF01),
        (0xFFFF, 0xFF04),
        (1, 2),
    )
