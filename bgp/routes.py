"""Which routes each neighbor is given, and what must change so that ExaBGP has them.  Pure.

Rule 1: the whole wanted state is compared with ExaBGP's own table; what is missing is added before anything leaves.
Rule 2: a neighbor is given the prefixes of its own address family only: one session carries one family.
Rule 3: what the speaker may not announce (`allow`, `max_routes`) is in no wanted state, whatever the prefixes stand at.
Rule 4: towards our own AS nothing is prepended (routers take their own AS in a path for a loop, RFC 4271 section 9.1.2);
there a draining route has local preference 0 (RFC 8326 section 4.1), which only means something inside an AS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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
    """The routes of all neighbors when the prefixes stand as `states` says; in the order of both, without those `refused`."""
    never = {prefix for prefix, _ in refused(states, bgp)}
    return tuple(
        Route(neighbor.address, prefix, _next_hop(neighbor), _attributes(state, neighbor, bgp.local_as))
        for neighbor in bgp.neighbors
        for prefix, state in states.items()
        if state is not State.OFF and prefix.version == neighbor.address.version and prefix not in never
    )


def refused(prefixes: Iterable[Network], bgp: Bgp) -> tuple[tuple[Network, str], ...]:
    """Those that the speaker never announces, each with the reason for people; of too many the last, in the order given."""
    found: list[tuple[Network, str]] = []
    taken = 0
    for prefix in prefixes:
        if bgp.allow and not any(_within(prefix, network) for network in bgp.allow):
            allowed = ", ".join(map(str, bgp.allow))
            found.append((prefix, f"{prefix} is not announced: the speaker {bgp.name} may announce {allowed}"))
        elif taken >= bgp.max_routes:
            found.append(
                (prefix, f"{prefix} is not announced: the speaker {bgp.name} may announce {bgp.max_routes} prefixes")
            )
        else:
            taken += 1
    return tuple(found)


def found_as(routes: Iterable[Route], prefix: Network, bgp: Bgp) -> State:
    """How a prefix stands by the routes of a table: as the best of them.  What looks like neither state is a drain.

    A neighbor without a drain policy is told the same in both states, so that its route tells nothing while another's does.
    """
    there = {normal(route) for route in routes if route.prefix == prefix}
    full, drained = ({normal(one) for one in wanted({prefix: state}, bgp)} for state in (State.ANNOUNCED, State.DRAIN))
    if there & (full - drained) or (there & full and not there & (drained - full)):
        return State.ANNOUNCED
    return State.DRAIN if there else State.OFF


def normal(route: Route) -> Route:
    """As ExaBGP shows it: it sorts communities."""
    said = route.attributes
    said = replace(said, communities=tuple(sorted(set(said.communities))), large=tuple(sorted(set(said.large))))
    return replace(route, attributes=said)


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


def _within(prefix: Network, network: Network) -> bool:
    return (
        prefix.version == network.version
        and prefix.prefixlen >= network.prefixlen
        and prefix.network_address in network
    )


def _next_hop(neighbor: Neighbor) -> Address | None:
    hop = neighbor.announce.next_hop
    return hop if hop is not None and hop.version == neighbor.address.version else None


def _attributes(state: State, neighbor: Neighbor, local_as: int) -> Attributes:
    said, drain, draining = neighbor.announce, neighbor.drain, state is State.DRAIN
    inside = neighbor.peer_as == local_as
    more = (drain.community,) if draining and drain.community is not None else ()
    prepend = 0 if inside else said.prepend + (drain.prepend if draining else 0)
    return Attributes(
        med=drain.med if draining and drain.med is not None else said.med,
        local_pref=0 if inside and draining else None,
        as_path=(local_as,) * (prepend + 1) if prepend else (),  # a path that is given is sent as it stands
        communities=tuple(_community(text) for text in (*said.communities, *more)),
        large=tuple(_large(text) for text in said.large),
    )


def _community(text: str) -> tuple[int, int]:
    high, low = map(int, text.split(":"))
    return high, low


def _large(text: str) -> tuple[int, int, int]:
    owner, first, second = map(int, text.split(":"))
    return owner, first, second
