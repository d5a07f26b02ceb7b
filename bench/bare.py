"""A row of the bench: the least that a Python DNS server can do, receive, look up in a dictionary, send.  IO.

It answers one static A record for whatever name is asked and reads neither EDNS nor the client.  The distance to it is what
reading, deciding and writing cost us; a Python worker cannot be faster.
"""

from __future__ import annotations

import socket
import struct
import sys

HEADER = struct.pack(">HHHHH", 0x8400, 1, 1, 0, 0)
RECORD = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 10])


def main() -> None:
    """Serve `python -m bench.bare ADDRESS PORT` until killed."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    server.bind((sys.argv[1], int(sys.argv[2])))
    receive, send = server.recvfrom, server.sendto
    bodies: dict[bytes, bytes] = {}
    while True:
        query, source = receive(4096)
        end = query.find(b"\0", 12) + 5
        question = query[12:end]
        body = bodies.get(question)
        if body is None:
            body = bodies[question] = HEADER + question + RECORD
        send(query[:2] + body, source)


if __name__ == "__main__":
    main()
