"""(query, client, tables, time) -> reply: the reference that every other executor must equal.  Pure, and hot.

Rule 1: the hot path takes one look at each part of an ordinary query (flags and counts, question, OPT record) by
dictionary, and leaves everything else to `gslb.nameserver.general`, which gives the same octets.
Rule 2: what the dictionaries hold was put there by the general path, which has read it with every check.
Rule 3: whatever the path, a reply is counted once, in its cell and by its pools (`gslb.nameserver.given`).
Rule 4: a query with a cookie is answered as the same without, and the cookie put into that: so the hot path is one.
Standards: RFC 7871 (client subnet), RFC 7873 (cookies), RFC 1035 section 4.1; the rest is in `general`, `lookup`, `edns` and `message`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from socket import inet_aton

from gslb.nameserver import cookies
from gslb.nameserver.cookies import COOKIE_OCTETS
from gslb.nameserver.counters import Counter
from gslb.nameserver.edns import (
    CODE_COOKIE,
    FAMILY_NONE,
    FAMILY_V4,
    OPT,
    OPTION,
    SUBNET_OCTETS,
    UDP_PLAIN,
    opt,
    without_cookie,
)
from gslb.nameserver.general import General, Request, packed_source
from gslb.nameserver.given import Given
from gslb.nameserver.guard import Buckets, Guard
from gslb.nameserver.known import Entry, Known
from gslb.nameserver.message import WITH_OPT, WITH_RD, Finished
from gslb.nameserver.table import Tables
from gslb.nameserver.views import V4_BITS, Clock
from gslb.nameserver.wire import COUNTS, PAIR, RECURSION_DESIRED

IDLE_S = 10.0  # told to TCP clients that ask (RFC 7828)
OPTIONS_MAX = 4096  # ways to write an OPT record that are remembered

# octets from the name's end to the message's, room for the reply, subnet family, bits below its address, OPT record
# of the reply up to the scope
Options = tuple[int, int, int, int, bytes]
Answer = Callable[[bytes, str], bytes | None]
SCOPES = tuple(bytes((scope,)) for scope in range(256))
FAST, ECS, COOKIES, COOKIES_VALID = map(int, (Counter.FAST, Counter.ECS, Counter.COOKIES, Counter.COOKIES_VALID))
_COOKIE_HEAD = OPTION.pack(CODE_COOKIE, COOKIE_OCTETS)
_COOKIE_MORE = OPTION.size + COOKIE_OCTETS  # octets of an OPT record

# A query without its cookie, how its OPT record is answered (with the cookie), and whether that was valid
Greeted = tuple[bytes, Options, bool]


class Responder:
    """Answers from one set of tables.  `udp(query, source)` and `tcp(query, source)` give a reply, or None for silence;
    `general` is as `udp`, without the hot path.

    `source` is the client's address as the system writes it.  `clock` tells the time, which only cookies and heavy resolvers'
    answers depend on.  `counts` go on from the list that is given.  Without `buckets` nothing is limited.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        clock: Clock = time.time,  # noqa: TID251  # whoever serves, serves now
        counts: list[int] | None = None,
        tcp_idle_s: float = IDLE_S,
        buckets: Buckets | None = None,
    ) -> None:
        self.counts = [0] * len(Counter) if counts is None else counts
        self.given = Given(tables.location.digest, tables.policies.keys())
        self._known = Known(tables, self.given, clock)
        self._options: dict[bytes, Options] = {}
        self.guard: Guard | None = None
        if buckets is not None and tables.protection is not None:
            self.guard = Guard(tables.protection.limit, buckets, tables.forest, self.counts)
        self._general = General(tables, self._known, (self.counts, self.given), self.guard, clock, tcp_idle_s)
        # Functions that do not hold the responder: without a cycle a replaced one, and the tables with it, is gone at once.
        self.general: Answer = _general_path(self._general, self._options)
        known = self._known.entries, self._options
        counted = self.counts, self.given.marks
        self.udp: Answer = _hot_path(tables, known, counted, self.general, self.guard, clock)

    @property
    def limited(self) -> str:
        """The client that was over the limit last; empty: nobody was."""
        return self.guard.last if self.guard is not None else ""

    def tcp(self, query: bytes, source: str) -> bytes | None:
        """Answer one message of a stream; the framing is `gslb.nameserver.stream`'s."""
        reply, _ = self._general.reply(query, source, stream=True)
        return reply


