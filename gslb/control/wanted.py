"""What the supervisor needs of the configuration: who we are, where to listen, how many workers.  Pure.

The controller reads the configuration and says this over its channel, so that the supervisor stays small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from gslb.model.deployment import Deployment, Node


@dataclass(frozen=True, slots=True)
class Wanted:
    """One node's standing orders.  `later` are the anycast prefixes: their addresses may not be here yet."""

    deployment: str
    node: str
    listen: tuple[tuple[str, int], ...]
    later: tuple[IPv4Network | IPv6Network, ...]
    workers: int | None
    tcp_clients: int

    def to_json(self) -> dict[str, object]:
        """For the channel."""
        return {
            "deployment": self.deployment,
            "node": self.node,
            "listen": [list(one) for one in self.listen],
            "later": [str(network) for network in self.later],
            "workers": self.workers,
            "tcp_clients": self.tcp_clients,
        }


def wanted_of(deployment: Deployment, node: Node) -> Wanted:
    """What `deployment` asks of `node`."""
    return Wanted(
        deployment=deployment.name,
        node=node.name,
        listen=tuple((str(one.address), one.port) for one in deployment.dns.listen),
        later=tuple(prefix for anycast in deployment.anycast for prefix in anycast.prefixes),
        workers=deployment.dns.workers,
        tcp_clients=deployment.limits.tcp_clients,
    )


def from_json(body: Mapping[str, Any]) -> Wanted:
    """Read what `Wanted.to_json` said."""
    return Wanted(
        deployment=body["deployment"],
        node=body["node"],
        listen=tuple((address, port) for address, port in body["listen"]),
        later=tuple(ip_network(text) for text in body["later"]),
        workers=body["workers"],
        tcp_clients=body["tcp_clients"],
    )
