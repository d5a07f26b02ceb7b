"""What the operator wrote of BGP: a speaker, and its neighbors.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address


@dataclass(frozen=True, slots=True)
class Drain:
    """How a route is de-preferred before it is withdrawn."""

    community: str | None = None
    prepend: int = 0
    med: int | None = None


@dataclass(frozen=True, slots=True)
class Neighbor:
    """One BGP neighbor of a node."""

    address: IPv4Address | IPv6Address
    peer_as: int
    md5_env: str | None = None
    md5_file: str | None = None
    port: int = 179
    drain: Drain = Drain()


@dataclass(frozen=True, slots=True)
class Bgp:
    """The BGP speaker of one node or site."""

    name: str
    local_as: int
    router_id: IPv4Address
    neighbors: tuple[Neighbor, ...]
