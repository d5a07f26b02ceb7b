"""Refusals of policies.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gslb.config.draft import Draft, Finding
from gslb.config.problem import KeyPath
from gslb.model.deployment import Address, Network, Policy, PoolId, Rule, SiteId, View

STEADY_TTL = 300  # seconds; a longer TTL keeps users at a dead pool for longer than they wait


def no_catch_all(draft: Draft) -> Iterator[Finding]:
    """A policy must say something to every client."""
    for policy in draft.deployment.policies.values():
        if not policy.rules[-1].catches_all:
            path: KeyPath = (*_path(policy), "rules", len(policy.rules) - 1)
            yield draft.error(path, "expected a last rule without subnets, asns and geos, for everyone else")


def covered_rule(draft: Draft) -> Iterator[Finding]:
    """A rule, or one of its conditions, that earlier rules have taken every client from."""
    for policy in draft.deployment.policies.values():
        path: KeyPath = (*_path(policy), "rules")
        earlier = _Earlier()
        for index, rule in enumerate(policy.rules):
            conditions = list(earlier.covered(rule))
            total = len(rule.subnets) + len(rule.asns) + len(rule.geos)
            if earlier.catch_all is not None:
                yield draft.error((*path, index), f"never reached: rules[{earlier.catch_all}] takes every client")
            elif conditions and len(conditions) == total:
                number = conditions[-1][2]
                yield draft.error((*path, index), f"never reached: rules[{number}] takes all its clients")
            else:
                for kind, position, number in conditions:
                    yield draft.error((*path, index, kind, position), f"never reached: rules[{number}] covers it")
            earlier.add(index, rule)


def prefix_twice(draft: Draft) -> Iterator[Finding]:
    """The same prefix in two rules with different pools: one of them is a mistake."""
    for policy in draft.deployment.policies.values():
        seen: dict[Network, tuple[int, Rule]] = {}
        for index, rule in enumerate(policy.rules):
            for number, subnet in enumerate(rule.subnets):
                first, other = seen.setdefault(subnet, (index, rule))
                if other.pools != rule.pools:
                    path: KeyPath = (*_path(policy), "rules", index, "subnets", number)
                    yield draft.error(path, f"is in rules[{first}] already, with other pools")


def subnet_beyond_scope(draft: Draft) -> Iterator[Finding]:
    """Geography is quantised; a longer rule would be applied to its neighbours too."""
    limits = {4: draft.deployment.geo.scope4, 6: draft.deployment.geo.scope6}
    for policy in draft.deployment.policies.values():
        for index, rule in enumerate(policy.rules):
            for number, subnet in enumerate(rule.subnets):
                limit = limits[subnet.version]
                if subnet.prefixlen > limit:
                    path: KeyPath = (*_path(policy), "rules", index, "subnets", number)
                    message = f"expected at most /{limit} (geo.scope.v{subnet.version})"
                    yield draft.error(path, message, ("geo", "scope"))


def nearest_without_place(draft: Draft) -> Iterator[Finding]:
    """Distance needs coordinates."""
    users: dict[SiteId, str] = {}
    for policy in draft.deployment.policies.values():
        for pool in (name for rule in policy.rules if rule.nearest for name in rule.pools):
            found = draft.deployment.pools.get(pool)
            if found is not None:
                users.setdefault(found.datacenter, f"policies.{policy.name} measures the distance to pool {pool}")
    for site, why in users.items():
        datacenter = draft.deployment.datacenters.get(site)
        if datacenter is not None and datacenter.at is None:
            path: KeyPath = ("datacenters", site, "at")
            yield draft.error(path, f"expected [latitude, longitude]: {why}", value="missing")


def same_address_twice(draft: Draft) -> Iterator[Finding]:
    """Two pools of one policy in one datacenter with the same address fail together and count twice."""
    reported: set[tuple[PoolId, Address]] = set()
    for policy in draft.deployment.policies.values():
        seen: dict[tuple[SiteId, Address], PoolId] = {}
        for name in dict.fromkeys((*policy.pools, *policy.spill.to)):
            pool = draft.deployment.pools.get(name)
            for number, answer in enumerate(pool.answers if pool else ()):
                assert pool is not None
                first = seen.setdefault((pool.datacenter, answer.address), name)
                if first != name and (name, answer.address) not in reported:
                    reported.add((name, answer.address))
                    message = f"pool {first} of policy {policy.name} has it too, in the same datacenter"
                    yield draft.error(("pools", name, "answers", number), message, value=str(answer.address))


def last_resort_in_only_pool(draft: Draft) -> Iterator[Finding]:
    """When the only pool is down, its own address is no way out."""
    for policy in draft.deployment.policies.values():
        pools = [draft.deployment.pools.get(name) for name in policy.pools]
        if len(pools) != 1 or pools[0] is None:
            continue
        own = {answer.address for answer in pools[0].answers}
        for number, address in enumerate(policy.last_resort):
            if address in own:
                path: KeyPath = (*_path(policy), "on_all_down", "last_resort", number)
                yield draft.error(path, f"stands in the only pool, {pools[0].name} - expected an address elsewhere")


def ttl_order(draft: Draft) -> Iterator[Finding]:
    """The least TTL is above the greatest."""
    for policy in draft.deployment.policies.values():
        if policy.ttl_min > policy.ttl_max:
            path: KeyPath = (*_path(policy), "ttl")
            message = f"expected at most ttl.max ({policy.ttl_max})"
            yield draft.error((*path, "min"), message, (*path, "max"), value=str(policy.ttl_min))


def slow_failover(draft: Draft) -> Iterator[Finding]:
    """A TTL that outlasts patience, where there is something to fail over to."""
    for policy in draft.deployment.policies.values():
        several = len({*policy.pools, *policy.spill.to}) > 1
        if several and policy.ttl_max > STEADY_TTL:
            path: KeyPath = (*_path(policy), "ttl", "max")
            message = f"failover waits for it, expected at most {STEADY_TTL}"
            yield draft.warning(path, message, value=str(policy.ttl_max))


def spill_to_unknown_capacity(draft: Draft) -> Iterator[Finding]:
    """Nobody can say when a spill target is full."""
    for policy in draft.deployment.policies.values():
        for number, name in enumerate(policy.spill.to):
            pool = draft.deployment.pools.get(name)
            if pool is not None and pool.capacity is None:
                path: KeyPath = (*_path(policy), "spill", "to", number)
                message = "its capacity is not known, expected capacity in that pool"
                yield draft.warning(path, message, ("pools", name, "capacity"))


def regional_without_continent(draft: Draft) -> Iterator[Finding]:
    """Nobody could have a view of a continent."""
    if any(site.continent for site in draft.deployment.datacenters.values()):
        return
    for policy in draft.deployment.policies.values():
        if policy.view is View.REGIONAL:
            yield draft.error((*_path(policy), "view"), "expected a datacenter with a continent, and none has one")


RULES = (
    no_catch_all,
    prefix_twice,
    covered_rule,
    subnet_beyond_scope,
    nearest_without_place,
    same_address_twice,
    last_resort_in_only_pool,
    ttl_order,
    slow_failover,
    spill_to_unknown_capacity,
    regional_without_continent,
)


class _Earlier:
    """Which clients the rules so far have taken."""

    def __init__(self) -> None:
        self.catch_all: int | None = None
        self._subnets: dict[Network, int] = {}
        self._lengths: dict[int, set[int]] = {4: set(), 6: set()}
        self._asns: dict[int, int] = {}
        self._geos: dict[str, int] = {}

    def add(self, index: int, rule: Rule) -> None:
        if rule.catches_all and self.catch_all is None:
            self.catch_all = index
        for subnet in rule.subnets:
            self._subnets.setdefault(subnet, index)
            self._lengths[subnet.version].add(subnet.prefixlen)
        for asn in rule.asns:
            self._asns.setdefault(asn, index)
        for geo in rule.geos:
            self._geos.setdefault(geo, index)

    def covered(self, rule: Rule) -> Iterator[tuple[str, int, int]]:
        """(key, position, index of the earlier rule) of each condition that an earlier rule covers."""
        for position, subnet in enumerate(rule.subnets):
            for length in self._lengths[subnet.version]:
                if length > subnet.prefixlen:
                    continue
                number = self._subnets.get(subnet.supernet(new_prefix=length))
                if number is not None:
                    yield "subnets", position, number
                    break
        for position, asn in enumerate(rule.asns):
            if asn in self._asns:
                yield "asns", position, self._asns[asn]
        for position, geo in enumerate(rule.geos):
            parts = geo.split("-")
            for wider in ("-".join(parts[:count]) for count in range(len(parts), 0, -1)):
                if wider in self._geos:
                    yield "geos", position, self._geos[wider]
                    break


def _path(policy: Policy) -> KeyPath:
    return ("policies", policy.name)
