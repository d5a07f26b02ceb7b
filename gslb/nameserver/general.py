"""Any message -> its reply, or silence: the path for all that the hot path does not know.  Pure.

Rule 1: for what the hot path answers, this one gives the same octets.
Rule 2: responses are never answered, else two servers could answer each other forever.
Rule 3: a reply is never longer than its asker can take: TC instead.
Standards: RFC 1035 section 4.1, RFC 6891, RFC 7871, RFC 7873 (also section 5.4: a cookie and no question), RFC 8906, RFC 9619
(one question).
"""

from __future__ import annotations

from dataclasses import dataclass
from socket import AF_INET6, inet_aton, inet_pton

from gslb.nameserver import cookies, unusual
from gslb.nameserver.cookies import CLIENT_OCTETS, Cookie
from gslb.nameserver.counters import Counter
from gslb.nameserver.edns import UDP_PLAIN, Edns, opt, read_opt, read_options
from gslb.nameserver.given import Given
from gslb.nameserver.guard import Guard
from gslb.nameserver.known import Known
from gslb.nameserver.limit import PASS
from gslb.nameserver.message import (
    WITH_OPT,
    WITH_RD,
    Finished,
    empty,
    truncated,
)
from gslb.nameserver.stream import MESSAGE_MAX
from gslb.nameserver.table import Tables
from gslb.nameserver.views import Clock, Spread
from gslb.nameserver.wire import (
    AUTHORITATIVE,
    CLASS_CH,
    CLASS_IN,
    COUNTS,
    HEADER,
    HEADER_OCTETS,
    OPCODE,
    OPCODE_SHIFT,
    PAIR,
    RECURSION_DESIRED,
    RESPONSE,
    TRUNCATED,
    Malformed,
    Rcode,
    name_end,
)

_OPT_START = b"\0\0\x29"  # the root, and type OPT
_FORMERR = empty(Rcode.FORMERR)
_REFUSED = empty(Rcode.REFUSED)
_BADVERS = empty(Rcode.BADVERS)
_BADCOOKIE = empty(Rcode.BADCOOKIE)
_NOTHING = empty(Rcode.NOERROR)
_NO_COOKIE: Cookie = (b"", False)
_NOTIMP = empty(Rcode.NOTIMP)
_NOTAUTH = empty(Rcode.NOTAUTH)


Told = tuple[list[int], Given]  # where replies are counted: by `Counter`, and by what they gave


@dataclass(slots=True)
class Request:
    """What has been read of a message so far; a reply to a malformed one repeats as much."""

    message: bytes
    source: str
    flags: int
    cells: list[int]  # where the reply is counted, at `ranking`
    ranking: int = 0
    question: bytes = b""  # as asked: name, type, class
    opt: bytes = b""  # the OPT record as it came
    edns: Edns | None = None
    cookie: Cookie = _NO_COOKIE  # for the reply
    unsigned: bytes = b""  # a TSIG record for the reply

    @property
    def opcode(self) -> int:
        """QUERY is 0."""
        return (self.flags & OPCODE) >> OPCODE_SHIFT

    @property
    def name(self) -> bytes:
        """The name asked, lowered."""
        return self.question[: -PAIR.size].lower()

    @property
    def pair(self) -> tuple[int, int]:
        """Type and class."""
        rtype, rclass = PAIR.unpack(self.question[-PAIR.size :])
        return rtype, rclass

    @property
    def ordinary(self) -> bool:
        """Whether the hot path may answer its like: a question, and at most an OPT record with at most a cookie and a
        client subnet of whole octets."""
        edns = self.edns
        if self.opcode or edns is None or edns.version or self.unsigned:
            return False
        subnet = edns.subnet
        return edns.options == (subnet is not None) + bool(edns.cookie) and (
            subnet is None or bool(subnet.source and not subnet.source % 8)
        )


