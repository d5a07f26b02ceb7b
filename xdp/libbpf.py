"""libbpf.so.1 by ctypes: objects, programs, maps, links, pins, test runs.  IO: system calls.

Rule 1: every failure is an OSError with the kernel's number and what was tried.
Rule 2: what is opened here is closed by its owner: descriptors by `os.close`, objects by `Object.close`.
Sources: libbpf 1.0 API (libbpf.h, bpf.h), Linux uapi bpf.h.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from pathlib import Path

XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = range(5)
ANY, NOEXIST, EXIST = 0, 1, 2  # flags of an update
_ENOENT, _ENOSPC = 2, 28
_LIVE_FRAMES = 2  # BPF_F_TEST_XDP_LIVE_FRAMES
NAME_OCTETS = 15  # of a map or program, the kernel cuts the rest


class _TestRunOpts(ctypes.Structure):
    """struct bpf_test_run_opts."""

    _fields_ = [
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    ]


class XdpMd(ctypes.Structure):
    """struct xdp_md: the context of a test run; `data_end` is the length of the packet."""

    _fields_ = [
        (name, c_uint32)
        for name in ("data", "data_end", "data_meta", "ingress_ifindex", "rx_queue_index", "egress_ifindex")
    ]


class _SkBuff(ctypes.Structure):
    """The beginning of struct __sk_buff: the context of a test run of TC."""

    _fields_ = [(name, c_uint32) for name in ("len", "pkt_type", "mark")]


_SIGNATURES: dict[str, tuple[object, ...]] = {  # result, then arguments
    "libbpf_set_print": (c_void_p, c_void_p),
    "bpf_object__open_file": (c_void_p, c_char_p, c_void_p),
    "bpf_object__load": (c_int, c_void_p),
    "bpf_object__close": (None, c_void_p),
    "bpf_object__next_map": (c_void_p, c_void_p, c_void_p),
    "bpf_object__next_program": (c_void_p, c_void_p, c_void_p),
    "bpf_map__name": (c_char_p, c_void_p),
    "bpf_map__fd": (c_int, c_void_p),
    "bpf_map__set_max_entries": (c_int, c_void_p, c_uint32),
    "bpf_map__max_entries": (c_uint32, c_void_p),
    "bpf_map__key_size": (c_uint32, c_void_p),
    "bpf_map__value_size": (c_uint32, c_void_p),
    "bpf_map__type": (c_uint32, c_void_p),
    "bpf_map__reuse_fd": (c_int, c_void_p, c_int),
    "bpf_map__pin": (c_int, c_void_p, c_char_p),
    "bpf_map__initial_value": (c_void_p, c_void_p, POINTER(c_size_t)),
    "bpf_program__name": (c_char_p, c_void_p),
    "bpf_program__fd": (c_int, c_void_p),
    "bpf_program__pin": (c_int, c_void_p, c_char_p),
    "bpf_program__set_autoload": (c_int, c_void_p, ctypes.c_bool),
    "bpf_map_create": (c_int, c_int, c_char_p, c_uint32, c_uint32, c_uint32, c_void_p),
    "bpf_map_update_elem": (c_int, c_int, c_void_p, c_void_p, c_uint64),
    "bpf_map_lookup_elem": (c_int, c_int, c_void_p, c_void_p),
    "bpf_map_update_batch": (c_int, c_int, c_void_p, c_void_p, POINTER(c_uint32), c_void_p),
    "bpf_map_lookup_batch": (c_int, c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p),
    "bpf_map_delete_elem": (c_int, c_int, c_void_p),
    "bpf_map_get_next_key": (c_int, c_int, c_void_p, c_void_p),
    "bpf_obj_pin": (c_int, c_int, c_char_p),
    "bpf_obj_get": (c_int, c_char_p),
    "bpf_prog_test_run_opts": (c_int, c_int, POINTER(_TestRunOpts)),
    "bpf_link_create": (c_int, c_int, c_int, c_int, c_void_p),
    "bpf_link_update": (c_int, c_int, c_int, c_void_p),
    "bpf_link_detach": (c_int, c_int),
    "bpf_obj_get_info_by_fd": (c_int, c_int, c_void_p, POINTER(c_uint32)),
    "bpf_map_get_fd_by_id": (c_int, c_uint32),
    "bpf_prog_get_fd_by_id": (c_int, c_uint32),
    "bpf_link_get_fd_by_id": (c_int, c_uint32),
    "bpf_link_get_next_id": (c_int, c_uint32, POINTER(c_uint32)),
    "bpf_xdp_query": (c_int, c_int, c_int, c_void_p),
    "bpf_xdp_attach": (c_int, c_int, c_int, c_uint32, c_void_p),
    "bpf_xdp_detach": (c_int, c_int, c_uint32, c_void_p),
    "bpf_tc_hook_create": (c_int, c_void_p),
    "bpf_tc_hook_destroy": (c_int, c_void_p),
    "bpf_tc_attach": (c_int, c_void_p, c_void_p),
    "bpf_tc_detach": (c_int, c_void_p, c_void_p),
    "bpf_tc_query": (c_int, c_void_p, c_void_p),
    "libbpf_num_possible_cpus": (c_int,),
    "ring_buffer__new": (c_void_p, c_int, c_void_p, c_void_p, c_void_p),
    "ring_buffer__poll": (c_int, c_void_p, c_int),
    "ring_buffer__consume": (c_int, c_void_p),
    "ring_buffer__epoll_fd": (c_int, c_void_p),
    "ring_buffer__free": (None, c_void_p),
}


@cache
def library() -> ctypes.CDLL:
    """libbpf.so.1 with the prototypes of what is used.  Raises OSError where it is not installed."""
    loaded = ctypes.CDLL("libbpf.so.1", use_errno=True)
    for name, (result, *arguments) in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype = result
        function.argtypes = arguments
    return loaded


@cache
def possible_cpus() -> int:
    """How many values a per-CPU map holds for a key."""
    return require(library().libbpf_num_possible_cpus(), "count the CPUs")


def require(result: int, what: str) -> int:
    """The result, which is not negative.  Raises OSError: libbpf gives -errno, and sets errno."""
    if result < 0:
        number = ctypes.get_errno() or -result
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def pointer_or_raise(result: int | None, what: str) -> int:
    """The pointer, which is not null.  Raises OSError."""
    if not result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


class Map:
    """One map by its descriptor: keys and values are bytes of its sizes; per-CPU values are one after the other."""

    def __init__(self, fd: int, name: str, value_size: int, key_size: int = 4) -> None:
        self.fd = fd
        self.name = name
        self.key_size = key_size
        self.value_size = value_size

    def update(self, key: bytes, value: bytes, flags: int = ANY) -> None:
        """Set one entry.  Raises OSError."""
        require(library().bpf_map_update_elem(self.fd, key, value, flags), f"set an entry of {self.name}")

    def lookup(self, key: bytes) -> bytes | None:
        """One entry, or None.  Raises OSError for anything but its absence."""
        value = ctypes.create_string_buffer(self.value_size)
        result = library().bpf_map_lookup_elem(self.fd, key, value)
        if result == -_ENOENT:
            return None
        require(result, f"read an entry of {self.name}")
        return value.raw

    def update_many(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Set several entries by one call, in their order: a map of maps waits once for all of them.

        Raises OSError, and then some of them may be set.
        """
        keys, values = (b"".join(parts) for parts in zip(*entries, strict=True))
        count = c_uint32(len(entries))
        result = library().bpf_map_update_batch(self.fd, keys, values, ctypes.byref(count), None)
        require(result, f"set {len(entries)} entries of {self.name}")

    def delete(self, key: bytes) -> bool:
        """Remove one entry; False where there was none.  Raises OSError."""
        result = library().bpf_map_delete_elem(self.fd, key)
        if result == -_ENOENT:
            return False
        require(result, f"remove an entry of {self.name}")
        return True

    def read(self, most: int) -> tuple[bytes, bytes]:
        """All keys and all values, one after the other, of a hash or an array with room for `most` entries.  Raises OSError."""
        keys, values = (ctypes.create_string_buffer(most * size) for size in (self.key_size, self.value_size))
        place, count, got, result = ctypes.create_string_buffer(max(4, self.key_size)), c_uint32(), 0, 0
        while result == 0 and got < most:
            count.value = most - got
            rest = (ctypes.addressof(keys) + got * self.key_size, ctypes.addressof(values) + got * self.value_size)
            result = library().bpf_map_lookup_batch(
                self.fd, place if got else None, place, *rest, ctypes.byref(count), None
            )
            if result not in (0, -_ENOENT, -_ENOSPC):  # the end; or entries came while others went
                require(result, f"read all entries of {self.name}")
            got += count.value
        return keys.raw[: got * self.key_size], values.raw[: got * self.value_size]

    def keys(self) -> Iterator[bytes]:
        """Every key; changes meanwhile may repeat or miss some."""
        key, following = None, ctypes.create_string_buffer(self.key_size)
        while library().bpf_map_get_next_key(self.fd, key, following) == 0:
            key = following.raw
            yield key


