"""Decapsulation at a backend: the program on an interface, its addresses, its counters.  IO: libbpf, bpffs.

Rule 1: what is in force lies pinned in `home()`, which is of one network namespace: the program runs with no process of ours.
Rule 2: another set of addresses comes with maps and a program of its own, by one update of the link: no packet passes between.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv6Address, IPv6Network, ip_network
from pathlib import Path

from gslb.model.deployment import Address, Attach, Network
from xdp import links, loading, machine, pins, preflight
from xdp.libbpf import Map, Object
from xdp.messages import Attached, Interface
from xdp.preflight import BPFFS, Refused

ROOT = Path(BPFFS) / "gslb-backend"
PROGRAM = "decap"
_MAPPED = bytes(10) + b"\xff\xff"  # before an IPv4 address (RFC 4291 section 2.5.5.2)
_PRESENT = (1).to_bytes(4, sys.byteorder)
_NETWORK = Path("/proc/thread-self/ns/net")


class DecapCount(IntEnum):
    """enum decap_count of xdp/c/decap.bpf.c."""

    DECAP_IP = 0
    DECAP_GUE = 1
    DECAP_NOT_OURS = 2
    DECAP_MALFORMED = 3
    DECAP_CONGESTED = 4


@dataclass(frozen=True, slots=True)
class Decapsulation:
    """What is in force: on which interfaces, for which inner and outer destinations, and what it counted."""

    interfaces: tuple[Interface, ...] = ()
    vips: frozenset[Network] = frozenset()
    ends: frozenset[Address] = frozenset()
    counts: Mapping[DecapCount, int] = field(default_factory=dict)


def home() -> Path:
    """Where the pins of this network namespace lie."""
    return ROOT / str(_NETWORK.stat().st_ino)


def loaded(vips: Collection[Network], ends: Collection[Address], objects: Path = loading.DIRECTORY) -> Object:
    """The program with these addresses, attached nowhere.  Raises Refused, OSError."""
    made = loading.load(objects / f"{PROGRAM}.bpf.o", {})
    try:
        for vip in vips:
            made.map("decap_vips").update(_prefix_key(vip), _PRESENT)
        for end in ends:
            made.map("decap_ends").update(_octets(end), _PRESENT)
    except OSError:
        made.close()
        raise
    return made


def install(interface: str, vips: Collection[Network], ends: Collection[Address]) -> Interface:
    """Decapsulate on this interface, and on no other, for these addresses.  Raises Refused, OSError."""
    where = home()
    _prepare(where)
    made = loaded(vips, ends)
    try:
        found = links.attach(where / pins.LINKS, made.program_fd(PROGRAM), interface, Attach.AUTO)
        if found.attached is Attached.NOT:
            raise Refused(found.why, found.mend)
        for name in made.maps():
            if loading.shared(name):
                pins.put(made.map(name).fd, where / pins.MAPS / name)
        for other in links.attached(where / pins.LINKS):
            if other.name != interface:
                links.detach(where / pins.LINKS, other.name)
    finally:
        made.close()
    return found


def refusal() -> Refused | None:
    """Why no program can be loaded on this machine, or None."""
    absent = loading.missing(loading.DIRECTORY, (PROGRAM,))
    found = preflight.refusal(machine.machine(absent, ROOT))
    mountable = found is not None and found.mend.startswith("mount ") and os.geteuid() == 0
    return None if mountable else found


def read() -> Decapsulation | None:
    """What is in force; None where nothing is.  Raises OSError, where it may not be read."""
    where = home()
    if not where.exists():
        return None
    held = pins.held(where)
    try:
        vips, ends = ([*held[name].keys()] for name in ("decap_vips", "decap_ends"))
        return Decapsulation(
            links.attached(where / pins.LINKS),
            frozenset(map(_network, vips)),
            frozenset(map(_address, ends)),
            _counts(held["decap_counts"]),
        )
    except KeyError:
        return Decapsulation(links.attached(where / pins.LINKS))  # a setup that was broken off
    finally:
        for one in held.values():
            os.close(one.fd)


def remove() -> bool:
    """Take it away; whether there was any.  Raises OSError."""
    where = home()
    if not where.exists():
        return False
    for link in links.every(where / pins.LINKS):
        links.end(link)
    pins.clear(where)
    return True


def _prepare(where: Path) -> None:
    found = refusal()
    if found is not None:
        raise found
    if not pins.mounted(where):
        pins.mount()
    pins.make(where)
    links.sweep(where / pins.LINKS)


def _counts(counters: Map) -> Mapping[DecapCount, int]:
    found = {}
    for kind in DecapCount:
        octets = counters.lookup(int(kind).to_bytes(4, sys.byteorder)) or b""
        each = (octets[at : at + 8] for at in range(0, len(octets), 8))
        found[kind] = sum(int.from_bytes(one, sys.byteorder) for one in each)
    return found


def _octets(address: Address) -> bytes:
    return address.packed if address.version == 6 else _MAPPED + address.packed


def _prefix_key(vip: Network) -> bytes:
    length = vip.prefixlen if vip.version == 6 else vip.prefixlen + 8 * len(_MAPPED)
    return length.to_bytes(4, sys.byteorder) + _octets(vip.network_address)


def _address(octets: bytes) -> Address:
    found = IPv6Address(octets)
    return found.ipv4_mapped or found


def _network(key: bytes) -> Network:
    length, address = int.from_bytes(key[:4], sys.byteorder), _address(key[4:])
    if address.version == 4:
        return ip_network((address, length - 8 * len(_MAPPED)))
    return IPv6Network((address, length))
