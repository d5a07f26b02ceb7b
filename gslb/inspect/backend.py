"""What one machine is to gslb as a backend: its pools, their VIPs, how packets come to it.  Pure.

A backend is no node: it has the deployment's file, and is known by its own addresses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from gslb.config.problem import one_of
from gslb.model.deployment import Address, Backend, Deployment, Forward, Listen, Network, Pool, PoolId

_IP_OCTETS = {4: 20, 6: 40}  # of an IP header
_UDP_OCTETS = 8
_TCP_OCTETS = 20


class NoBackend(Exception):
    """This machine is not, or not clearly, a backend; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Part:
    """One pool that this machine serves: by which of its addresses it is known, and how its packets come."""

    pool: PoolId
    address: Address
    forward: Forward
    listen: tuple[Listen, ...]
    vips: tuple[Network, ...]

    @property
    def overhead(self) -> int:
        """Octets of the outer headers."""
        if self.forward is Forward.L2:
            return 0
        return _IP_OCTETS[self.address.version] + (_UDP_OCTETS if self.forward is Forward.GUE else 0)


@dataclass(frozen=True, slots=True)
class Task:
    """All that this machine is to do as a backend."""

    parts: tuple[Part, ...]

    @property
    def vips(self) -> tuple[Network, ...]:
        """Each once, IPv4 first."""
        return _ordered(vip for part in self.parts for vip in part.vips)

    @property
    def ends(self) -> tuple[Address, ...]:
        """The addresses of this machine at which tunnels end."""
        found = {part.address for part in self.parts if part.forward is not Forward.L2}
        return tuple(sorted(found, key=lambda address: (address.version, address)))

    @property
    def tunnelled(self) -> tuple[Network, ...]:
        """The VIPs whose packets come in tunnels."""
        return _ordered(vip for part in self.parts if part.forward is not Forward.L2 for vip in part.vips)

    @property
    def forwards(self) -> frozenset[Forward]:
        """Every way by which packets come."""
        return frozenset(part.forward for part in self.parts)

    def mss(self, vip: Network, mtu: int) -> int | None:
        """The largest segment that a client may send to `vip` through a network of that MTU; None where it is the usual one."""
        overhead = max(part.overhead for part in self.parts if vip in part.vips)
        return mtu - overhead - _IP_OCTETS[vip.version] - _TCP_OCTETS if overhead else None


def task_of(deployment: Deployment, own: Collection[Address], only: Collection[str] = ()) -> Task:
    """What a machine with the addresses `own` does; `only`: for these pools.  Raises NoBackend."""
    balanced = [pool for pool in deployment.pools.values() if pool.balance is not None]
    unknown = [name for name in only if name not in {pool.name for pool in balanced}]
    if unknown:
        raise NoBackend(f"{unknown[0]} is no balanced pool - {one_of([pool.name for pool in balanced], unknown[0])}")
    wanted = [pool for pool in balanced if not only or pool.name in only]
    found = [(pool, backend) for pool in wanted for backend in _backends(pool) if backend.address in own]
    if not found:
        addresses = ", ".join(str(address) for address in sorted(own, key=str)) or "none"
        expected = ", ".join(dict.fromkeys(str(one.address) for pool in wanted for one in _backends(pool))) or "none"
        raise NoBackend(f"this machine is no backend: its addresses are {addresses}; backends are {expected}")
    sites = dict.fromkeys(pool.datacenter for pool, _ in found)
    if len(sites) > 1:
        pools = ", ".join(dict.fromkeys(pool.name for pool, _ in found))
        raise NoBackend(
            f"the addresses of this machine are backends of several sites ({', '.join(sites)}): give --pool, of {pools}"
        )
    return Task(tuple(_part(deployment, pool, backend) for pool, backend in found))


def _backends(pool: Pool) -> tuple[Backend, ...]:
    return pool.balance.backends if pool.balance is not None else ()


def _part(deployment: Deployment, pool: Pool, backend: Backend) -> Part:
    assert pool.balance is not None
    answers: Iterable[Network] = (ip_network(answer.address) for answer in pool.answers)
    announced = (prefix for anycast in deployment.anycast if pool.name in anycast.pools for prefix in anycast.prefixes)
    return Part(pool.name, backend.address, backend.forward, pool.balance.listen, _ordered([*answers, *announced]))


def _ordered(vips: Iterable[Network]) -> tuple[Network, ...]:
    return tuple(sorted(set(vips), key=lambda vip: (vip.version, vip)))