def run_on(
    program: int, packet: bytes, *, repeat: int = 1, ifindex: int = 1, room: int = 4096, mark: int = 0
) -> tuple[int, bytes, int]:
    """BPF_PROG_TEST_RUN of an XDP program: verdict, packet out, nanoseconds a run.  `mark`: of a TC one.  Raises OSError."""
    out = ctypes.create_string_buffer(room)
    source = ctypes.create_string_buffer(packet, len(packet))
    context: ctypes.Structure = XdpMd(data_end=len(packet), ingress_ifindex=ifindex)
    if mark:
        context = _SkBuff(mark=mark)
    opts = _TestRunOpts(
        sz=ctypes.sizeof(_TestRunOpts),
        data_in=ctypes.addressof(source),
        data_out=ctypes.addressof(out),
        data_size_in=len(packet),
        data_size_out=room,
        repeat=repeat,
    )
    if ifindex != 1 or mark:
        opts.ctx_in, opts.ctx_size_in = ctypes.addressof(context), ctypes.sizeof(context)
    require(library().bpf_prog_test_run_opts(program, ctypes.byref(opts)), "run the program on a packet")
    return opts.retval, out.raw[: opts.data_size_out], opts.duration


def send(program: int, packet: bytes, count: int) -> None:
    """BPF_PROG_TEST_RUN with live frames: what the XDP program redirects is sent, `count` times, in this thread's namespace.

    Frames are used again as the program left them.  Raises OSError.
    """
    source = ctypes.create_string_buffer(packet, len(packet))
    opts = _TestRunOpts(
        sz=ctypes.sizeof(_TestRunOpts),
        data_in=ctypes.addressof(source),
        data_size_in=len(packet),
        repeat=count,
        flags=_LIVE_FRAMES,
    )
    require(library().bpf_prog_test_run_opts(program, ctypes.byref(opts)), "send packets by a program")


