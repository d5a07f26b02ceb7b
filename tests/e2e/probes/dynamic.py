"""The dynamic names of the acceptance zone: as our configuration, as Knot's geoip module, and what only policies can do (item 64)."""

from __future__ import annotations

from ipaddress import ip_network

from tests.e2e.probes.case import Probes
from tests.e2e.probes.records import found, nodata
from tests.e2e.probes.subnets import OTHERS, RULES, echoed, no_overlap, two_hundred
from tests.e2e.probes.wire import Target, ecs, network_of, query

probe = Probes()
SPREAD = tuple(f"203.0.113.{number}" for number in (21, 22, 23, 24))

# Rules are in the order of our configuration: the first match wins, so the longer prefix stands first.
CONFIG = """
deployment: acceptance
datacenters:
  one: {{at: [50.11, 8.68], continent: EU}}
  two: {{at: [38.95, -77.45], continent: NA}}
  three: {{at: [1.35, 103.82], continent: AS}}
  other: {{at: [-33.87, 151.21], continent: OC}}
pools:
  one: {{datacenter: one, answers: [203.0.113.1, "2001:db8:f::1"]}}
  two: {{datacenter: two, answers: [203.0.113.2, "2001:db8:f::2"]}}
  three: {{datacenter: three, answers: [203.0.113.3, "2001:db8:f::3"]}}
  other: {{datacenter: other, answers: [203.0.113.9, "2001:db8:f::9"]}}
  spread: {{datacenter: one, answers: [203.0.113.21, 203.0.113.22, 203.0.113.23, 203.0.113.24]}}
policies:
  geo:
    rules:
      - {{subnets: [192.0.2.0/24, "2001:db8:a::/48"], pools: [one]}}
      - {{subnets: [198.51.100.0/24], pools: [three]}}
      - {{subnets: [198.51.0.0/16, "2001:db8:b::/48"], pools: [two]}}
      - {{pools: [other]}}
  spread:
    rules:
      - {{pools: [spread]}}
    answers: 2
  partial:
    rules:
      - {{subnets: [192.0.2.0/24], pools: [spread, two]}}
      - {{pools: [other]}}
records:
  geo.acceptance.test.: {{policy: geo, ttl: 60, types: [A, AAAA]}}
  spread.acceptance.test.: {{policy: spread, ttl: 60, types: [A]}}
  partial.acceptance.test.: {{policy: partial, ttl: 60, types: [A, AAAA]}}
  "*.dyn.acceptance.test.": {{policy: geo, ttl: 60, types: [A]}}
  www.deep.dynent.acceptance.test.: {{policy: geo, ttl: 60, types: [A]}}
dns: {{listen: {listen}, workers: {workers}, nsid: site}}
api: {{listen: "127.0.0.1:{api}"}}
zones: [acceptance.test.zone]
"""

# What our zone has beside the master file that all servers load.
ALIASES = """
geoalias 30 CNAME geo
geochain 30 CNAME geoalias
"""


def knot_geoip() -> str:
    """The same `geo` for Knot's geoip module in subnet mode, the catch-all as the whole of both families."""
    rules = {**RULES, "0.0.0.0/0": OTHERS, "::/0": OTHERS}
    lines = ["geo.acceptance.test:"]
    for network, (v4, v6) in rules.items():
        lines += [f"  - net: {network}", f"    A: {v4}", f"    AAAA: {v6}"]
    return "\n".join(lines) + "\n"


@probe(64, "policy-alias", "policies")
def alias_of_a_dynamic_name(target: Target) -> None:
    """RFC 7871 section 7.2.1: a chain has the longest scope of its parts; its static part has none."""
    for text, (v4, _) in RULES.items():
        reply = target.ask("geochain", "A", ecs(text))
        assert reply.section("answer") == [
            "geochain 30 CNAME geoalias",
            "geoalias 30 CNAME geo",
            f"geo 60 A {v4}",
        ], reply
        direct = target.ask("geo", "A", ecs(text))
        assert echoed(reply, text) == echoed(direct, text)
    no_overlap(target, "geochain", two_hundred()[::4])


@probe(64, "policy-wildcard", "policies")
def dynamic_wildcard(target: Target) -> None:
    reply = target.ask("x.Y.dyn", "A", ecs("192.0.2.0/24"))
    assert [line.lower() for line in reply.section("answer")] == ["x.y.dyn 60 a 203.0.113.1"]
    assert echoed(reply, "192.0.2.0/24") > 0
    nodata(target.ask("x.dyn", "AAAA", ecs("192.0.2.0/24")))
    nodata(target.ask("dyn", "A", ecs("192.0.2.0/24")))


@probe(64, "policy-ent", "policies")
def empty_non_terminals_of_dynamic_names(target: Target) -> None:
    """RFC 8020: names above a dynamic name exist."""
    for name in ("deep.dynent", "dynent"):
        nodata(target.ask(name, "A"))
        nodata(target.ask(name, "NS", payload=1232))
    assert target.ask("www.deep.dynent", "A").rcode == "NOERROR"
    assert target.ask("x.deep.dynent", "A").rcode == "NXDOMAIN"


@probe(64, "policy-spread", "policies")
def several_members(target: Target) -> None:
    """Two of four addresses; the same client network keeps its two; scopes never overlap."""
    seen: set[frozenset[str]] = set()
    for number in range(64):
        client = f"100.64.{number}.0/24"
        reply = target.ask("spread", "A", ecs(client))
        addresses = [line.split()[3] for line in reply.section("answer")]
        assert len(set(addresses)) == 2, reply
        assert set(addresses) <= set(SPREAD), reply
        again = target.ask("spread", "A", ecs(f"100.64.{number}.{number}/32"))
        assert {line.split()[3] for line in again.section("answer")} == set(addresses)
        assert network_of(again.subnets()[0]) == network_of(reply.subnets()[0]) == ip_network(client)
        seen.add(frozenset(addresses))
    assert {address for pair in seen for address in pair} == set(SPREAD), "each member has clients"
    no_overlap(target, "spread", two_hundred())


@probe(64, "policy-family", "policies")
def candidates_for_each_family(target: Target) -> None:
    """Pool `spread` has no IPv6, so AAAA comes from the next pool of the rule and never is NODATA."""
    found(target.ask("partial", "AAAA", ecs("192.0.2.0/24")), "partial 60 AAAA 2001:db8:f::2")
    found(target.ask("partial", "AAAA", ecs("10.0.0.0/24")), "partial 60 AAAA 2001:db8:f::9")
    reply = target.ask("partial", "A", ecs("192.0.2.0/24"))
    assert {line.split()[3] for line in reply.section("answer")} <= set(SPREAD)
    no_overlap(target, "partial", two_hundred())


@probe(64, "policy-any", "policies")
def any_at_a_dynamic_name(target: Target) -> None:
    reply = target.tcp(query("geo", "ANY"))
    assert reply.rcode == "NOERROR"
    assert reply.section("answer"), reply


@probe(64, "policy-embedded", "policies")
def embedded_ipv4(target: Target) -> None:
    """Clients of 6to4, v4-mapped and NAT64 networks are the IPv4 networks inside."""
    for text in ("2002:c000:200::/48", "::ffff:192.0.2.0/120", "64:ff9b::192.0.2.0/120"):
        reply = target.ask("geo", "A", ecs(text))
        assert reply.section("answer") == ["geo 60 A 203.0.113.1"], f"{text}\n{reply}"
        assert echoed(reply, text) > 16
