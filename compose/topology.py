"""The lab, described once: networks, machines, addresses, who runs what.  Pure; everything else in `compose/` is made of it.

    europe ─┐                        ┌─ fra    bird   fra1, fra2   2 backends   nats-fra
    america ┼─ transit-a, transit-b ─┼─ iad    bird   iad1         2 backends   nats-iad
    asia ───┘                        ├─ sin    frr    sin1         2 backends   nats-sin
                                     └─ cloud  bird                2 plain servers

In each network .1 is left to the container engine, so routers begin at .2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Runs = Literal["bird", "frr", "gslb", "backend", "server", "nats", "unbound", "recursor", "client"]
DNS = "203.0.113.53"  # the nameserver, at every site by anycast
ANYCAST = "203.0.113.80"  # the service by anycast, balanced at each site
SERVICES = "203.0.113.0/24"  # all addresses of services
ZONE = "example.com"
OUR_AS = 65010
HOLD_S = 9  # of BGP sessions between machines of the lab: three messages may be lost
CHECK_S = 0.4  # between two checks of a backend
FALLS = 2  # checks in a row, and it is down; both come before a client's second SYN, sent after 1 s: see compose/commands.py
FALL_S = CHECK_S * FALLS
ROUTERS: tuple[Runs, ...] = ("bird", "frr")


@dataclass(frozen=True, slots=True)
class Network:
    """One link that all its machines are on: `prefix` is the first three octets of its /24."""

    name: str
    prefix: str

    @property
    def subnet(self) -> str:
        """As routes write it."""
        return f"{self.prefix}.0/24"

    def address(self, last: int) -> str:
        """One of its addresses."""
        return f"{self.prefix}.{last}"


@dataclass(frozen=True, slots=True)
class Interface:
    """A machine's line to a network.  A machine's lines are eth0, eth1 and so on, in their order."""

    network: str
    address: str


@dataclass(frozen=True, slots=True)
class Machine:
    """One host; `gateway` is where its default route goes, None for routers; `place` is its site or region, or "transit"."""

    name: str
    place: str
    runs: Runs
    interfaces: tuple[Interface, ...]
    gateway: str | None = None
    number: int = 0  # of a router: its AS

    @property
    def address(self) -> str:
        """Its first address."""
        return self.interfaces[0].address


@dataclass(frozen=True, slots=True)
class Site:
    """A datacenter: what a pool there is answered with, and what it can carry."""

    name: str
    latitude: float
    longitude: float
    continent: str
    network: Network
    vip: str | None = None  # None: plain servers, used for what the others shed
    conns_per_s: int = 100


@dataclass(frozen=True, slots=True)
class Region:
    """A network of clients, and where the lab's geography says that it is."""

    name: str
    city: str
    country: str
    continent: str
    latitude: float
    longitude: float
    network: Network
    nearest: str  # the site


@dataclass(frozen=True)
class Topology:
    """All of it."""

    sites: tuple[Site, ...]
    regions: tuple[Region, ...]
    exchanges: tuple[Network, ...]
    machines: tuple[Machine, ...]
    ttl_s: int = 20  # of answers; drills in tests take a shorter one, so that they end sooner

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """All links."""
        return (*(site.network for site in self.sites), *(region.network for region in self.regions), *self.exchanges)

    @cached_property
    def by_name(self) -> dict[str, Machine]:
        """The machines by their names."""
        return {machine.name: machine for machine in self.machines}

    def running(self, *runs: Runs) -> tuple[Machine, ...]:
        """The machines that run any of these."""
        return tuple(machine for machine in self.machines if machine.runs in runs)

    def at(self, place: str, *runs: Runs) -> tuple[Machine, ...]:
        """Those of a place."""
        return tuple(machine for machine in self.running(*runs) if machine.place == place)

    def site(self, name: str) -> Site:
        """A site by its name."""
        return next(site for site in self.sites if site.name == name)

    def peers(self, router: Machine) -> tuple[tuple[Machine, str], ...]:
        """Who speaks BGP with a router, and the address there: routers of its exchanges, and nodes of its site."""
        nodes = self.at(router.place, "gslb")
        return tuple((node, node.address) for node in nodes) + tuple(
            (other, line.address)
            for other in self.running(*ROUTERS)
            if (other.place == "transit") != (router.place == "transit")
            for line in other.interfaces
            if line.network in {mine.network for mine in router.interfaces if mine.network.startswith("exchange")}
        )


