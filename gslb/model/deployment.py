"""What the operator wrote: one deployment, checked and frozen.  Pure.

Shares are 0..1, times are seconds, rates are per second; "80%" and "5s" exist only in `gslb.units`.
A value of these types has passed every check of `gslb.config.rules`, so no reader checks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import chain
from typing import NewType

from gslb.model.bgp import Bgp

SiteId = NewType("SiteId", str)
NodeId = NewType("NodeId", str)
MonitorId = NewType("MonitorId", str)
PoolId = NewType("PoolId", str)
PolicyId = NewType("PolicyId", str)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

TYPE_A = 1
TYPE_AAAA = 28
SOURCES4 = IPv4Network("198.18.0.0/15")  # RFC 2544: routed nowhere
SOURCES6 = IPv6Network("100::/64")  # RFC 6666: discard only
DYNAMIC_TYPES = (TYPE_A, TYPE_AAAA)  # what a policy can answer: addresses


@dataclass(frozen=True, slots=True)
class Datacenter:
    """A place (site).  `at` is (latitude, longitude) in degrees; a `burst` site takes only what others shed.

    Without `node` no machine there runs gslb, but those that are named.
    """

    name: SiteId
    at: tuple[float, float] | None = None
    continent: str | None = None
    provider: str | None = None
    burst: bool = False
    node: bool = True


@dataclass(frozen=True, slots=True)
class Node:
    """One machine that runs gslb.  `interfaces` are those of the balancer; none: that of the default route."""

    name: NodeId
    site: SiteId
    interfaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Geo:
    """Where clients are looked up.  Geography is quantised to `scope4` and `scope6` bits."""

    databases: tuple[str, ...] = ()
    nearest_limit: int = 3
    scope4: int = 24
    scope6: int = 56


class Via(StrEnum):
    """How a check reaches a backend."""

    ADDRESS = "address"  # its own address
    VIP = "vip"  # the pool's answer, forwarded to this backend as the balancer forwards clients


@dataclass(frozen=True, slots=True)
class Monitor:
    """How to check a target.  `settings` holds what only this `kind` knows (path, expect, ...)."""

    name: MonitorId
    kind: str
    interval_s: float
    timeout_s: float
    fall: int
    rise: int
    quorum: float
    port: int | None = None
    settings: Mapping[str, object] | None = None
    via: Via = Via.ADDRESS


@dataclass(frozen=True, slots=True)
class Answer:
    """One address that DNS may return, with its weight among the pool's addresses of that family."""

    address: Address
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a pool can carry.  `soft` is None for `soft: auto` (Erlang C over `servers`)."""

    conns_per_s: float | None = None
    servers: int | None = None
    soft: float | None = 0.8
    hard: float = 0.9


@dataclass(frozen=True, slots=True)
class LoadSource:
    """Where a pool's load is read: `balancer`, `push`, or `url` with a JSON path or a metric name."""

    kind: str
    url: str | None = None
    json: str | None = None
    metric: str | None = None


class Return(StrEnum):
    """How a failed-over pool comes back."""

    GRADUAL = "gradual"
    MANUAL = "manual"
    AT_ONCE = "at_once"


class Forward(StrEnum):
    """How the balancer reaches a backend."""

    L2 = "l2"
    IPIP = "ipip"
    GUE = "gue"


@dataclass(frozen=True, slots=True)
class Backend:
    """One real server behind a site's balancer.  `id` is for QUIC connection ids."""

    address: Address
    weight: int = 1
    id: int | None = None
    forward: Forward = Forward.L2


@dataclass(frozen=True, slots=True)
class Listen:
    """One protocol and port of a balanced pool; port 0 stands for any."""

    protocol: str
    port: int


class WithoutBalancer(StrEnum):
    """What a balanced pool is on a node of its site that cannot balance."""

    DOWN = "down"
    SERVE = "serve"


@dataclass(frozen=True, slots=True)
class Balance:
    """How the site's balancer spreads a pool's addresses over backends."""

    listen: tuple[Listen, ...]
    forward: Forward
    backends: tuple[Backend, ...]
    min_healthy: int = 1
    without_balancer: WithoutBalancer = WithoutBalancer.DOWN


@dataclass(frozen=True, slots=True)
class Pool:
    """The addresses of one service in one datacenter: the unit of failover, capacity and override."""

    name: PoolId
    datacenter: SiteId
    answers: tuple[Answer, ...]
    monitor: MonitorId | None = None
    capacity: Capacity | None = None
    load: LoadSource | None = None
    return_: Return = Return.GRADUAL
    balance: Balance | None = None

    def answers_of(self, rtype: int) -> tuple[Answer, ...]:
        """The pool's addresses of record type `rtype` (A or AAAA), in the configured order."""
        version = 4 if rtype == TYPE_A else 6
        return tuple(answer for answer in self.answers if answer.address.version == version)


@dataclass(frozen=True, slots=True)
class Rule:
    """Which clients (all conditions empty: every client) are given which pools, in order or by distance.

    `geos` are octoDNS codes: EU, EU-NO, NA-US-CA.  With `nearest` the order of `pools` is the
    fallback order where the client's place is not known.
    """

    pools: tuple[PoolId, ...]
    nearest: bool = False
    subnets: tuple[Network, ...] = ()
    asns: tuple[int, ...] = ()
    geos: tuple[str, ...] = ()

    @property
    def catches_all(self) -> bool:
        """Whether the rule has no condition."""
        return not (self.subnets or self.asns or self.geos)


