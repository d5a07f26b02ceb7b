"""DNS queries for the benches: of one kind each, and a mix as the resolvers of the world send them.  Pure.

The mix is an assumption, written down as a table: what authoritative servers of large services tell of their traffic, rounded.
Standards: RFC 1035 section 4.1, RFC 6891 section 6.1, RFC 7871 section 6, RFC 7873 section 4, RFC 9156 (names that are minimised).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from random import Random
from typing import TypeVar

from bench.dnsscene import APEX, NAMES, SECRET, label
from gslb.nameserver import cookies

A, NS, SOA, MX, TXT, AAAA, DS, HTTPS, ANY = 1, 2, 6, 15, 16, 28, 43, 65, 255
IN, CHAOS = 1, 3
DO = 0x8000

TYPES = {A: 560, AAAA: 250, HTTPS: 110, TXT: 20, NS: 18, MX: 12, DS: 10, SOA: 10, ANY: 3}  # per mille, about
NAMED = {  # which kind of name is asked for, per mille
    "dynamic": 600,
    "hashed": 130,
    "static": 60,
    "alias": 60,
    "apex": 30,
    "absent": 70,
    "minimised": 20,  # `_.example.com`: not there
    "wildcard": 20,
    "foreign": 10,  # in no zone of ours
}
SIZES = {1232: 600, 1400: 130, 4096: 120, 512: 100, 1410: 50}  # octets that the asker takes
EDNS, WITH_DO, ECS, ECS_V6, COOKIE, COOKIE_KNOWN, NSID, CASED = 0.95, 0.75, 0.25, 0.15, 0.15, 0.7, 0.005, 0.35
RD, OTHER = 0.01, 0.002  # the recursion-desired flag; what is no question of a resolver at all


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """One query and where it comes from: an address of 4 or 16 octets."""

    message: bytes
    source: bytes


def message(
    name: bytes, rtype: int, options: bytes | None = b"", *, size: int = 1232, flags: int = 0, do: int = DO
) -> bytes:
    """A query; `options` None: without EDNS.  `name` is in wire format."""
    counts = b"\0\x01\0\0\0\0" + (b"\0\0" if options is None else b"\0\x01")
    head = b"\x12\x34" + flags.to_bytes(2, "big") + counts
    question = name + rtype.to_bytes(2, "big") + IN.to_bytes(2, "big")
    if options is None:
        return head + question
    opt = b"\0\0\x29" + size.to_bytes(2, "big") + b"\0\0" + do.to_bytes(2, "big") + len(options).to_bytes(2, "big")
    return head + question + opt + options


def option(code: int, data: bytes) -> bytes:
    """One EDNS option."""
    return code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def subnet(network: bytes) -> bytes:
    """The client subnet option of an IPv4 /24 (3 octets) or an IPv6 /56 (7)."""
    return option(8, (b"\0\x01\x18\0" if len(network) == 3 else b"\0\x02\x38\0") + network)


def cookie(random: Random, source: bytes, now: float, *, known: bool) -> bytes:
    """A COOKIE option: of a client that is new to us, or `known`, with what we gave to it."""
    client = random.randbytes(cookies.CLIENT_OCTETS)
    if not known:
        return option(10, client)
    return option(10, cookies.answer(client, source, cookies.keys_of(SECRET, now), int(now))[0])


class Mix:
    """Queries of the mix, one after the other, the same for the same seed."""

    def __init__(self, seed: int, now: float) -> None:
        self._random = Random(seed)
        self._now = now
        self._names: Mapping[str, Callable[[], bytes]] = {
            "dynamic": lambda: label("w", self._number()) + APEX,
            "hashed": lambda: label("h", self._number()) + APEX,
            "static": lambda: label(self._random.choice("mt"), self._number()) + APEX,
            "alias": lambda: label("a", self._number()) + APEX,
            "apex": lambda: APEX,
            "absent": lambda: b"\x08" + self._random.randbytes(4).hex().encode() + APEX,
            "minimised": lambda: b"\x01_" + APEX,
            "wildcard": lambda: label("x", self._number()) + b"\x04wild" + APEX,
            "foreign": lambda: b"\x03www\x07example\x03net\x00",
        }

    def __iter__(self) -> Iterator[Asked]:
        """Without end."""
        while True:
            yield self._one()

    def _one(self) -> Asked:
        random = self._random
        source = IPv4Address(random.randrange(0x01000000, 0xDF000000)).packed
        if random.random() < OTHER:
            return Asked(self._odd(), source)
        name = self._cased(self._names[_drawn(random, NAMED)]())
        flags = 0x0100 if random.random() < RD else 0
        if random.random() >= EDNS:
            return Asked(message(name, _drawn(random, TYPES), None, flags=flags), source)
        do = DO if random.random() < WITH_DO else 0
        size = _drawn(random, SIZES)
        return Asked(message(name, _drawn(random, TYPES), self._options(source), size=size, flags=flags, do=do), source)

    def _number(self) -> int:
        """Of a name: a few are asked for most (Zipf, s = 1)."""
        return int(NAMES ** self._random.random()) - 1

    def _cased(self, name: bytes) -> bytes:
        """Letters in random case, as some resolvers ask."""
        if self._random.random() >= CASED:
            return name
        return bytes(each ^ 0x20 if chr(each).isalpha() and self._random.random() < 0.5 else each for each in name)

    def _options(self, source: bytes) -> bytes:
        random = self._random
        found = option(3, b"") if random.random() < NSID else b""
        if random.random() < COOKIE:
            found += cookie(random, source, self._now, known=random.random() < COOKIE_KNOWN)
        if random.random() < ECS:
            found += subnet(
                b"\x2a" + random.randbytes(6)
                if random.random() < ECS_V6
                else bytes([random.randrange(1, 224)]) + random.randbytes(2)
            )
        return found

    def _odd(self) -> bytes:
        """The server's version, an opcode that is no query, or no DNS at all."""
        version = b"\x07version\x04bind\x00"
        return self._random.choice(
            (
                message(version, TXT, None)[:-2] + CHAOS.to_bytes(2, "big"),
                message(APEX, SOA, None, flags=0x2000),
                self._random.randbytes(40),
            )
        )


def _drawn(random: Random, weights: Mapping[T, int]) -> T:
    return random.choices(list(weights), list(weights.values()))[0]
