"""Which routes each neighbor is given, and what must change so that ExaBGP has them.  Pure.

Rule 1: the whole wanted state is compared with ExaBGP's own table; what is missing is added before anything leaves.
Rule 2: a neighbor is given the prefixes of its own address family only: one session carries one family.
Rule 3: towards our own AS nothing is prepended (routers take their own AS in a path for a loop, RFC 4271 section 9.1.2);
there a draining route has local preference 0 (RFC 8326 section 4.1), which only means something inside an AS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gslb.model.bgp import Bgp, Neighbor
from gslb.model.deployment import Address, Network


class State(StrEnum):
    """How a prefix stands with the neighbors."""

    OFF = "off"
    ANNOUNCED = "announced"
    DRAIN = "drain"  # announced, but any other site's route is better


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a route says beside its prefix and next hop, as far as it was given; `as_path` is whole, () for ExaBGP's own."""

    med: int | None = None
    local_pref: int | None = None
    as_path: tuple[int, ...] = ()
    communities: tuple[tuple[int, int], ...] = ()
    large: tuple[tuple[int, int, int], ...] = ()  # RFC 8092


@dataclass(frozen=True, slots=True)
class Route:
    """One prefix for one neighbor.  `next_hop` is None for the session's own address."""

    neighbor: Address
    prefix: Network
    next_hop: Address | None = None
    attributes: Attributes = Attributes()


@dataclass(frozen=True, slots=True)
class Announce:
    """A route that the neighbor does not have, or has with other attributes."""

    route: Route


@dataclass(frozen=True, slots=True)
class Withdraw:
    """A route that the neighbor must not have."""

    neighbor: Address
    prefix: Network


Change = Announce | Withdraw


def wanted(states: Mapping[Network, State], bgp: Bgp) -> tuple[Route, ...]:
    """The routes of all neighbors when the prefixes stand as `states` says; in the order of both."""
    return tuple(
        Route(neighbor.address, prefix, attributes=_attributes(state, neighbor, bgp.local_as))
        for neighbor in bgp.neighbors
        for prefix, state in states.items()
        if state is not State.OFF and prefix.version == neighbor.address.version
    )


def changes(table: Iterable[Route], wanted: Iterable[Route]) -> tuple[Change, ...]:
    """What makes `table` (ExaBGP's) into `wanted`: new prefixes, then new attributes, then withdrawals.

    An announcement replaces the route of the same prefix, so a route that stays is never withdrawn on the way.
    """
    there = {_key(route): route for route in table}
    target = {_key(route): route for route in wanted}
    new = [Announce(route) for key, route in target.items() if key not in there]
    other = [Announce(route) for key, route in target.items() if key in there and there[key] != route]
    gone = [Withdraw(*key) for key in there if key not in target]
    return (*new, *other, *gone)


def _key(route: Route) -> tuple[Address, Network]:
    return route.neighbor, route.prefix


def _attributes(state: State, neighbor: Neighbor, local_as: int) -> Attributes:
    if state is State.ANNOUNCED:
        return Attributes()
    drain = neighbor.drain
    communities = (_community(drain.community),) if drain.community is not None else ()
    if neighbor.peer_as == local_as:
        return Attributes(med=drain.med, local_pref=0, communities=communities)
    path = (local_as,) * (drain.prepend + 1) if drain.prepend else ()  # a path that is given is sent as it stands
    return Attributes(med=drain.med, as_path=path, communities=communities)


def _community(text: str) -> tuple[int, int]:
    high, low = text.split(":")
    return int(high), int(low)
