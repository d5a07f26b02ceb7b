"""What the supervisor needs of the configuration: who we are, where to listen, how many workers.  Pure.

The controller reads the configuration and says this over its channel, so that the supervisor stays small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from gslb.model.deployment import Anycast, Attach, Deployment, Node, Via

ON = "on"  # of dns.xdp: as `auto`, but what cannot be had is a problem
MOVE_S = 5.0  # of an orderly end: what routers are given to follow drained routes, at most
WITHDRAW_S = (
    35.0  # and what the rest of it may take where ExaBGP does not answer: to adopt it, to withdraw, and to end it
)
_LOW = 1024  # ports below it need a right


@dataclass(frozen=True, slots=True)
class Wanted:
    """One node's standing orders.  `later` are the anycast prefixes: their addresses may not be here yet.

    `balances`: this node runs a balancer; `marks`: its checks set marks on their sockets, to go by way of the balancer.
    `driver`: how DNS is to be answered in the driver.
    `vips`: addresses of prefixes that this node announces may be wanted on `lo`; `binds_low`: its BGP speaker is dialled at a
    port below 1024; `farewell_s`: how long the controller may take at an orderly end, 0 where no route leads here.
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
    vips: bool = False
    binds_low: bool = False
    farewell_s: float = 0.0

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
            "vips": self.vips,
            "binds_low": self.binds_low,
            "farewell_s": self.farewell_s,
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
    speaker = deployment.speaker(node)
    announced = [one for one in deployment.anycast if speaker is not None and _is_here(one, deployment, node)]
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
        vips=any("dns" in one.announce_when for one in announced),
        binds_low=speaker is not None and any(one.passive and one.port < _LOW for one in speaker.neighbors),
        farewell_s=min(MOVE_S, max(one.drain_s for one in announced)) + WITHDRAW_S if announced else 0.0,
    )


def _is_here(anycast: Anycast, deployment: Deployment, node: Node) -> bool:
    """Whether prefixes may lead to this node's site: with pools behind them, only where one of those is."""
    return not anycast.pools or any(deployment.pools[name].datacenter == node.site for name in anycast.pools)


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
        vips=body["vips"],
        binds_low=body["binds_low"],
        farewell_s=body["farewell_s"],
    )
