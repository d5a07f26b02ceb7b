"""The catchments in a location table: how much of the world each ranking holds, and how far it is.  Pure, without numpy.

The section (little endian): BLAKE2b-8 of all that follows; length of the head (4 bytes); the head, canonical JSON
`[[policy, [pool, ...]], ...]`, filled with spaces to a multiple of 4; then for each policy, for each ranking its share of
the client networks in millionths (32 bits), and for each ranking and pool the mean distance in kilometres (16 bits, 65535:
not known), zero-filled to a multiple of 4.

Rule 1: a policy's shares add up to one million, to the last millionth.
Rule 2: the head has its own check, since workers never read this section and so do not check it.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from sys import byteorder

from gslb.model.deployment import PolicyId, PoolId
from gslb.model.location import Catchment

WHOLE = 1_000_000  # the share of all client networks
UNKNOWN_KM = 0xFFFF
_CHECK_BYTES = 8
_HEAD_AT = _CHECK_BYTES + 4
_ALIGN = 4


class UnreadableCatchments(ValueError):
    """The bytes hold no catchments of these policies, or they are damaged."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """One policy: its rankings' sizes in networks, and per ranking the mean kilometres to each of `pools`."""

    pools: tuple[PoolId, ...]
    sizes: Sequence[int]
    km: Sequence[Sequence[int]]


class Kilometres(Mapping[PoolId, float]):
    """The distances of one ranking: a view of the policy's, since there are a million of them in a large deployment."""

    __slots__ = ("_at", "_places", "_values")

    def __init__(self, places: Mapping[PoolId, int], values: Sequence[int], at: int) -> None:
        self._places = places
        self._values = values
        self._at = at

    def __getitem__(self, pool: PoolId) -> float:  # type: ignore[explicit-override]  # typing.override is 3.12's
        value = self._values[self._at + self._places[pool]]
        if value == UNKNOWN_KM:
            raise KeyError(pool)
        return float(value)

    def __iter__(self) -> Iterator[PoolId]:  # type: ignore[explicit-override]
        return (pool for pool, place in self._places.items() if self._values[self._at + place] != UNKNOWN_KM)

    def __len__(self) -> int:  # type: ignore[explicit-override]
        return sum(1 for _ in self)


def apportioned(sizes: Sequence[int]) -> list[int]:
    """The sizes (one of them above 0) as parts of WHOLE, which add up to it exactly: by largest remainder, of equals the first."""
    total = sum(sizes)
    parts = [size * WHOLE // total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda place: (-(sizes[place] * WHOLE % total), place))
    for place in by_remainder[: WHOLE - sum(parts)]:
        parts[place] += 1
    return parts


def encode_catchments(policies: Mapping[PolicyId, Weighed]) -> bytes:
    """The section."""
    head = json.dumps([[name, one.pools] for name, one in policies.items()], separators=(",", ":")).encode()
    head += b" " * (-len(head) % _ALIGN)
    parts = [len(head).to_bytes(4, "little"), head]
    for one in policies.values():
        parts.append(_packed("I", apportioned(one.sizes)))
        km = _packed("H", [value for row in one.km for value in row])
        parts.append(km + bytes(-len(km) % _ALIGN))
    body = b"".join(parts)
    return _check_of(body) + body


def decode_catchments(section: bytes, rankings: Mapping[PolicyId, int]) -> Mapping[PolicyId, tuple[Catchment, ...]]:
    """The catchments of each policy; `rankings` says how many rankings each has.  Raises UnreadableCatchments."""
    if len(section) < _HEAD_AT or _check_of(section[_CHECK_BYTES:]) != section[:_CHECK_BYTES]:
        raise UnreadableCatchments("the location table's catchments are damaged")
    try:
        at = _HEAD_AT + int.from_bytes(section[_CHECK_BYTES:_HEAD_AT], "little")
        found = {}
        for name, pools in json.loads(section[_HEAD_AT:at]):
            count, width = rankings[name], len(pools)
            shares, at = _unpacked("I", section, at, count)
            km, at = _unpacked("H", section, at, count * width)
            if sum(shares) != WHOLE:
                raise ValueError(f"shares of policy {name} add up to {sum(shares)}")
            places = {PoolId(str(pool)): place for place, pool in enumerate(pools)}
            found[PolicyId(name)] = tuple(
                Catchment(share / WHOLE, Kilometres(places, km, ranking * width))
                for ranking, share in enumerate(shares)
            )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableCatchments(f"the location table's catchments are malformed: {error}") from error
    return found


def _check_of(body: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECK_BYTES, person=b"gslb catchments").digest()


def _packed(code: str, values: Sequence[int]) -> bytes:
    return _little(array(code, values)).tobytes()


def _unpacked(code: str, section: bytes, at: int, count: int) -> tuple[array[int], int]:
    """`count` values from `at` on, and where what follows begins."""
    values = array(code)
    end = at + count * values.itemsize
    if end > len(section):
        raise ValueError(f"{len(section)} bytes are too few")
    values.frombytes(section[at:end])
    return _little(values), end + -end % _ALIGN


def _little(values: array[int]) -> array[int]:
    if byteorder == "big":
        values.byteswap()
    return values
