"""What a responder counts.  `Responder.counts` is a list indexed by `Counter`.

Each message moves one counter of how it came (FAST, GENERAL, TCP) and one of what became of it (OUTCOMES), so the two
groups have equal sums; the others count properties.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, unique


@unique
class Counter(IntEnum):
    """Index into the counts.  The order is what `gslb status` and the metrics show; append only."""

    FAST = 0  # UDP, by the hot path
    GENERAL = 1  # UDP, by the general path
    TCP = 2
    ANSWERED = 3
    NODATA = 4
    NXDOMAIN = 5
    REFERRAL = 6
    REFUSED = 7
    FORMERR = 8
    NOTIMP = 9
    SERVFAIL = 10
    BADVERS = 11
    NOTAUTH = 12
    YXDOMAIN = 13
    DROPPED = 14  # responses, and less than a header: never answered
    TRUNCATED = 15  # replies with TC set
    ECS = 16  # queries with a valid client subnet
    UNUSUAL = 17  # other opcodes, classes and sections than a resolver's questions have
    LIMITED = 18  # not answered: over the limit of its network
    BADCOOKIE = 19
    SLIPPED = 20  # answered over the limit, with TC or BADCOOKIE
    OVER_LIMIT = 21  # over the limit, whatever became of them: a dry run answers them whole
    COOKIES = 22  # queries with a cookie
    COOKIES_VALID = 23  # of those, with one of ours that is valid
    NATIVE = 24  # UDP, by the worker's executor in C
    XDP = 25  # UDP, in the driver


ARRIVALS = (Counter.FAST, Counter.GENERAL, Counter.TCP, Counter.NATIVE, Counter.XDP)
OUTCOMES = (
    *(counter for counter in Counter if Counter.ANSWERED <= counter <= Counter.DROPPED),
    Counter.LIMITED,
    Counter.BADCOOKIE,
)
SILENT = (Counter.DROPPED, Counter.LIMITED)  # outcomes without a reply


def queries(counts: Sequence[int]) -> int:
    """How many messages were handled."""
    return sum(counts[arrival] for arrival in ARRIVALS)
