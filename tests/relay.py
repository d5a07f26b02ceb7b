"""`python -m tests.relay LEFT RIGHT SECONDS`: a wire between two interfaces on which each frame takes so long.  IO.

netem is not in every kernel, so tests that need distance put a namespace with this relay between two hosts.
"""

from __future__ import annotations

import heapq
import itertools
import select
import socket
import sys
import time

_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_SPIN_S = 0.0005  # the last of a wait is spent awake: select may sleep too long
FRAME_OCTETS = 65536


def relay(left: str, right: str, seconds: float) -> None:
    """Forward for ever, both ways."""
    lines = [_line(left), _line(right)]
    other = {lines[0]: lines[1], lines[1]: lines[0]}
    waiting: list[tuple[float, int, socket.socket, bytes]] = []
    numbers = itertools.count()
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic() - _SPIN_S) if waiting else None
        for line in select.select(lines, (), (), pause)[0]:
            heapq.heappush(waiting, (time.monotonic() + seconds, next(numbers), other[line], line.recv(FRAME_OCTETS)))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, line, frame = heapq.heappop(waiting)
            line.send(frame)


def _line(name: str) -> socket.socket:
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    line.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    line.bind((name, 0))
    return line


if __name__ == "__main__":
    relay(sys.argv[1], sys.argv[2], float(sys.argv[3]))
