"""The native executor finds places in a location table as large as those of full databases, with searches over many chunks."""

from __future__ import annotations

import random
from ipaddress import IPv6Address

import numpy as np

from gslb.geo.encode import Networks, Ranked, encode
from gslb.geo.table import EMBEDDED, LocationTable
from gslb.model.deployment import PoolId
from gslb.model.location import Ranking
from gslb.nameserver.answer import Responder
from gslb.nameserver.image import ImageBuilder, split
from gslb.nameserver.native import Native, opened
from tests.fuzz.differential import LIBRARY, NOW
from tests.fuzz.questions import sixteen
from tests.nameserver import make
from tests.nameserver.make import WEB

CROWDED = (70_000, 9000, 5000, 4097, 300, 9, 8, 1)  # starts below one place of the index: some chunks of them, and few
INDEX_BITS = 20
QUESTIONS = 15_000
SOURCE = "192.0.2.1"


def table(chance: random.Random) -> tuple[bytes, list[int]]:
    """A location table, neighbours in which have one of two classes, and its keys of IPv6."""
    starts = {0, *(edge for pair in EMBEDDED for edge in pair)}
    for place, count in enumerate(CROWDED):
        first = (0x2A000 + 3 * place) << 36
        starts |= {first + chance.getrandbits(36) for _ in range(count)}
    keys = sorted(starts)
    index = np.searchsorted(keys, np.arange((1 << INDEX_BITS) + 1, dtype=np.uint64) << np.uint64(36)).astype("<u4")
    classes = np.arange(len(keys), dtype="<u4") % 2
    ends = np.array([*keys, 1 << 56], dtype="<u8")
    networks = Networks(
        bytes(4 << 24), ends.tobytes(), classes.tobytes(), index.tobytes(), INDEX_BITS, len(keys).bit_length()
    )
    rankings = tuple(Ranking(rule, (PoolId(f"pool-{rule}"),), (PoolId(f"pool-{rule}"),)) for rule in range(2))
    return encode(2, {WEB: Ranked(rankings, np.arange(2, dtype="<u2").tobytes())}, networks), keys


def test_large_tables() -> None:
    chance = random.Random(1)
    geography, keys = table(chance)
    location = LocationTable.from_buffer(geography)
    made = make.plan(
        location,
        {"web": make.policy_plan({1: (0, 1), 28: (0, 1)})},
        [make.choice("192.0.2.1"), make.choice("192.0.2.2")],
    )
    zone = make.zone("z.test.", "@ 60 SOA ns1 h 1 2 3 4 60\n@ 60 NS ns1\n", make.bound("www.z.test."))
    tables = make.tables([zone], made, location)
    reference = Responder(tables, clock=lambda: NOW)
    image, _ = split(ImageBuilder().build(tables).octets)
    native = Native(opened(LIBRARY), image, geography)
    for number in range(QUESTIONS):
        place = CROWDED[number % len(CROWDED)]
        near = (
            chance.choice(keys) if number % 2 else (0x2A000 + 3 * CROWDED.index(place)) << 36 | chance.getrandbits(36)
        )
        key = max(0, min((1 << 56) - 1, near + chance.choice((-1, 0, 1))))
        message = make.query("www.z.test.", "A", make.opt(make.ecs(f"{IPv6Address(key << 72)}/56")))
        assert native.answer(message, sixteen(SOURCE), NOW) == reference.udp(message, SOURCE), hex(key)
