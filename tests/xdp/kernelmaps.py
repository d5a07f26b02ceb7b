"""The balancer's maps in the kernel without its programs: what `xdp.tables` fills, made from the shapes of gslb/layout.py.  IO; needs root."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Mapping
from typing import Literal

from gslb import layout
from xdp.libbpf import Map, library, require

MAP_OF_MAPS = 12
NAMES = (
    *("settings", "vips", "vip_prefixes", "rings", "ring_uses", "backends", "quic_ids", "marks"),
    *("tracked", "udp_flows"),
)


# struct bpf_map_create_opts: its size, 4 ids of types, the descriptor of an inner map, flags, 8 octets and 2 numbers more
_OPTIONS = struct.Struct("=Q16xII8x8x")


class KernelMaps:
    """Maps that live as long as this; its interface is that of `xdp.loader.DataPlane`, as far as tables go."""

    def __init__(self) -> None:
        self._maps: dict[str, Map] = {}
        self.adopted = False
        for name in NAMES:
            shape = layout.MAPS[name]
            template = (
                self.new_inner("rings" if name == "rings" else "ring_uses") if shape.type == MAP_OF_MAPS else None
            )
            options = _OPTIONS.pack(_OPTIONS.size, template.fd if template is not None else 0, shape.flags)
            sizes = (shape.key_size, shape.value_size, shape.max_entries)
            made = library().bpf_map_create(shape.type, name.encode(), *sizes, options)
            if template is not None:
                os.close(template.fd)
            self._maps[name] = Map(require(made, f"make {name}"), name, shape.value_size, shape.key_size)

    @property
    def maps(self) -> Mapping[str, Map]:
        """Every map by name."""
        return self._maps

    def new_inner(self, name: Literal["rings", "ring_uses"]) -> Map:
        """An empty inner map; the caller closes its descriptor."""
        size = ctypes.sizeof(layout.Ring if name == "rings" else layout.RingUse)
        return Map(require(library().bpf_map_create(2, b"inner", 4, size, 1, None), "make an inner map"), name, size)

    def drop_inner(self, name: Literal["rings", "ring_uses"], identity: int) -> None:
        """Nothing holds an inner map here but the map that it is in."""

    def inner(self, name: Literal["rings", "ring_uses"], index: int) -> Map | None:
        """The inner map at `index`, or None; the caller closes its descriptor."""
        found = self._maps[name].lookup(struct.pack("=I", index))
        if found is None:
            return None
        fd = require(library().bpf_map_get_fd_by_id(struct.unpack("=I", found)[0]), "open an inner map")
        return Map(fd, name, ctypes.sizeof(layout.Ring if name == "rings" else layout.RingUse))

    def close(self) -> None:
        """Let go: the maps end."""
        for held in self._maps.values():
            os.close(held.fd)
        self._maps.clear()
