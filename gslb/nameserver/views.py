"""What a policy answers at one name: by ranking, finished replies.  Pure.

Rule 1: a choice with no more members than are answered is one finished reply, the same for the whole class: its scope is
the table's depth.
Rule 2: a choice with more members is a `Spread`: the client's network (sticky) or, without stickiness, the query's id
picks a slot of a Maglev table, and the slot the members.  Sticky scopes are the longer of depth and sticky length.
Rule 3: tables are filled at the first query that needs them, so loading a plan costs no more than reading it.
Standards: RFC 7871 section 7.2.1 (scopes of different answers must not overlap).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import final

from gslb.geo.table import normalise
from gslb.model.choice import CHOICE_SLOTS, maglev, members_from, sticky_slot
from gslb.nameserver.message import Finished

V4_BITS, V6_BITS = 32, 128
# Prefixes of IPv6 that hold IPv4 (docs/decisions/0004): a native network must not reach into them.
_EMBEDDED = ((0x2002 << 112, 16), (0xFFFF << 32, 96), (0x0064_FF9B << 96, 96))


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of a plan, as compiled: packed addresses of one family, and their weights and identities."""

    servfail: bool
    count: int
    addresses: tuple[bytes, ...]
    identities: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Stickiness:
    """How clients of one policy keep their member: the slot keys, and prefix lengths (None: they do not)."""

    keys: tuple[int, int]
    v4: int | None
    v6: int | None


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """One policy of a compiled plan: `choices[rtype][ranking]`."""

    ttl: int
    stickiness: Stickiness
    choices: Mapping[int, Sequence[Choice]]


Write = Callable[[Sequence[bytes]], Finished]  # packed addresses -> the reply that holds them


@final
class Spread:
    """A choice among more members than are answered."""

    __slots__ = ("_choice", "_made", "_slots", "_stickiness", "_write")

    def __init__(self, choice: Choice, stickiness: Stickiness, write: Write) -> None:
        self._choice = choice
        self._stickiness = stickiness
        self._write = write
        self._slots: Sequence[tuple[int, ...]] = ()
        self._made: dict[tuple[int, ...], Finished] = {}

    def pick4(self, address: int, depth: int, query: bytes) -> tuple[Finished, int]:
        """The reply for an IPv4 address and its scope; `depth` is the location table's."""
        sticky = self._stickiness.v4
        if sticky is None:
            return self._unsticky(query), depth
        network = address >> (V4_BITS - sticky)
        return self._at(sticky_slot(network, self._stickiness.keys)), depth if depth > sticky else sticky

    def pick(self, packed: bytes, scope: int, query: bytes) -> tuple[Finished, int]:
        """As `pick4` for an address of 4 or 16 octets; `scope` is the location table's."""
        address, offset = normalise(packed)
        if len(address) == 4:
            answer, scope = self.pick4(int.from_bytes(address, "big"), scope - offset, query)
            return answer, scope + offset
        sticky = self._stickiness.v6
        if sticky is None:
            return self._unsticky(query), scope
        whole = int.from_bytes(address, "big")
        answer = self._at(sticky_slot(whole >> (V6_BITS - sticky), self._stickiness.keys))
        return answer, max(scope, sticky, _apart(whole))

    def _unsticky(self, query: bytes) -> Finished:
        return self._at(sticky_slot(int.from_bytes(query[:2], "big"), self._stickiness.keys))

    def _at(self, slot: int) -> Finished:
        if not self._slots:
            self._slots = _members(self._choice.identities, self._choice.count)
        members = self._slots[slot]
        found = self._made.get(members)
        if found is None:
            found = self._made[members] = self._write([self._choice.addresses[index] for index in members])
        return found


def replies(
    table: PolicyTable, rtype: int, write: Write, nothing: Finished, failure: Finished
) -> list[Finished | Spread]:
    """Each ranking's reply; `nothing` for a choice without members, `failure` where SERVFAIL is wanted."""
    made: dict[int, Finished | Spread] = {}
    found = []
    for choice in table.choices[rtype]:
        key = id(choice)  # choices are interned when a plan is loaded
        if key not in made:
            made[key] = _reply(choice, table.stickiness, write, nothing, failure)
        found.append(made[key])
    return found


def _reply(
    choice: Choice, stickiness: Stickiness, write: Write, nothing: Finished, failure: Finished
) -> Finished | Spread:
    if not choice.addresses:
        return failure if choice.servfail else nothing
    if len(choice.addresses) <= choice.count:
        return write(choice.addresses)
    return Spread(choice, stickiness, write)


@lru_cache(maxsize=1024)
def _members(identities: tuple[tuple[str, int], ...], count: int) -> tuple[tuple[int, ...], ...]:
    """The members of each slot.  A choice that did not change from plan to plan is not computed again."""
    table = maglev(identities, CHOICE_SLOTS)
    interned: dict[tuple[int, ...], tuple[int, ...]] = {}
    found = (members_from(table, slot, count) for slot in range(CHOICE_SLOTS))
    return tuple(interned.setdefault(members, members) for members in found)


def _apart(address: int) -> int:
    """The least scope that keeps a native IPv6 address apart from the prefixes that hold IPv4.

    The table's depth does so by itself where it has more than one class.
    """
    found = 0
    for prefix, bits in _EMBEDDED:
        shared = V6_BITS - (address ^ prefix).bit_length()
        found = max(found, shared + 1 if shared < bits else 0)
    return found
