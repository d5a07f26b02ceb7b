"""What a policy answers at one name: by ranking, finished replies.  Pure but for the clock that it is given.

Rule 1: a choice with no more members than are answered is one finished reply, the same for the whole class: its scope is
the table's depth.
Rule 2: a choice with more members, or with parts that are shed, is a `Spread`: the client's network (sticky) or, without
stickiness, the query's id picks a slot, the slot the part, and the part's Maglev table the members.  Sticky scopes are the
longer of depth and sticky length.
Rule 3: where parts are shed, a heavy resolver that sends no client subnet has another slot in each TTL, so that every part
is given its share of that resolver's users.
Rule 4: tables are filled at the first query that needs them, so loading a plan costs no more than reading it.
Standards: RFC 7871 section 7.2.1 (scopes of different answers must not overlap).
"""
# typing.override arrives with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from gslb.geo.table import normalise
from gslb.model.choice import CHOICE_SLOTS, epoch_slot, maglev, members_from, sticky_slot
from gslb.nameserver.message import Finished
from gslb.nameserver.sources import Sources

V4_BITS, V6_BITS = 32, 128
# Prefixes of IPv6 that hold IPv4 (docs/decisions/0004): a native network must not reach into them.
_EMBEDDED = ((0x2002 << 112, 16), (0xFFFF << 32, 96), (0x0064_FF9B << 96, 96))


