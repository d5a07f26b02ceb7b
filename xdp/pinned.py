"""What a node's balancer has in force, as commands look at it: read from its pinned maps, changing nothing.  IO: bpffs, system calls.

Rule 1: what is told is what the kernel holds, also with every process dead.
Rule 2: names come from the plan; what the plan does not name is told by its address.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from gslb import layout
from gslb.layout import LAYOUT_HASH, BackendFlags, Mode, VipFlags
from gslb.model.deployment import Balancer
from gslb.model.plan import BalancerTable, Serving, Vip
from xdp import kernelinfo, links, pins, slots
from xdp.entries import ICMP, MODES, PREFIX_OCTETS, address_text, vip_key, vip_name
from xdp.libbpf import Map, library
from xdp.maglev import digest
from xdp.messages import Interface
from xdp.tracking import ByPool, count

_ASKED = Balancer()


class NotInForce(Exception):
    """There is no balancer here, or it cannot be looked at; the text is for people."""


@dataclass(frozen=True, slots=True)
class VipEntry:
    """One VIP.  `pool` is empty where the plan does not name it; `ring` 0: none."""

    id: int
    name: str
    pool: str
    ring: int
    quic: bool


@dataclass(frozen=True, slots=True)
class BackendEntry:
    """One backend as the program sees it.  `next_hop` is empty for none, `interface` that by which packets leave."""

    id: int
    address: str
    mode: str
    next_hop: str
    interface: str
    mtu: int
    down: bool
    unreachable: bool
    pools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RingEntry:
    """One ring: slots by backend id, and slots in which an earlier backend keeps its flows, by that backend's id."""

    id: int
    digest: str
    slots: Mapping[int, int]
    keeping: Mapping[int, int]
    moving: int


@dataclass(frozen=True, slots=True)
class Names:
    """What ids stand for (`xdp.counters.Names`)."""

    vips: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    backends: Mapping[int, tuple[tuple[str, str], ...]] = field(default_factory=dict)


