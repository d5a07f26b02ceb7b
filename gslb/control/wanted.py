"""What the supervisor needs of the configuration: who we are, where to listen, how many workers.  Pure.

The controller reads the configuration and says this over its channel, so that the supervisor stays small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from gslb.model.deployment import Attach, Deployment, Node, Via

ON = "on"  # of dns.xdp: as `auto`, but what cannot be had is a problem


@dataclass(frozen=True, slots=True)
class Wanted:
    """One node's standing orders.  `later` are the anycast prefixes: their addresses may not be here yet.

    `balances`: this node runs a balancer; `marks`: its checks set marks on their sockets, to go by way of the balancer.
    `driver`: how DNS is to be answered in the driver.
    """

    deployment: str
    node: str
    listen: tuple[tuple[str, int], ...]
    later: tuple[IPv4Network | IPv6Network, ...]
    workers: int | None
    tcp_clients: int
    balances: bool = False
    marks: bool = False
    driver: Attach = Attach.OFF

    def to_json(self) -> dict[str, object]:
        """For the channel."""
        return {
            "deployment": self.deployment,
            "node": self.node,
            "listen": [list(one) for one in self.listen],
            "later": [str(network) for network in self.later],
            "workers": self.workers,
            "tcp_clients": self.tcp_clients,
            "balances": self.balances,
            "marks": self.marks,
            "driver": self.driver.value,
        }


def attach_of(xdp: str) -> Attach:
    """How `dns.xdp` has interfaces attached."""
    return Attach.AUTO if xdp == ON else Attach(xdp)


def wanted_of(deployment: Deployment, node: Node) -> Wanted:
    """What `deployment` asks of `node`."""
    balanced = [pool for pool in deployment.pools.values() if pool.datacenter == node.site and pool.balance is not None]
    balances = bool(balanced) and deployment.balancer.attach is not Attach.OFF
    reached = "lo" in node.interfaces or not all(one.address.is_loopback for one in deployment.dns.listen)
    monitors = [deployment.monitors[pool.monitor] for pool in balanced if deployment.monitors and pool.monitor]
    return Wanted(
        deployment=deployment.name,
        node=node.name,
        listen=tuple((str(one.address), one.port) for one in deployment.dns.listen),
        later=tuple(prefix for anycast in deployment.anycast for prefix in anycast.prefixes),
        workers=deployment.dns.workers,
        tcp_clients=deployment.limits.tcp_clients,
        balances=balances,
        marks=balances and any(monitor.via is Via.VIP for monitor in monitors),
        driver=attach_of(deployment.dns.xdp) if reached else Attach.OFF,
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
        balances=body["balances"],
        marks=body["marks"],
        driver=Attach(body["driver"]),
    )