def _general_path(general: General, options: dict[bytes, Options]) -> Answer:
    """The function for every datagram, which teaches the hot path the OPT records that it meets."""

    def answer(query: bytes, source: str) -> bytes | None:
        reply, request = general.reply(query, source, stream=False)
        if request is not None and request.ordinary:
            _learn(options, request)
        return reply

    return answer


def _learn(options: dict[bytes, Options], request: Request) -> None:
    """Remember how this OPT record is answered; its cookie and its subnet's address are not part of it."""
    edns, record = request.edns, request.opt
    if edns is not None and edns.cookie:
        bare = without_cookie(record)
        record, edns = (bare[0], replace(edns, cookie=b"")) if bare is not None else (b"", None)
    key = record[:SUBNET_OCTETS]
    if edns is None or key in options:
        return
    if len(options) >= OPTIONS_MAX:
        options.clear()
    family = edns.subnet.family if edns.subnet else FAMILY_NONE
    octets = len(edns.subnet.address) if edns.subnet else 0
    options[key] = (
        1 + PAIR.size + len(record),
        edns.room,
        family,
        V4_BITS - 8 * octets if family == FAMILY_V4 else 0,
        opt(edns)[: SUBNET_OCTETS - 1] if family else opt(edns),
    )


def _plain_flags(options: dict[bytes, Options]) -> dict[bytes, tuple[int, dict[bytes, Options]]]:
    """Flags and counts of ordinary queries -> which head their replies have, and what may stand behind the question."""
    nothing = {b"": (1 + PAIR.size, UDP_PLAIN, FAMILY_NONE, 0, b"")}
    found = {}
    for recursion, additionals in product((0, 1), (0, 1)):
        for ignored in range(8):  # CD, AD and Z mean nothing to us, in any combination
            flags = recursion * RECURSION_DESIRED | ignored << 4
            head = recursion * WITH_RD + additionals * WITH_OPT
            found[COUNTS.pack(flags, 1, 0, 0, additionals)] = (head, options if additionals else nothing)
    return found


