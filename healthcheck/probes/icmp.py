"""`icmp`: an echo request is answered.  IO, by the kernel's unprivileged ping sockets (icmp(7), RFC 792, RFC 4443).

The kernel fills in the identifier and hands a socket only the replies to its own; sequence and payload are ours.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from itertools import count
from struct import Struct

from gslb import units
from healthcheck.check import Check, Sample
from healthcheck.probes.connection import Failed, ip_version, patience, reason
from healthcheck.probes.marks import mark_of, probing_socket

_HEADER = Struct(">BBHHH")  # type, code, checksum, identifier, sequence
_ECHO = {4: (8, 0), 6: (128, 129)}  # IP version: request, reply
_PROTOCOLS = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
_TOKEN_OCTETS = 16
_MOST_OTHERS = 64  # datagrams that are not the reply
_sequence = count(1)

FORBIDDEN = (
    "this node may not ping: the group of this process is outside net.ipv4.ping_group_range "
    '(mend it with: sysctl -w net.ipv4.ping_group_range="0 2147483647")'
)


async def probe(check: Check) -> tuple[Sample, ...]:
    """One sample."""
    began = time.perf_counter()
    why = ""
    try:
        async with asyncio.timeout(patience(check.timeout_s)):
            await _ping(check.address, mark_of(check))
    except TimeoutError:
        why = f"no echo reply within {units.seconds_text(check.timeout_s)}"
    except OSError as error:
        why = reason(error)
    except Failed as error:
        why = str(error)
    return (Sample(not why, time.perf_counter() - began, why),)


async def _ping(address: str, mark: int | None) -> None:
    """Raises Failed and OSError."""
    loop = asyncio.get_running_loop()
    version = ip_version(address)
    request, reply = _ECHO[version]
    sequence = next(_sequence) & 0xFFFF
    token = os.urandom(_TOKEN_OCTETS)
    with _socket(version, mark) as channel:
        channel.connect((address, 0))  # of a datagram socket: nothing to wait for
        await loop.sock_sendall(channel, _HEADER.pack(request, 0, 0, 0, sequence) + token)
        for _ in range(_MOST_OTHERS):
            data = await loop.sock_recv(channel, 2048)
            if len(data) != _HEADER.size + _TOKEN_OCTETS:
                continue
            kind, code, _, _, echoed = _HEADER.unpack_from(data)
            if (kind, code, echoed, data[_HEADER.size :]) == (reply, 0, sequence, token):
                return
    raise Failed(f"{_MOST_OTHERS} datagrams came, and no reply to this request")


def _socket(version: int, mark: int | None) -> socket.socket:
    try:
        return probing_socket(version, socket.SOCK_DGRAM, _PROTOCOLS[version], mark)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise Failed(FORBIDDEN) from error
        raise
