"""`python -m tests.e2e.ack_stream DEVICE MAC ADDRESS PORT RATE SECONDS`: ACKs of FLOWS connections, again and again.  IO.

For the namespaces of a test only: it sends by an AF_PACKET socket of one device, and stops by itself.
"""

from __future__ import annotations

import ctypes
import json
import socket
import sys
import time

import numpy as np

from bench.generator import Messages
from tests.e2e.syn_flood import checksums, template

FLOWS = 1024  # from 198.18.0.0/22, one an address
BURST = 64  # frames a system call: fewer than a device's ring holds
MOST_S = 30.0
_libc = ctypes.CDLL(None, use_errno=True)


def stream(device: str, mac: str, address: str, port: int, rate: float, seconds: float) -> int:
    """Send; how many.  Each connection has its turn."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as line:
        line.bind((device, 0))
        frame = template(line.getsockname()[4], mac, address, port)
        rows = np.tile(np.frombuffer(frame, np.uint8), (FLOWS, 1))
        numbers = np.arange(FLOWS)
        rows[:, 26:30] = np.stack((np.full(FLOWS, 198), np.full(FLOWS, 18), numbers >> 8, numbers & 0xFF), axis=1)
        rows[:, 34] = 0x80
        rows[:, 47] = 0x10  # ACK
        rows[:, 24:26] = checksums(rows[:, 14:34])
        messages = Messages(rows)
        sent, began = 0, time.monotonic()
        while (spent := time.monotonic() - began) < min(seconds, MOST_S):
            if sent > spent * rate:
                time.sleep(0.0002)
                continue
            at = messages.address + sent % FLOWS * messages.headers.itemsize
            sent += max(_libc.sendmmsg(line.fileno(), ctypes.c_void_p(at), min(BURST, FLOWS - sent % FLOWS), 0), 0)
    return sent


if __name__ == "__main__":
    device_, mac_, address_, port_, rate_, seconds_ = sys.argv[1:]
    json.dump({"sent": stream(device_, mac_, address_, int(port_), float(rate_), float(seconds_))}, sys.stdout)
