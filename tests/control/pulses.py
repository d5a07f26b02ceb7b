"""A deployment with balanced pools, and pulses of a balancer whose counters grow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

from gslb.control.passive import Passive
from gslb.model.deployment import (
    Answer,
    Api,
    Backend,
    Balance,
    Datacenter,
    Deployment,
    Dns,
    Forward,
    Listen,
    Pool,
    PoolId,
    SiteId,
    Socket,
)
from xdp.messages import Count, Handshakes, Pulse

FRA, IAD, WEB, FAR = SiteId("fra"), SiteId("iad"), PoolId("web"), PoolId("far")
BACKENDS = tuple(f"10.0.0.{number}" for number in range(1, 5))
VIP = "192.0.2.10 tcp/80"
LISTEN = Socket(ip_address("127.0.0.1"), 53)


def balanced(name: PoolId, site: SiteId) -> Pool:
    backends = tuple(Backend(ip_address(one)) for one in BACKENDS)
    balance = Balance((Listen("tcp", 80),), Forward.L2, backends)
    return Pool(name, site, (Answer(ip_address("192.0.2.10")),), balance=balance)


def deployment() -> Deployment:
    return Deployment(
        name="test",
        datacenters={FRA: Datacenter(FRA), IAD: Datacenter(IAD)},
        nodes={},
        pools={WEB: balanced(WEB, FRA), FAR: balanced(FAR, IAD)},
        policies={},
        dns=Dns((LISTEN,)),
        api=Api(LISTEN),
    )


def class_of(network: str) -> tuple[int, int]:
    """Every /8 is a class of its own."""
    address = ip_address(network)
    return address.version, address.packed[0]


def watching(classes: str = "table") -> Passive:
    passive = Passive()
    passive.want(deployment(), FRA, class_of, classes)
    return passive


class Balancer:
    """Counters that grow, and the pulses they make."""

    def __init__(self) -> None:
        self.now = 100.0
        self.vip = Count()
        self.backends = {name: Count() for name in BACKENDS}

    def vip_counts(self, **grown: int) -> None:
        self.vip = grow(self.vip, **grown)

    def backend(self, name: str, **grown: int) -> None:
        self.backends[name] = grow(self.backends[name], **grown)

    def pulse(self, seconds: float = 1.0, handshakes: Iterable[Handshakes] = ()) -> tuple[Pulse, float]:
        self.now += seconds
        found = {"web": dict(self.backends)}
        return Pulse(self.now, 1.0, {"web": {VIP: self.vip}}, found, {}, tuple(handshakes)), self.now


def grow(count: Count, **by: int) -> Count:
    return replace(count, **{name: getattr(count, name) + number for name, number in by.items()})
