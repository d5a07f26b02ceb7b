"""A small deployment on disk for the tests of commands: two sites and a burst site, no databases, one zone."""

from __future__ import annotations

from pathlib import Path

CONFIG = """
deployment: test
datacenters:
  fra: {at: [50.11, 8.68], continent: EU}
  iad: {at: [38.95, -77.45], continent: NA}
  cloud: {at: [53.34, -6.27], continent: EU, burst: true}
pools:
  web-fra: {datacenter: fra, answers: [{value: 192.0.2.10, weight: 3}, 192.0.2.11, "2001:db8:1::10"]}
  web-iad: {datacenter: iad, answers: [198.51.100.10]}
  web-cloud: {datacenter: cloud, answers: [203.0.113.1], capacity: {conns_per_s: 100}}
  api-fra: {datacenter: fra, answers: [192.0.2.20, "2001:db8:1::20"]}
  api-iad: {datacenter: iad, answers: [198.51.100.20]}
policies:
  web:
    rules:
      - {subnets: [10.20.0.0/16], pools: [web-iad]}
      - {pools: [web-fra, web-iad]}
    spill: {to: [web-cloud]}
    ttl: {max: 30, min: 5}
  api:
    rules: [{pools: [api-fra, api-iad]}]
dns: {listen: ["127.0.0.1:5399"]}
zones: [example.com.yaml]
"""

ZONE = r"""
'':
  - {type: SOA, ttl: 3600, value: {mname: ns1.example.com., rname: hostmaster.example.com., serial: 1, minimum: 30}}
  - {type: NS, ttl: 3600, values: [ns1.example.com., ns2.example.com.]}
ns1: {type: A, ttl: 3600, value: 127.0.0.1}
ns2: {type: A, ttl: 3600, value: 127.0.0.1}
www: {policy: web, ttl: 60, types: [A, AAAA]}
api: {policy: api, ttl: 60, types: [A]}
'*.app': {policy: web, ttl: 60, types: [A]}
blog: {type: CNAME, ttl: 300, value: www.example.com.}
text: {type: TXT, ttl: 300, value: hello}
'*.text': {type: TXT, ttl: 300, value: any}
old: {type: DNAME, ttl: 300, value: app.example.com.}
child: {type: NS, ttl: 300, value: ns.child.example.com.}
ns.child: {type: A, ttl: 300, value: 192.0.2.53}
"""


def write_deployment(folder: Path, tables: Path) -> list[str]:
    """Write it, and give the options that name it and a state folder whose location tables are kept in `tables`."""
    (folder / "gslb.yaml").write_text(CONFIG)
    (folder / "example.com.yaml").write_text(ZONE)
    (folder / "state").mkdir()
    (folder / "state" / "geography").symlink_to(tables, target_is_directory=True)
    return ["--config", str(folder / "gslb.yaml"), "--state", str(folder / "state"), "--site", "fra"]
