"""Links, routes and neighbours of the kernel by netlink, usable inside an event loop.  IO: AF_NETLINK sockets.

Rule 1: every call is answered by the kernel at once; nothing here waits for the network.
Rule 2: what cannot be read is left out; a refusal is an OSError with the kernel's number.
Sources: Linux uapi netlink.h, rtnetlink.h, if_link.h, neighbour.h; RFC 3549 section 2.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_address
from types import TracebackType
from typing import Self

_HEAD = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_LINK = struct.Struct("=BBHiII")  # family, pad, type, index, flags, changed
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, bits of destination and source, tos, table, protocol, scope, type, flags
_ADDRESS = struct.Struct("=BBBBI")  # family, bits of the prefix, flags, scope, index
_NEIGHBOUR = struct.Struct("=BBHiHBB")  # family, pad, pad, index, state, flags, type
_ERROR, _DONE = 2, 3
_REQUEST, _MULTI, _ACK, _DUMP, _CREATE, _REPLACE = 1, 2, 4, 0x300, 0x400, 0x100
_FILTER = struct.Struct("=BBHiIII")  # family, pad, pad, index, handle, parent, info
_NTF_USE = 1
_EXCLUSIVE, _NO_DAD = 0x200, 2  # NLM_F_EXCL, IFA_F_NODAD
_ANSWER_S = 5.0  # the kernel answers within its call: more is a defect
_BUFFER = 1 << 20  # octets that wait for a reader
_OCTETS = 1 << 16  # of one read: the kernel's datagrams hold at most 32 KiB
_TYPE_BITS = 0x3FFF  # of an attribute: the others are flags

Address = IPv4Address | IPv6Address


class Told(IntEnum):
    """Types of messages."""

    NEWLINK = 16
    DELLINK = 17
    GETLINK = 18
    NEWADDR = 20
    DELADDR = 21
    GETADDR = 22
    NEWROUTE = 24
    DELROUTE = 25
    GETROUTE = 26
    NEWNEIGH = 28
    DELNEIGH = 29
    GETNEIGH = 30
    NEWTFILTER = 44
    GETTFILTER = 46


class Nud(IntEnum):
    """States of a neighbour."""

    NONE = 0
    INCOMPLETE = 1
    REACHABLE = 2
    STALE = 4
    DELAY = 8
    PROBE = 0x10
    FAILED = 0x20
    NOARP = 0x40
    PERMANENT = 0x80


UNICAST, LOCAL = 1, 2  # types of routes
# RTMGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE
CHANGES = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400


@dataclass(frozen=True, slots=True)
class Link:
    """An interface; `parent` is the index of what it stands on (a VLAN's), 0: nothing."""

    index: int
    name: str
    kind: str
    address: bytes
    mtu: int
    parent: int

    @property
    def carrier(self) -> int:
        """The index of what frames leave by: a VLAN's parent, since programs keep a frame's tags as they are."""
        return self.parent if self.kind == "vlan" and self.parent else self.index


@dataclass(frozen=True, slots=True)
class Route:
    """How the kernel would send to one address.  `mtu` 0: that of the link."""

    type: int
    index: int
    gateway: Address | None
    source: Address | None
    mtu: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What the kernel knows of one address on a link."""

    index: int
    address: Address
    state: int
    ethernet: bytes


class Netlink:
    """One socket.  With `groups` it is told of changes, and is read by `changes` alone."""

    def __init__(self, groups: int = 0) -> None:
        """Raises OSError."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((0, groups))
        self._socket.settimeout(0.0 if groups else _ANSWER_S)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor, readable when there is a change."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def links(self) -> list[Link]:
        """Every interface.  Raises OSError."""
        answers = self._ask(Told.GETLINK, _DUMP, _LINK.pack(0, 0, 0, 0, 0, 0))
        return [_link(body) for kind, body in answers if kind == Told.NEWLINK]

    def networks(self) -> list[IPv4Interface]:
        """Every IPv4 address of every interface, with its network.  Raises OSError."""
        answers = self._ask(Told.GETADDR, _DUMP, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0))
        found = []
        for kind, body in answers:
            attributes = _attributes(body, _ADDRESS.size)
            address = attributes.get(2, attributes.get(1, b""))  # our own end of it, else the peer's
            if kind == Told.NEWADDR and len(address) == 4:
                found.append(IPv4Interface((address, body[1])))
        return found

    def add_address(self, index: int, address: Address) -> None:
        """Give an interface one address alone (/32, /128).  Raises OSError: EEXIST where it has it, EPERM without CAP_NET_ADMIN."""
        self._ask(Told.NEWADDR, _ACK | _CREATE | _EXCLUSIVE, _lone(index, address))

    def remove_address(self, index: int, address: Address) -> None:
        """Take what `add_address` gave.  Raises OSError: EADDRNOTAVAIL where it is not there."""
        self._ask(Told.DELADDR, _ACK, _lone(index, address))

    def route(self, address: Address) -> Route:
        """How the kernel would send to `address`.  Raises OSError: ENETUNREACH and alike where it would not."""
        family, packed = _family(address), address.packed
        body = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0) + _attribute(1, packed)
        (answer,) = [body for kind, body in self._ask(Told.GETROUTE, 0, body) if kind == Told.NEWROUTE]
        return _route(answer)

    def neighbours(self) -> list[Neighbour]:
        """Every neighbour of both families.  Raises OSError."""
        found = []
        for family in (socket.AF_INET, socket.AF_INET6):
            for kind, body in self._ask(Told.GETNEIGH, _DUMP, _NEIGHBOUR.pack(family, 0, 0, 0, 0, 0, 0)):
                neighbour = neighbour_of(body) if kind == Told.NEWNEIGH else None
                if neighbour is not None:
                    found.append(neighbour)
        return found

    def filters(self, index: int, parent: int) -> int:
        """How many filters `parent` (a qdisc's handle) of an interface has.  Raises OSError."""
        answers = self._ask(Told.GETTFILTER, _DUMP, _FILTER.pack(0, 0, 0, index, 0, parent, 0))
        return sum(kind == Told.NEWTFILTER for kind, _ in answers)

    def use(self, index: int, address: Address) -> None:
        """Have the kernel find out, or confirm, the Ethernet address, as if a packet of its own went there.  Raises OSError."""
        body = _NEIGHBOUR.pack(_family(address), 0, 0, index, 0, _NTF_USE, 0) + _attribute(1, address.packed)
        self._ask(Told.NEWNEIGH, _ACK | _CREATE | _REPLACE, body)

    def changes(self) -> Iterator[tuple[int, bytes]]:
        """What changed since the last call: type and body.  Raises OSError: ENOBUFS where some was lost."""
        while True:
            try:
                data = self._socket.recv(_OCTETS)
            except BlockingIOError:
                return
            for kind, _, _, body in _messages(data):
                yield kind, body

    def _ask(self, kind: int, flags: int, body: bytes) -> list[tuple[int, bytes]]:
        self._sequence += 1
        self._socket.send(_HEAD.pack(_HEAD.size + len(body), kind, _REQUEST | flags, self._sequence, 0) + body)
        found: list[tuple[int, bytes]] = []
        while True:
            for answer, told, sequence, content in _messages(self._socket.recv(_OCTETS)):
                if sequence != self._sequence:
                    continue
                if answer == _ERROR:
                    number = -struct.unpack_from("=i", content)[0]
                    if number:
                        raise OSError(number, os.strerror(number))
                    return found
                if answer == _DONE:
                    return found
                found.append((answer, content))
                if not told & _MULTI and not flags & _ACK:
                    return found


