"""The native executor finds places in a location table as large as those of full databases: trees of all heights, /16s of all kinds."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest
from numpy.typing import NDArray

from gslb.geo.build import v4_packed
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

CROWDED = (70_000, 9000, 5000, 4097, 300, 9, 8, 1)  # starts below one place of the index
FEW = ((1,), (2,), (3,), (50,), (57,), (58,), (4000,))  # with the edges, up to a line, a level, two levels, and beyond
CUTS = (0, 1, 4, 5, 6, 7, 100, 255)  # runs that begin inside of a /16
INDEX_BITS = 20
QUESTIONS, FEW_QUESTIONS = 20_000, 1500
SOURCE = "192.0.2.1"


def v4_entries(chance: random.Random) -> NDArray[np.uint32]:
    """Entries of runs that begin anywhere, and at the edges of /16s, words and lines."""
    begins = np.zeros((1 << 16, 256), np.bool_)
    made = np.random.default_rng(chance.getrandbits(32))
    for kind, cuts in enumerate(CUTS):
        rows = begins[kind :: len(CUTS)]
        at = made.permuted(np.tile(np.arange(1, 256), (len(rows), 1)), axis=1)[:, :cuts]
        np.put_along_axis(rows, at, values=True, axis=1)
    begins[:, 0] = made.integers(0, 2, 1 << 16)
    number = np.cumsum(begins.reshape(-1))
    entries: NDArray[np.uint32] = ((number % 2) << 8 | 8 + number % 17).astype(np.uint32)
    return entries


def table(chance: random.Random, crowded: tuple[int, ...]) -> tuple[bytes, list[int]]:
    """A location table, neighbours in which have one of two classes, and its keys of IPv6."""
    starts = {0, *(edge for pair in EMBEDDED for edge in pair)}
    for place, count in enumerate(crowded):
        first = (0x2A000 + 3 * place) << 36
        starts |= {first + chance.getrandbits(36) for _ in range(count)}
    keys = sorted(starts)
    index = np.searchsorted(keys, np.arange((1 << INDEX_BITS) + 1, dtype=np.uint64) << np.uint64(36)).astype("<u4")
    classes = np.arange(len(keys), dtype="<u4") % 2
    ends = np.array([*keys, 1 << 56], dtype="<u8")
    v4 = v4_entries(chance)
    networks = Networks(
        v4=v4.tobytes(),
        v4_packed=v4_packed(v4),
        v6_starts=ends.tobytes(),
        v6_classes=classes.tobytes(),
        index=index.tobytes(),
        index_bits=INDEX_BITS,
        search_steps=len(keys).bit_length(),
    )
    rankings = tuple(Ranking(rule, (PoolId(f"pool-{rule}"),), (PoolId(f"pool-{rule}"),)) for rule in range(2))
    return encode(2, {WEB: Ranked(rankings, np.arange(2, dtype="<u2").tobytes())}, networks), keys


@pytest.mark.parametrize("crowded", [CROWDED, *FEW], ids=lambda crowded: str(sum(crowded)))
def test_places(crowded: tuple[int, ...]) -> None:
    chance = random.Random(1)
    geography, keys = table(chance, crowded)
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
    for number in range(QUESTIONS if crowded == CROWDED else FEW_QUESTIONS):
        if number % 3:
            place = number % len(crowded)
            near = chance.choice(keys) if number % 2 else (0x2A000 + 3 * place) << 36 | chance.getrandbits(36)
            key = max(0, min((1 << 56) - 1, near + chance.choice((-1, 0, 1))))
            client = f"{IPv6Address(key << 72)}/56"
        else:
            client = f"{IPv4Address(chance.getrandbits(24) << 8)}/24"
        message = make.query("www.z.test.", "A", make.opt(make.ecs(client)))
        assert native.answer(message, sixteen(SOURCE), NOW) == reference.udp(message, SOURCE), client
