"""What the kernel's maps hold, entry by entry, for `xdp.flow`.  IO: system calls."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Mapping

from gslb.layout import Backend, NewFlow, Settings, UdpFlow, Vip, VipKey, VipPrefix
from xdp import kernelinfo, libbpf
from xdp.flow import Entry, UdpEntry

_WORD = struct.Struct("=I")


class Held:
    """`xdp.flow.Maps` over the maps of a running balancer.  Every method raises OSError."""

    def __init__(self, maps: Mapping[str, libbpf.Map]) -> None:
        self._maps = maps
        self._rings: dict[int, bytes | None] = {}

    def key(self) -> bytes:
        """The secret of the flow hash."""
        settings = Settings.from_buffer_copy(
            self._maps["settings"].lookup(_WORD.pack(0)) or bytes(ctypes.sizeof(Settings))
        )
        return struct.pack("=2Q", *settings.key)

    def vip(self, address: bytes, port: int, protocol: int) -> Entry | None:
        """The VIP of exactly this address and port."""
        return _entry(self._maps["vips"].lookup(bytes(VipKey(tuple(address), port, protocol))))

    def prefix(self, address: bytes, port: int, protocol: int) -> Entry | None:
        """The longest prefix with exactly this port."""
        key = VipPrefix(32 + 128, port, protocol, 0, tuple(address))
        return _entry(self._maps["vip_prefixes"].lookup(bytes(key)))

    def slot(self, ring: int, slot: int) -> tuple[int, int] | None:
        """current and previous, of the ring as it was when first asked for."""
        if ring not in self._rings:
            self._rings[ring] = self._read_ring(ring)
        content = self._rings[ring]
        if content is None:
            return None
        current, previous = struct.unpack_from("=HH", content, 4 * slot)
        return current, previous

    def backend(self, backend: int) -> tuple[int, int]:
        """Its mode and flags."""
        found = self._maps["backends"].lookup(_WORD.pack(backend))
        record = Backend.from_buffer_copy(found) if found else Backend()
        return record.mode, record.flags

    def new_flow(self, flow_hash: int) -> int | None:
        """The backend of a flow that began in a slot with a previous backend."""
        found = self._maps["new_flows"].lookup(struct.pack("=Q", flow_hash))
        return NewFlow.from_buffer_copy(found).backend if found else None

    def udp_flow(self, index: int) -> UdpEntry:
        """One place of the table of UDP flows."""
        found = UdpFlow.from_buffer_copy(
            self._maps["udp_flows"].lookup(_WORD.pack(index)) or bytes(ctypes.sizeof(UdpFlow))
        )
        return UdpEntry(found.tag, found.backend, found.seen)

    def _read_ring(self, ring: int) -> bytes | None:
        held = kernelinfo.inner(self._maps["rings"], _WORD.pack(ring))
        if held is None:
            return None
        try:
            return held.lookup(_WORD.pack(0))
        finally:
            os.close(held.fd)


def _entry(found: bytes | None) -> Entry | None:
    if found is None:
        return None
    vip = Vip.from_buffer_copy(found)
    return Entry(vip.id, vip.ring)
