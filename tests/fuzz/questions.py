"""Questions to executors of DNS that must agree: ordinary, odd and broken ones, with who asks.  Pure, given a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from gslb.nameserver import cookies
from gslb.nameserver.cookies import Keys
from tests.fuzz.packets import mutated, packets
from tests.nameserver import make
from tests.nameserver.imagescene import NAMES, TYPES

Question = tuple[bytes, str]  # a message, and its asker's address as the system writes it

CLIENTS = (
    "192.0.2.5", make.CLIENT, "10.20.1.1", "10.1.1.1", "203.0.113.9", "198.51.100.9", "1.2.3.4", "255.255.255.255", "0.0.0.0",
    "2001:db8:5:5500::7", "2001:db8::1", "2600::1", "fe80::1%eth0", "::1", "::", "::ffff:10.20.1.1", "2002:a14:100::1",
    "64:ff9b::a14:101", "64:ff9b::1:a14:101", "64:ff9b:0:ff::1", "0:0:0:00ff::", "2003::", "ffff::",
)  # fmt: skip
_TYPES = (1, 28, 1, 28, 1, 28, *TYPES)
_PAYLOADS = (0, 511, 512, 700, 1232, 1232, 4096, 65535)
_FLAGS = (0, 0x0100, 0x0100, 0x0120, 0x0170)
_ODD_FLAGS = (0x0200, 0x0400, 0x0080, 0x0001, 0x2800, 0x8000, 0x0171)
_DO = 0x8000


def sixteen(source: str) -> bytes:
    """An asker's address as executors in C take it."""
    address = ip_address(source.partition("%")[0])
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


class Asker:
    """Makes questions for the zones of `tests.nameserver.imagescene`; cookies are of `keys`, at `now` or about it."""

    def __init__(self, seed: int, keys: Keys | None, now: int) -> None:
        self._chance = random.Random(seed)
        self._keys = keys
        self._now = now

    def questions(self, count: int) -> list[Question]:
        """So many of all kinds."""
        chance = self._chance
        seeds = [self._ordinary()[0] for _ in range(200)]
        noise = packets(1 + count // 8, chance.getrandbits(30))
        kinds: tuple[Callable[[], Question], ...] = (
            self._ordinary,
            self._odd,
            lambda: (mutated(self._odd()[0], seeds, chance), self._source()),
            lambda: (chance.choice(noise), self._source()),
        )
        return [kind() for kind in chance.choices(kinds, (35, 25, 30, 10), k=count)]

    def ordinary(self, count: int, names: list[str], types: tuple[int, ...]) -> list[Question]:
        """So many that a resolver sends, for these names as they are."""
        return [self._ordinary(names, types, longer=0.0) for _ in range(count)]

    def _ordinary(self, names: list[str] = NAMES, types: tuple[int, ...] = _TYPES, longer: float = 0.2) -> Question:
        chance = self._chance
        source = self._source()
        options = []
        if chance.random() < 0.6:
            options.append(self._subnet())
        if chance.random() < 0.3:
            options.append((10, self._cookie(source)))
        if chance.random() < 0.2:
            options.append((3, b""))
        if chance.random() < 0.2:
            options.append((chance.choice((12, 15, 65001)), chance.randbytes(chance.randrange(20))))
        chance.shuffle(options)
        record = make.opt(*options, payload=chance.choice(_PAYLOADS), flags=chance.choice((0, _DO)))
        name = self._name(names, longer)
        return self._message(name, types, record if options or chance.random() < 0.5 else b"", _FLAGS), source

    def _odd(self) -> Question:
        """As above, and something that a resolver does not send."""
        chance = self._chance
        source = self._source()
        types: tuple[int, ...] = _TYPES
        flags: tuple[int, ...] = _FLAGS
        rclass, record = 1, b""
        match chance.randrange(7):
            case 0:
                flags = _ODD_FLAGS
            case 1:
                types = (chance.randrange(1 << 16), 0, 41, 249, 250, 251)
            case 2:
                rclass = chance.choice((0, 3, 254, 255))
            case 3:
                codes = chance.choices((3, 5, 8, 10, 11, 15), k=chance.randrange(11))
                record = make.opt(*((code, chance.randbytes(chance.choice((0, 2, 8, 16)))) for code in codes))
            case 4:
                record = make.opt((8, self._wrong_subnet()))
            case 5:
                record = make.opt(version=chance.choice((1, 255)), flags=_DO)
            case _:
                twice = [(10, self._cookie(source)), (10, chance.randbytes(chance.choice((0, 8, 24)))), self._subnet()]
                chance.shuffle(twice)
                record = make.opt(*twice)
        return self._message(self._name(NAMES, 0.2), types, record, flags, rclass), source

    def _name(self, names: list[str], longer: float) -> bytes:
        """One of `names` in any case; at this chance with labels before it."""
        chance = self._chance
        name = make.wire(chance.choice(names))
        if chance.random() < longer:
            labels = [chance.randbytes(chance.choice((1, 3, 8, 30, 63))) for _ in range(chance.choice((1, 1, 2, 12)))]
            whole = b"".join(bytes([len(label)]) + label for label in labels) + name
            name = whole if len(whole) <= 255 else name
        return _other_case(name, chance) if chance.random() < 0.5 else name

    def _message(
        self, name: bytes, types: tuple[int, ...], record: bytes, flags: tuple[int, ...], rclass: int = 1
    ) -> bytes:
        chance = self._chance
        message = make.query(name, chance.choice(types), record, rclass=rclass, flags=chance.choice(flags))
        return chance.randbytes(2) + message[2:]

    def _source(self) -> str:
        chance = self._chance
        if chance.random() < 0.7:
            return chance.choice(CLIENTS)
        return str(
            IPv4Address(chance.getrandbits(32)) if chance.random() < 0.5 else IPv6Address(chance.getrandbits(128))
        )

    def _subnet(self) -> tuple[int, bytes]:
        chance = self._chance
        address = ip_address(self._source().partition("%")[0])
        bits = chance.choice((0, 1, 8, 20, 24, 24, 32, 48, 56, 64, 100, 128))
        if chance.random() < 0.1:
            return 8, bytes(4)
        return make.ecs(f"{address}/{min(bits, address.max_prefixlen)}")

    def _wrong_subnet(self) -> bytes:
        """A client subnet with an octet or its length changed."""
        data = bytearray(self._subnet()[1])
        match self._chance.randrange(3):
            case 0:
                data[self._chance.randrange(len(data))] = self._chance.randrange(256)
            case 1:
                data += self._chance.randbytes(1)
            case _:
                del data[-1:]
        return bytes(data)

    def _cookie(self, source: str) -> bytes:
        """A client cookie alone, or with a server cookie that is good, too old, or wrong."""
        chance = self._chance
        client = chance.randbytes(8)
        if chance.random() < 0.3 or self._keys is None:
            return client + bytes(chance.choice((0, 8, 16, 32)))
        age = chance.choice((0, 10, 1800, 1801, 3600, 3601, 90_000, -300, -301))
        made = cookies.answer(client, sixteen(source), self._keys, self._now - age)[0]
        return made if chance.random() < 0.8 else made[:-1] + bytes([made[-1] ^ 1])


def _other_case(name: bytes, chance: random.Random) -> bytes:
    """The same name with its letters in any case; lengths of labels are no letters."""
    return bytes(octet ^ 0x20 if chance.random() < 0.5 and bytes([octet]).isalpha() else octet for octet in name)
