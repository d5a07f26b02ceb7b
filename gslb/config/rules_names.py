"""Refusals of names: unknown ones and unused ones.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gslb.config.draft import Draft, Finding
from gslb.config.problem import KeyPath, one_of
from gslb.model.deployment import Policy


def unknown_name(draft: Draft) -> Iterator[Finding]:
    """A name that nothing has."""
    for section, path, name in _references(draft):
        known = draft.names(section)
        if name not in known:
            yield draft.error(path, f"no such name in {section} - {one_of(known, name)}", value=name)
    sites = {**draft.names("datacenters"), **draft.names("nodes")}
    for speaker in draft.deployment.bgp:
        if speaker.name not in sites:
            yield draft.named(("bgp", speaker.name), f"no such datacenter or node - {one_of(sites, speaker.name)}")


def unused_datacenter(draft: Draft) -> Iterator[Finding]:
    """A datacenter where nothing is."""
    used = {pool.datacenter for pool in draft.deployment.pools.values()}
    written = draft.names("nodes")
    used |= {node.site for node in draft.deployment.nodes.values() if node.name in written}
    speakers = {speaker.name for speaker in draft.deployment.bgp}
    for name in draft.deployment.datacenters:
        if name not in used and name not in speakers:
            message = "unused - expected a pool or a node there"
            yield draft.named(("datacenters", name), message, ("pools",), ("nodes",), ("bgp",))


def unused_monitor(draft: Draft) -> Iterator[Finding]:
    """A monitor that checks nothing."""
    used = {pool.monitor for pool in draft.deployment.pools.values()}
    for name in draft.deployment.monitors or ():
        if name not in used:
            yield draft.named(("monitors", name), "unused - expected a pool with this monitor", ("pools",))


def unused_pool(draft: Draft) -> Iterator[Finding]:
    """A pool that nothing gives to anyone."""
    used = {pool for policy in draft.deployment.policies.values() for pool in (*policy.pools, *policy.spill.to)}
    used |= {pool for anycast in draft.deployment.anycast for pool in anycast.pools}
    for name in draft.deployment.pools:
        if name not in used:
            yield draft.named(("pools", name), "unused - expected a policy that names it", ("policies",), ("anycast",))


def unused_policy(draft: Draft) -> Iterator[Finding]:
    """A policy that no record has."""
    used = {record.policy for record in draft.records}
    used |= {record.policy for zone in draft.zones for record in zone.dynamic}
    for name in draft.deployment.policies if draft.whole else ():
        if name not in used:
            yield draft.named(("policies", name), "unused - expected a record with this policy", ("records",))


RULES = (unknown_name, unused_datacenter, unused_monitor, unused_pool, unused_policy)


def _references(draft: Draft) -> Iterator[tuple[str, KeyPath, str]]:
    """(section, place, name) of every name that is used in the configuration; zones judge their own."""
    deployment = draft.deployment
    written = draft.names("nodes")
    for node in deployment.nodes.values():
        if node.name in written:
            yield "datacenters", ("nodes", node.name, "site"), node.site
    for pool in deployment.pools.values():
        yield "datacenters", ("pools", pool.name, "datacenter"), pool.datacenter
        if pool.monitor is not None:
            yield "monitors", ("pools", pool.name, "monitor"), pool.monitor
    for policy in deployment.policies.values():
        yield from _pools_of(policy)
    for anycast in deployment.anycast:
        for number, name in enumerate(anycast.pools):
            yield "pools", ("anycast", anycast.name, "pools", number), name
    for record in draft.records:
        yield "policies", (*record.path, "policy"), record.policy


def _pools_of(policy: Policy) -> Iterator[tuple[str, KeyPath, str]]:
    for index, rule in enumerate(policy.rules):
        for number, name in enumerate(rule.pools):
            yield "pools", ("policies", policy.name, "rules", index, "of" if rule.nearest else "pools", number), name
    for number, name in enumerate(policy.spill.to):
        yield "pools", ("policies", policy.name, "spill", "to", number), name
