"""What becomes of replies to whoever has not shown that it is there: within the limit, over it, cut.  Pure but for its clock.

Rule 1: replies by TCP and to valid cookies never come here.
Rule 2: a reply over the limit is dropped, or in its turn cut so that only a real client has any use of it: with BADCOOKIE and a
fresh cookie where the query had a cookie (RFC 7873 section 5.2.3), else with TC.  Neither is larger than the query, but
for an OPT record's cookie: NSID is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gslb.nameserver.counters import Counter
from gslb.nameserver.edns import without_nsid
from gslb.nameserver.limit import ERROR, NEGATIVE, PASS, SLIP, Limit, Limiter, account
from gslb.nameserver.tree import Forest
from gslb.nameserver.wire import AUTHORITATIVE, COUNTS, PAIR, TRUNCATED, Rcode

_ACCOUNTS = [account(outcome, 0) for outcome in Counter]
_RCODE = 15
_EXTENDED_AT = 5  # octets of an OPT record before the upper bits of the RCODE

ClockNs = Callable[[], int]  # nanoseconds, monotonic
# Of a whole reply: id and flags, the question, the OPT record, and whether that has a cookie
Parts = tuple[bytes, bytes, bytes, bool]


@dataclass(frozen=True, slots=True)
class Buckets:
    """Where a node's processes count what they gave to whom, and the clock that they share."""

    words: memoryview
    clock_ns: ClockNs


class Guard:
    """The limit of one generation."""

    def __init__(self, limit: Limit, buckets: Buckets, forest: Forest, counts: list[int]) -> None:
        self._limiter = Limiter(limit, buckets.words)
        self._dry_run = limit.dry_run
        self._clock_ns = buckets.clock_ns
        self._forest = forest
        self._zones = {apex: number for number, apex in enumerate(forest.trees)}
        self._counts = counts

    @property
    def last(self) -> str:
        """The source that was over the limit last; empty: none was."""
        return self._limiter.last

    def admit(self, source: str, outcome: int, question: bytes) -> int:
        """Whether a reply may be sent whole (`gslb.nameserver.limit.PASS`); else `cut` says what is.  `question` is lowered."""
        kind = _ACCOUNTS[outcome]
        verdict = self._limiter.verdict(source, kind if kind < NEGATIVE else self._negative(question), self._clock_ns())
        if verdict == PASS:
            return PASS
        self._counts[Counter.OVER_LIMIT] += 1
        return PASS if self._dry_run else verdict

    def cut(self, verdict: int, outcome: int, parts: Parts) -> bytes | None:
        """What is sent instead of a whole reply; counted, also as its outcome."""
        counts = self._counts
        if verdict != SLIP:
            counts[Counter.LIMITED] += 1
            return None
        cookie = parts[3]
        counts[Counter.SLIPPED] += 1
        counts[Counter.TRUNCATED] += not cookie
        counts[Counter.BADCOOKIE if cookie else outcome] += 1
        return slipped(parts)

    def _negative(self, question: bytes) -> int:
        """The account of what a zone of ours does not have."""
        if not question:
            return ERROR
        rtype, _ = PAIR.unpack(question[-PAIR.size :])
        tree = self._forest.holding(question[: -PAIR.size], rtype)
        return ERROR if tree is None else NEGATIVE + self._zones[tree.apex]


def slipped(parts: Parts) -> bytes:
    """What is sent instead of a whole reply (rule 2)."""
    start, question, record, cookie = parts
    flags = int.from_bytes(start[2:], "big")
    record = without_nsid(record)
    if cookie:
        flags = flags & ~(AUTHORITATIVE | TRUNCATED | _RCODE) | Rcode.BADCOOKIE & _RCODE
        record = record[:_EXTENDED_AT] + bytes((Rcode.BADCOOKIE >> 4,)) + record[_EXTENDED_AT + 1 :]
    else:
        flags |= TRUNCATED
    return start[:2] + COUNTS.pack(flags, bool(question), 0, 0, bool(record)) + question + record
