"""Marks of packets (SO_MARK of socket(7)): by them this node chooses the backend that a probe to a VIP reaches.  IO: sockets."""

from __future__ import annotations

import errno
import socket

from healthcheck.check import MARK, Check

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

FORBIDDEN = (
    "this node cannot ask as clients do: its checking process may not set marks, for which it needs CAP_NET_RAW "
    "(run gslb as root, or give its service AmbientCapabilities=CAP_NET_RAW, and restart it)"
)


def mark_of(check: Check) -> int | None:
    """The mark of a check's packets, where they are to have one."""
    mark = check.settings.get(MARK)
    return mark if isinstance(mark, int) else None


def refusal(mark: int) -> str:
    """Why this process may not send packets with that mark; empty where it may."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        except OSError as error:
            if error.errno == errno.EPERM:
                return FORBIDDEN
            raise
    return ""


def probing_socket(version: int, kind: int, protocol: int = 0, mark: int | None = None) -> socket.socket:
    """A socket that does not block; `version` is that of IP, `kind` SOCK_STREAM or SOCK_DGRAM.  Raises OSError."""
    made = socket.socket(_FAMILIES[version], kind | socket.SOCK_NONBLOCK, protocol)
    try:
        if mark is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    except OSError:
        made.close()
        raise
    return made
