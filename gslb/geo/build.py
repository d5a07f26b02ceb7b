"""Deployment and places -> the location table's bytes.  Pure.

The order of work: profiles of places; runs of profiles, cut at subnets; situations (profile, subnets); classes; merged
runs; catchments; and then each family's layout.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gslb.geo.catchments import encode_catchments
from gslb.geo.classes import Situations, classify, cut, segments, split
from gslb.geo.encode import INDEX_BITS, Networks, Section, encode
from gslb.geo.lines import BEYOND, V4_BITMAP_AT, V4_LINE_BITS, V4_RUN_AT, V4Sections, bounded
from gslb.geo.places import Places, Runs, coalesced, quantised
from gslb.geo.rank import I64, profiles
from gslb.geo.table import EMBEDDED, MAX_CLASSES, V4_BITS, V6_BITS
from gslb.geo.weigh import Classed, weighed
from gslb.model.deployment import Deployment

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
BOOLS = NDArray[np.bool_]

_EDGES = np.array(sorted(edge for region in EMBEDDED for edge in region), np.uint64)
_SIX_TO_FOUR = np.array(EMBEDDED[-1], np.uint64)  # never bare integers: numpy would compare 56-bit keys as floats


def build_table(deployment: Deployment, places: Places, most_classes: int = MAX_CLASSES) -> bytes:
    """The table of `deployment` over `places`.  Raises TooManyClasses."""
    known = profiles(places, deployment)
    signatures: dict[tuple[int, ...], int] = {}
    v4 = quantised(places.v4, V4_BITS, deployment.geo.scope4)
    v6 = quantised(places.v6, V6_BITS, deployment.geo.scope6)
    families = (
        split(v4, known, segments(deployment, 4, V4_BITS, signatures)),
        _separated(*split(v6, known, segments(deployment, 6, V6_BITS, signatures))),
    )
    met, numbers = _situations([(profile, signature) for _, profile, signature in families], signatures)
    classes = classify(deployment, known, met, most_classes)
    (starts4, *_), (starts6, *_) = families
    classes4, classes6 = (classes.of_situation[number] for number in numbers)
    sized = weighed(
        deployment,
        places,
        known,
        classes,
        (Classed(v4, *families[0], classes4), Classed(v6, *families[1], classes6)),
    )
    catchments = encode_catchments(sized) if sized else b""
    networks = None
    if classes.count > 1:
        networks = _networks(coalesced(starts4, classes4), v6_ranges(starts6, classes6))
    return encode(classes.count, classes.policies, networks, catchments)


def v4_entries(runs: Runs, bits: int = V4_BITS) -> U32:
    """The IPv4 section: each key's class and the length of the shortest prefix around it that has one class."""
    ends = np.append(runs.starts[1:], np.uint64(1 << bits))
    classes = np.repeat(runs.places, (ends - runs.starts).astype(np.int64))
    levels: list[BOOLS] = [np.ones(1 << bits, np.bool_)]  # is the block uniform: single keys first, then pairs, ...
    values = classes
    for _ in range(bits):
        below = levels[-1]
        levels.append(below[0::2] & below[1::2] & (values[0::2] == values[1::2]))
        values = values[0::2]
    depth = np.where(levels[-1], 0, bits).astype(np.uint8)
    for length in range(1, bits + 1):
        depth = np.repeat(depth, 2)
        depth[levels[bits - length] & (depth > length)] = length
    entries: U32 = (classes << np.uint32(8)) | depth
    return entries


