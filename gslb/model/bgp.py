"""What the operator wrote of BGP: a speaker, and its neighbors.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network


@dataclass(frozen=True, slots=True)
class Announce:
    """What a route carries while it is announced in full.

    `communities` are "high:low" (RFC 1997), `large` "global:first:second" (RFC 8092); `next_hop` is None for our own address.
    """

    communities: tuple[str, ...] = ()
    large: tuple[str, ...] = ()
    prepend: int = 0
    med: int | None = None
    next_hop: IPv4Address | IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    """How a route is de-preferred before it is withdrawn; beside what it carries anyway."""

    community: str | None = None
    prepend: int = 0
    med: int | None = None


class Router(StrEnum):
    """What a router runs that can be asked for its routes on this machine."""

    BIRD = "bird"  # by its control socket
    FRR = "frr"  # by vtysh


@dataclass(frozen=True, slots=True)
class Look:
    """Where a router shows its routes, for the proof that ours are there: the path of a socket, or of a command."""

    router: Router
    path: str


@dataclass(frozen=True, slots=True)
class Neighbor:
    """One BGP neighbor of a node.

    `local` is our address on that session, None for that of the route to it.  A `passive` session is opened by the router;
    `port` is the router's, or ours where the session is passive.  With `gtsm` only a directly connected router is heard (RFC 5082).
    """

    address: IPv4Address | IPv6Address
    peer_as: int
    md5_env: str | None = None
    md5_file: str | None = None
    port: int = 179
    drain: Drain = Drain()
    local: IPv4Address | IPv6Address | None = None
    passive: bool = False
    gtsm: bool = False
    announce: Announce = Announce()
    look: Look | None = None


@dataclass(frozen=True, slots=True)
class Bgp:
    """The BGP speaker of one node or site.

    It announces nothing outside `allow` (empty: all that is configured as anycast) and no more than `max_routes` prefixes.
    Routers are told what `on_controller_loss` says once the controller has been silent for `controller_loss_s`.
    """

    name: str
    local_as: int
    router_id: IPv4Address
    neighbors: tuple[Neighbor, ...]
    hold_s: int = 9
    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    max_routes: int = 100
    controller_loss_s: float = 15.0
