"""Messages of nodes as octets: one of the format, then MessagePack; opinions as rows of numbers.  Pure.

Rule 1: whatever comes, it is a message within bounds or it is Refused, with its cause.
Rule 2: a sender cuts what is longer than the bounds; a receiver refuses it.
Rule 3: two nodes understand each other if their FORMAT is the same.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from gslb.bus.bus import MESSAGE_MOST, Message
from gslb.bus.messages import (
    Answers,
    Body,
    Kind,
    Life,
    Loads,
    Opinions,
    RoundTrips,
    Rows,
    SharedLoad,
    Stamp,
    Told,
)
from gslb.bus.rows import ROW, TEXT_MOST, pack
from gslb.model.deployment import Address, Monitor, PolicyId, PoolId

FORMAT = 1
PART_MOST = 16 << 10  # octets of what is told at once
AHEAD_S = 300.0  # a sender's clock that is further ahead is wrong, or ours is
SEGMENT = 2048  # numbers of one row of answers
NAME_MOST = 253  # characters of a name
HEAVY_MOST = 64
ROUTES_MOST = 256
TRIP = np.dtype([("family", "u1"), ("place", "<u4"), ("p50", "<f4"), ("p90", "<f4"), ("count", "<u4"), ("age", "<f4")])
_FAR = 1e12  # beyond every time, rate and share


class Cause(StrEnum):
    """Why a message is refused."""

    MALFORMED = "malformed"
    OTHER_FORMAT = "other_format"
    FUTURE = "future"
    OVERSIZED = "oversized"
    UNKNOWN_KIND = "unknown_kind"


class Refused(ValueError):
    """What came is no message that counts: `cause`, and the text says what was wrong with it."""

    def __init__(self, cause: Cause, text: str) -> None:
        super().__init__(text)
        self.cause = cause


_Name = Annotated[str, Meta(min_length=1, max_length=NAME_MOST)]
_Text = Annotated[str, Meta(max_length=TEXT_MOST)]
_Number = Annotated[float, Meta(ge=0, le=_FAR)]
_Count = Annotated[int, Meta(ge=0, lt=1 << 53)]
_Small = Annotated[int, Meta(ge=0, lt=1 << 32)]
_Octets = Annotated[bytes, Meta(max_length=MESSAGE_MOST)]


class _Head(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    run: _Count
    number: Annotated[int, Meta(ge=0, lt=1 << 40)]
    sent_s: _Number
    wall_s: _Number


class _Life(_Head, array_like=True, forbid_unknown_fields=True):
    config: _Text
    config_version: _Count
    plan_version: _Count
    plan: _Text
    geography: _Text
    balancers: _Text
    blind_s: _Number | None
    routes: Annotated[dict[_Name, _Text], Meta(max_length=ROUTES_MOST)]
    version: _Text
    up_s: _Number


class _Opinions(_Head, array_like=True, forbid_unknown_fields=True):
    rows: _Octets
    texts: dict[_Small, tuple[_Text, _Text]]


class _Loads(_Head, array_like=True, forbid_unknown_fields=True):
    found: dict[_Name, tuple[_Number, _Number, bool]]


class _RoundTrips(_Head, array_like=True, forbid_unknown_fields=True):
    geography: _Text
    found: dict[_Name, _Octets]


class _Answers(_Head, array_like=True, forbid_unknown_fields=True):
    geography: _Text
    found: list[tuple[_Name, _Small, _Small, _Octets]]
    heavy: Annotated[list[_Name], Meta(max_length=HEAVY_MOST)]
    age_s: _Number


_READERS: dict[Kind, msgspec.msgpack.Decoder[Any]] = {
    Kind.LIFE: msgspec.msgpack.Decoder(_Life),
    Kind.OPINIONS: msgspec.msgpack.Decoder(_Opinions),
    Kind.LOADS: msgspec.msgpack.Decoder(_Loads),
    Kind.ROUND_TRIPS: msgspec.msgpack.Decoder(_RoundTrips),
    Kind.DEMAND: msgspec.msgpack.Decoder(_Answers),
}
_KINDS: dict[type[Body], Kind] = {
    Life: Kind.LIFE,
    Opinions: Kind.OPINIONS,
    Rows: Kind.OPINIONS,
    Loads: Kind.LOADS,
    RoundTrips: Kind.ROUND_TRIPS,
    Answers: Kind.DEMAND,
}


def target_key(monitor: Monitor, address: Address | str) -> int:
    """What names one question to one target on the bus: the same where name and definition of the monitor are, its quorum apart."""
    raw = asdict(monitor)
    del raw["quorum"]
    text = json.dumps([raw, str(address)], sort_keys=True, default=_plain, separators=(",", ":"))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def kind_of(body: Body) -> Kind:
    """The kind of message that carries it."""
    return _KINDS[type(body)]


def encode(stamp: Stamp, body: Body) -> bytes:
    """The octets of one message; its sender tells less at once where they are more than PART_MOST."""
    return bytes((FORMAT,)) + msgspec.msgpack.encode(_written(stamp, body))


def decode(message: Message, wall_s: float) -> Told:
    """What a message says, heard at `wall_s` (seconds since the epoch).  Raises Refused."""
    if message.kind not in _READERS:
        raise Refused(Cause.UNKNOWN_KIND, f"a message of kind {message.kind[:40]!r}, known are {', '.join(_READERS)}")
    if len(message.body) > MESSAGE_MOST:
        raise Refused(Cause.OVERSIZED, f"a message of {len(message.body)} octets, expected at most {MESSAGE_MOST}")
    if message.body[:1] != bytes((FORMAT,)):
        raise Refused(
            Cause.OTHER_FORMAT, f"a message of format {message.body[:1].hex() or 'none'}, this node knows {FORMAT:02x}"
        )
    try:
        raw = _READERS[Kind(message.kind)].decode(memoryview(message.body)[1:])
        body = _read(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refused(Cause.MALFORMED, f"no {message.kind} message: {error}") from error
    if raw.wall_s - wall_s > AHEAD_S:
        raise Refused(
            Cause.FUTURE,
            f"it was sent {raw.wall_s - wall_s:.0f} s from now by this node's clock, expected at most {AHEAD_S:.0f} s:"
            " set the clocks of both nodes right",
        )
    stamp = Stamp(raw.run, raw.number, raw.sent_s, raw.wall_s)
    return Told(message.site, message.node, stamp, body, message.heard_at, raw.wall_s - wall_s)


def _plain(value: object) -> object:
    return sorted(map(str, value)) if isinstance(value, (set, frozenset)) else str(value)


def _written(stamp: Stamp, body: Body) -> msgspec.Struct:
    head = (stamp.run, stamp.number, stamp.sent_s, stamp.wall_s)
    match body:
        case Life():
            routes = dict(sorted(body.routes.items())[:ROUTES_MOST])
            return _Life(
                *head,
                _cut(body.config),
                body.config_version,
                body.plan_version,
                _cut(body.plan),
                _cut(body.geography),
                _cut(body.balancers),
                body.blind_s,
                routes,
                _cut(body.version),
                body.up_s,
            )
        case Opinions() | Rows():
            rows = pack(body.found) if isinstance(body, Opinions) else body
            return _Opinions(*head, rows.rows.tobytes(), dict(rows.texts))
        case Loads():
            found = {str(pool): (one.share, round(one.age_s, 3), one.part) for pool, one in body.found.items()}
            return _Loads(*head, found)
        case RoundTrips():
            return _RoundTrips(*head, _cut(body.geography), _trips_written(body))
        case Answers():
            rates = [
                (str(policy), rtype, first, np.array(row, "<f4").tobytes())
                for (policy, rtype, first), row in body.found.items()
            ]
            return _Answers(*head, _cut(body.geography), rates, list(body.heavy[:HEAVY_MOST]), body.age_s)


def _trips_written(body: RoundTrips) -> dict[str, bytes]:
    by_pool: dict[str, list[tuple[int, int, float, float, int, float]]] = {}
    for (pool, family, place), one in body.found.items():
        by_pool.setdefault(pool, []).append((family, place, *one))
    return {pool: np.array(rows, TRIP).tobytes() for pool, rows in by_pool.items()}


def _read(raw: Any) -> Body:
    match raw:
        case _Life():
            _printable(*raw.routes)
            return Life(
                _shown(raw.config),
                raw.config_version,
                raw.plan_version,
                _shown(raw.plan),
                _shown(raw.geography),
                _shown(raw.balancers),
                raw.blind_s,
                {prefix: _shown(state) for prefix, state in raw.routes.items()},
                _shown(raw.version),
                raw.up_s,
            )
        case _Opinions():
            rows = np.frombuffer(raw.rows, ROW)
            if raw.texts and max(raw.texts) >= len(rows):
                raise ValueError(f"a reason of row {max(raw.texts)}, there are {len(rows)}")
            return Rows(rows, {place: (_shown(why), _shown(out)) for place, (why, out) in raw.texts.items()})
        case _Loads():
            _printable(*raw.found)
            return Loads({PoolId(pool): SharedLoad(*one) for pool, one in raw.found.items()})
        case _RoundTrips():
            _printable(*raw.found)
            return RoundTrips(raw.geography, _trips_read(raw.found))
        case _:
            _printable(*raw.heavy)
            rates = {
                (PolicyId(policy), rtype, first): _rates(policy, first, row) for policy, rtype, first, row in raw.found
            }
            return Answers(raw.geography, rates, tuple(raw.heavy), raw.age_s)


def _trips_read(found: dict[str, bytes]) -> dict[tuple[PoolId, int, int], tuple[float, float, int, float]]:
    read = {}
    for pool, octets in found.items():
        rows = np.frombuffer(octets, TRIP)
        for name in ("p50", "p90", "age"):
            _sane(rows[name])
        if not np.isin(rows["family"], (4, 6)).all():
            raise ValueError("a family of addresses that is neither 4 nor 6")
        for family, place, p50, p90, count, age in rows.tolist():
            read[PoolId(pool), family, place] = p50, p90, count, age
    return read


def _rates(policy: str, first: int, octets: bytes) -> tuple[float, ...]:
    _printable(policy)
    rates = np.frombuffer(octets, "<f4")
    if first % SEGMENT or len(rates) > SEGMENT:
        raise ValueError(
            f"{len(rates)} rates from ranking {first} on, expected at most {SEGMENT} from a multiple of that"
        )
    _sane(rates)
    return tuple(rates.tolist())


def _sane(numbers: Any) -> None:
    if len(numbers) and not bool(((numbers >= 0) & (numbers <= _FAR)).all()):
        raise ValueError("a number that is negative, infinite or none")


def _printable(*names: str) -> None:
    for name in names:
        if not name.isprintable():
            raise ValueError(f"a name with characters that cannot be printed: {name[:40]!r}")


def _shown(text: str) -> str:
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)


def _cut(text: str) -> str:
    return text[:TEXT_MOST]
