"""What a location table says of one address, in words: class, scope, and each policy's order of pools with distances.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network

from gslb.geo.distance import kilometres
from gslb.geo.table import LocationTable, normalise
from gslb.model.deployment import TYPE_A, TYPE_AAAA, Address, Deployment, Network, PolicyId, PoolId, Rule, SiteId


@dataclass(frozen=True, slots=True)
class Ranked:
    """One pool of an order; `km` is None where the client's place or the site's is not known."""

    pool: PoolId
    datacenter: SiteId
    km: float | None


@dataclass(frozen=True, slots=True)
class PolicyView:
    """How one policy treats the address: the rule that matched (counted from 0), and its order of pools by type.

    `continent`: whose sites say which pools are up, where those of all sites do not.
    """

    policy: PolicyId
    rule: int
    condition: str
    continent: str
    orders: dict[int, tuple[Ranked, ...]]


@dataclass(frozen=True, slots=True)
class View:
    """What the table says: class, scope, and the network that shares this treatment (scope bits of the address)."""

    location_class: int
    classes: int
    scope: int
    network: Network
    embedded: bool
    policies: tuple[PolicyView, ...]


def view(
    deployment: Deployment, table: LocationTable, address: Address, coordinates: tuple[float, float] | None
) -> View:
    """Describe `address`, whose place is at `coordinates` as far as known."""
    location_class, scope = table.lookup(address.packed)
    policies = []
    for name, policy in deployment.policies.items():
        ranking = table.rankings[name][table.ranking_of[name][location_class]]
        orders = {
            rtype: tuple(_ranked(deployment, pool, coordinates) for pool in pools)
            for rtype, pools in ((TYPE_A, ranking.pools4), (TYPE_AAAA, ranking.pools6))
        }
        matched = condition(policy.rules[ranking.rule])
        policies.append(PolicyView(name, ranking.rule, matched, ranking.continent, orders))
    return View(
        location_class,
        table.classes,
        scope,
        ip_network((address, scope), strict=False),
        normalise(address.packed)[1] > 0,
        tuple(policies),
    )


def condition(rule: Rule) -> str:
    """What a rule asks of a client, and how it orders its pools."""
    asked = [*map(str, rule.subnets), *(f"AS{asn}" for asn in rule.asns), *rule.geos]
    return f"{', '.join(asked) or 'every client'}: {'nearest' if rule.nearest else 'as written'}"


def _ranked(deployment: Deployment, pool: PoolId, coordinates: tuple[float, float] | None) -> Ranked:
    site = deployment.datacenters[deployment.pools[pool].datacenter]
    if coordinates is None or site.at is None:
        return Ranked(pool, site.name, None)
    return Ranked(pool, site.name, kilometres(coordinates, site.at))
