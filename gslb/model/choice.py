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
    heaviest = max(weight for _, weight in members)
    shares = [members[index][1] / heaviest for index in order]
    table = _filled([permutation(members[index][0], slots) for index in order], shares, slots)
    return tuple([order[place] for place in table])


def permutation(identity: str, slots: int) -> tuple[int, int]:
    """The slot that a member of a table asks for first, and how far on each next one is (1..slots-1)."""
    seed = blake2b(identity.encode(), digest_size=16).digest()
    return int.from_bytes(seed[:8], "big") % slots, int.from_bytes(seed[8:], "big") % (slots - 1) + 1


def _filled(steps: Sequence[tuple[int, int]], shares: Sequence[float], slots: int) -> list[int]:
    """The place (index into `steps`) in each slot; `shares` are turns a round, the greatest is 1.

    Most steps would be spent on the last few slots, each of them sought among all.  So when few are free, each member's
    order of those alone is worked out instead: which one it would come to first does not change by that.
    """
    table = [-1] * slots
    positions, skips, turns = [start for start, _ in steps], [skip for _, skip in steps], [0.0] * len(steps)
    free, few = slots, slots // (16 * len(steps))
    if few < 8:  # measured: with many members nothing is won by it
        few = 0
    if min(shares) == 1.0:  # nobody ever waits
        rounds = (slots - few) // len(steps)
        _fill_rounds(table, positions, skips, rounds)
        free -= rounds * len(steps)
    first = _fill_turns(table, positions, skips, (shares, turns), free - few)
    if few:
        _fill_rest(table, steps, shares, turns, first)
    return table


def _fill_rounds(table: list[int], positions: list[int], skips: Sequence[int], rounds: int) -> None:
    """Fill slots by whole rounds in which each place has its turn."""
    slots = len(table)
    for _ in range(rounds):
        for place, skip in enumerate(skips):
            slot = positions[place]
            while table[slot] >= 0:
                slot += skip
                if slot >= slots:
                    slot -= slots
            table[slot] = place
            positions[place] = slot


def _fill_turns(
    table: list[int],
    positions: list[int],
    skips: Sequence[int],
    due: tuple[Sequence[float], list[float]],
    count: int,
) -> int:
    """Fill `count` slots by the turns that are `due` (shares of a turn a round, and turns so far); whose turn is next."""
    slots, (shares, turns) = len(table), due
    while count:
        for place, share in enumerate(shares):
            turn = turns[place] + share
            if turn < 1.0:
                turns[place] = turn
                continue
            turns[place] = turn - 1.0
            slot, skip = positions[place], skips[place]
            while table[slot] >= 0:
                slot += skip
                if slot >= slots:
                    slot -= slots
            table[slot] = place
            positions[place] = slot
            count -= 1
            if not count:
                return place + 1
    return 0


def _fill_rest(
    table: list[int], steps: Sequence[tuple[int, int]], shares: Sequence[float], turns: list[float], first: int
) -> None:
    """Fill the slots that are free, from the turn of the place `first` on."""
    slots = len(table)
    empty = [slot for slot, place in enumerate(table) if place < 0]
    orders = []
    for start, skip in steps:
        back = pow(skip, -1, slots)
        orders.append(iter(sorted([((slot - start) * back % slots, slot) for slot in empty])))
    free, places = len(empty), range(first, len(steps))
    while True:
        for place in places:
            turns[place] += shares[place]
            if turns[place] < 1.0:
                continue
            turns[place] -= 1.0
            table[next(slot for _, slot in orders[place] if table[slot] < 0)] = place
            free -= 1
            if not free:
                return
        places = range(len(steps))


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
