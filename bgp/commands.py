"""One line of ExaBGP's text API, built from typed values only.  Pure.

Rule 1: every line that goes to ExaBGP as a command is made here.  ExaBGP finds its commands by substring ("shutdown " anywhere in
a line ends the daemon), so no text of anybody is ever put in: addresses, networks and whole numbers, nothing else.
Rule 2: every route command begins with its neighbor: without it `next-hop self` of IPv6 meets a session of IPv4 and fails midway.
Standards: RFC 1997 (communities), RFC 8092 (large communities), RFC 4271 section 5.1 (MED, AS_PATH), RFC 8326 (graceful shutdown).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from bgp.routes import Announce, Attributes, Route, Withdraw
from gslb.model.deployment import Address, Network

HIGHEST_16 = 0xFFFF
HIGHEST_32 = 0xFFFFFFFF
LONGEST_PATH = 33  # AS numbers: so many can be configured, and routers refuse much longer paths
MOST_COMMUNITIES = 64


@dataclass(frozen=True, slots=True)
class Teardown:
    """End a session with Cease and this subcode of RFC 4486 (2: administrative shutdown).  ExaBGP then connects again."""

    neighbor: Address
    subcode: int = 2


Command = Announce | Withdraw | Teardown
VERSION = "version"  # "exabgp 5.0.15", at once
SESSIONS = "show neighbor json"  # one JSON list on one line, after every route command before it
ROUTES = "show adj-rib out extensive"  # a line for each neighbor and route
SHUTDOWN = "shutdown"


def line_of(command: Command) -> str:
    """The line, without its end.  Raises ValueError for a value that no router would take."""
    match command:
        case Announce(route):
            return f"{_head(route.neighbor, route.prefix)} announce route {_network(route.prefix)} {_said(route)}"
        case Withdraw(neighbor, prefix):
            return f"{_head(neighbor, prefix)} withdraw route {_network(prefix)}"
        case Teardown(neighbor, subcode):
            return f"neighbor {_address(neighbor)} teardown {_number(subcode, 255)}"


def _head(neighbor: Address, prefix: Network) -> str:
    if neighbor.version != prefix.version:
        raise ValueError(f"{prefix} for neighbor {neighbor} - expected the session of IPv{prefix.version}")
    return f"neighbor {_address(neighbor)}"


def _said(route: Route) -> str:
    hop = "self" if route.next_hop is None else _address(route.next_hop)
    return " ".join([f"next-hop {hop}", *_attributes(route.attributes)])


def _attributes(said: Attributes) -> Iterable[str]:
    if said.med is not None:
        yield f"med {_number(said.med, HIGHEST_32)}"
    if said.local_pref is not None:
        yield f"local-preference {_number(said.local_pref, HIGHEST_32)}"
    if said.as_path:
        yield f"as-path {_list((_number(asn, HIGHEST_32, 1) for asn in said.as_path), LONGEST_PATH)}"
    if said.communities:
        yield f"community {_list((_joined(parts, HIGHEST_16) for parts in said.communities), MOST_COMMUNITIES)}"
    if said.large:
        yield f"large-community {_list((_joined(parts, HIGHEST_32) for parts in said.large), MOST_COMMUNITIES)}"


def _list(words: Iterable[str], most: int) -> str:
    known = list(words)
    if len(known) > most:
        raise ValueError(f"{len(known)} values of one attribute - expected {most} at most")
    return f"[ {' '.join(known)} ]"


def _joined(parts: Iterable[int], highest: int) -> str:
    return ":".join(_number(part, highest) for part in parts)


def _number(value: int, highest: int, lowest: int = 0) -> str:
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError(f"{value!r} - expected a whole number from {lowest} to {highest}")
    return str(value)


def _address(value: Address) -> str:
    """Its text, without a zone: "fe80::1%eth0" is an address for Python, and what follows "%" is anybody's text."""
    if type(value) is IPv4Address or (type(value) is IPv6Address and value.scope_id is None):
        return str(value)
    raise ValueError(f"{value!r} - expected an address without a zone")


def _network(value: Network) -> str:
    if type(value) not in (IPv4Network, IPv6Network):
        raise ValueError(f"{value!r} - expected a network")
    return f"{_address(value.network_address)}/{value.prefixlen}"
