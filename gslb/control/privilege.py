"""Giving rights up: no_new_privs and an empty (or nearly empty) capability set for this process.  IO: Linux calls by ctypes.

Who keeps what (docs/runbook.md): the supervisor CAP_NET_BIND_SERVICE, for addresses that appear later, CAP_NET_ADMIN where it
may have to put some on `lo`, and what it must hand to a new balancer or controller; the balancer BALANCER; the controller
CAP_NET_RAW where checks go by way of the balancer, and CAP_NET_BIND_SERVICE where ExaBGP is dialled at a port below 1024;
workers nothing.  A process that never had a capability loses none.
Sources: capset(2), capabilities(7), prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable

CAP_NET_BIND_SERVICE = 10
CAP_NET_ADMIN = 12
CAP_NET_RAW = 13  # socket marks, since Linux 5.17
CAP_SYS_ADMIN = 21  # mounting bpffs, naming programs of others
CAP_PERFMON = 38
CAP_BPF = 39
DRIVER = frozenset({CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON})  # without which there is no XDP
BALANCER = DRIVER | {CAP_SYS_ADMIN}
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 2, 4


def held() -> frozenset[int]:
    """The capabilities that this process may use.  Raises OSError."""
    sets = _sets(ctypes.CDLL(None, use_errno=True))
    return frozenset(number for number in range(64) if sets[number // 32 * 3 + 1] & 1 << number % 32)


def keep_only(capabilities: Iterable[int] = ()) -> None:
    """Drop every capability but those of `capabilities` that are held, and rule out new ones.  Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    _require(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _require(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    before = _sets(libc)
    kept = (ctypes.c_uint32 * 6)()
    for capability in capabilities:
        effective, bit = capability // 32 * 3, 1 << capability % 32
        permitted = effective + 1
        if before[permitted] & bit:
            kept[effective] |= bit
            kept[permitted] |= bit
    _require(libc.capset(_header(), kept))


def hand_down(capability: int) -> None:
    """Have programs that this process executes hold `capability` too, where it is held here.  Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    sets = _sets(libc)
    effective, bit = capability // 32 * 3, 1 << capability % 32
    permitted, inheritable = effective + 1, effective + 2
    if sets[permitted] & bit:
        sets[inheritable] |= bit
        _require(libc.capset(_header(), sets))
        _require(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def _header() -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)  # 0: this process


def _sets(libc: ctypes.CDLL) -> ctypes.Array[ctypes.c_uint32]:
    """Effective, permitted, inheritable of capabilities 0-31, then of 32-63."""
    sets = (ctypes.c_uint32 * 6)()
    _require(libc.capget(_header(), sets))
    return sets


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends: for short-lived children, never for workers."""
    libc = ctypes.CDLL(None, use_errno=True)
    _require(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def _require(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
