"""The probes' filter on the way out of an interface: clsact with one BPF filter, made and removed.  IO: netlink, by libbpf.

Rule 1: our filter is known by its priority and by a handle that is made of the pin folder, so that two nodes on one machine do not meet.
Rule 2: clsact is removed with its last filter, and never with another's.
Source: libbpf.h (bpf_tc_*), tc-bpf(8).
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import socket
from ctypes import c_char_p, c_int, c_size_t, c_uint32
from pathlib import Path

from xdp import said
from xdp.libbpf import library, require
from xdp.netlink import Netlink

_INGRESS, _EGRESS = 1, 2  # enum bpf_tc_attach_point
_REPLACE = 1  # BPF_TC_F_REPLACE
_PRIORITY = 0x6C62
_PARENTS = (0xFFFFFFF2, 0xFFFFFFF3)  # of filters of clsact: ingress, egress


class _Hook(ctypes.Structure):
    """struct bpf_tc_hook."""

    _fields_ = [
        ("sz", c_size_t),
        ("ifindex", c_int),
        ("attach_point", c_int),
        ("parent", c_uint32),
        ("qdisc", c_char_p),
    ]


class _Opts(ctypes.Structure):
    """struct bpf_tc_opts."""

    _fields_ = [("sz", c_size_t), ("prog_fd", c_int)] + [
        (name, c_uint32) for name in ("flags", "prog_id", "handle", "priority")
    ]


def attach(home: Path, program: int, interface: str) -> None:
    """Have `program` see what leaves by an interface, in the place of what `home` had there.  Raises OSError."""
    hook = _hook(socket.if_nametoindex(interface))
    with said.listening():
        result = library().bpf_tc_hook_create(ctypes.byref(hook))
        if result != -errno.EEXIST:
            require(result, f"make clsact on {interface}")
        opts = _opts(home, prog_fd=program, flags=_REPLACE)
        require(
            library().bpf_tc_attach(ctypes.byref(hook), ctypes.byref(opts)), f"attach the probes' filter to {interface}"
        )


def attached(home: Path) -> tuple[str, ...]:
    """The interfaces that have the filter of `home`."""
    return tuple(name for index, name in socket.if_nameindex() if _has(home, index))


def selector(home: Path) -> str:
    """The words by which `tc` knows the filter of `home`."""
    return f"pref {_PRIORITY} handle {_handle(home):#x} bpf"


def detach(home: Path, interface: str) -> None:
    """Remove the filter of `home` from an interface, if it is there."""
    index = socket.if_nametoindex(interface)
    hook = _hook(index)
    with said.listening():
        opts = _opts(home)
        library().bpf_tc_detach(ctypes.byref(hook), ctypes.byref(opts))
        if not _others(index):
            hook.attach_point = _INGRESS | _EGRESS
            library().bpf_tc_hook_destroy(ctypes.byref(hook))


def _has(home: Path, index: int) -> bool:
    hook, opts = _hook(index), _opts(home)
    with said.listening():
        return bool(library().bpf_tc_query(ctypes.byref(hook), ctypes.byref(opts)) == 0)


def _others(index: int) -> bool:
    """Whether clsact of an interface has any filter."""
    try:
        with Netlink() as netlink:
            return any(netlink.filters(index, parent) for parent in _PARENTS)
    except OSError:
        return True


def _hook(index: int) -> _Hook:
    return _Hook(sz=ctypes.sizeof(_Hook), ifindex=index, attach_point=_EGRESS)


def _opts(home: Path, *, prog_fd: int = 0, flags: int = 0) -> _Opts:
    return _Opts(sz=ctypes.sizeof(_Opts), prog_fd=prog_fd, flags=flags, handle=_handle(home), priority=_PRIORITY)


def _handle(home: Path) -> int:
    return int.from_bytes(hashlib.blake2b(str(home).encode(), digest_size=4).digest(), "big") | 1
