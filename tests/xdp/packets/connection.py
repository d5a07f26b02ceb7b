"""One client's TCP connection as packet cases send it, and what the program tells of its handshake.  IO: BPF test runs.

No test waits: the time of a SYN is set back in the table.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from scapy.packet import Packet

from gslb import layout
from tests.xdp.harness import Programs, word
from tests.xdp.packets.cases import TX, Case, check, sent
from tests.xdp.packets.frames import CLIENT, Tags, ether, hash_of, leaves, octets, towards
from tests.xdp.packets.moving import number_of
from tests.xdp.packets.scene import VIPS, packed
from xdp.flow import index_of

HELD_US, MOST_RTT_US = 1_500_000, 900_000  # xdp/c/handshake.h
MARGIN_US = 100_000  # more than a test takes
RESENT = 1  # bit of at_us
WRAPPED = 1 << 32
ISN = 1000  # of every client, unless it is said


@dataclass
class Client:
    """One client's connection to a VIP, and the time that its handshake may be said to have taken."""

    programs: Programs
    vip: str
    backend: str
    sport: int = 40000
    isn: int = ISN
    tags: Tags = ()
    since_ns: tuple[int, int] = field(default=(0, 0))

    def syn(self, **more: int) -> None:
        """The first packet, or the same again."""
        before = time.monotonic_ns()
        self.send("S", self.isn, counts={"syns": 1} | more)
        self.since_ns = before, time.monotonic_ns()

    def ack(self, flags: str = "A", *, data: bytes = b"", **more: int) -> tuple[int, int]:
        """The last packet of the handshake; the least and the most microseconds since the SYN."""
        before = time.monotonic_ns()
        self.send(flags, self.isn + 1, data=data, counts=more)
        least, most = before - self.since_ns[1], time.monotonic_ns() - self.since_ns[0]
        return least // 1000 - 1, most // 1000 + 2  # the program keeps even microseconds

    def send(
        self, flags: str, seq: int, *, data: bytes = b"", counts: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        """An exact case; `counts` as in `cases.sent`."""
        packet = self.packet(flags, seq, data)
        expect = leaves(self.backend, packet, tags=self.tags)
        counted = sent(self.vip, self.backend, octets(packet), **counts)
        name = f"{flags} from port {self.sport}"
        check(self.programs, Case(name, ether(tags=self.tags) / packet, TX, expect, counted))

    def packet(self, flags: str, seq: int, data: bytes = b"") -> Packet:
        """A packet of the connection."""
        return towards(self.vip, flags, sport=self.sport, seq=seq % WRAPPED, payload=data)

    def place(self) -> layout.Handshake:
        """What the place of the connection holds."""
        held = self.programs.maps["handshakes"].lookup(word(index_of(self.hash)))
        assert held is not None
        return layout.Handshake.from_buffer_copy(held)

    def set_back(self, by_us: int) -> None:
        """As if what is in its place had come so much earlier."""
        held = self.place()
        self.put(held.tag, held.at_us - by_us)

    def put(self, tag: int, at_us: int) -> None:
        """Fill its place."""
        self.programs.set("handshakes", word(index_of(self.hash)), layout.Handshake(tag, at_us % WRAPPED))

    @property
    def hash(self) -> int:
        """Of the flow."""
        return hash_of(self.packet("A", 0))


def meeting(client: Client) -> tuple[Client, Client]:
    """Two clients like this one that have one place in the table."""
    seen: dict[int, Client] = {}
    for sport in range(20000, 24000):
        one = Client(client.programs, client.vip, client.backend, sport)
        found = seen.setdefault(index_of(one.hash), one)
        if found is not one:
            return found, one
    raise AssertionError("no two of 4000 flows meet")


def events(programs: Programs) -> list[dict[str, Any]]:
    """What user space is told, by field."""
    told = [layout.HandshakeEvent.from_buffer_copy(record) for record in programs.events("handshake_log")]
    assert all(each.zero == 0 for each in told)
    return [
        {"client": bytes(each.client), "rtt_us": each.rtt_us, "vip": each.vip, "backend": each.backend} for each in told
    ]


def one_event(client: Client, least: int, most: int, *, backend: str = "") -> None:
    """Exactly one round trip was told, of this client, within these bounds."""
    [told] = events(client.programs)
    version = 6 if ":" in VIPS[client.vip].address else 4
    assert told.pop("client") == packed(CLIENT[version])
    assert least <= told.pop("rtt_us") <= most
    assert told == {"vip": VIPS[client.vip].number, "backend": number_of(backend or client.backend)}