@dataclass(frozen=True, slots=True)
class Spill:
    """Where a full pool's users go, and how fast, in share of the pool's answers per second."""

    to: tuple[PoolId, ...] = ()
    step_per_s: float = 0.05 / 60
    recover_per_s: float = 0.02 / 60


class AllDown(StrEnum):
    """What is answered when no pool of a policy is usable."""

    SERVE_ALL = "serve_all"
    LAST_GOOD = "last_good"
    LAST_RESORT = "last_resort"
    NODATA = "nodata"
    SERVFAIL = "servfail"


@dataclass(frozen=True, slots=True)
class Sticky:
    """Client networks of these lengths keep the same pool member."""

    v4: int = 24
    v6: int = 56


class View(StrEnum):
    """Whose word on the health of pools a policy's clients go by."""

    GLOBAL = "global"  # that of all sites
    REGIONAL = "regional"  # that of the sites on the client's continent, where these say something else


@dataclass(frozen=True, slots=True)
class Policy:
    """Ordered rules, then spill, stickiness, all-down mode, TTL and view.  The last rule catches all."""

    name: PolicyId
    rules: tuple[Rule, ...]
    spill: Spill = Spill()
    answers: int = 1
    sticky: Sticky | None = Sticky()
    on_all_down: AllDown = AllDown.SERVE_ALL
    last_resort: tuple[Address, ...] = ()
    panic: float = 0.5
    velocity: float = 0.5
    ttl_max: int = 60
    ttl_min: int = 5
    view: View = View.GLOBAL

    @property
    def pools(self) -> tuple[PoolId, ...]:
        """Every pool that a rule names, in order of first mention; spill targets are not among them."""
        return tuple(dict.fromkeys(chain.from_iterable(rule.pools for rule in self.rules)))


@dataclass(frozen=True, slots=True)
class Anycast:
    """One set of anycast prefixes and when a node announces them.

    In seconds: well for `rise_s` before the first announcement; announced for `least_s` before an automatic withdrawal; drained for
    `drain_s` before an operator's; held back for `hold_s` after a failure, twice as long after each further one, up to `longest_hold_s`.
    """

    name: str
    prefixes: tuple[Network, ...]
    announce_when: tuple[str, ...]
    pools: tuple[PoolId, ...] = ()
    min_sites: int = 1
    on_controller_loss: str = "drain"
    rise_s: float = 30.0
    least_s: float = 30.0
    drain_s: float = 30.0
    hold_s: float = 30.0
    longest_hold_s: float = 1800.0


class Attach(StrEnum):
    """How the balancer's program is attached to an interface."""

    AUTO = "auto"  # native where the driver can, else generic
    NATIVE = "native"
    GENERIC = "generic"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Balancer:
    """What all balancers of a deployment have in common.

    Outer sources of tunnels are addresses of `source4` and `source6`, another one for each flow, so that backends' receive
    queues share the work.  A slot of a table forgets a backend that it had when no flow used it for `flow_idle_s`.
    """

    attach: Attach = Attach.AUTO
    source4: IPv4Network = SOURCES4
    source6: IPv6Network = SOURCES6
    flow_idle_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what clients can make the nameserver do."""

    responses_per_s: float = 200.0
    slip: int = 2
    exempt: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    dry_run: bool = False
    tcp_clients: int = 1000


@dataclass(frozen=True, slots=True)
class Socket:
    """An address and a port to listen on."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class Dns:
    """The nameserver.  `workers` is None for one per core; `nsid` is `site`, `node`, or a text."""

    listen: tuple[Socket, ...]
    workers: int | None = None
    xdp: str = "auto"
    nsid: str | None = None


@dataclass(frozen=True, slots=True)
class BusTls:
    """TLS to the NATS servers.  Files of certificates and keys; without `ca_file` the system's authorities."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True, slots=True)
class Bus:
    """The NATS servers; without any this node is alone.  Variables and files hold what shows who a node is."""

    nats: tuple[str, ...] = ()
    user: str | None = None
    password_env: str | None = None
    password_file: str | None = None
    token_env: str | None = None
    token_file: str | None = None
    credentials_file: str | None = None
    nkey_file: str | None = None
    tls: BusTls | None = None


@dataclass(frozen=True, slots=True)
class Api:
    """The HTTP API."""

    listen: Socket
    token_env: str | None = None
    token_file: str | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that `gslb.yaml` says, except the zones.  Mappings keep the order of the file."""

    name: str
    nodes: Mapping[NodeId, Node]
    datacenters: Mapping[SiteId, Datacenter]
    pools: Mapping[PoolId, Pool]
    policies: Mapping[PolicyId, Policy]
    dns: Dns
    api: Api
    geo: Geo = Geo()
    monitors: Mapping[MonitorId, Monitor] | None = None
    anycast: tuple[Anycast, ...] = ()
    bgp: tuple[Bgp, ...] = ()
    reference: tuple[str, ...] = ()
    limits: Limits = Limits()
    bus: Bus = Bus()
    secret_env: str | None = None
    secret_file: str | None = None
    balancer: Balancer = Balancer()

    def speaker(self, node: Node) -> Bgp | None:
        """The BGP speaker of a node: the one named after it, else that of its site."""
        named = {one.name: one for one in self.bgp}
        return named.get(node.name) or named.get(node.site)