class General:
    """Replies from one set of tables."""

    def __init__(
        self, tables: Tables, known: Known, told: Told, guard: Guard | None, clock: Clock, tcp_idle_s: float
    ) -> None:
        """Without a `guard` nothing is limited."""
        self._tables = tables
        self._known = known
        self._counts, self._given = told
        self._guard = guard
        self._clock = clock
        self._keys = tables.protection.cookie_keys if tables.protection is not None else None
        self._tcp_idle_s = tcp_idle_s

    def reply(self, message: bytes, source: str, *, stream: bool) -> tuple[bytes | None, Request | None]:
        """The reply (None: silence) to a datagram, or to a message of a `stream`, and how it was read (None: not whole)."""
        counts = self._counts
        counts[Counter.TCP if stream else Counter.GENERAL] += 1
        if len(message) < HEADER_OCTETS or message[2] & RESPONSE >> 8:
            counts[Counter.DROPPED] += 1
            return None, None
        request = Request(message, source, int.from_bytes(message[2:4], "big"), self._given.nowhere)
        whole = True
        try:
            found, scope = self._decide(request)
        except Malformed:
            found, scope, whole = _FORMERR, 0, False
        record = self._opt(request, found, scope, stream=stream)
        reply = self._fitting(request, found, record, stream=stream)
        counts[Counter.ECS] += request.edns is not None and request.edns.subnet is not None
        cookie, valid = request.cookie
        counts[Counter.COOKIES] += bool(cookie)
        counts[Counter.COOKIES_VALID] += valid
        if self._guard is not None and not stream and not valid:
            key = request.name + request.question[-PAIR.size :]
            verdict = self._guard.admit(source, found[2], key)
            if verdict != PASS:
                parts = reply[:4], request.question, record, bool(cookie)
                return self._guard.cut(verdict, found[2], parts), request if whole else None
        counts[found[2]] += 1
        if reply[2] & TRUNCATED >> 8:  # whoever is told so asks again by TCP
            counts[Counter.TRUNCATED] += 1
        else:
            request.cells[request.ranking] += 1
            self._given.marks[found[3]] += 1
        return reply, request if whole else None

    def _decide(self, request: Request) -> tuple[Finished, int]:
        """The reply and its scope.  Raises Malformed, with what could be read in `request`."""
        message = request.message
        _, _, questions, answers, authorities, additionals = HEADER.unpack_from(message)
        if request.opcode:
            self._counts[Counter.UNUSUAL] += 1
            if request.opcode not in unusual.REFUSED_OPCODES:
                return _NOTIMP, 0
            self._read_question(request, questions)
            return _REFUSED, 0
        end = self._read_question(request, questions) if questions else HEADER_OCTETS
        self._read_rest(request, end, (answers, authorities, additionals))
        if not questions:
            return self._greet(request), 0
        if request.unsigned or (request.edns is not None and request.edns.version):
            return (_NOTAUTH if request.unsigned else _BADVERS), 0
        rtype, rclass = request.pair
        if rclass != CLASS_IN:
            self._counts[Counter.UNUSUAL] += 1
            chaos = rclass == CLASS_CH
            return (unusual.chaos(request.name, rtype, self._tables.nsid) if chaos else _REFUSED), 0
        return self._choose(request, rtype)

    def _read_question(self, request: Request, questions: int) -> int:
        if questions != 1:
            raise Malformed(f"{questions} questions")
        end = name_end(request.message, HEADER_OCTETS) + PAIR.size
        if end > len(request.message):
            raise Malformed("the question is cut")
        request.question = request.message[HEADER_OCTETS:end]
        return end

    def _read_rest(self, request: Request, end: int, counts: tuple[int, int, int]) -> None:
        """Read what stands behind the question: an OPT record at most, or else something unusual."""
        message = request.message
        if counts == (0, 0, 1) and message[end : end + 3] == _OPT_START:
            request.opt = message[end:]
        elif counts != (0, 0, 0):
            self._counts[Counter.UNUSUAL] += 1
            extras = unusual.read_extras(message, end, counts)
            request.opt, request.unsigned = extras.opt, extras.unsigned
        elif len(message) > end:
            raise Malformed(f"{len(message) - end} octets behind the question")
        if request.opt:
            request.edns = read_opt(request.opt)
            if request.edns.version == 0:
                request.edns = read_options(request.edns, request.opt)

            cookie = request.edns.cookie
            if cookie and self._keys is not None:
                now = int(self._clock())
                request.cookie = cookies.answer(cookie, packed_source(request.source), self._keys, now)

    def _greet(self, request: Request) -> Finished:
        """The reply to a message without a question, which may ask for a cookie or whether one is good."""
        edns = request.edns
        cookie, valid = request.cookie
        if edns is None or not cookie or request.unsigned:
            raise Malformed("no question, and no cookie")
        return _NOTHING if valid or len(edns.cookie) == CLIENT_OCTETS else _BADCOOKIE

    def _choose(self, request: Request, rtype: int) -> tuple[Finished, int]:
        ranking_of, by_ranking, cells, found = self._known.entry(request.name, rtype)
        if found is not None:
            return found, 0
        subnet = request.edns.subnet.packed if request.edns and request.edns.subnet else None
        packed = packed_source(request.source) if subnet is None else subnet
        located, scope = self._tables.location.lookup(packed)
        request.cells, request.ranking = cells, ranking_of[located]
        chosen = by_ranking[request.ranking]
        if isinstance(chosen, Spread):
            source = request.source if subnet is None else ""
            chosen, scope = chosen.pick(packed, scope, request.message, source)
        return chosen, scope if subnet is not None else 0

    def _fitting(self, request: Request, found: Finished, record: bytes, *, stream: bool) -> bytes:
        """The reply in the octets that the asker can take."""
        limit = MESSAGE_MAX if stream else request.edns.room if request.edns else UDP_PLAIN
        reply = _assemble(request, found, record)
        if len(reply) <= limit:
            return reply
        request.unsigned = b""
        heads, body, _, _ = found
        shorter = truncated(authoritative=bool(heads[0][0] & AUTHORITATIVE >> 8))
        if body and request.pair[1] == CLASS_IN:
            room = limit - HEADER_OCTETS - len(request.question) - len(record)
            shorter = self._known.shortened(request.name, request.pair[0], room)
        return _assemble(request, shorter, record)

    def _opt(self, request: Request, found: Finished, scope: int, *, stream: bool) -> bytes:
        if request.edns is None:
            return b""
        return opt(
            request.edns,
            scope=scope,
            nsid=self._tables.nsid,
            keepalive_s=self._tcp_idle_s if stream else None,
            cookie=request.cookie[0],
            extended_rcode=1 if found is _BADVERS or found is _BADCOOKIE else 0,
        )


def packed_source(source: str) -> bytes:
    """The 4 or 16 octets of an address as the system writes it, with a zone (%eth0) or without."""
    return inet_pton(AF_INET6, source.partition("%")[0]) if ":" in source else inet_aton(source)


def _assemble(request: Request, found: Finished, record: bytes) -> bytes:
    """Put what differs from query to query around a finished reply; `record` is the OPT record, or nothing."""
    recursive = request.flags & RECURSION_DESIRED and not request.opcode
    heads, body, _, _ = found
    head = heads[(WITH_RD if recursive else 0) + (WITH_OPT if record else 0)]
    if request.opcode or not request.question or request.unsigned:
        head = _unusual_head(request, head)
    return b"".join((request.message[:2], head, request.question, body, record, request.unsigned))


def _unusual_head(request: Request, head: bytes) -> bytes:
    flags, _, answers, authorities, additionals = COUNTS.unpack(head)
    questions = 1 if request.question else 0
    additionals += 1 if request.unsigned else 0
    return COUNTS.pack(flags | request.flags & OPCODE, questions, answers, authorities, additionals)
