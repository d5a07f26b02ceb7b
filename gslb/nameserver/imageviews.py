"""Plan -> the part of an image that changes with it: views, choices, spreads.  Pure.

Rule 1: what a view answers is what the reference has worked out for one of its names (`gslb.nameserver.known`).
Rule 2: what does not fit goes up, choice by choice or view by view, and is counted as left out.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from struct import Struct, pack

from gslb.dnslayout import DNS_CHOICE_SLOTS, DNS_SPREAD_BIT, DNS_UNSTICKY, LINE, DnsCut, DnsViewFlags
from gslb.model.deployment import PolicyId
from gslb.nameserver.arena import Arena, answer_record
from gslb.nameserver.counters import Counter
from gslb.nameserver.given import Given
from gslb.nameserver.imagenames import Names, ViewKey
from gslb.nameserver.known import Entry, Known
from gslb.nameserver.legend import Cells
from gslb.nameserver.limit import account
from gslb.nameserver.message import Finished
from gslb.nameserver.table import Tables
from gslb.nameserver.views import Answer, Choice, Parted, Spread, slots_of

CELLS_MOST = 1 << 17  # counters of each executor's CPU or worker
OCTETS_MOST = 256 << 20  # of choices, spreads and their answers
TABLES_MOST = 8192  # tables of slots that are remembered from plan to plan
_VIEW = Struct("<6I2QBB22x")  # struct dns_view
_SPREAD = Struct("<5I44x")  # struct dns_spread
_UP = _VIEW.pack(DnsViewFlags.DNS_VIEW_UP, *(0,) * 9)
_SPREADS = 1 << DNS_SPREAD_BIT
_SLOTS_ALIGN = 2048


class SlotTables:
    """The slots of choices as an image has them (16 bits each, little endian), and the answers that they number.

    They are kept from plan to plan, since most choices stay.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Choice, tuple[bytes, tuple[Answer, ...]]] = OrderedDict()

    def of(self, choice: Choice) -> tuple[bytes, tuple[Answer, ...]]:
        """Of one choice."""
        found = self._known.get(choice)
        if found is None:
            if len(self._known) >= TABLES_MOST:
                self._known.popitem(last=False)
            table, answers = slots_of(choice)
            found = self._known[choice] = pack(f"<{DNS_CHOICE_SLOTS}H", *table), answers
        else:
            self._known.move_to_end(choice)
        return found


@dataclass(frozen=True, slots=True)
class Views:
    """The views, what stands behind the names, and what its counters mean."""

    records: bytes
    octets: bytes
    cells: Sequence[Cells]
    asked: Mapping[str, int]
    counters: int  # cells and counters of askers
    given: Given  # has the marks
    left_out: Mapping[str, int]


def place_views(tables: Tables, names: Names, slots: SlotTables) -> Views:
    """All views of `names` by the plan of `tables`."""
    return _Placer(tables, names, slots).placed()


class _Placer:
    def __init__(self, tables: Tables, names: Names, slots: SlotTables) -> None:
        self._tables = tables
        self._names = names
        self._slots = slots
        self._given = Given(tables.location.digest, tables.policies.keys())
        self._known = Known(tables, self._given, _no_clock)
        self._arena = Arena(names.start + len(names.octets))
        self._cells: dict[tuple[str, int], Cells] = {}
        self._asked: dict[str, int] = {}
        self._spreads: dict[tuple[int, str, ViewKey], int] = {}
        self._counters = 0
        self._left_out: dict[str, int] = {}

    def placed(self) -> Views:
        records = b"".join([self._view(key, name) for key, name in self._names.views.items()])
        return Views(
            records,
            bytes(self._arena.octets),
            list(self._cells.values()),
            self._asked,
            self._counters,
            self._given,
            self._left_out,
        )

    def _view(self, key: ViewKey, name: bytes) -> bytes:
        entry = self._known.entry(name, key.rtype)
        _, by_ranking, _, found = entry
        table = self._tables.policies[key.policy]
        if found is not None:
            choices = [self._answer(key, found)]
            first = Cells(key.policy, key.rtype, 0, 1)
            flags = int(DnsViewFlags.DNS_VIEW_FIXED)
        else:
            first_or_none = self._cells_of(key, len(by_ranking))
            if first_or_none is None or len(self._arena.octets) > OCTETS_MOST:
                return self._up("policies")
            first, flags = first_or_none, 0
            choices = self._choices(key, entry)
        sticky = table.stickiness
        return _VIEW.pack(
            flags,
            self._tables.location.ranking_of_at(key.policy),
            self._tables.location.classes,
            len(choices),
            self._arena.put(array("I", choices).tobytes()),
            first.first,
            *sticky.keys,
            DNS_UNSTICKY if sticky.v4 is None else sticky.v4,
            DNS_UNSTICKY if sticky.v6 is None else sticky.v6,
        )

    def _up(self, what: str) -> bytes:
        self._left_out[what] = self._left_out.get(what, 0) + 1
        return _UP

    def _cells_of(self, key: ViewKey, rankings: int) -> Cells | None:
        cell = key.policy, key.rtype
        if cell not in self._cells:
            if self._counters + rankings > CELLS_MOST:
                return None
            self._cells[cell] = Cells(key.policy, key.rtype, self._counters, rankings)
            self._counters += rankings
        return self._cells[cell]

    def _choices(self, of: ViewKey, entry: Entry) -> list[int]:
        keys = list(map(id, entry[1]))  # most rankings share a reply
        lines = {
            key: self._spread(of, reply) if isinstance(reply, Spread) else self._answer(of, reply)
            for key, reply in dict(zip(keys, entry[1], strict=True)).items()
        }
        if 0 in lines.values():
            self._left_out["choices"] = self._left_out.get("choices", 0) + 1
        return [lines[key] for key in keys]

    def _answer(self, key: ViewKey, reply: Finished) -> int:
        """The line of a reply; NODATA of a view that names share is their zone's."""
        if key.own is None and reply[2] == Counter.NODATA:
            return self._names.nodata[key.apex]
        zone = self._names.zones[key.apex]
        return self._arena.answer(answer_record(reply, account(reply[2], zone), DnsCut.DNS_CUT_TRUNCATED))

    def _spread(self, key: ViewKey, spread: Spread) -> int:
        """A choice is the same in every policy that answers it in a zone with the same TTL, but for who counts its askers."""
        parted = isinstance(spread, Parted)
        ttl = min(key.ttl, self._tables.policies[key.policy].ttl)
        shared = id(spread.choice), key.policy if parted else "", replace(key, policy=PolicyId(""), ttl=ttl)
        if shared not in self._spreads:
            self._spreads[shared] = self._placed(key, spread, self._asked_of(key.policy) if parted else None)
        return self._spreads[shared]

    def _placed(self, key: ViewKey, spread: Spread, asked: int | None) -> int:
        table, numbered = self._slots.of(spread.choice)
        lines = [self._answer(key, reply) for reply in spread.replies(numbered)]
        if 0 in lines:
            return 0
        slots = self._arena.put(table, align=_SLOTS_ALIGN)
        answers = self._arena.put(array("I", lines).tobytes())
        return _SPREADS | self._arena.put(_SPREAD.pack(slots, answers, len(lines), asked is not None, asked or 0))

    def _asked_of(self, policy: str) -> int:
        if policy not in self._asked:
            self._asked[policy] = self._counters
            self._counters += 1
        return self._asked[policy]


def _no_clock() -> float:
    """An image is made at no time: what depends on it goes up."""
    return 0.0


assert _VIEW.size == _SPREAD.size == LINE
