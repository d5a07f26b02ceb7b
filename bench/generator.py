"""A DNS load generator: a closed loop of `window` queries in flight, or a rate; many at a time with sendmmsg and recvmmsg.  IO.

Each query asks NAME A with EDNS and a Client Subnet of a random network (kinds `ecs4` and `ecs6`) or without EDNS
(`plain`).  Because a query is only sent for one that was answered or given up, the server is kept as busy as it can be and
nothing is lost by overrunning it: what is lost then is the server's own doing.
Standards: RFC 1035 section 4.1, RFC 6891 section 6.1, RFC 7871 section 6.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import ipaddress
import json
import socket
import struct
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import dns.edns
import dns.message
import dns.rdatatype
import numpy as np
import numpy.typing as npt

BATCH = 32  # queries a system call
REPLY_SIZE = 512  # octets kept of a reply; every expected one is shorter
PAUSE_S = 0.0005  # between two looks at a rate
STALLED_S = 0.2  # without any reply for so long, what is in flight is given up
NETWORKS = 1 << 21  # random networks before they repeat
SAMPLES = 256  # replies that are read whole, to be compared with what is right
POSITIONS = {"plain": 0, "ecs4": 3, "ecs6": 7}  # random octets at the end of a query

ALLOWED = [ipaddress.ip_network(text) for text in ("127.0.0.0/8", "::1/128", "198.18.0.0/15", "2001:2::/48")]

IOVEC = np.dtype([("base", "u8"), ("length", "u8")])
MMSGHDR = np.dtype(
    {
        "names": ["iov", "iovlen", "received"],
        "formats": ["u8", "u8", "u4"],
        "offsets": [16, 24, 56],
        "itemsize": 64,
    }
)
Octets = npt.NDArray[np.uint8]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
_libc.recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]


@dataclass
class Outcome:
    """What one run saw.

    `good` replies carry NOERROR and an answer.  `idle` is the share of looks at the sockets that found no reply: near
    zero the generator was the slower side.  `sample` pairs a client network with the address that it was given.
    """

    sent: int = 0
    received: int = 0
    good: int = 0
    seconds: float = 0.0
    idle: float = 0.0
    sample: list[tuple[str, str]] = field(default_factory=list)


class Messages:
    """Rows of equal length, and the kernel's vector of headers that points to them."""

    def __init__(self, rows: Octets) -> None:
        self.rows = rows
        vectors = np.zeros(len(rows), IOVEC)
        vectors["base"] = rows.ctypes.data + np.arange(len(rows)) * rows.shape[1]
        vectors["length"] = rows.shape[1]
        self.headers = np.zeros(len(rows), MMSGHDR)
        self.headers["iov"] = vectors.ctypes.data + np.arange(len(rows)) * IOVEC.itemsize
        self.headers["iovlen"] = 1
        self._vectors = vectors  # the headers hold its address
        self.address = self.headers.ctypes.data


def query(name: str, kind: str) -> bytes:
    """One query of `kind`; its last POSITIONS[kind] octets are the client network."""
    octets = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    question = octets + b"\0" + struct.pack(">HH", 1, 1)
    if kind == "plain":
        return struct.pack(">HHHHHH", 0, 0, 1, 0, 0, 0) + question
    family, source = (1, 24) if kind == "ecs4" else (2, 56)
    option = struct.pack(">HHHBB", 8, 4 + POSITIONS[kind], family, source, 0) + bytes(POSITIONS[kind])
    opt = struct.pack(">BHHIH", 0, 41, 1232, 0, len(option)) + option
    return struct.pack(">HHHHHH", 0, 0, 1, 0, 0, 1) + question + opt


def networks(kind: str, seed: int) -> Octets:
    """Random client networks: IPv4 /24 of 1.0.0.0 to 223.255.255.0, IPv6 /56 of 2000::/4."""
    random = np.random.default_rng(seed)
    drawn = random.integers(0, 256, (NETWORKS, POSITIONS[kind]), dtype=np.uint8)
    if kind == "ecs4":
        drawn[:, 0] = random.integers(1, 224, NETWORKS)
    elif kind == "ecs6":
        drawn[:, 0] = 0x20 | drawn[:, 0] & 0x0F
    return drawn


class Lane:
    """One connected socket with its own queries in flight."""

    def __init__(self, target: tuple[str, int], template: bytes, window: int, first_id: int) -> None:
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self.socket.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        self.socket.connect(target)
        self.socket.settimeout(0)
        self.fd = self.socket.fileno()
        rows = np.tile(np.frombuffer(template, np.uint8), (window, 1))
        ids = np.arange(first_id, first_id + window)
        rows[:, 0], rows[:, 1] = ids >> 8 & 255, ids & 255
        self.queries = Messages(rows)
        self.window = window
        self.place = 0
        self.flying = 0


