"""The slow and obvious twin of the location table: linear scans over networks, and trigonometry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_network

from gslb.geo.distance import kilometres
from gslb.geo.schema import UNKNOWN, Location
from gslb.model.deployment import TYPE_A, TYPE_AAAA, Address, Deployment, Network, Policy, PoolId, Rule, View

Ranked = tuple[int, tuple[PoolId, ...], tuple[PoolId, ...], str]  # rule, A order, AAAA order, continent
Outcome = tuple[Ranked, ...]  # per policy

SPECIAL = (ip_network("2002::/16"), ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"))


@dataclass
class Size:
    """How many networks, and how many of them are at which place."""

    networks: int = 0
    places: dict[tuple[float, float], int] = field(default_factory=dict)

    def add(self, place: Location, networks: int) -> None:
        """So many networks more, at `place`."""
        self.networks += networks
        if place.coordinates is not None:
            self.places[place.coordinates] = self.places.get(place.coordinates, 0) + networks

    def mean_km(self, at: tuple[float, float]) -> float | None:
        """The mean distance of those whose place is known."""
        located = sum(self.places.values())
        return sum(kilometres(place, at) * each for place, each in self.places.items()) / located if located else None


@dataclass(frozen=True)
class Twin:
    """A deployment and the networks of its databases, of both families."""

    deployment: Deployment
    networks: Sequence[tuple[Network, Location]]

    def lookup(self, address: Address) -> tuple[Outcome, int]:
        """What every policy does with `address`, and the scope."""
        inner, offset = embedded(address)
        outcome = self.outcome(inner)
        return outcome, offset + self._depth(inner, outcome)

    def outcome(self, address: Address) -> Outcome:
        """What every policy does with an address that is not embedded."""
        bits = self.deployment.geo.scope4 if address.version == 4 else self.deployment.geo.scope6
        base = ip_network((address, bits), strict=False).network_address
        place = self._place(base)
        return tuple(self._ranked(policy, address, place) for policy in self.deployment.policies.values())

    def _depth(self, address: Address, outcome: Outcome) -> int:
        """The shortest prefix around `address` in which every address has `outcome` and none is embedded."""
        if not self._differs():
            return shared(address)
        for length in range(address.max_prefixlen + 1):
            block = ip_network((address, length), strict=False)
            if block.version == 6 and any(block.overlaps(special) for special in SPECIAL):
                continue
            if all(self.outcome(edge) == outcome for edge in self._edges(block)):
                return length
        raise AssertionError("an address differs from itself")

    def _differs(self) -> bool:
        """Whether any two addresses of either family are treated differently."""
        everything = [ip_network("0.0.0.0/0"), ip_network("::/0")]
        unknown = Twin(self.deployment, ()).outcome_unknown()
        return any(self.outcome(edge) != unknown for block in everything for edge in self._edges(block))

    def outcome_unknown(self) -> Outcome:
        """What a client of no known place and no subnet is given."""
        return tuple(self._ranked(policy, None, UNKNOWN) for policy in self.deployment.policies.values())

    def _edges(self, block: Network) -> list[Address]:
        """The block's first address, and the first addresses inside where something may change."""
        first, last = int(block.network_address), int(block.broadcast_address)
        kind = IPv4Address if block.version == 4 else IPv6Address
        inside = [kind(edge) for edge in sorted({first, *self._borders(block.version)}) if first <= edge <= last]
        return [edge for edge in inside if embedded(edge)[0] == edge]

    def _borders(self, version: int) -> set[int]:
        """Where something may change in a family; behind SPECIAL, IPv6 goes on."""
        subnets = [
            subnet for policy in self.deployment.policies.values() for rule in policy.rules for subnet in rule.subnets
        ]
        bits = self.deployment.geo.scope4 if version == 4 else self.deployment.geo.scope6
        size = 1 << ((32 if version == 4 else 128) - bits)
        found: set[int] = set()
        for network in (*(network for network, _ in self.networks), *SPECIAL, *subnets):
            if network.version == version:
                first = int(network.network_address)
                for edge in (first, first + network.num_addresses):
                    found |= {edge, -(-edge // size) * size}
        return found

    def _place(self, address: Address) -> Location:
        best, length = UNKNOWN, -1
        for network, location in self.networks:
            if address.version == network.version and address in network and network.prefixlen >= length:
                best, length = location, network.prefixlen
        return best

    def _ranked(self, policy: Policy, address: Address | None, place: Location) -> Ranked:
        for index, rule in enumerate(policy.rules):
            if rule.catches_all or matches(rule, address, place):
                seen = self._continent(policy, rule, place)
                return index, self._order(rule, TYPE_A, place), self._order(rule, TYPE_AAAA, place), seen
        raise AssertionError("a policy without a catch-all")

    def _continent(self, policy: Policy, rule: Rule, place: Location) -> str:
        """By which continent's sites the client goes whom the rule matched."""
        sites = {site.continent for site in self.deployment.datacenters.values()}
        by_place = rule.catches_all or not geos_of(place).isdisjoint(rule.geos)
        regional = policy.view is View.REGIONAL and by_place and place.continent in sites
        return place.continent if regional else ""

    def _order(self, rule: Rule, rtype: int, place: Location) -> tuple[PoolId, ...]:
        pools = [name for name in rule.pools if self.deployment.pools[name].answers_of(rtype)]
        if not rule.nearest:
            return tuple(pools)

        def farness(name: PoolId) -> float:
            site = self.deployment.datacenters[self.deployment.pools[name].datacenter]
            if place.coordinates is None:
                return float(bool(place.continent) and place.continent != site.continent)
            return math.inf if site.at is None else half_chord(place.coordinates, site.at)

        return tuple(sorted(pools, key=farness)[: self.deployment.geo.nearest_limit])

    def catchments(self) -> tuple[dict[tuple[int, Ranked], Size], int]:
        """The size of each outcome of each policy, by (the policy's place, outcome), and the number of all networks.

        Counted are IPv4 networks (/24) with anything known of them, or named by a rule; where the databases have none, IPv6
        networks (/56) outside of 6to4.
        """
        for version, bits in ((4, 24), (6, 56)):
            parts = list(self._parts(version, bits))
            if any(place != UNKNOWN for _, place, _, _ in parts):
                return self._summed(parts), sum(size for _, _, _, size in parts)
        return {}, 0

    def _parts(self, version: int, bits: int) -> Iterator[tuple[Address, Location, Outcome, int]]:
        """Ranges of networks in which nothing changes: first address, place, outcome, number of networks that count."""
        shift = (32 if version == 4 else 128) - bits
        kind = IPv4Address if version == 4 else IPv6Address
        keys = sorted({0, *(-(-edge >> shift) for edge in self._borders(version))})
        keys = [key for key in keys if key < 1 << bits]
        for key, end in zip(keys, [*keys[1:], 1 << bits], strict=True):
            address = kind(key << shift)
            if version == 6 and address in SPECIAL[0]:
                continue
            scope = self.deployment.geo.scope4 if version == 4 else self.deployment.geo.scope6
            place = self._place(ip_network((address, scope), strict=False).network_address)
            if place != UNKNOWN or self._named(address):
                yield address, place, self.outcome(address), end - key

    def _named(self, address: Address) -> bool:
        rules = [rule for policy in self.deployment.policies.values() for rule in policy.rules]
        return any(address in subnet for rule in rules for subnet in rule.subnets)

    def _summed(self, parts: Sequence[tuple[Address, Location, Outcome, int]]) -> dict[tuple[int, Ranked], Size]:
        found: dict[tuple[int, Ranked], Size] = {}
        for _, place, outcome, size in parts:
            for number, ranked in enumerate(outcome):
                found.setdefault((number, ranked), Size()).add(place, size)
        return found


def embedded(address: Address) -> tuple[Address, int]:
    """The IPv4 address inside, and the bits before it."""
    if isinstance(address, IPv6Address):
        if address.sixtofour is not None:
            return address.sixtofour, 16
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped, 96
        if address in SPECIAL[2]:
            return IPv4Address(int(address) & 0xFFFFFFFF), 96
    return address, 0


def shared(address: Address) -> int:
    """In a table of one class: 0, but for addresses that share 56 bits with an embedded prefix."""
    if address.version == 6:
        for special in SPECIAL[1:]:
            if address in special.supernet(new_prefix=56):
                return next(
                    length
                    for length in range(56, 129)
                    if not ip_network((address, length), strict=False).overlaps(special)
                )
    return 0


def matches(rule: Rule, address: Address | None, place: Location) -> bool:
    """Whether any condition of the rule holds."""
    return (
        (address is not None and any(address in subnet for subnet in rule.subnets))
        or place.asn in rule.asns
        or not geos_of(place).isdisjoint(rule.geos)
    )


def geos_of(place: Location) -> set[str]:
    """The octoDNS codes of a place."""
    return {place.continent, f"{place.continent}-{place.country}", "-".join(place[2:5])} - {"", "-", "--"}


def half_chord(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Grows with the great-circle distance."""
    phi1, phi2 = math.radians(one[0]), math.radians(other[0])
    half_lon = math.radians(other[1] - one[1]) / 2
    return math.sin((phi2 - phi1) / 2) ** 2 + math.cos(phi1) * math.cos(phi2) * math.sin(half_lon) ** 2
