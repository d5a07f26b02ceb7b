"""Giving rights up: no_new_privs and an empty (or nearly empty) capability set for this process.  IO: Linux calls by ctypes.

Who keeps what (docs/runbook.md): the supervisor CAP_NET_BIND_SERVICE, for addresses that appear later; workers and
the controller nothing.  A process that never had a capability loses none.
Sources: capset(2), capabilities(7), prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable

CAP_NET_BIND_SERVICE = 10
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4


def keep_only(capabilities: Iterable[int] = ()) -> None:
    """Drop every capability but those of `capabilities` that are held, and rule out new ones.  Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    _require(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _require(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)  # 0: this process
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable of capabilities 0-31, then of 32-63
    _require(libc.capget(header, held))
    kept = (ctypes.c_uint32 * 6)()
    for capability in capabilities:
        effective, bit = capability // 32 * 3, 1 << capability % 32
        permitted = effective + 1
        if held[permitted] & bit:
            kept[effective] |= bit
            kept[permitted] |= bit
    _require(libc.capset(header, kept))


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends: for short-lived children, never for workers."""
    libc = ctypes.CDLL(None, use_errno=True)
    _require(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))


def _require(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