class Object:
    """A BPF object file: opened, its maps adjusted, then loaded."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._handle = pointer_or_raise(library().bpf_object__open_file(str(path).encode(), None), f"open {path}")
        self.path = path

    def load(self) -> None:
        """Have the kernel verify and take all of it.  Raises OSError; the verifier's words go to libbpf's print."""
        require(library().bpf_object__load(self._handle), f"load {self.path}")

    def programs(self) -> dict[str, int]:
        """The handles of its programs by name."""
        return self._all("program")

    def maps(self) -> dict[str, int]:
        """The handles of its maps by name."""
        return self._all("map")

    def program_fd(self, name: str) -> int:
        """The descriptor of a loaded program.  Raises OSError, KeyError."""
        return require(library().bpf_program__fd(self.programs()[name]), f"program {name}")

    def map(self, name: str) -> Map:
        """A loaded map.  Raises OSError, KeyError."""
        handle = self.maps()[name]
        lib = library()
        value_size = lib.bpf_map__value_size(handle)
        if lib.bpf_map__type(handle) in (5, 6, 10):  # PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH
            value_size = (value_size + 7) // 8 * 8 * possible_cpus()
        fd = require(lib.bpf_map__fd(handle), f"map {name}")
        return Map(fd, name, value_size, lib.bpf_map__key_size(handle))

    def close(self) -> None:
        """Close it and every descriptor of it; what is pinned or attached stays."""
        if self._handle:
            library().bpf_object__close(self._handle)
            self._handle = 0

    def _all(self, kind: str) -> dict[str, int]:
        following, name = getattr(library(), f"bpf_object__next_{kind}"), getattr(library(), f"bpf_{kind}__name")
        found: dict[str, int] = {}
        handle = following(self._handle, None)
        while handle:
            found[name(handle).decode()] = handle
            handle = following(self._handle, handle)
        return found
