"""What all balancers of a deployment have in common."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from gslb import units
from gslb.config.kinds import PREFIX, SECTION, Expected, Kind, Reported, choice, many, plain
from gslb.config.problem import KeyPath, Problems
from gslb.config.section import Key, Section
from gslb.config.source import Node, Scalar, shown
from gslb.model.deployment import SOURCES4, SOURCES6, Attach, Balancer, Network

LEAST_IDLE_S, MOST_IDLE_S = 10, 86_400  # seconds

_PREFIXES = many(PREFIX, most=2)


def _idle(scalar: Scalar) -> float:
    value = units.seconds(scalar.text)
    if not LEAST_IDLE_S <= value <= MOST_IDLE_S:
        raise Expected("expected a time from 10s to 24h")
    return value


def _read_sources(node: Node, path: KeyPath, problems: Problems) -> tuple[Network, ...]:
    """At most one prefix of each family, of addresses that a packet may come from."""
    found = _PREFIXES.read(node, path, problems)
    if len({prefix.version for prefix in found}) < len(found):
        problems.error(node.where, path, f"{shown(node)} - expected at most one IPv4 and one IPv6 prefix")
        raise Reported
    for prefix in found:
        if prefix.is_multicast or prefix.prefixlen == 0:
            problems.error(node.where, path, f"{prefix} - expected a prefix of addresses that a packet may come from")
            raise Reported
    return found


_IDLE = plain("duration", _idle, "a duration such as 30s or 5m, from 10s to 24h")
_SOURCES: Kind[tuple[Network, ...]] = Kind("list of prefix", _read_sources)

BALANCER = Key("balancer", SECTION, "What all balancers have in common.")
ATTACH = Key(
    "balancer.attach",
    choice(Attach),
    "How the balancer's program runs on interfaces: auto is native where the driver can, else generic, which is slower; "
    "with off no pool is balanced.",
    "auto",
)
TUNNEL_SOURCES = Key(
    "balancer.tunnel_sources",
    _SOURCES,
    "From where tunnels to backends (ipip) come: another address of these for each flow, so that the queues of a backend's "
    "network card share the work; /32 and /128 are that address alone. At most one prefix of each family.",
    f'[{SOURCES4}, "{SOURCES6}"]',
)
FLOW_IDLE = Key(
    "balancer.flow_idle",
    _IDLE,
    "From when a part of a pool's flows that moved is idle: then the backend that it had is forgotten; 10s to 24h.",
    "5m",
)

KEYS = tuple(value for value in tuple(globals().values()) if isinstance(value, Key))

_BALANCER = (ATTACH, TUNNEL_SOURCES, FLOW_IDLE)


def read_balancer(root: Section) -> Balancer:
    """The section; one that cannot be read has its defaults."""
    return root.defaulted(BALANCER, _BALANCER, _balancer)


def _balancer(section: Section) -> Balancer:
    source4, source6 = SOURCES4, SOURCES6
    for prefix in section.get(TUNNEL_SOURCES):
        if isinstance(prefix, IPv4Network):
            source4 = prefix
        elif isinstance(prefix, IPv6Network):
            source6 = prefix
    return Balancer(section.get(ATTACH), source4, source6, section.get(FLOW_IDLE))
