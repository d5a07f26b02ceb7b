"""Small deployments and databases for the tests of geography."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from gslb.model.deployment import (
    Answer,
    Api,
    Datacenter,
    Deployment,
    Dns,
    Geo,
    Network,
    Policy,
    PolicyId,
    Pool,
    PoolId,
    Rule,
    SiteId,
    Socket,
)

PLACES = {
    "fra": (50.11, 8.68, "EU", "DE", ""),
    "iad": (38.95, -77.45, "NA", "US", "VA"),
    "sin": (1.35, 103.82, "AS", "SG", ""),
    "syd": (-33.87, 151.21, "OC", "AU", ""),
    "gru": (-23.55, -46.63, "SA", "BR", ""),
}
BOTH = ("192.0.2.1", "2001:db8::1")
V4_ONLY = ("192.0.2.1",)
V6_ONLY = ("2001:db8::1",)


def site(name: str, **changes: Any) -> Datacenter:
    """A datacenter at one of PLACES."""
    latitude, longitude, continent, _, _ = PLACES[name]
    return replace(Datacenter(SiteId(name), (latitude, longitude), continent), **changes)


def pool(name: str, addresses: Iterable[str] = BOTH) -> Pool:
    """A pool whose site is the last part of its name: web-fra."""
    answers = tuple(Answer(ip_address(address)) for address in addresses)
    return Pool(PoolId(name), SiteId(name.rpartition("-")[2]), answers)


def rule(*pools: str, nearest: bool = False, subnets: Iterable[Network] = (), **conditions: Any) -> Rule:
    """A rule over pools by name."""
    return Rule(tuple(map(PoolId, pools)), nearest=nearest, subnets=tuple(subnets), **conditions)


def policy(name: str, *rules: Rule) -> Policy:
    """A policy of these rules."""
    return Policy(PolicyId(name), rules)


def deployment(
    policies: Iterable[Policy],
    pools: Iterable[Pool],
    sites: Iterable[Datacenter] | None = None,
    geo: Geo | None = None,
) -> Deployment:
    """A deployment of these parts, with all of PLACES as sites unless told otherwise."""
    places = [site(name) for name in PLACES] if sites is None else list(sites)
    return Deployment(
        name="test",
        nodes={},
        datacenters={each.name: each for each in places},
        pools={each.name: each for each in pools},
        policies={each.name: each for each in policies},
        dns=Dns(()),
        api=Api(Socket(ip_address("127.0.0.1"), 8053)),
        geo=geo or Geo(),
    )


def nearest_of(*names: str, geo: Geo | None = None) -> Deployment:
    """One policy `web`: the nearest of pools web-NAME."""
    pools = [pool(f"web-{name}") for name in names]
    return deployment([policy("web", rule(*(each.name for each in pools), nearest=True))], pools, geo=geo)


def flat(name: str, state: str = "") -> dict[str, Any]:
    """A record of the flat schema at one of PLACES."""
    latitude, longitude, _, country, _ = PLACES[name]
    return {
        "city": name,
        "country_code": country,
        "latitude": latitude,
        "longitude": longitude,
        "postcode": "",
        "state1": state,
        "state2": "",
        "timezone": "",
    }


def maxmind(name: str) -> dict[str, Any]:
    """A record of the MaxMind schema at one of PLACES."""
    latitude, longitude, continent, country, subdivision = PLACES[name]
    record: dict[str, Any] = {
        "continent": {"code": continent, "geoname_id": 1, "names": {"en": continent, "de": continent}},
        "country": {"iso_code": country, "names": {"en": country}},
        "registered_country": {"iso_code": "ZZ"},
        "city": {"names": {"en": name, "de": f"{name} (de)"}},
        "location": {"latitude": latitude, "longitude": longitude, "accuracy_radius": 20, "time_zone": "Etc/UTC"},
    }
    if subdivision:
        record["subdivisions"] = [{"iso_code": subdivision}, {"iso_code": "X"}]
    return record


def write(
    path: Path,
    networks: Mapping[str, dict[str, Any]] | Iterable[tuple[str, dict[str, Any]]],
    version: int = 4,
    kind: str = "test",
) -> Path:
    """Write a database; networks later in the list (or more specific) win.  Version 6 holds IPv4 inside."""
    pairs = list(networks.items() if isinstance(networks, Mapping) else networks)
    writer = MMDBWriter(version, kind, languages=["en"], ipv4_compatible=version == 6, float_type="f64")
    for network, record in pairs:
        for part in _insertable(ip_network(network)):
            writer.insert_network(IPSet([str(part)]), record)
    writer.to_db_file(str(path))
    return path


def _insertable(network: Network) -> Iterable[Network]:
    """The writer cannot put a record at the root."""
    return network.subnets() if network.prefixlen == 0 else (network,)
