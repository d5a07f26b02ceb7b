"""Queries made octet by octet, and replies judged by an independent parser (dnspython).

Nothing here knows the program under test.  Each reply, whatever it was asked for, must satisfy RFC 1035 section 4.1.1
(ID, QR, opcode and RD as asked, RA and Z clear), RFC 6891 (OPT only if asked, at most one) and the size that was allowed.
"""

from __future__ import annotations

import itertools
import socket
import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from typing_extensions import override

ORIGIN = dns.name.from_text("acceptance.test.")
UDP_PLAIN = 512  # octets without EDNS, RFC 1035 section 4.2.1
PATIENCE_S = 2.0  # RFC 8906 section 8: "replied within 2 s"
ECS, NSID, COOKIE, EXPIRE, KEEPALIVE, PADDING = 8, 3, 10, 9, 11, 12
QR, AA, TC, RD, RA, Z, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010
DO = 0x8000

_idents = itertools.cycle(range(1, 0x10000))
Option = tuple[int, bytes]


def octets_of(name: dns.name.Name) -> bytes:
    """An absolute name, uncompressed."""
    wire = name.to_wire()
    assert wire is not None
    return wire


def wire_name(text: str) -> bytes:
    """`text` relative to the zone of the probes, as uncompressed wire octets in the case given."""
    return octets_of(dns.name.from_text(text, ORIGIN))


def header(*, flags: int = 0, counts: tuple[int, int, int, int] = (0, 0, 0, 0)) -> bytes:
    """Twelve octets with a fresh ID; `flags` holds the opcode too."""
    return struct.pack("!6H", next(_idents), flags, *counts)


def question(name: str | bytes, rtype: str | int, rclass: int = 1) -> bytes:
    """A question section of one question."""
    number = rtype if isinstance(rtype, int) else int(dns.rdatatype.from_text(rtype))
    return (name if isinstance(name, bytes) else wire_name(name)) + struct.pack("!HH", number, rclass)


def opt(*options: Option, payload: int = 1232, flags: int = 0, version: int = 0) -> bytes:
    """An OPT record (RFC 6891 section 6.1.2)."""
    rdata = b"".join(struct.pack("!HH", code, len(data)) + data for code, data in options)
    return b"\0" + struct.pack("!HHBBHH", 41, payload, 0, version, flags, len(rdata)) + rdata


def query(name: str | bytes, rtype: str | int, *, edns: bytes | None = None, flags: int = 0, rclass: int = 1) -> bytes:
    """One ordinary query; `edns` is a whole OPT record."""
    return header(flags=flags, counts=(1, 0, 0, int(edns is not None))) + question(name, rtype, rclass) + (edns or b"")