def neighbour_of(body: bytes) -> Neighbour | None:
    """The neighbour that a message tells of, or None where it is none of IP."""
    family, _, _, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
    attributes = _attributes(body, _NEIGHBOUR.size)
    if family not in (socket.AF_INET, socket.AF_INET6) or 1 not in attributes:
        return None
    return Neighbour(index, ip_address(attributes[1]), state, attributes.get(2, b""))


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    offset = 0
    while offset + _HEAD.size <= len(data):
        length, kind, flags, sequence, _ = _HEAD.unpack_from(data, offset)
        if length < _HEAD.size:
            raise OSError(errno.EBADMSG, "a netlink message is shorter than its head")
        yield kind, flags, sequence, data[offset + _HEAD.size : offset + length]
        offset += (length + 3) & ~3


def _attributes(body: bytes, offset: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_BITS] = body[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value  # addresses need no padding


def _lone(index: int, address: Address) -> bytes:
    head = _ADDRESS.pack(_family(address), address.max_prefixlen, _NO_DAD, 0, index)
    return head + _attribute(1, address.packed) + _attribute(2, address.packed)


def _whole(value: bytes | None) -> int:
    return struct.unpack("=I", value)[0] if value and len(value) == 4 else 0


def _family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _address(value: bytes | None) -> Address | None:
    return ip_address(value) if value and len(value) in (4, 16) else None


def _link(body: bytes) -> Link:
    attributes = _attributes(body, _LINK.size)
    info = _attributes(attributes.get(18, b""), 0)
    return Link(
        index=_LINK.unpack_from(body)[3],
        name=attributes.get(3, b"").rstrip(b"\0").decode(errors="replace"),
        kind=info.get(1, b"").rstrip(b"\0").decode(errors="replace"),
        address=attributes.get(1, b""),
        mtu=_whole(attributes.get(4)),
        parent=_whole(attributes.get(5)),
    )


def _route(body: bytes) -> Route:
    attributes = _attributes(body, _ROUTE.size)
    via = attributes.get(18, b"")  # a gateway of the other family: its family in two octets before it
    metrics = _attributes(attributes.get(8, b""), 0)
    return Route(
        type=_ROUTE.unpack_from(body)[7],
        index=_whole(attributes.get(4)),
        gateway=_address(attributes.get(5)) or _address(via[2:]),
        source=_address(attributes.get(7)),
        mtu=_whole(metrics.get(2)),
    )