@dataclass(frozen=True, slots=True)
class Members:
    """Packed addresses of one family, their weights and identities, and the pools that each belongs to ("": last resort)."""

    addresses: tuple[bytes, ...] = ()
    identities: tuple[tuple[str, int], ...] = ()
    pools: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of a plan, as compiled.  `shed`: so many slots, from 0 on, are answered with other members."""

    servfail: bool
    count: int
    members: Members
    shed: tuple[tuple[int, Members], ...] = ()

    @property
    def parts(self) -> tuple[Members, ...]:
        """All that may be answered: what is shed, then the members that stay."""
        return (*(members for _, members in self.shed), self.members)


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


Clock = Callable[[], float]  # seconds since the epoch
Answer = tuple[int, tuple[int, ...]]  # a part of a choice, and indexes of its members
Write = Callable[[Sequence[bytes], Sequence[tuple[str, ...]]], Finished]  # addresses and their pools -> their reply


@dataclass(frozen=True, slots=True)
class Shed:
    """What choices with parts need besides: the heavy resolvers, how long an epoch is, and who counts the askers."""

    heavy: frozenset[str]
    ttl: int
    clock: Clock
    sources: Sources

    def slot(self, network: int, keys: tuple[int, int]) -> int:
        """A heavy resolver's slot now."""
        return epoch_slot(network, int(self.clock()) // self.ttl, keys)


class Spread:
    """A choice with several answers.

    `source` is the asker's address where it sent no client subnet, else empty.
    """

    __slots__ = ("_answers", "_choice", "_made", "_nothing", "_stickiness", "_table", "_write")

    def __init__(self, choice: Choice, stickiness: Stickiness, write: Write, nothing: Finished) -> None:
        self._choice = choice
        self._stickiness = stickiness
        self._write = write
        self._nothing = nothing
        self._table: Sequence[int] = ()  # by slot, the number of the answer
        self._answers: Sequence[Answer] = ()
        self._made: list[Finished | None] = []

    def pick4(self, address: int, depth: int, query: bytes, source: str) -> tuple[Finished, int]:  # noqa: ARG002  # for `Parted`
        """The reply for an IPv4 address and its scope; `depth` is the location table's."""
        sticky = self._stickiness.v4
        if sticky is None:
            return self._unsticky(query), depth
        network = address >> (V4_BITS - sticky)
        return self._at(sticky_slot(network, self._stickiness.keys)), depth if depth > sticky else sticky

    def pick6(self, address: int, depth: int, query: bytes, source: str) -> tuple[Finished, int]:  # noqa: ARG002  # for `Parted`
        """As `pick4` for an IPv6 address that holds no IPv4."""
        sticky = self._stickiness.v6
        if sticky is None:
            return self._unsticky(query), depth
        answer = self._at(sticky_slot(address >> (V6_BITS - sticky), self._stickiness.keys))
        return answer, max(depth, sticky, _apart(address))

    def pick(self, packed: bytes, scope: int, query: bytes, source: str) -> tuple[Finished, int]:
        """As `pick4` for an address of 4 or 16 octets; `scope` is the location table's."""
        address, offset = normalise(packed)
        whole = int.from_bytes(address, "big")
        if len(address) == 16:
            return self.pick6(whole, scope, query, source)
        answer, scope = self.pick4(whole, scope - offset, query, source)
        return answer, scope + offset

    @property
    def choice(self) -> Choice:
        """The choice."""
        return self._choice

    def replies(self, answers: Iterable[Answer]) -> list[Finished]:
        """The replies of all answers, those that `slots_of` gives for its choice."""
        return [self._make(*answer) for answer in answers]

    def _unsticky(self, query: bytes) -> Finished:
        return self._at(sticky_slot(int.from_bytes(query[:2], "big"), self._stickiness.keys))

    def _at(self, slot: int) -> Finished:
        if not self._table:
            self._table, self._answers = slots_of(self._choice)
            self._made = [None] * len(self._answers)
        number = self._table[slot]
        found = self._made[number]
        if found is None:
            found = self._made[number] = self._make(*self._answers[number])
        return found

    def _make(self, part: int, indexes: Sequence[int]) -> Finished:
        members = self._choice.parts[part]
        if not indexes:
            return self._nothing
        return self._write([members.addresses[at] for at in indexes], [members.pools[at] for at in indexes])


class Parted(Spread):
    """A choice of which parts are shed."""

    __slots__ = ("_shed",)

    def __init__(self, choice: Choice, stickiness: Stickiness, write: Write, nothing: Finished, shed: Shed) -> None:
        super().__init__(choice, stickiness, write, nothing)
        self._shed = shed

    def pick4(self, address: int, depth: int, query: bytes, source: str) -> tuple[Finished, int]:
        """See `Spread`."""
        shed, sticky = self._shed, self._stickiness.v4
        shed.sources.add(source)
        if sticky is not None and source in shed.heavy:
            return self._at(shed.slot(address >> (V4_BITS - sticky), self._stickiness.keys)), depth
        return super().pick4(address, depth, query, source)

    def pick6(self, address: int, depth: int, query: bytes, source: str) -> tuple[Finished, int]:
        """See `Spread`."""
        shed, sticky = self._shed, self._stickiness.v6
        shed.sources.add(source)
        if sticky is not None and source in shed.heavy:
            return self._at(shed.slot(address >> (V6_BITS - sticky), self._stickiness.keys)), depth
        return super().pick6(address, depth, query, source)


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the replies of one policy and type at one name; `nothing` where a choice has no member, or `failure`."""

    stickiness: Stickiness
    write: Write
    nothing: Finished
    failure: Finished
    shed: Shed

    def replies(self, choices: Sequence[Choice]) -> list[Finished | Spread]:
        """Each ranking's reply."""
        made = {id(choice): self._reply(choice) for choice in distinct(choices)}
        return [made[key] for key in map(id, choices)]

    def _reply(self, choice: Choice) -> Finished | Spread:
        nothing = self.failure if choice.servfail else self.nothing
        if choice.shed:
            return Parted(choice, self.stickiness, self.write, nothing, self.shed)
        members = choice.members
        if not members.addresses:
            return nothing
        if len(members.addresses) <= choice.count:
            return self.write(members.addresses, members.pools)
        return Spread(choice, self.stickiness, self.write, nothing)


def distinct(choices: Sequence[Choice]) -> Iterable[Choice]:
    """Each of the choices once; they are interned when a plan is loaded."""
    return dict(zip(map(id, choices), choices, strict=True)).values()


@lru_cache(maxsize=1024)
def slots_of(choice: Choice) -> tuple[Sequence[int], tuple[Answer, ...]]:
    """By slot the number of an answer, and the answers: the part, and indexes of its members.

    A choice that did not change from plan to plan is not computed again.
    """
    found: dict[Answer, int] = {}
    table: list[int] = []
    for part, members in enumerate(choice.parts):
        by_slot = _members(members.identities, choice.count)
        slots = choice.shed[part][0] if part < len(choice.shed) else CHOICE_SLOTS - len(table)
        here = by_slot[len(table) : len(table) + slots]
        table.extend(found.setdefault((part, members), len(found)) for members in here)
    return tuple(table), tuple(found)


@lru_cache(maxsize=1024)
def _members(identities: tuple[tuple[str, int], ...], count: int) -> Sequence[tuple[int, ...]]:
    """The members of each slot.  One table serves the choices of every step by which more is shed."""
    if len(identities) <= count:
        return (tuple(range(len(identities))),) * CHOICE_SLOTS
    table = maglev(identities, CHOICE_SLOTS)
    if count == 1:
        alone = [(member,) for member in range(len(identities))]
        return tuple([alone[member] for member in table])
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