def v4_packed(entries: U32) -> V4Sections:
    """The IPv4 section as C reads it (`gslb.geo.lines`)."""
    begins = np.ones(entries.size, np.bool_)
    np.not_equal(entries[1:], entries[:-1], out=begins[1:])
    starts = np.flatnonzero(begins)
    by_line = begins.reshape(1 << V4_LINE_BITS, -1)
    first = np.arange(by_line.shape[0]) * by_line.shape[1]
    run = (np.searchsorted(starts, first, side="right") - 1).astype(np.uint64)
    by_line[:, 0] = False
    bits = np.packbits(by_line, axis=1, bitorder="little")
    distinct, bitmap = np.unique(bits.view(f"V{bits.shape[1]}").reshape(-1), return_inverse=True)
    index = run << np.uint64(V4_RUN_AT) | bitmap.astype(np.uint64) << np.uint64(V4_BITMAP_AT)
    ones = np.cumsum(np.bitwise_count(bits.view("<u8")[:, :-1]), axis=1, dtype=np.uint64)
    for word in range(ones.shape[1]):
        index |= ones[:, word] << np.uint64(8 * word)
    different, number = np.unique(entries[starts], return_inverse=True)
    return V4Sections(
        index.astype("<u8").tobytes(),
        distinct.tobytes(),
        np.minimum(number, BEYOND).astype("<u2").tobytes(),
        np.array(bounded(different.tolist()), "<u4").tobytes(),
    )


def v6_ranges(starts: U64, classes: U32) -> Runs:
    """Ranges of the IPv6 section: neighbours are merged, but not over the borders of embedded-IPv4 regions."""
    begins = np.isin(starts, _EDGES)
    begins[0] = True
    begins[1:] |= classes[1:] != classes[:-1]
    return Runs(starts[begins], classes[begins])


def _separated(starts: U64, profile: I64, signature: I64) -> tuple[U64, I64, I64]:
    """IPv6 runs cut at the borders of embedded-IPv4 regions; 6to4 itself, which is looked up as IPv4, says nothing."""
    joint = cut(starts, _EDGES)
    origin = np.searchsorted(starts, joint, side="right") - 1
    profile, signature = profile[origin], signature[origin]
    region = slice(*np.searchsorted(joint, _SIX_TO_FOUR).tolist())
    profile[region] = signature[region] = 0
    return joint, profile, signature


def _situations(
    families: Sequence[tuple[I64, I64]], signatures: dict[tuple[int, ...], int]
) -> tuple[Situations, list[I64]]:
    """The distinct pairs over both families, the unknown place's first, and each run's number."""
    profile = np.concatenate([np.zeros(1, np.int64), *(profile for profile, _ in families)])
    signature = np.concatenate([np.zeros(1, np.int64), *(signature for _, signature in families)])
    outside = signature == 0
    met = np.zeros(int(profile.max()) + 1, np.bool_)
    met[profile[outside]] = True
    number = (np.cumsum(met) - 1)[profile]  # of those outside of all subnets, which are nearly all
    size = len(signatures)
    distinct, inside = np.unique(profile[~outside] * size + signature[~outside], return_inverse=True)
    profiles_outside = np.flatnonzero(met)
    number[~outside] = inside + profiles_outside.size
    situations = Situations(
        profile=np.concatenate([profiles_outside, distinct // size]),
        signature=np.concatenate([np.zeros(profiles_outside.size, np.int64), distinct % size]),
        rules=np.array(list(signatures), np.int64).reshape(size, -1).T,
    )
    border = 1 + families[0][0].size
    return situations, [number[1:border], number[border:]]


def _networks(v4: Runs, v6: Runs) -> Networks:
    starts = np.append(v6.starts, np.uint64(1 << V6_BITS))
    buckets = np.arange((1 << INDEX_BITS) + 1, dtype=np.uint64) << np.uint64(V6_BITS - INDEX_BITS)
    index = np.searchsorted(v6.starts, buckets).astype(np.uint32)
    entries = v4_entries(v4)
    return Networks(
        v4=_section(entries, "<u4"),
        v4_packed=v4_packed(entries),
        v6_starts=_section(starts, "<u8"),
        v6_classes=_section(v6.places, "<u4"),
        index=_section(index, "<u4"),
        index_bits=INDEX_BITS,
        search_steps=int(np.diff(index).max()).bit_length(),
    )


def _section(values: U32 | U64, kind: str) -> Section:
    return values.astype(kind, copy=False).view(np.uint8).data