def _site_machines(site: Site, number: int, exchanges: tuple[Network, ...], router: Runs, nodes: int) -> list[Machine]:
    net = site.network
    lines = (Interface(net.name, net.address(2)), *(Interface(x.name, x.address(10 + number)) for x in exchanges))
    made = [Machine(f"router-{site.name}", site.name, router, lines, number=65100 + number)]
    servers: Runs = "backend" if site.vip else "server"
    members: list[tuple[str, Runs, int]] = [(f"{site.name}{n}", "gslb", 10 + n) for n in range(1, nodes + 1)]
    members += [(f"web-{site.name}{n}", servers, 20 + n) for n in (1, 2)]
    members += [(f"nats-{site.name}", "nats", 5)] if site.vip else []
    made += [
        Machine(name, site.name, runs, (Interface(net.name, net.address(last)),), gateway=net.address(2))
        for name, runs, last in members
    ]
    return made


def _transit(letter: str, number: int, exchange: Network, regions: tuple[Region, ...]) -> Machine:
    lines: tuple[Interface, ...] = (Interface(exchange.name, exchange.address(2)),)
    lines += tuple(Interface(one.network.name, one.network.address(1 + number)) for one in regions)
    return Machine(f"transit-{letter}", "transit", "bird", lines, number=65000 + number)


def _region_machines(region: Region, gateway: int, resolver: Runs) -> list[Machine]:
    net = region.network
    members: tuple[tuple[str, Runs, int], ...] = (
        (f"resolver-{region.name}", resolver, 53),
        (f"client-{region.name}", "client", 10),
    )
    return [
        Machine(name, region.name, runs, (Interface(net.name, net.address(last)),), gateway=net.address(gateway))
        for name, runs, last in members
    ]


def lab(ttl_s: int = 20) -> Topology:
    """The lab."""
    sites = (
        Site("fra", 50.11, 8.68, "EU", Network("fra", "10.50.1"), "203.0.113.1"),
        Site("iad", 38.95, -77.45, "NA", Network("iad", "10.50.2"), "203.0.113.2"),
        Site("sin", 1.35, 103.82, "AS", Network("sin", "10.50.3"), "203.0.113.3"),
        Site("cloud", 53.34, -6.27, "EU", Network("cloud", "10.50.4"), None, 200),
    )
    regions = (
        Region("europe", "Berlin", "DE", "EU", 52.52, 13.40, Network("europe", "198.19.1"), "fra"),
        Region("america", "New York", "US", "NA", 40.71, -74.01, Network("america", "198.19.2"), "iad"),
        Region("asia", "Jakarta", "ID", "AS", -6.21, 106.85, Network("asia", "198.19.3"), "sin"),
    )
    exchanges = (Network("exchange-a", "10.50.10"), Network("exchange-b", "10.50.11"))
    machines = [_transit(letter, n, exchanges[n - 1], regions) for n, letter in enumerate("ab", start=1)]
    shapes: tuple[tuple[Runs, int], ...] = (("bird", 2), ("bird", 1), ("frr", 1), ("bird", 0))
    for number, (site, (router, nodes)) in enumerate(zip(sites, shapes, strict=True), start=1):
        machines += _site_machines(site, number, exchanges, router, nodes)
    resolvers: tuple[Runs, ...] = ("unbound", "recursor", "unbound")
    for region, resolver, gateway in zip(regions, resolvers, (2, 3, 2), strict=True):
        machines += _region_machines(region, gateway, resolver)
    return Topology(sites, regions, exchanges, tuple(machines), ttl_s)
