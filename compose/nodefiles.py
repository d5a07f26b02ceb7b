"""Topology -> what the nodes read: gslb.yaml and the zone.  Pure."""

from __future__ import annotations

from compose.topology import ANYCAST, CHECK_S, DNS, FALLS, OUR_AS, ZONE, Site, Topology

_HEAD = """\
# The lab's deployment, the same on every node.  Made by compose/nodefiles.py from compose/topology.py.
deployment: lab
secret_file: secret
"""
_CHECKS = f"interval: {CHECK_S * 1000:.0f}ms, fall: {FALLS}, rise: 2, quorum: 50%"
_MONITOR = f"  web: {{type: http, port: 80, path: /healthz, {_CHECKS}}}"
_PACE = "step: 5%/s, recover: 10%/s"  # 60 times faster than one would have it: a lab's day is short
_TIMES = "rise: 2s, stay: 5s, drain_for: 5s, hold: 5s, longest_hold: 1m"
_TAIL = """\
dns: {{listen: ["{dns}:53"], workers: 1, nsid: node}}
api: {{listen: "0.0.0.0:8053", token_file: token}}
geo: {{databases: [geography.mmdb]}}
balancer: {{attach: native}}
zones: [zones/*.yaml]
"""


def config(topology: Topology) -> str:
    """gslb.yaml."""
    nodes = topology.running("gslb")
    lines = [_HEAD.rstrip(), "nodes:"]
    lines += [f"  {node.name}: {{site: {node.place}, interfaces: [eth0]}}" for node in nodes]
    lines.append("datacenters:")
    for site in topology.sites:
        burst = "" if site.vip else ", burst: true, node: false"
        at = f"[{site.latitude}, {site.longitude}]"
        lines.append(f"  {site.name}: {{at: {at}, continent: {site.continent}{burst}}}")
    references = ", ".join(router.address for router in topology.at("transit", "bird"))
    lines += [f"healthcheck: {{reference: [{references}]}}", "monitors:", _MONITOR, "pools:"]
    for site in topology.sites:
        lines += _pool(topology, site)
    own = ", ".join(f"web-{site.name}" for site in topology.sites if site.vip)
    cloud = ", ".join(f"web-{site.name}" for site in topology.sites if not site.vip)
    lines += [
        "policies:",
        "  web:",
        f"    rules: [{{pools: nearest, of: [{own}]}}]",
        f"    spill: {{to: [{cloud}], {_PACE}}}",
        f"    ttl: {{max: {topology.ttl_s}, min: {min(5, topology.ttl_s)}}}",
        "anycast:",
        f"  ns: {{prefixes: [{DNS}/32], announce_when: dns, min_sites: 1, {_TIMES}}}",
        f"  web: {{prefixes: [{ANYCAST}/32], pools: [{own}], announce_when: pools, min_sites: 1, {_TIMES}}}",
    ]
    for site in topology.sites:
        if site.vip:
            when = f"announce_when: pools, min_sites: 0, {_TIMES}"
            lines.append(f"  web-{site.name}: {{prefixes: [{site.vip}/32], pools: [web-{site.name}], {when}}}")
    lines.append("bgp:")
    for node in nodes:
        router = topology.by_name[f"router-{node.place}"]
        drain = '{community: "65535:0", prepend: 3, med: 100}'
        neighbor = f"{{address: {router.address}, as: {router.number}, gtsm: true, drain: {drain}}}"
        lines.append(f"  {node.name}: {{local_as: {OUR_AS}, router_id: {node.address}, neighbors: [{neighbor}]}}")
    servers = ", ".join(f'"nats://{one.address}:4222"' for one in topology.running("nats"))
    lines.append(f"bus: {{nats: [{servers}]}}")
    return "\n".join(lines) + "\n" + _TAIL.format(dns=DNS)


def _pool(topology: Topology, site: Site) -> list[str]:
    servers = ", ".join(one.address for one in topology.at(site.name, "backend", "server"))
    capacity = f"capacity: {{conns_per_s: {site.conns_per_s}}}"
    if not site.vip:
        name = f"  web-{site.name}:"
        return [f"{name} {{datacenter: {site.name}, monitor: web, return: at_once, answers: [{servers}], {capacity}}}"]
    return [
        f"  web-{site.name}:",
        f"    datacenter: {site.name}",
        "    monitor: web",
        "    return: at_once",
        f"    answers: [{site.vip}]",
        f"    {capacity}",
        "    load: {from: balancer}",
        f"    balance: {{listen: [tcp/80], forward: l2, min_healthy: 1, backends: [{servers}]}}",
    ]


def zone(topology: Topology) -> str:
    """The zone, in the octoDNS layout."""
    return f"""\
'':
  - {{type: SOA, ttl: 60, value: {{mname: ns1.{ZONE}., rname: hostmaster.{ZONE}., serial: 1, minimum: 5}}}}
  - {{type: NS, ttl: 60, values: [ns1.{ZONE}.]}}
ns1: {{type: A, ttl: 60, value: {DNS}}}
www: {{policy: web, ttl: {topology.ttl_s}, types: [A]}}
any: {{type: A, ttl: 60, value: {ANYCAST}}}
"""
