"""Subnet rules: which keys they cover, and the table of a node that knows no places.  Pure, without numpy.

Without a database only subnets tell clients apart, so a table is a few runs of keys.  It equals, byte for byte, what
`gslb.geo.build` makes of no places, and is there in a fraction of the time: a first start answers within a second.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from gslb.geo.encode import INDEX_BITS, Networks, Ranked, encode
from gslb.geo.lines import v4_sections
from gslb.geo.ranking import unknown_ranking, written_ranking
from gslb.geo.table import EMBEDDED, V4_BITS, V6_BITS
from gslb.model.deployment import Deployment, Network, PolicyId
from gslb.model.location import Ranking

Rules = tuple[int, ...]  # per policy, the index of its first rule with a covering subnet; none: its number of rules
Runs = list[tuple[int, int]]  # ascending first keys, and a number that holds until the next

_EDGES = frozenset(edge for region in EMBEDDED for edge in region)
_SIX_TO_FOUR = EMBEDDED[-1]


def covered(deployment: Deployment, version: int, key_bits: int, signatures: dict[Rules, int]) -> Runs:
    """Where the subnets of one family begin and end, as runs of numbers in `signatures`; new ones are added."""
    edges: dict[int, list[tuple[int, int, int]]] = {0: []}
    for number, policy in enumerate(deployment.policies.values()):
        for index, rule in enumerate(policy.rules):
            for start, end in _keys(rule.subnets, version, key_bits):
                edges.setdefault(start, []).append((number, index, 1))
                edges.setdefault(end, []).append((number, index, -1))
    edges.pop(1 << key_bits, None)
    nobody = tuple(len(policy.rules) for policy in deployment.policies.values())
    signatures.setdefault(nobody, len(signatures))
    covering: dict[tuple[int, int], int] = {}
    runs: Runs = []
    for start in sorted(edges):
        for number, index, step in edges[start]:
            covering[number, index] = covering.get((number, index), 0) + step
        covering = {key: count for key, count in covering.items() if count}
        first = list(nobody)
        for number, index in covering:
            first[number] = min(first[number], index)
        runs.append((start, signatures.setdefault(tuple(first), len(signatures))))
    return runs


def subnet_table(deployment: Deployment) -> bytes:
    """The table of `deployment` where no place is known."""
    signatures: dict[Rules, int] = {}
    v4 = covered(deployment, 4, V4_BITS, signatures)
    v6 = _separated(covered(deployment, 6, V6_BITS, signatures))
    met = {0, *(number for _, number in v4), *(number for _, number in v6)}
    class_of, policies = _classes(deployment, {number: rules for rules, number in signatures.items() if number in met})
    count = max(class_of.values()) + 1
    if count == 1:
        return encode(1, policies, None)
    v4 = _merged(((start, class_of[number]) for start, number in v4), frozenset())
    v6 = _merged(((start, class_of[number]) for start, number in v6), _EDGES)
    return encode(count, policies, _networks(v4, v6))


def _classes(deployment: Deployment, met: Mapping[int, Rules]) -> tuple[dict[int, int], dict[PolicyId, Ranked]]:
    """The class of each signature, and each policy's rankings by class (numbered as `gslb.geo.classes` does)."""
    ranked: dict[int, tuple[int, ...]] = dict.fromkeys(met, ())
    rankings: list[tuple[Ranking, ...]] = []
    for place, policy in enumerate(deployment.policies.values()):
        unknown = unknown_ranking(deployment, policy)
        found = {
            number: written_ranking(deployment, index, policy.rules[index])
            for number, rules in met.items()
            for index in (min(rules[place], unknown.rule),)
        }
        order = (unknown, *sorted(set(found.values()) - {unknown}))
        rankings.append(order)
        ranked = {number: (*so_far, order.index(found[number])) for number, so_far in ranked.items()}
    members = sorted(set(ranked.values()))
    of_class = {members_ranked: location for location, members_ranked in enumerate(members)}
    policies = {
        name: Ranked(rankings[place], array("H", (member[place] for member in members)).tobytes())
        for place, name in enumerate(deployment.policies)
    }
    return {number: of_class[each] for number, each in ranked.items()}, policies


def _separated(runs: Runs) -> Runs:
    """IPv6 runs cut at the borders of embedded-IPv4 regions; 6to4, which is looked up as IPv4, says nothing."""
    starts = sorted({start for start, _ in runs} | _EDGES)
    found: Runs = []
    rest = iter((*runs, (1 << V6_BITS, 0)))
    _, number = next(rest)
    following, following_number = next(rest)
    for start in starts:
        while following <= start:
            number = following_number
            following, following_number = next(rest)
        found.append((start, 0 if _SIX_TO_FOUR[0] <= start < _SIX_TO_FOUR[1] else number))
    return found


def _merged(runs: Iterable[tuple[int, int]], borders: frozenset[int]) -> Runs:
    """Equal neighbours as one run, but not over `borders`."""
    found: Runs = []
    for start, number in runs:
        if not found or found[-1][1] != number or start in borders:
            found.append((start, number))
    return found


def _networks(v4: Runs, v6: Runs) -> Networks:
    starts = [start for start, _ in v6]
    shift = V6_BITS - INDEX_BITS
    buckets = [0, *((start >> shift) + 1 for start in starts), (1 << INDEX_BITS) + 1]  # where the count of starts grows
    index = b"".join(
        array("I", [count]).tobytes() * (buckets[count + 1] - buckets[count]) for count in range(len(starts) + 1)
    )
    crowds = Counter(start >> shift for start in starts)
    blocks = list(_blocks(v4))
    runs = _merged(((start, entry) for start, _, entry in blocks), frozenset())
    return Networks(
        v4=b"".join(array("I", [entry]).tobytes() * length for _, length, entry in blocks),
        v4_packed=v4_sections(runs),
        v6_starts=array("Q", [*starts, 1 << V6_BITS]).tobytes(),
        v6_classes=array("I", [number for _, number in v6]).tobytes(),
        index=index,
        index_bits=INDEX_BITS,
        search_steps=max(crowds.values()).bit_length(),
    )


def _blocks(runs: Runs) -> Iterator[tuple[int, int, int]]:
    """The IPv4 section as starts, lengths, entries: the widest aligned blocks that stay inside a run."""
    ends = [start for start, _ in runs[1:]] + [1 << V4_BITS]
    for (start, number), end in zip(runs, ends, strict=True):
        at = start
        while at < end:
            widest = (at & -at).bit_length() - 1 if at else V4_BITS
            bits = min(widest, (end - at).bit_length() - 1)
            yield at, 1 << bits, number << 8 | V4_BITS - bits
            at += 1 << bits


def _keys(subnets: Sequence[Network], version: int, key_bits: int) -> Iterable[tuple[int, int]]:
    """The half-open ranges of keys that the subnets of one family cover."""
    for subnet in subnets:
        if subnet.version == version:
            shift = subnet.max_prefixlen - key_bits
            start = int(subnet.network_address) >> shift
            yield start, start + max(1, subnet.num_addresses >> shift)
