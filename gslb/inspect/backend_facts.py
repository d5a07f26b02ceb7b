"""What is found on a machine that is, or is to be, a backend, as values.  Pure; `backend_gather` finds it.

Rule 1: a fact that may not be read is None, and never a guess: who judges says that it is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface

from gslb.model.deployment import Address, Network
from xdp.decap import Decapsulation
from xdp.preflight import Refused


@dataclass(frozen=True, slots=True)
class Device:
    """One interface.  `arp`: whether it asks and answers for Ethernet addresses."""

    name: str
    mtu: int = 1500
    up: bool = True
    arp: bool = True
    lro: bool = False
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it.  `local`: ranges that are local without being addresses; `default_devices`: where default routes leave, by IP version;
    `listening`: (protocol, address, port); `mss`: the segments told by our table of nftables; `dropping`: chains of input that
    drop what no rule takes; `gue`: (IP version, port) at which the kernel takes GUE; `refusal`: why XDP cannot run.
    """

    devices: Mapping[str, Device]
    local: frozenset[Network] = frozenset()
    default_devices: Mapping[int, str] = field(default_factory=dict)
    sysctls: Mapping[str, int] = field(default_factory=dict)
    listening: frozenset[tuple[str, Address, int]] = frozenset()
    nft: bool = True
    mss: Mapping[Network, int] | None = None
    dropping: tuple[str, ...] | None = None
    gue: frozenset[tuple[int, int]] = frozenset()
    modules: frozenset[str] = frozenset()
    decap: Decapsulation | None = None
    decap_known: bool = True
    refusal: Refused | None = None

    @property
    def own(self) -> frozenset[Address]:
        """Every address of this machine."""
        return frozenset(one.ip for device in self.devices.values() for one in device.addresses)

    def device_of(self, address: Address) -> str | None:
        """The interface that has the address."""
        return next((name for name, one in self.devices.items() if any(at.ip == address for at in one.addresses)), None)


def sysctl_name(device: str, key: str) -> str:
    """As sysctl(8) takes it: with slashes where the interface's name has a dot."""
    return f"net/ipv4/conf/{device}/{key}" if "." in device else f"net.ipv4.conf.{device}.{key}"


def effective(facts: Facts, device: str, key: str) -> int:
    """What is in force: the greater of the interface's value and that of `all` (ip-sysctl.rst of Linux)."""
    return max(facts.sysctls.get(sysctl_name(one, key), 0) for one in ("all", device))
