"""The slow and obvious twin of the location table: linear scans over networks, and trigonometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network

from gslb.geo.schema import UNKNOWN, Location
from gslb.model.deployment import TYPE_A, TYPE_AAAA, Address, Deployment, Network, Policy, PoolId, Rule

Outcome = tuple[tuple[int, tuple[PoolId, ...], tuple[PoolId, ...]], ...]  # per policy: rule, A order, AAAA order

SPECIAL = (ip_network("2002::/16"), ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"))


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
        known: list[Network] = [network for network, _ in self.networks]
        known += SPECIAL  # behind them, IPv6 goes on
        known += [
            subnet for policy in self.deployment.policies.values() for rule in policy.rules for subnet in rule.subnets
        ]
        bits = self.deployment.geo.scope4 if block.version == 4 else self.deployment.geo.scope6
        size = 1 << (block.max_prefixlen - bits)
        found: set[int] = {int(block.network_address)}
        for network in known:
            if network.version == block.version:
                first = int(network.network_address)
                for edge in (first, first + network.num_addresses):
                    found |= {edge, -(-edge // size) * size}
        last = int(block.broadcast_address)
        kind = IPv4Address if block.version == 4 else IPv6Address
        inside = [kind(edge) for edge in sorted(found) if int(block.network_address) <= edge <= last]
        return [edge for edge in inside if embedded(edge)[0] == edge]

    def _place(self, address: Address) -> Location:
        best, length = UNKNOWN, -1
        for network, location in self.networks:
            if address.version == network.version and address in network and network.prefixlen >= length:
                best, length = location, network.prefixlen
        return best

    def _ranked(
        self, policy: Policy, address: Address | None, place: Location
    ) -> tuple[int, tuple[PoolId, ...], tuple[PoolId, ...]]:
        for index, rule in enumerate(policy.rules):
            if rule.catches_all or matches(rule, address, place):
                return index, self._order(rule, TYPE_A, place), self._order(rule, TYPE_AAAA, place)
        raise AssertionError("a policy without a catch-all")

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
    geos = {place.continent, f"{place.continent}-{place.country}", "-".join(place[2:5])} - {"", "-", "--"}
    return (
        (address is not None and any(address in subnet for subnet in rule.subnets))
        or place.asn in rule.asns
        or not geos.isdisjoint(rule.geos)
    )


def half_chord(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Grows with the great-circle distance."""
    phi1, phi2 = math.radians(one[0]), math.radians(other[0])
    half_lon = math.radians(other[1] - one[1]) / 2
    return math.sin((phi2 - phi1) / 2) ** 2 + math.cos(phi1) * math.cos(phi2) * math.sin(half_lon) ** 2
