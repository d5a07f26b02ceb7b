"""The hash of names, and the buckets in which an image finds them.  Pure; C computes the same (xdp/c/dns_names.h).

Rule 1: a name lies in the first of DNS_PROBES buckets, one after another, that has a free slot; so a bucket with a free slot
ends a search.  Rule 2: slots are filled in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct, iter_unpack

from gslb.dnslayout import DNS_BUCKET, DNS_PROBES

_MASK = (1 << 64) - 1
_WORD = 0x9E3779B97F4A7C15  # 2^64 / golden ratio
_END = 0xFF51AFD7ED558CCD  # fmix64 of MurmurHash3
_SLOT = Struct("<II")
_LOAD = 4  # names a bucket on average, at most


def name_hash(name: bytes, seed: int) -> int:
    """64 bits of a lowered name: each of its 8-octet words (little endian, zeros behind the last) mixed in, then its length."""
    found = seed
    for (word,) in iter_unpack("<Q", name + bytes(-len(name) % 8)):
        found = (found ^ word) * _WORD & _MASK
        found ^= found >> 32
    found = (found ^ len(name)) * _END & _MASK
    return found ^ found >> 32


def buckets(hashes: Sequence[int], lines: Sequence[int]) -> bytes | None:
    """The slots of names of these hashes, whose nodes are at these lines; None where too many names share some buckets."""
    count = 1
    while count * _LOAD < len(hashes):
        count *= 2
    slots: list[list[bytes]] = [[] for _ in range(count)]
    for found, line in zip(hashes, lines, strict=True):
        for probe in range(DNS_PROBES):
            bucket = slots[(found + probe) & (count - 1)]
            if len(bucket) < DNS_BUCKET:
                bucket.append(_SLOT.pack(found >> 32, line))
                break
        else:
            return None
    return b"".join(b"".join(bucket).ljust(DNS_BUCKET * _SLOT.size, b"\0") for bucket in slots)
