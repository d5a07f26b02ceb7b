"""The facts of this machine and of its interfaces that decide whether XDP runs.  IO: /proc, ioctl, netlink.

Rule 1: a fact that cannot be had is its harmless default: facts explain a refusal, they never cause one that the kernel would not give.
Source: Linux uapi ethtool.h (ETHTOOL_GDRVINFO, GCHANNELS, GFLAGS, GGRO), sockios.h.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdp import pins
from xdp.libbpf import library
from xdp.netlink import Netlink
from xdp.preflight import SUB_DEVICES, Machine, Nic

_SIOCETHTOOL = 0x8946
_GDRVINFO, _GFLAGS, _GGRO, _GCHANNELS = 0x03, 0x25, 0x2B, 0x3C
_LRO = 1 << 15  # ETH_FLAG_LRO
_ETHERNET, _GROUP = 6, 1  # octets of an address; the bit of the first one that says that it is a group's
_NO_BROADCAST = 31  # bits of a prefix (RFC 3021)
_WHOLE = "4294967295"  # ids of the first user namespace


def machine(missing: tuple[str, ...], where: Path) -> Machine:
    """The facts; `missing` are object files that are not there, `where` is the folder in bpffs that is wanted."""
    return Machine(
        libbpf=_has_libbpf(),
        missing=missing,
        kernel=_kernel(os.uname().release),
        capabilities=_capabilities(Path("/proc/self/status").read_text()),
        root_of_all=Path("/proc/self/uid_map").read_text().split()[2:3] == [_WHOLE],
        bpffs=pins.mounted(where),
    )


def nic(name: str) -> Nic:
    """The facts of one interface."""
    maximum, now = _channels(name)
    return Nic(
        name,
        driver=_driver(name),
        channels=now,
        most_channels=maximum,
        lro=bool(_value(name, _GFLAGS) & _LRO),
        gro=bool(_value(name, _GGRO)),
        **_link(name),
    )


@dataclass(frozen=True, slots=True)
class Own:
    """What tells frames for this machine from others: Ethernet addresses of its interfaces, broadcast addresses of its networks."""

    ethernets: frozenset[bytes] = frozenset()
    broadcasts: frozenset[bytes] = frozenset()


def own() -> Own:
    """As it is now.  Raises OSError.

    All interfaces, since frames for a VLAN's, a bond's or a bridge's address come in by another one; a network of /31 has no broadcast.
    """
    with Netlink() as netlink:
        links, networks = netlink.links(), netlink.networks()
    return Own(
        frozenset(link.address for link in links if len(link.address) == _ETHERNET and not link.address[0] & _GROUP),
        frozenset(
            one.network.broadcast_address.packed
            for one in networks
            if one.network.prefixlen < _NO_BROADCAST and not one.is_loopback
        ),
    )


def _link(name: str) -> dict[str, Any]:
    try:
        with Netlink() as netlink:
            links = {link.index: link for link in netlink.links()}
    except OSError:
        return {}
    for link in links.values():
        if link.name == name:
            parent = links[link.parent].name if link.kind in SUB_DEVICES and link.parent in links else ""
            return {"kind": link.kind, "mtu": link.mtu, "parent": parent, "loopback": name == "lo"}
    return {}


def _has_libbpf() -> bool:
    try:
        library()
    except (OSError, AttributeError):
        return False
    return True


def _kernel(release: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _capabilities(status: str) -> int:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.M)
    return int(found[1], 16) if found else 0


def _driver(name: str) -> str:
    answer = _ethtool(name, struct.pack("=I", _GDRVINFO) + bytes(192))
    return answer[4:36].split(b"\0")[0].decode(errors="replace")


def _channels(name: str) -> tuple[int, int]:
    """The most queues, and those in use: combined ones, else receiving ones."""
    answer = _ethtool(name, struct.pack("=I", _GCHANNELS) + bytes(32))
    most_rx, _, _, most, rx, _, _, now = struct.unpack("=4x8I", answer)
    return (most, now) if most else (most_rx, rx)


def _value(name: str, command: int) -> int:
    (value,) = struct.unpack("=4xI", _ethtool(name, struct.pack("=II", command, 0)))
    return int(value)


def _ethtool(name: str, request: bytes) -> bytes:
    """What the driver answers; zeros where it does not."""
    data = array("B", request)
    ifreq = struct.pack("16sP16x", name.encode()[:15], data.buffer_info()[0])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            fcntl.ioctl(handle, _SIOCETHTOOL, ifreq)
    except OSError:
        return bytes(len(request))
    return data.tobytes()