class Generator:
    """The loop and what it counts."""

    def __init__(self, target: tuple[str, int], name: str, kind: str, window: int, lanes: int, seed: int) -> None:
        template = query(name, kind)
        share = max(BATCH * 2, window // lanes // BATCH * BATCH)
        self.lanes = [Lane(target, template, share, number * share) for number in range(lanes)]
        self.inbox = Messages(np.zeros((2 * BATCH, REPLY_SIZE), np.uint8))
        self.networks = networks(kind, seed)
        self.width = POSITIONS[kind]
        self.next = 0
        self.outcome = Outcome()
        self.kept: list[bytes] = []

    def run(self, seconds: float, rate: int = 0) -> Outcome:
        """Send for `seconds`, wait for the last replies, and say what came; with a `rate`, so many queries a second."""
        gc.disable()
        if rate:
            self._pace(seconds, rate)
        else:
            self._loop(seconds)
        ended = time.perf_counter()
        while time.perf_counter() < ended + STALLED_S:
            for lane in self.lanes:
                self.receive(lane)
            if rate:
                time.sleep(PAUSE_S)
        self.outcome.sample = [pair for pair in map(_read, self.kept) if pair]
        return self.outcome

    def _pace(self, seconds: float, rate: int) -> None:
        """At a rate that nothing slows down; between two batches the core is free."""
        start = time.perf_counter()
        batches = 0
        while (now := time.perf_counter()) < start + seconds:
            for lane in self.lanes:
                while self.receive(lane) == 2 * BATCH:
                    pass
            while batches * BATCH < (now - start) * rate:
                self.send(self.lanes[batches % len(self.lanes)])
                batches += 1
            time.sleep(PAUSE_S)
        self.outcome.seconds = time.perf_counter() - start

    def _loop(self, seconds: float) -> None:
        turns = idle = 0
        heard = start = time.perf_counter()
        while (now := time.perf_counter()) < start + seconds:
            turns += 1
            if sum([self.turn(lane) for lane in self.lanes]):
                heard = now
                continue
            idle += 1
            if now > heard + STALLED_S:
                heard = now
                for lane in self.lanes:
                    lane.flying = 0
        self.outcome.seconds = time.perf_counter() - start
        self.outcome.idle = idle / turns

    def turn(self, lane: Lane) -> int:
        """Take what has come and send as much again; the number of replies."""
        came = self.receive(lane)
        while lane.flying + BATCH <= lane.window and self.send(lane):
            pass
        return came

    def receive(self, lane: Lane) -> int:
        """Take up to two batches of replies."""
        came = int(_libc.recvmmsg(lane.fd, self.inbox.address, 2 * BATCH, socket.MSG_DONTWAIT, None))
        if came <= 0:
            return 0
        rows = self.inbox.rows[:came]
        lane.flying = max(0, lane.flying - came)
        self.outcome.received += came
        self.outcome.good += int(np.count_nonzero((rows[:, 3] & 15 == 0) & (rows[:, 7] > 0)))
        if self.outcome.received >> 10 > len(self.kept) and len(self.kept) < SAMPLES:
            self.kept.append(rows[0, : self.inbox.headers["received"][0]].tobytes())
        return came

    def send(self, lane: Lane) -> int:
        """Send one batch for networks not asked before; the number sent."""
        place = lane.place
        if self.width:
            lane.queries.rows[place : place + BATCH, -self.width :] = self.networks[self.next : self.next + BATCH]
            self.next = (self.next + BATCH) % NETWORKS
        sent = int(_libc.sendmmsg(lane.fd, lane.queries.address + place * MMSGHDR.itemsize, BATCH, 0))
        if sent <= 0:
            return 0
        lane.place = (place + BATCH) % lane.window
        lane.flying += sent
        self.outcome.sent += sent
        return sent


def _read(reply: bytes) -> tuple[str, str] | None:
    """The client network that a reply echoes ("" without one) and the address that it gives; None if unreadable."""
    try:
        message = dns.message.from_wire(reply)
    except dns.exception.DNSException:
        return None
    echoed = [option for option in message.options if isinstance(option, dns.edns.ECSOption)]
    addresses = [rdata for rrset in message.answer if rrset.rdtype == dns.rdatatype.A for rdata in rrset]
    return (echoed[0].address if echoed else "", addresses[0].address) if addresses else None


def main() -> None:
    """Run once and print the outcome as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.generator", description="Load a DNS server; bounded.")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--name", default="www.example.com")
    parser.add_argument("--kind", choices=POSITIONS, default="ecs4")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--window", type=int, default=256, help="queries in flight, over all sockets")
    parser.add_argument("--sockets", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=0, help="queries a second; 0: as many as are answered")
    given: Any = parser.parse_args()
    if not any(ipaddress.ip_address(given.address) in network for network in ALLOWED):
        parser.error(f"{given.address}: only loopback and the benchmark networks of RFC 2544 and RFC 5180 are loaded")
    target = (given.address, given.port)
    generator = Generator(target, given.name, given.kind, given.window, given.sockets, given.seed)
    print(json.dumps(asdict(generator.run(min(given.seconds, 60.0), given.rate))))


if __name__ == "__main__":
    main()
