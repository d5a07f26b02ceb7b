"""What the kernel says of one map, program or link, by descriptor or by id.  IO: system calls.

Sources: Linux uapi bpf.h (struct bpf_map_info, bpf_prog_info, bpf_link_info: the first members, which never move), libbpf.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from ctypes import c_char, c_size_t, c_uint8, c_uint32, c_uint64
from dataclasses import dataclass
from typing import TypeVar

from xdp.libbpf import Map, library, possible_cpus, require

LINK_XDP = 6  # enum bpf_link_type
_ATTEMPTS = 5  # to open an inner map that others replace
PER_CPU = (5, 6, 10)  # PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH

T = TypeVar("T", bound=ctypes.Structure)


class MapInfo(ctypes.Structure):
    """struct bpf_map_info."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: bytes
    _fields_ = [(n, c_uint32) for n in ("type", "id", "key_size", "value_size", "max_entries", "flags")] + [
        ("name", c_char * 16)
    ]


class ProgramInfo(ctypes.Structure):
    """struct bpf_prog_info."""

    type: int
    id: int
    name: bytes
    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_uint8 * 8),
        ("lengths", c_uint32 * 2),
        ("instructions", c_uint64 * 2),
        ("load_time", c_uint64),
        ("user", c_uint32),
        ("map_count", c_uint32),
        ("map_ids", c_uint64),
        ("name", c_char * 16),
    ]


class LinkInfo(ctypes.Structure):
    """struct bpf_link_info of an XDP link; `ifindex` is 0 once the interface is gone."""

    type: int
    id: int
    program: int
    ifindex: int
    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("program", c_uint32),
        ("zero", c_uint32),
        ("ifindex", c_uint32),
        ("more", c_uint32 * 7),
    ]


class _XdpQuery(ctypes.Structure):
    """struct bpf_xdp_query_opts of libbpf 1.0."""

    _fields_ = [
        ("sz", c_size_t),
        ("prog_id", c_uint32),
        ("drv_prog_id", c_uint32),
        ("hw_prog_id", c_uint32),
        ("skb_prog_id", c_uint32),
        ("attach_mode", c_uint8),
        ("padding", c_uint8 * 7),
    ]


def map_info(fd: int) -> MapInfo:
    """Raises OSError."""
    return _filled(fd, MapInfo())


def program_info(fd: int) -> ProgramInfo:
    """Raises OSError."""
    return _filled(fd, ProgramInfo())


def link_info(fd: int) -> LinkInfo:
    """Raises OSError."""
    return _filled(fd, LinkInfo())


def map_of(identity: int) -> Map:
    """A map by its id, such as a map of maps gives; the caller closes `fd`.  Needs CAP_SYS_ADMIN.  Raises OSError."""
    fd = require(library().bpf_map_get_fd_by_id(identity), f"open map {identity}")
    return described(fd)


def inner(outer: Map, key: bytes) -> Map | None:
    """The map that a map of maps holds at `key`, None where it holds none; the caller closes `fd`.  Raises OSError.

    One that is replaced between our two questions is asked for again.
    """
    for attempt in range(_ATTEMPTS):
        found = outer.lookup(key)
        if not found:
            return None
        try:
            return map_of(int.from_bytes(found, sys.byteorder))
        except OSError as error:
            if error.errno != errno.ENOENT or attempt == _ATTEMPTS - 1:
                raise
    return None


def described(fd: int) -> Map:
    """A map by its descriptor, with sizes as the kernel has them.  Raises OSError."""
    info = map_info(fd)
    size = info.value_size
    if info.type in PER_CPU:
        size = (size + 7) // 8 * 8 * possible_cpus()
    return Map(fd, info.name.decode(), size, info.key_size)


def program_name(identity: int) -> str:
    """The name of a program by its id; empty where there is none or we may not ask."""
    fd = library().bpf_prog_get_fd_by_id(identity)
    if fd < 0:
        return ""
    try:
        return program_info(fd).name.decode()
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class OnInterface:
    """The ids of the XDP programs of an interface: in the driver, and behind it; 0: none."""

    native: int
    generic: int


def xdp_on(ifindex: int) -> OnInterface:
    """Raises OSError."""
    asked = _XdpQuery(sz=ctypes.sizeof(_XdpQuery))
    require(library().bpf_xdp_query(ifindex, 0, ctypes.byref(asked)), "ask which XDP programs an interface has")
    return OnInterface(asked.drv_prog_id or asked.hw_prog_id, asked.skb_prog_id)


def xdp_link_of(ifindex: int, program: int) -> int:
    """The id of the link by which a program runs on an interface, whoever made it; 0: none, or we may not ask.

    Links of all network namespaces are told, and their interfaces' numbers repeat: the program's does not.
    """
    for identity in _link_ids():
        fd = library().bpf_link_get_fd_by_id(identity)
        if fd < 0:
            continue
        try:
            info = link_info(fd)
        finally:
            os.close(fd)
        if (info.type, info.ifindex, info.program) == (LINK_XDP, ifindex, program):
            return identity
    return 0


def _link_ids() -> Iterator[int]:
    following = c_uint32(0)
    while library().bpf_link_get_next_id(following.value, ctypes.byref(following)) == 0:
        yield following.value


def _filled(fd: int, info: T) -> T:
    size = c_uint32(ctypes.sizeof(info))
    require(library().bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size)), "ask the kernel of an object")
    return info
