"""What has been worked out: (name, type) -> the reply, or the view that picks one.  Pure; a bounded memo.

Rule 1: every name is worked out at its first query, dynamic ones too, and kept; when the memo is full (by names or by octets) it is
emptied, so random names cost time and no memory.
Rule 2: what is kept depends on tables, name and type only.
"""

from __future__ import annotations

from collections.abc import Sequence

from gslb.model.zone import RRset
from gslb.nameserver.counters import Counter
from gslb.nameserver.given import Given
from gslb.nameserver.lookup import Ending, Resolved, resolve
from gslb.nameserver.message import QUESTION_NAME, Finished, Writer, empty, finish, finished, truncated
from gslb.nameserver.stream import MESSAGE_MAX
from gslb.nameserver.table import Tables
from gslb.nameserver.views import Clock, Maker, PolicyTable, Shed, Spread, Write, distinct
from gslb.nameserver.wire import AUTHORITATIVE, CLASS_IN, PAIR, RECORD, Rcode

ENTRIES_MAX = 20_000  # of some 500 octets
OCTETS_MAX = 16 << 20  # of what single names hold: large RRsets and long lists of rankings under a wildcard
_REPLY_OCTETS = 400  # of a finished reply beside its body
# class -> ranking, ranking -> reply, ranking -> how often that was given, or (where the client does not matter) the reply itself.
Entry = tuple[memoryview, list["Finished | Spread"], list[int], Finished | None]
_NO_RANKINGS = memoryview(b"")
_FAILURE = empty(Rcode.SERVFAIL)


class Known:
    """The memo over one set of tables.  `entries` is keyed by lowered name, type and class IN, as on the wire."""

    def __init__(self, tables: Tables, given: Given, clock: Clock, limit: int = ENTRIES_MAX) -> None:
        self.entries: dict[bytes, Entry] = {}
        self._tables = tables
        self._given = given
        self._clock = clock
        self._limit = limit
        self._views: dict[tuple[str, int, int], Entry] = {}
        self._negatives: dict[tuple[bytes, int, Rcode], Entry] = {}
        self._octets = 0

    def entry(self, name: bytes, rtype: int) -> Entry:
        """The entry of a lowered, well-formed name."""
        key = name + PAIR.pack(rtype, CLASS_IN)
        found = self.entries.get(key)
        if found is None:
            if len(self.entries) >= self._limit or self._octets >= OCTETS_MAX:
                self.entries.clear()
                self._negatives.clear()
                self._octets = 0
            found = self.entries[key] = self._work_out(name, rtype)
        return found

    def shortened(self, name: bytes, rtype: int, room: int) -> Finished:
        """A reply that did not fit, in at most `room` octets of records."""
        resolved = resolve(self._tables.forest, name, rtype)
        return finish(resolved, name, room) if resolved.ending is None else truncated(authoritative=True)

    def _work_out(self, name: bytes, rtype: int) -> Entry:
        resolved = resolve(self._tables.forest, name, rtype)
        ending = resolved.ending
        if ending is None:
            if resolved.is_negative:
                return self._negative(resolved, name)
            return self._own(self._static(finish(resolved, name, MESSAGE_MAX)))
        table = self._tables.policies[ending.record.policy]
        if resolved.answer or not _has_all(table, rtype):
            return self._own(self._view(resolved, ending, name, rtype))
        # Without chain and negative answers the records are the same at every name.
        key = ending.record.policy, rtype, ending.record.ttl
        if key not in self._views:
            self._views[key] = self._view(resolved, ending, name, rtype)
        return self._views[key]

    def _own(self, entry: Entry) -> Entry:
        """Count the octets of an entry that no other name shares."""
        _, by_ranking, _, reply = entry
        bodies = {id(each): _REPLY_OCTETS if isinstance(each, Spread) else len(each[1]) for each in by_ranking}
        self._octets += len(reply[1]) if reply else 0
        self._octets += 8 * len(by_ranking) + sum(bodies.values()) + _REPLY_OCTETS * (1 + len(bodies))
        return entry

    def _negative(self, resolved: Resolved, name: bytes) -> Entry:
        """One reply for all absent names of a length in a zone, since whoever floods us asks for those."""
        apex = resolved.authority[0].owner.lower()
        before = len(name) - len(apex)
        key = apex, before, resolved.rcode
        if key not in self._negatives:
            self._negatives[key] = self._static(finish(resolved, apex, MESSAGE_MAX, before))
        return self._negatives[key]

    def _view(self, resolved: Resolved, ending: Ending, name: bytes, rtype: int) -> Entry:
        policy = ending.record.policy
        table = self._tables.policies[policy]
        ttl = min(ending.record.ttl, table.ttl)
        chain = resolved.answer
        negative = Resolved(answer=chain, authority=(ending.negative,))
        maker = Maker(
            table.stickiness,
            self._writer(chain, name, ending.owner, rtype, ttl),
            finish(negative, name, MESSAGE_MAX),
            _FAILURE,
            Shed(self._tables.heavy, max(1, ttl), self._clock, self._given.sources_of(policy)),
        )
        found = maker.replies(table.choices[rtype])
        first = found[0]
        if not isinstance(first, Spread) and set(map(id, found)) == {id(first)} and not _answers(table, rtype):
            return self._static(first)
        return self._tables.location.ranking_of[policy], found, self._given.cells_of(policy, rtype, len(found)), None

    def _static(self, reply: Finished) -> Entry:
        return _NO_RANKINGS, [], self._given.nowhere, reply

    def _writer(self, chain: Sequence[RRset], name: bytes, owner: bytes, rtype: int, ttl: int) -> Write:
        """Addresses of `owner` -> the reply that has them behind the records of a chain that starts at `name`."""
        writer = Writer(name)
        count = sum(map(writer.rrset, chain))
        written = writer.name(owner) if chain else QUESTION_NAME
        prefix = bytes(writer.body)
        mark = self._given.mark

        def write(addresses: Sequence[bytes], pools: Sequence[Sequence[str]]) -> Finished:
            records = (written + RECORD.pack(rtype, CLASS_IN, ttl, len(address)) + address for address in addresses)
            body = prefix + b"".join(records)
            counts = count + len(addresses), 0, 0
            return finished(AUTHORITATIVE, counts, body, Counter.ANSWERED, mark(rtype, pools))

        return write


def _answers(table: PolicyTable, rtype: int) -> bool:
    """Whether any choice has an address."""
    return any(part.addresses for choice in distinct(table.choices[rtype]) for part in choice.parts)


def _has_all(table: PolicyTable, rtype: int) -> bool:
    """Whether no choice ends in the zone's NODATA."""
    choices = distinct(table.choices[rtype])
    return all(choice.servfail or all(part.addresses for part in choice.parts) for choice in choices)
