"""`python -m tests.e2e.syn_flood DEVICE MAC ADDRESS PORT RATE SECONDS SEED`: SYNs from random sources, none like another.  IO.

For the namespaces of a test only: it sends by an AF_PACKET socket of one device, and stops by itself.
"""

from __future__ import annotations

import ctypes
import ipaddress
import json
import socket
import struct
import sys
import time

import numpy as np
import numpy.typing as npt

from bench.generator import Messages

CLIENTS = 1 << 17  # addresses and ports; each time round they have other sequence numbers
BURST = 512  # frames a system call
MOST_S = 30.0
_SOL_PACKET, _PACKET_QDISC_BYPASS = 263, 20  # Linux uapi if_packet.h
_libc = ctypes.CDLL(None, use_errno=True)


def template(ours: bytes, mac: str, address: str, port: int) -> bytes:
    """One frame whose source address, source port and sequence number are to be filled in, and the checksum of its IP header,
    which a bridge on the way may check; that of TCP nobody does.
    """
    ethernet = bytes.fromhex(mac.replace(":", "")) + ours + b"\x08\x00"
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0x4000, 64, 6, 0, bytes(4), ipaddress.IPv4Address(address).packed)
    tcp = struct.pack("!HHIIBBHHH", 0, port, 0, 0, 0x50, 0x02, 65535, 0, 0)
    return ethernet + ip + tcp


def checksums(headers: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The checksums of IPv4 headers of 20 octets, whatever stands in their place (RFC 1071)."""
    words = headers[:, 0::2].astype(np.uint32) << 8 | headers[:, 1::2]
    sums = words.sum(axis=1) - words[:, 5]
    sums = (sums & 0xFFFF) + (sums >> 16)
    sums = ~((sums & 0xFFFF) + (sums >> 16)) & 0xFFFF
    return np.stack((sums >> 8, sums & 0xFF), axis=1).astype(np.uint8)


def flood(device: str, mac: str, address: str, port: int, rate: float, seconds: float, seed: int) -> int:
    """Send; how many."""
    random = np.random.default_rng(seed)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as line:
        line.bind((device, 0))
        line.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        frame = template(line.getsockname()[4], mac, address, port)
        rows = np.tile(np.frombuffer(frame, np.uint8), (CLIENTS, 1))
        drawn = random.integers(0, 256, (CLIENTS, 6), dtype=np.uint8)
        drawn[:, 0] = drawn[:, 0] % 200 + 11
        rows[:, 26:30], rows[:, 34:36] = drawn[:, :4], drawn[:, 4:]
        rows[:, 24:26] = checksums(rows[:, 14:34])
        messages = Messages(rows)
        sent, began = 0, time.monotonic()
        while (spent := time.monotonic() - began) < min(seconds, MOST_S):
            if sent > spent * rate:
                continue
            at = sent % CLIENTS
            burst = min(BURST, CLIENTS - at)
            rows[at : at + burst, 38:42] = random.integers(0, 256, (burst, 4), dtype=np.uint8)
            done = _libc.sendmmsg(
                line.fileno(), ctypes.c_void_p(messages.address + at * messages.headers.itemsize), burst, 0
            )
            sent += max(done, 0)
    return sent


if __name__ == "__main__":
    device_, mac_, address_, port_, rate_, seconds_, seed_ = sys.argv[1:]
    began_ = time.monotonic()
    count = flood(device_, mac_, address_, int(port_), float(rate_), float(seconds_), int(seed_))
    json.dump({"sent": count, "per_s": count / (time.monotonic() - began_)}, sys.stdout)