def ecs(network: str, *, scope: int = 0) -> Option:
    """A well-formed Client Subnet option (RFC 7871 section 6): only the octets that the prefix covers."""
    net = ip_network(network)
    octets = net.network_address.packed[: (net.prefixlen + 7) // 8]
    return ECS, struct.pack("!HBB", 1 if net.version == 4 else 2, net.prefixlen, scope) + octets


@dataclass(frozen=True, repr=False)
class Reply:
    """One reply beside its query, so that a failure shows both."""

    query: bytes
    wire: bytes
    message: dns.message.Message = field(init=False)

    def __post_init__(self) -> None:
        """Parse strictly; everything that each reply owes is checked here."""
        asked, got = struct.unpack("!HH", self.query[:4]), struct.unpack("!HH", self.wire[:4])
        assert got[0] == asked[0], f"ID {got[0]:04x}, asked {asked[0]:04x}"
        assert got[1] & QR, f"QR is clear: {self.wire.hex()}"
        assert (got[1] & 0x7800) == (asked[1] & 0x7800), f"another opcode came back: {self.wire.hex()}"
        assert not got[1] & (RA | Z), f"RA or Z is set: {self.wire.hex()}"
        try:
            message = dns.message.from_wire(self.wire, one_rr_per_rrset=False, ignore_trailing=False)
        except dns.exception.DNSException as error:
            raise AssertionError(f"{error!r}: {self.query.hex()} -> {self.wire.hex()}") from error
        object.__setattr__(self, "message", message)
        assert sum(1 for _ in self._opts()) <= 1, f"several OPT: {self}"

    @override
    def __repr__(self) -> str:
        return f"query {self.query.hex()}\nreply {self.wire.hex()}\n{self.message}"

    def _opts(self) -> list[dns.rrset.RRset]:
        return [] if self.message.opt is None else [self.message.opt]

    @property
    def rcode(self) -> str:
        """The (extended) RCODE as text."""
        return dns.rcode.to_text(self.message.rcode())

    @property
    def aa(self) -> bool:
        """Authoritative answer."""
        return bool(self.message.flags & dns.flags.AA)

    @property
    def tc(self) -> bool:
        """Truncated."""
        return bool(self.message.flags & dns.flags.TC)

    @property
    def options(self) -> list[dns.edns.Option]:
        """The EDNS options of the reply."""
        return list(self.message.options)

    def subnets(self) -> list[dns.edns.ECSOption]:
        """The Client Subnet options of the reply."""
        return [option for option in self.options if isinstance(option, dns.edns.ECSOption)]

    def section(self, name: str) -> list[str]:
        """`answer`, `authority` or `additional` as lines `owner ttl type rdata`, owners relative to the zone, in order."""
        return [
            f"{rrset.name.relativize(ORIGIN)} {rrset.ttl} {dns.rdatatype.to_text(rrset.rdtype)} "
            f"{rdata.to_text(origin=ORIGIN, relativize=True)}"
            for rrset in self.message.section_from_number(("question", "answer", "authority", "additional").index(name))
            for rdata in rrset
        ]


@dataclass(frozen=True)
class Target:
    """A server under probe; `features` say what it claims to do beyond plain DNS."""

    address: str
    port: int
    features: frozenset[str] = frozenset()

    def udp(self, packet: bytes, *, allowed: int | None = None) -> Reply:
        """Ask over UDP and judge the reply; `allowed` is the largest reply in octets (default by the query's OPT)."""
        reply = Reply(packet, self.raw_udp(packet))
        limit = allowed or UDP_PLAIN
        assert len(reply.wire) <= limit, f"{len(reply.wire)} octets where {limit} were allowed"
        return reply

    def ask(
        self,
        name: str | bytes,
        rtype: str | int,
        *options: Option,
        payload: int | None = None,
        do: bool = False,
        flags: int = 0,
    ) -> Reply:
        """One ordinary query: without EDNS unless options, a payload or DO ask for it."""
        wanted = payload or 1232
        edns = opt(*options, payload=wanted, flags=DO if do else 0) if options or payload or do else None
        reply = self.udp(query(name, rtype, edns=edns, flags=flags), allowed=max(wanted, UDP_PLAIN) if edns else None)
        assert (reply.message.edns >= 0) == (edns is not None), (
            f"OPT must be there if and only if it was asked:\n{reply}"
        )
        return reply

    def raw_udp(self, packet: bytes) -> bytes:
        """The first datagram that comes back."""
        with self.udp_socket() as sock:
            sock.send(packet)
            return sock.recv(65535)

    def silent(self, packet: bytes) -> None:
        """Fail if `packet` is answered.

        A good query follows on the same socket: one flow has one worker, which takes datagrams in order, so once the
        good one is answered the other has been dealt with.
        """
        reply = self.maybe(packet)
        assert reply is None, f"must not be answered: {packet.hex()} -> {reply.hex()}"

    def maybe(self, packet: bytes) -> bytes | None:
        """The reply to `packet`, or None for silence; either way the server must still answer a good query."""
        good = query("leaf", "A")
        with self.udp_socket() as sock:
            sock.send(packet)
            sock.send(good)
            first = sock.recv(65535)
            if first[:2] == good[:2] and good[:2] != packet[:2]:
                sock.settimeout(0.02)
                try:
                    return sock.recv(65535)
                except TimeoutError:
                    return None
            assert sock.recv(65535)[:2] == good[:2], f"no good answer after {packet.hex()}"
            return first

    def refused_or_silent(self, packet: bytes, *rcodes: str) -> None:
        """Accept silence or a reply with one of `rcodes` and no data (the question may or may not be repeated)."""
        reply = self.maybe(packet)
        if reply is not None:
            self.judge_error(packet, reply, *rcodes)

    def error(self, packet: bytes, *rcodes: str) -> None:
        """Demand a reply with one of `rcodes` and no data."""
        self.judge_error(packet, self.raw_udp(packet), *rcodes)

    @staticmethod
    def judge_error(packet: bytes, reply: bytes, *rcodes: str) -> None:
        """An error reply: ID and opcode as asked, QR, no AA where data would be, no answers, small."""
        flags, _, answers, authorities, _ = struct.unpack("!5H", reply[2:12])
        shown = f"{packet.hex()} -> {reply.hex()}"
        assert reply[:2] == packet[:2], f"another ID: {shown}"
        assert flags & QR, f"QR is clear: {shown}"
        assert (flags & 0x7800) == (packet[2] & 0x78) << 8, f"another opcode: {shown}"
        assert not flags & (RA | Z), f"RA or Z is set: {shown}"
        assert dns.rcode.to_text(dns.rcode.Rcode(flags & 15)) in rcodes, f"expected {rcodes}: {shown}"
        assert (answers, authorities) == (0, 0), f"data beside an error: {shown}"
        assert len(reply) <= UDP_PLAIN, f"{len(reply)} octets: {shown}"

    def udp_socket(self) -> socket.socket:
        """A connected socket, from a port of its own, with the patience of a probe."""
        sock = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(PATIENCE_S)
        sock.connect((self.address, self.port))
        return sock

    def connect(self) -> socket.socket:
        """A TCP connection with the patience of a probe."""
        sock = socket.create_connection((self.address, self.port), timeout=PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def tcp(self, packet: bytes) -> Reply:
        """Ask over a connection of its own."""
        with self.connect() as sock:
            sock.sendall(framed(packet))
            return Reply(packet, receive_framed(sock))


def framed(packet: bytes) -> bytes:
    """RFC 1035 section 4.2.2: two octets of length before the message."""
    return struct.pack("!H", len(packet)) + packet


def receive_framed(sock: socket.socket) -> bytes:
    """One message from a TCP connection; ConnectionError when it ends before."""
    (length,) = struct.unpack("!H", receive_exactly(sock, 2))
    return receive_exactly(sock, length)


def receive_exactly(sock: socket.socket, length: int) -> bytes:
    """`length` octets; ConnectionError when the stream ends before."""
    data = b""
    while len(data) < length:
        part = sock.recv(length - len(data))
        if not part:
            raise ConnectionError(f"the stream ended after {len(data)} of {length} octets")
        data += part
    return data


def network_of(option: dns.edns.ECSOption) -> IPv4Network | IPv6Network:
    """The network that a reply's Client Subnet option says its answer is for: address/scope."""
    return ip_network(f"{option.address}/{option.scopelen}", strict=False)
