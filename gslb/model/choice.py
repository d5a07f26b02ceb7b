"""Consistent hashing: Maglev tables from weights, and the slot of a client network.  Pure.

One home for what every node and every executor (Python, native, XDP) must compute alike.
Sources: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4;
weights as in Katran's V2 and Envoy: in each round a member takes a turn when its share of turns is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

CHOICE_SLOTS = 1021  # prime; one table per (policy, choice)
_MASK64 = (1 << 64) - 1
_MULTIPLIER = 0xFF51AFD7ED558CCD  # fmix64 of MurmurHash3
_EPOCH = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: epochs that follow each other lie far apart


def maglev(members: Sequence[tuple[str, int]], slots: int) -> tuple[int, ...]:
    """Fill `slots` (a prime) with indexes into `members`, pairs of (identity, weight > 0).

    The result depends on identities and weights and not on the order of `members`' indexes beyond naming them:
    a permuted input gives the same identity in each slot.  Raises ValueError without members.
    """
    if not members:
        raise ValueError("a choice table needs at least one member")
    order = sorted(range(len(members)), key=lambda index: members[index][0])
    starts: list[int] = []
    skips: list[int] = []
    for index in order:
        seed = blake2b(members[index][0].encode(), digest_size=16).digest()
        starts.append(int.from_bytes(seed[:8], "big") % slots)
        skips.append(int.from_bytes(seed[8:], "big") % (slots - 1) + 1)
    heaviest = max(weight for _, weight in members)
    table = [-1] * slots
    positions = list(starts)
    turns = [0.0] * len(order)
    filled = 0
    while True:
        for place, index in enumerate(order):
            turns[place] += members[index][1] / heaviest
            if turns[place] < 1.0:
                continue
            turns[place] -= 1.0
            slot = positions[place]
            skip = skips[place]
            while table[slot] >= 0:
                slot = (slot + skip) % slots
            table[slot] = index
            positions[place] = (slot + skip) % slots
            filled += 1
            if filled == slots:
                return tuple(table)


def sticky_keys(secret: bytes, policy: str) -> tuple[int, int]:
    """Two 64-bit keys of one policy, so that policies spread the same client independently."""
    digest = blake2b(policy.encode(), key=secret[:64], digest_size=16, person=b"gslb sticky").digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big") | 1


def sticky_slot(network: int, keys: tuple[int, int]) -> int:
    """The slot (0..1020) of a client network of at most 64 bits.

    Two keyed multiplications, since it runs for each query and in BPF; predicting a slot only tells a client
    which member it would be given, which a query tells as well.
    """
    mixed = ((network ^ keys[0]) * _MULTIPLIER) & _MASK64
    mixed = ((mixed ^ (mixed >> 32)) * keys[1]) & _MASK64
    return ((mixed >> 32) * CHOICE_SLOTS) >> 32


def epoch_slot(network: int, epoch: int, keys: tuple[int, int]) -> int:
    """The slot that a heavy resolver's network has in one epoch (unix time // TTL): another one in each, so that over time
    it spends as long in each slot as in any other.
    """
    return sticky_slot((network + epoch * _EPOCH) & _MASK64, keys)


def members_from(table: Sequence[int], slot: int, count: int) -> tuple[int, ...]:
    """The first `count` distinct members met from `slot` on: the answer set of that slot."""
    found: dict[int, None] = {}
    for step in range(len(table)):
        found[table[(slot + step) % len(table)]] = None
        if len(found) == count:
            break
    return tuple(found)
