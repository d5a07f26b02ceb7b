"""Packets to throw at a nameserver: valid ones of all kinds, and what becomes of them.  Pure, given a seeded generator."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from tests.e2e.probes.subnets import MUST, SHOULD
from tests.e2e.probes.wire import (
    AA,
    AD,
    CD,
    COOKIE,
    DO,
    ECS,
    EXPIRE,
    KEEPALIVE,
    NSID,
    PADDING,
    RA,
    RD,
    TC,
    Option,
    ecs,
    header,
    opt,
    query,
    question,
    wire_name,
)

NAMES = ("host", "leaf", "@", "geo", "spread", "partial", "x.dyn", "geochain", "chain1", "dangling", "loop1", "www.moved", "d.long",
         "any.wild", "x.wildalias", "www.sub", "secure", "c.ent", "absent", "above4096", "above512", "www.wide", "unknown", "svc", "shed")  # fmt: skip
TYPES = (
    "A",
    "AAAA",
    "TXT",
    "MX",
    "NS",
    "SOA",
    "ANY",
    "DS",
    "HTTPS",
    "CNAME",
    "DNAME",
    "AXFR",
    "TYPE65280",
    "OPT",
    "TSIG",
)
CLIENTS = (
    "192.0.2.0/24",
    "198.51.100.0/25",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "2001:db8:a::/48",
    "::/0",
    "2002:c000:200::/48",
)
_COMPASS = (0, 1, 12, 255, 0xFF, 0x80, 0xC0, 0x40)  # octets with a meaning: lengths, pointers, ends


def corpus() -> list[bytes]:
    """Valid and nearly valid queries of every kind that the server knows; their IDs are 0."""
    found = [query(name, rtype) for name in NAMES for rtype in TYPES]
    found += [query(name, "A", edns=opt(ecs(client)), flags=RD) for name in NAMES for client in CLIENTS]
    found += [query("geo", "AAAA", edns=opt((ECS, data), flags=DO)) for data in (MUST | SHOULD).values()]
    found += [query("host", "A", edns=opt(*((code, bytes(code % 40)) for code in range(1, 20)), payload=4096))]
    found += [
        query("host", "A", edns=opt(version=version, payload=payload))
        for version in (0, 1, 255)
        for payload in (0, 512, 65535)
    ]
    found += [query("@", "SOA", flags=opcode << 11 | AD | CD) for opcode in range(16)]
    found += [
        query(b"\x07version\x04bind\x00", "TXT", rclass=3),
        query(b"\x00", "NS"),
        query(b"\x3f" + b"a" * 63 + b"\x00", "A"),
    ]
    found += [
        header(counts=(2, 0, 0, 0)) + question("host", "A") * 2,
        header(),
        header(counts=(1, 1, 1, 1)) + question("host", "A"),
    ]
    found += [query("host", "A", edns=opt() + opt()), query("host", "A")[:2] + b"\x80" + query("host", "A")[3:]]
    return [bytes(2) + packet[2:] for packet in found]


def mutated(packet: bytes, seeds: list[bytes], chance: random.Random) -> bytes:
    """`packet` after one to three accidents."""
    data = bytearray(packet)
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = chance.randrange(len(data)) if data else 0
        match chance.randrange(9):
            case 0:
                data[place:place] = bytes([chance.randrange(256)])
            case 1:
                del data[place : place + chance.randrange(1, 8)]
            case 2 if data:
                data[place] ^= 1 << chance.randrange(8)
            case 3 if data:
                data[place] = chance.choice(_COMPASS)
            case 4:
                del data[place:]
            case 5:
                other = chance.choice(seeds)
                data[place:] = other[chance.randrange(len(other)) :]
            case 6:
                data[place:place] = data[chance.randrange(len(data) + 1) :][: chance.randrange(1, 64)]
            case 7 if len(data) >= 12:
                count = 4 + 2 * chance.randrange(4)
                data[count : count + 2] = struct.pack("!H", chance.choice((0, 1, 2, 3, 255, 65535)))
            case _:
                data += chance.randbytes(chance.randrange(1, 40))
    return bytes(data[:4000])


def composed(chance: random.Random) -> bytes:
    """A well-formed query that nobody would write: any labels, type, class, flags and options.  Its ID is 0."""
    labels = [chance.randbytes(chance.choice((1, 3, 8, 63))) for _ in range(chance.randrange(4))]
    below = wire_name(chance.choice(NAMES))
    name = b"".join(bytes([len(label)]) + label for label in labels) + chance.choice((below, below, b"\0"))
    options = [_option(chance) for _ in range(chance.randrange(4))]
    payload = chance.choice((0, 511, 512, 900, 1232, 4096, 65535))
    edns = opt(*options, payload=payload, flags=chance.choice((0, DO, 0x4000)), version=int(chance.random() < 0.05))
    flags = chance.choice((0, RD, AD | CD, TC, AA | RA, 0x0070))
    rtype = chance.choice((1, 28, 1, 28, 255, chance.randrange(65536)))
    rclass = 1 if chance.random() < 0.9 else chance.choice((3, 255, 254, 4, 0))
    packet = query(name, rtype, edns=edns if chance.random() < 0.8 else None, flags=flags, rclass=rclass)
    return bytes(2) + packet[2:]


def _option(chance: random.Random) -> Option:
    if chance.random() < 0.6:
        bits, octets = chance.choice(((32, 4), (128, 16)))
        source = chance.randrange(bits + 1)
        network = int.from_bytes(chance.randbytes(octets), "big") >> (bits - source) << (bits - source)
        address = network.to_bytes(octets, "big")[: (source + 7) // 8]
        return ECS, struct.pack("!HBB", 1 if bits == 32 else 2, source, 0) + address
    return chance.choice((NSID, COOKIE, EXPIRE, KEEPALIVE, PADDING, 5, 15, 65535)), chance.randbytes(
        chance.choice((0, 2, 8, 40))
    )


def packets(count: int, seed: int) -> list[bytes]:
    """`count` packets: mutated ones, composed ones, some as they were, some mere noise."""
    chance = random.Random(seed)
    seeds = corpus()
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: mutated(chance.choice(seeds), seeds, chance),
        lambda: composed(chance),
        lambda: mutated(composed(chance), seeds, chance),
        lambda: chance.choice(seeds),
        lambda: chance.randbytes(chance.randrange(80)),
    )
    return [kind() for kind in chance.choices(kinds, (35, 30, 15, 15, 5), k=count)]


def payload_of(packet: bytes) -> int | None:
    """The payload that the first OPT record of a packet allows; None without a readable one."""
    try:
        counts = struct.unpack("!4H", packet[4:12])
        place = 12
        for _ in range(counts[0]):
            place = _after_name(packet, place) + 4
        for _ in range(sum(counts[1:])):
            place = _after_name(packet, place)
            rtype, rclass, _, length = struct.unpack("!HHIH", packet[place : place + 10])
            if rtype == 41:
                return int(rclass)
            place += 10 + length
    except (IndexError, struct.error):
        return None
    return None


def _after_name(packet: bytes, place: int) -> int:
    while packet[place]:
        if packet[place] >= 0xC0:
            return place + 2
        place += 1 + packet[place]
    return place + 1