def _hot_path(  # noqa: PLR0915  # one frame for each query: calls are most of its cost
    tables: Tables,
    known: tuple[dict[bytes, Entry], dict[bytes, Options]],
    counted: tuple[list[int], list[int]],
    general: Answer,
    guard: Guard | None,
    clock: Clock,
) -> Answer:
    """The function over tables, bound to names that cost nothing to reach."""
    entries, options = known
    plain_get = _plain_flags(options).get
    entry_get = entries.get
    far = _far(tables)
    v4, v4_shift = _blocks(tables)
    from_bytes = int.from_bytes
    counts, marks = counted
    admit = guard.admit if guard is not None else None
    greet = _greeter(tables, options, clock)

    def answer(query: bytes, source: str) -> bytes | None:
        plain = plain_get(query[2:12])
        # A key is a whole name, then type and class.  Octets equal to it are that name, label by label: so it does not
        # matter that this only looks for the first zero.
        end = query.find(0, 12)
        key = query[12:end].lower() + query[end : end + 5]
        entry = entry_get(key)
        if plain is None or entry is None:
            return general(query, source)
        head, options_known = plain
        whole, valid, edns = query, None, options_known.get(query[end + 5 : end + 24])
        if edns is None or len(query) - end != edns[0]:
            greeted = greet(query, source, end + 5, head)
            if greeted is None:
                return general(query, source)
            query, edns, valid = greeted
        _, room, family, shift, record = edns
        subnet = query[end + 24 :]
        ranking_of, by_ranking, cells, found = entry
        scope = ranking = 0
        if found is None:
            if family == FAMILY_V4 or (family == FAMILY_NONE and ":" not in source):
                address = from_bytes(subnet, "big") << shift if family else from_bytes(inet_aton(source), "big")
                located = v4[address >> v4_shift]
                scope = located & 0xFF
                chosen = by_ranking[ranking := ranking_of[located >> 8]]
                found, scope = (
                    (chosen, scope)
                    if isinstance(chosen, tuple)
                    else chosen.pick4(address, scope, query, "" if family else source)
                )
            else:
                found, scope, ranking = far(entry, subnet if family else b"", query, source)
        heads, body, outcome, mark = found
        told = SCOPES[scope] if family else b""
        reply = b"".join((query[:2], heads[head], query[12 : end + 5], body, record, told, subnet))
        if len(reply) > room:
            return general(whole, source)
        counts[FAST] += 1
        counts[ECS] += family != FAMILY_NONE
        if valid is not None:
            counts[COOKIES] += 1
            counts[COOKIES_VALID] += valid
        if admit is not None and not valid and (verdict := admit(source, outcome, key)):
            assert guard is not None
            return guard.cut(
                verdict, outcome, (reply[:4], query[12 : end + 5], record + told + subnet, valid is not None)
            )
        counts[outcome] += 1
        cells[ranking] += 1
        marks[mark] += 1
        return reply

    return answer


def _far(tables: Tables) -> Callable[[Entry, bytes, bytes, str], tuple[Finished, int, int]]:
    """The function from an entry and a client of IPv6 (its subnet, or else its source) to the reply, scope and ranking."""
    lookup = tables.location.lookup

    def far(entry: Entry, subnet: bytes, query: bytes, source: str) -> tuple[Finished, int, int]:
        ranking_of, by_ranking, _, _ = entry
        packed = subnet.ljust(16, b"\0") if subnet else packed_source(source)
        location, scope = lookup(packed)
        ranking = ranking_of[location]
        chosen = by_ranking[ranking]
        if isinstance(chosen, tuple):
            return chosen, scope, ranking
        return *chosen.pick(packed, scope, query, "" if subnet else source), ranking

    return far


def _greeter(
    tables: Tables, options: dict[bytes, Options], clock: Clock
) -> Callable[[bytes, str, int, int], Greeted | None]:
    """The function that takes the cookie off a query whose OPT record starts `at` an offset, if `head` says that it has one.

    None where there is no cookie, or where the query is for the general path.
    """
    protection = tables.protection

    def greet(query: bytes, source: str, at: int, head: int) -> Greeted | None:
        parts = without_cookie(query[at:]) if protection is not None and head & WITH_OPT else None
        if parts is None or protection is None:
            return None
        record, asked = parts
        edns = options.get(record[:SUBNET_OCTETS])
        if edns is None or 1 + PAIR.size + len(record) != edns[0]:
            return None
        cookie, valid = cookies.answer(asked, packed_source(source), protection.cookie_keys, int(clock()))
        octets, room, family, shift, told = edns
        length = int.from_bytes(told[OPT.size - 2 : OPT.size], "big") + _COOKIE_MORE
        start = told[: OPT.size - 2] + length.to_bytes(2, "big") + _COOKIE_HEAD
        with_cookie = octets, room, family, shift, start + cookie + told[OPT.size :]
        return query[:at] + record, with_cookie, valid

    return greet


def _blocks(tables: Tables) -> tuple[Sequence[int], int]:
    """The location table's IPv4 entries, and how far an address is shifted to index them; one entry serves one class."""
    v4 = tables.location.v4
    return ((0,), V4_BITS) if v4 is None else (v4, V4_BITS - 24)
