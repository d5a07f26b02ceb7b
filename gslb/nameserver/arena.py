"""Where the records of an image lie: room for one after the other, each whole within a chunk.  Pure.

Rule 1: the same octets are put once: many names have the same records, and many rankings the same choices.
Rule 2: no answer starts nearer than DNS_ANSWER_MOST octets to the end of a chunk, so that one look at its place is enough.
"""

from __future__ import annotations

from struct import Struct

from gslb.dnslayout import (
    DNS_ANSWER_MOST,
    DNS_BODY_MOST,
    DNS_CHUNK,
    DNS_RELOCATIONS,
    LINE,
    DnsCut,
)
from gslb.nameserver.message import Finished
from gslb.nameserver.wire import COUNTS, RESPONSE, TRUNCATED

_ANSWER = Struct("<6HI4HBBxxII28x")  # struct dns_answer
_HALF = Struct("<H")


class Arena:
    """Octets of an image from `start` on."""

    def __init__(self, start: int) -> None:
        """`start` is an octet of the image, a whole line."""
        self.octets = bytearray()
        self._start = start
        self._put: dict[bytes, int] = {}

    @property
    def end(self) -> int:
        """The octet behind all that was put, a whole line."""
        return self._start + len(self.octets)

    def put(self, record: bytes, align: int = LINE, room: int = 0) -> int:
        """The line of `record`, aligned to `align` octets, with at least `room` octets up to the end of its chunk."""
        line = self._put.get(record)
        if line is None:
            at = -(-self.end // align) * align
            if at % DNS_CHUNK > DNS_CHUNK - room:
                at = -(-at // DNS_CHUNK) * DNS_CHUNK
            self.octets += bytes(at - self.end)
            self.octets += record
            self.octets += bytes(-len(self.octets) % LINE)
            line = self._put[record] = at // LINE
        return line

    def answer(self, record: bytes | None) -> int:
        """The line of a struct dns_answer with its records; 0 for None: it goes up."""
        return 0 if record is None else self.put(record, room=DNS_ANSWER_MOST)


def answer_record(found: Finished, account: int, cut: DnsCut, moved: tuple[int, ...] = ()) -> bytes | None:
    """A finished reply as a struct dns_answer, with its records and zeros behind them; None where an image cannot hold it.

    `moved` are the offsets of pointers that grow with the length of the name.
    """
    heads, body, outcome, mark = found
    flags, _, answers, authorities, additionals = COUNTS.unpack(heads[0])
    if len(body) > DNS_BODY_MOST or len(moved) > DNS_RELOCATIONS or flags & TRUNCATED:
        return None
    places = (*moved, *(0,) * (DNS_RELOCATIONS - len(moved)))
    head = (len(body), flags & ~RESPONSE, answers, authorities, additionals, outcome, mark)
    record = _ANSWER.pack(*head, *places, len(moved), cut, 0, account) + body
    return record + bytes(-len(record) % LINE)


def moved_pointers(near: bytes, far: bytes) -> tuple[int, ...]:
    """The offsets of the 16-bit pointers by which records differ, where `far` is `near` with a name that is one octet longer."""
    found = []
    at = 0
    while at < len(near) - 1:
        if _HALF.unpack_from(near, at) != _HALF.unpack_from(far, at) and _grown(near, far, at, 1):
            found.append(at)
            at += 1
        at += 1
    return tuple(found)


def relocated(records: bytes, moved: tuple[int, ...], by: int) -> bytes:
    """`records` as they are for a name that is `by` octets longer."""
    octets = bytearray(records)
    for at in moved:
        octets[at : at + 2] = (int.from_bytes(octets[at : at + 2], "big") + by).to_bytes(2, "big")
    return bytes(octets)


def _grown(near: bytes, far: bytes, at: int, by: int) -> bool:
    return int.from_bytes(far[at : at + 2], "big") - int.from_bytes(near[at : at + 2], "big") == by
