"""What has been worked out: (name, type) -> the reply, or the view that picks one.  Pure; a bounded memo.

Rule 1: every name is worked out at its first query, dynamic ones too, and kept; when the memo is full (by names or by octets) it is
emptied, so random names cost time and no memory.
Rule 2: what is kept depends on tables, name and type only.
"""

from __future__ import annotations

from collections.abc import Sequence

from gslb.nameserver.counters import Counter
from gslb.nameserver.lookup import Ending, Resolved, resolve
from gslb.nameserver.message import QUESTION_NAME, Finished, Writer, empty, finish, finished, truncated
from gslb.nameserver.stream import MESSAGE_MAX
from gslb.nameserver.table import Tables
from gslb.nameserver.views import PolicyTable, Spread, Write, replies
from gslb.nameserver.wire import AUTHORITATIVE, CLASS_IN, PAIR, RECORD, Rcode

ENTRIES_MAX = 20_000  # of some 500 octets
OCTETS_MAX = 16 << 20  # of what single names hold: large RRsets and long lists of rankings under a wildcard
_REPLY_OCTETS = 400  # of a finished reply beside its body
# class -> ranking, ranking -> reply, or (where the client does not matter) the reply itself.
Entry = tuple[memoryview, list["Finished | Spread"], Finished | None]
_NO_RANKINGS = memoryview(b"")
_FAILURE = empty(Rcode.SERVFAIL)


class Known:
    """The memo over one set of tables.  `entries` is keyed by lowered name, type and class IN, as on the wire."""

    def __init__(self, tables: Tables, limit: int = ENTRIES_MAX) -> None:
        self.entries: dict[bytes, Entry] = {}
        self._tables = tables
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
            return self._own(_static(finish(resolved, name, MESSAGE_MAX)))
        table = self._tables.policies[ending.record.policy]
        has_all = all(choice.addresses or choice.servfail for choice in table.choices[rtype])
        if resolved.answer or not has_all:
            return self._own(self._view(resolved, ending, name, rtype))
        # Without chain and negative answers the records are the same at every name.
        key = ending.record.policy, rtype, ending.record.ttl
        if key not in self._views:
            self._views[key] = self._view(resolved, ending, name, rtype)
        return self._views[key]

    def _own(self, entry: Entry) -> Entry:
        """Count the octets of an entry that no other name shares."""
        _, by_ranking, reply = entry
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
            self._negatives[key] = _static(finish(resolved, apex, MESSAGE_MAX, before))
        return self._negatives[key]

    def _view(self, resolved: Resolved, ending: Ending, name: bytes, rtype: int) -> Entry:
        table = self._tables.policies[ending.record.policy]
        chain = resolved.answer
        writer = Writer(name)
        count = sum(map(writer.rrset, chain))
        owner = writer.name(ending.owner) if chain else QUESTION_NAME
        write = _writer(bytes(writer.body), count, owner, rtype, min(ending.record.ttl, table.ttl))
        negative = Resolved(answer=chain, authority=(ending.negative,))
        found = replies(table, rtype, write, finish(negative, name, MESSAGE_MAX), _FAILURE)
        first = found[0]
        if not isinstance(first, Spread) and not _answers(table, rtype) and all(reply is first for reply in found):
            return _static(first)
        return self._tables.location.ranking_of[ending.record.policy], found, None


def _answers(table: PolicyTable, rtype: int) -> bool:
    return any(choice.addresses for choice in table.choices[rtype])


def _static(reply: Finished) -> Entry:
    return _NO_RANKINGS, [], reply


def _writer(prefix: bytes, count: int, owner: bytes, rtype: int, ttl: int) -> Write:
    """Addresses -> the reply that has them behind `count` records of a chain."""

    def write(addresses: Sequence[bytes]) -> Finished:
        records = (owner + RECORD.pack(rtype, CLASS_IN, ttl, len(address)) + address for address in addresses)
        body = prefix + b"".join(records)
        return finished(AUTHORITATIVE, (count + len(addresses), 0, 0), body, Counter.ANSWERED)

    return write
