"""Inner maps of DNS: arrays of DNS_CHUNK octets an element, filled and read as memory.  IO: system calls.

Rule: a map is filled before it is in force, and never changed by user space afterwards; what programs count is only read.
Source: Linux uapi bpf.h (BPF_F_MMAPABLE, BPF_F_INNER_MAP: arrays of other lengths may take its place), libbpf's bpf.h.
"""

from __future__ import annotations

import ctypes
import mmap
from ctypes import c_size_t, c_uint32, c_uint64

from gslb.dnslayout import DNS_CHUNK
from xdp.kernelinfo import map_info
from xdp.libbpf import Map, library, require

_ARRAY = 2  # BPF_MAP_TYPE_ARRAY
_MMAPABLE, _INNER_MAP = 1 << 10, 1 << 12  # BPF_F_*


class _CreateOpts(ctypes.Structure):
    """struct bpf_map_create_opts."""

    _fields_ = [
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
        ("map_extra", c_uint64),
        ("numa_node", c_uint32),
        ("map_ifindex", c_uint32),
    ]


def make(name: str, octets: int) -> Map:
    """A map of at least `octets` octets, all zeros; the caller closes its descriptor.  Raises OSError."""
    opts = _CreateOpts(sz=ctypes.sizeof(_CreateOpts), map_flags=_MMAPABLE | _INNER_MAP)
    chunks = max(1, -(-octets // DNS_CHUNK))
    result = library().bpf_map_create(_ARRAY, name.encode(), 4, DNS_CHUNK, chunks, ctypes.byref(opts))
    return Map(require(result, f"make a map of {chunks * DNS_CHUNK:,} octets for DNS"), name, DNS_CHUNK)


def memory(of: Map) -> mmap.mmap:
    """Its octets, shared with the programs that use it; the caller closes it.  Raises OSError."""
    return mmap.mmap(of.fd, size(of))


def size(of: Map) -> int:
    """Its octets.  Raises OSError."""
    return map_info(of.fd).max_entries * DNS_CHUNK
