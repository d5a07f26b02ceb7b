"""Ports for servers of tests.  IO.

Rule 1: never one of the range from which the kernel takes the ports of clients: a client that happened to be given its
server's own port would hear itself.
"""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

LOCAL = "127.0.0.1"
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_ALLOWED = range(10_000, 1 << 16)  # below are ports that tests write down


def free_port(address: str = LOCAL) -> int:
    """A port of an IPv4 address of this machine that was free for UDP and TCP a moment ago."""
    clients = clients_ports()
    ports = [port for port in _ALLOWED if port not in clients] or _ALLOWED
    while not is_free(port := secrets.choice(ports), address):
        pass
    return port


def clients_ports() -> range:
    """From where the kernel takes the ports of clients."""
    lowest, highest = map(int, _RANGE.read_text().split())
    return range(lowest, highest + 1)


def is_free(port: int, address: str = LOCAL) -> bool:
    """Whether nobody has the port, for UDP or TCP."""
    with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        try:
            udp.bind((address, port))
            tcp.bind((address, port))
        except OSError:
            return False
        return True