class Pinned:
    """The maps of one node.  Open it with `opened`; it holds descriptors until its `with` block ends."""

    def __init__(
        self, folder: Path, maps: Mapping[str, Map], tables: Mapping[str, BalancerTable], asked: Balancer = _ASKED
    ) -> None:
        self.folder = folder
        self.maps = maps
        self._tables = tables
        self._asked = asked

    @classmethod
    def opened(cls, home: Path, tables: Mapping[str, BalancerTable], asked: Balancer = _ASKED) -> Pinned:
        """What is pinned in `home` (`pins.folder`); `tables` are those of the plan, `asked` is what the configuration says.

        Raises NotInForce, OSError.
        """
        folder = home / LAYOUT_HASH
        if not folder.exists():
            raise NotInForce(_absent(home))
        try:
            library()
        except OSError as error:
            raise NotInForce("libbpf.so.1 is not installed; apt-get install libbpf1") from error
        return cls(folder, pins.held(folder), tables, asked)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for held in self.maps.values():
            os.close(held.fd)

    @property
    def version(self) -> int:
        """The version of the plan in force; 0 before the first."""
        value = self.maps["settings"].lookup(bytes(4))
        return layout.Settings.from_buffer_copy(value).version if value else 0

    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces on which the program runs.  Raises OSError."""
        return links.attached(self.folder / pins.LINKS, self._asked.attach)

    def vips(self) -> list[VipEntry]:
        """Every VIP, by pool and name.  Raises OSError."""
        planned = {key: (pool, name) for pool, key, name in self._planned()}
        found = []
        for kind in ("vips", "vip_prefixes"):
            held = self.maps[kind]
            for key in list(held.keys()):
                text = _vip_text(key)
                value = held.lookup(key)
                if text is None or value is None:  # gone meanwhile
                    continue
                vip = layout.Vip.from_buffer_copy(value)
                pool, name = planned.get(key, ("", text))
                found.append(VipEntry(vip.id, name, pool, vip.ring, bool(vip.flags & VipFlags.VIP_QUIC)))
        return sorted(found, key=lambda one: (one.pool, one.name))

    def backends(self) -> dict[int, BackendEntry]:
        """Every backend, by id.  Raises OSError."""
        pools = self._pools()
        held = self.maps["backends"]
        found = {}
        for number in range(1, layout.MOST_BACKENDS):
            value = held.lookup(number.to_bytes(4, sys.byteorder))
            if value and any(value):
                one = layout.Backend.from_buffer_copy(value)
                if one.mode != Mode.MODE_NONE:
                    found[number] = _backend(number, one, pools)
        return found

    def ring(self, number: int, backends: Mapping[int, BackendEntry]) -> RingEntry | None:
        """One ring; None where there is none.  Raises OSError."""
        found = self._slots(number)
        if found is None:
            return None
        sizes = (np.bincount(ids, minlength=layout.MOST_BACKENDS) for ids in (found.current, found.previous))
        current, previous = sizes
        ids = [int(each) for each in np.nonzero(current)[0] if each]
        places = np.full(1 << 16, 0xFFFF, np.uint16)
        places[ids] = np.arange(len(ids), dtype=np.uint16)
        addresses = [backends[each].address if each in backends else f"id {each}" for each in ids]
        return RingEntry(
            id=number,
            digest=digest(addresses, places[found.current]),
            slots={each: int(current[each]) for each in ids},
            keeping={int(each): int(previous[each]) for each in np.nonzero(previous)[0] if each},
            moving=found.moving,
        )

    def names(self, vips: list[VipEntry], backends: Mapping[int, BackendEntry]) -> Names:
        """What ids stand for; what belongs to no pool of the plan has an empty one."""
        named = {one.id: (one.pool, one.name) for one in vips if one.ring}
        owners = {number: tuple((pool, one.address) for pool in one.pools or ("",)) for number, one in backends.items()}
        return Names(named, owners)

    def active(self, names: Names, now: float) -> tuple[ByPool, ByPool]:
        """Connections that there are, by pool and VIP, and by pool and backend; `now` by the monotonic clock.  Raises OSError."""
        value = self.maps["settings"].lookup(bytes(4))
        mask = layout.Settings.from_buffer_copy(value).track_mask if value else 0
        return count(self.maps, names, mask, self._asked.flow_idle_s, now)

    def serving(self, pool: str, address: str) -> Serving | None:
        """What the plan says of a backend."""
        table = self._tables.get(pool)
        return next((one.serving for one in table.backends if one.address == address), None) if table else None

    def _slots(self, number: int) -> slots.Slots | None:
        held = kernelinfo.inner(self.maps["rings"], number.to_bytes(4, sys.byteorder))
        if held is None:
            return None
        try:
            ring = held.lookup(bytes(4))
        finally:
            os.close(held.fd)
        return slots.from_bytes(ring) if ring else None

    def _planned(self) -> Iterator[tuple[str, bytes, str]]:
        for pool, table in self._tables.items():
            for vip in table.vips:
                yield pool, vip_key(ip_network(vip.prefix), vip.protocol, vip.port), vip_name(vip)

    def _pools(self) -> dict[tuple[str, int], list[str]]:
        found: dict[tuple[str, int], list[str]] = {}
        for pool, table in self._tables.items():
            for one in table.backends:
                found.setdefault((one.address, MODES[one.forward]), []).append(pool)
        return found


def _absent(home: Path) -> str:
    if pins.layouts(home):
        return "a balancer of another version of gslb is in force here; restart gslb, or use that version's command"
    return f"no balancer is in force here (nothing is pinned in {home}); `gslb status` says why"


def _vip_text(key: bytes) -> str | None:
    """How people write the VIP of a key; None for an entry that only says that an address is one."""
    if len(key) == PREFIX_OCTETS:
        prefix = layout.VipPrefix.from_buffer_copy(key)
        address, protocol, port, bits = bytes(prefix.address), prefix.protocol, prefix.port, prefix.length - 32
    else:
        exact = layout.VipKey.from_buffer_copy(key)
        address, protocol, port, bits = bytes(exact.address), exact.protocol, exact.port, 128
    if protocol in ICMP.values() and not port:
        return None
    text = address_text(address)
    return vip_name(Vip(f"{text}/{bits if ':' in text else bits - 96}", protocol, port))


def _backend(number: int, one: layout.Backend, pools: Mapping[tuple[str, int], list[str]]) -> BackendEntry:
    address, hop = address_text(bytes(one.address)), bytes(one.next_hop)
    name = ""
    with suppress(OSError):
        name = socket.if_indextoname(one.ifindex) if one.ifindex else ""
    return BackendEntry(
        id=number,
        address=address,
        mode=Mode(one.mode).name.removeprefix("MODE_").lower(),
        next_hop=hop.hex(":") if any(hop) else "",
        interface=name,
        mtu=one.mtu,
        down=bool(one.flags & BackendFlags.BACKEND_DOWN),
        unreachable=bool(one.flags & BackendFlags.BACKEND_UNREACHABLE),
        pools=tuple(pools.get((address, one.mode), ())),
    )
