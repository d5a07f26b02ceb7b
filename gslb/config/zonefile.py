"""Master files (RFC 1035 section 5) and presentation text, by dnspython: the only module that knows it.  Pure.

Rule 1: every line that cannot be read is one problem with its file and line; reading goes on with the next.
Rule 2: `$INCLUDE` opens nothing itself: it asks `fetch`, and stops at MAX_INCLUDES levels.
Rule 3: one `$GENERATE` makes at most MAX_GENERATED records, one zone at most `zonedraft.MAX_RECORDS`.

Standards: RFC 1035 section 5, RFC 2308 section 4 ($TTL), RFC 3597 (unknown types), BIND's $GENERATE.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import cast

import dns.exception
import dns.grange
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.transaction
import dns.ttl
import dns.zonefile

from gslb.config.problem import Problem, Problems, Where, nearest, printable
from gslb.config.source import Unreadable
from gslb.config.zonedraft import MAX_RECORDS, SOA, StaticRecord, ZoneDraft
from gslb.model.deployment import PolicyId
from gslb.model.zone import Zone

MAX_INCLUDES = 8
MAX_GENERATED = 100_000

Fetch = Callable[[str, str], tuple[str, str]]  # (including file, name) -> (its file, its text); raises Unreadable

_IN = dns.rdataclass.IN
_CAUGHT = re.compile(r"caught exception <class '[\w.]+'>: ?")
_MALFORMED = "text input is malformed"
_UNKNOWN_TYPE = re.compile(r"unknown rdatatype '(.*)'", re.DOTALL)
_ADDRESS_WORDS = {"A": "expected an IPv4 address", "AAAA": "expected an IPv6 address"}
_STATEFUL = re.compile(r'["();\\]')
# What dnspython raises on text that it does not expect.
_TROUBLES = (
    dns.exception.DNSException,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
)


def name_wire(text: str, origin: bytes | None = None) -> bytes:
    """The wire form of a name, relative to `origin` where it has no final dot.  Raises ValueError."""
    try:
        return _octets(dns.name.from_text(text, _name(origin) if origin else dns.name.root))
    except _TROUBLES as error:
        raise ValueError(f"expected a domain name ({_reason(error)})") from error


def type_number(text: str) -> int:
    """The number of a type's mnemonic or `TYPEn` (RFC 3597).  Raises ValueError."""
    try:
        return int(dns.rdatatype.from_text(text))
    except _TROUBLES as error:
        raise ValueError(f"type {text} - expected a record type") from error


def type_text(rtype: int) -> str:
    """The mnemonic of a type, or `TYPEn`."""
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rtype))


def rdata_wire(rtype: int, text: str, origin: bytes) -> bytes:
    """The wire form of record data in presentation form.  Raises ValueError that says what is wrong."""
    try:
        rdata = dns.rdata.from_text(_IN, dns.rdatatype.RdataType.make(rtype), text, _name(origin), relativize=False)
        return rdata.to_wire() or b""
    except _TROUBLES as error:
        raise ValueError(_reason(error)) from error


def rdata_text(rtype: int, rdata: bytes) -> str:
    """Record data in presentation form, names with a final dot."""
    kind = dns.rdatatype.RdataType.make(rtype)
    return str(dns.rdata.from_wire(_IN, kind, rdata, 0, len(rdata)).to_text())


def owner_text(owner: bytes) -> str:
    """An owner name as a master file has it."""
    return _name(owner).to_text()


def read_master(text: str, file: str, name: str, fetch: Fetch, problems: Problems) -> ZoneDraft | None:
    """The zone of a master file.  `name` is the zone's name as the file's name has it, the first origin.

    The apex is the owner of the first SOA.  None where not even the name can be read.
    """
    try:
        origin = dns.name.from_text(name)
    except _TROUBLES:
        problems.add(
            Problem(Where(file), "", f"{name} - expected the file to be named after the zone: example.com.zone")
        )
        return None
    reader = _Reader(origin, fetch, problems)
    reader.read_text(text, file)
    soa = next((record.owner for record in reader.records if record.rtype == SOA), None)
    return ZoneDraft(soa or _octets(reader.first_origin), Where(file), reader.records, broken=reader.broken)


def dump(zone: Zone, addresses: Callable[[PolicyId, int], tuple[str, ...]]) -> Iterator[str]:
    """The lines of a master file: static data as it is, a dynamic record as all `addresses` of its (policy, type)."""
    ordered = sorted(zone.rrsets, key=lambda rrset: (rrset.owner.lower() != zone.apex.lower(), rrset.rtype != SOA))
    for rrset in ordered:
        for rdata in rrset.rdatas:
            yield f"{owner_text(rrset.owner)} {rrset.ttl} IN {type_text(rrset.rtype)} {rdata_text(rrset.rtype, rdata)}"
    for record in zone.dynamic:
        for rtype in record.types:
            for address in addresses(record.policy, rtype):
                yield f"{owner_text(record.owner)} {record.ttl} IN {type_text(rtype)} {address}"


class _Sink:
    """What dnspython's reader takes for a transaction: it hands over one record at a time."""

    def __init__(self, origin: dns.name.Name, add: Callable[[dns.name.Name, int, dns.rdata.Rdata], None]) -> None:
        self.manager = self
        self.add = add
        self._origin = origin

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        """The first origin; names stay absolute."""
        return self._origin, False, self._origin

    def check_put_rdataset(self, check: object) -> None:
        """dnspython would check CNAMEs here; `gslb.config.zonerules` does, with places."""


class _Reader(dns.zonefile.Reader):
    """dnspython's reader of one record, driven one logical line at a time."""

    def __init__(self, origin: dns.name.Name, fetch: Fetch, problems: Problems) -> None:
        sink = cast(dns.transaction.Transaction, _Sink(origin, self._add))
        super().__init__(dns.tokenizer.Tokenizer(""), _IN, sink)
        self.zone_origin = dns.name.root  # or dnspython drops what is outside of the zone without a word
        self.records: list[StaticRecord] = []
        self.first_origin = origin
        self.broken = False
        self._fetch = fetch
        self._problems = problems
        self._where = Where("")
        self._depth = 0

    def read_text(self, text: str, file: str) -> None:
        """Read a whole file, each line on its own."""
        for number, line in _logical_lines(text):
            self._where = Where(file, number, 1 + len(line) - len(line.lstrip()))
            if self._over():
                return
            self.tok = dns.tokenizer.Tokenizer(line, file)
            try:
                if line.startswith("$"):
                    self._directive(file)
                else:
                    self._rr_line()
                    self._expect_end()
            except Unreadable as error:
                self._complain(f"{_cut(line)} - {error}")
            except _TROUBLES as error:
                self._where = self._last_read(Where(file, number), line)
                self._complain(f"{_cut(line)} - {_expected(line, _reason(error))}")

    def _over(self) -> bool:
        over = len(self.records) >= MAX_RECORDS
        if over:
            self._complain(f"more than {MAX_RECORDS} records")
        return over

    def _last_read(self, first: Where, line: str) -> Where:
        """Where the word stands that the tokenizer read last: the one that it could not make sense of."""
        read = line[: self.tok.file.tell()].rstrip()
        start = max(read.rfind(blank) for blank in " \t\n(") + 1
        row, column = read.count("\n", 0, start), start - read.rfind("\n", 0, start)
        return Where(first.file, first.line + row, column)

    def _complain(self, message: str) -> None:
        self._problems.add(Problem(self._where, "", message))
        self.broken = True

    def _add(self, name: dns.name.Name, ttl: int, rdata: dns.rdata.Rdata) -> None:
        if rdata.rdtype == dns.rdatatype.TYPE0 or dns.rdatatype.is_metatype(rdata.rdtype):
            raise ValueError(f"type {type_text(rdata.rdtype)} is no data (RFC 6895 section 3.1)")
        self.records.append(StaticRecord(_octets(name), int(rdata.rdtype), ttl, rdata.to_wire() or b"", self._where))

    def _expect_end(self) -> None:
        token = self.tok.get()
        if not token.is_eol_or_eof():
            raise ValueError(f"unexpected {token.value}")

    def _directive(self, file: str) -> None:
        word = self.tok.get_string().upper()
        if word == "$TTL":
            self.default_ttl = dns.ttl.from_text(self.tok.get_identifier())
            self.default_ttl_known, self.default_ttl_from_soa = True, False
        elif word == "$ORIGIN":
            self.current_origin = self.tok.get_name(self.current_origin)
            if not self.records:
                self.first_origin = self.current_origin
        elif word == "$GENERATE":
            self._generate()
        elif word == "$INCLUDE":
            self._include(file)
        else:
            raise ValueError("expected one of $ORIGIN, $TTL, $INCLUDE, $GENERATE")
        self._expect_end()

    def _generate(self) -> None:
        token = self.tok.get()
        start, stop, step = dns.grange.from_text(token.value)
        if len(range(start, stop + 1, step)) > MAX_GENERATED:
            raise ValueError(f"expected at most {MAX_GENERATED} records of one $GENERATE")
        self.tok.unget(token)
        self._generate_line()  # type: ignore[no-untyped-call]

    def _include(self, file: str) -> None:
        """RFC 1035 section 5.1: the included file starts with its own origin and changes none of ours."""
        target = self.tok.get_string()
        token = self.tok.get()
        kept = self.tok, self.current_origin, self.last_name
        if token.is_identifier():
            self.current_origin = self.tok.as_name(token, self.current_origin)
        else:
            self.tok.unget(token)
        if self._depth == MAX_INCLUDES:
            raise ValueError(f"included more than {MAX_INCLUDES} levels deep")
        included, text = self._fetch(file, target)
        self._depth += 1
        self.read_text(text, included)
        self._depth -= 1
        self.tok, self.current_origin, self.last_name = kept


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, text) of each entry; parentheses continue a line (RFC 1035 section 5.1)."""
    held: list[str] = []
    start, open_parentheses = 0, 0
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if not held:
            start = number
            if not line.split(";", 1)[0].strip():
                continue
        held.append(line)
        if _STATEFUL.search(line):
            open_parentheses = max(0, open_parentheses + _parentheses(line))
        if not open_parentheses:
            yield start, "\n".join(held)
            held = []
    if held:
        yield start, "\n".join(held)


def _parentheses(line: str) -> int:
    """How many parentheses the line leaves open; negative where it closes more.  A quoted string ends with its line."""
    balance, quoted, escaped = 0, False, False
    for character in line:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif character == ";":
            break
        elif character in "()":
            balance += 1 if character == "(" else -1
    return balance


def _octets(name: dns.name.Name) -> bytes:
    return name.to_wire() or b""


@lru_cache(maxsize=64)  # origins above all
def _name(wire: bytes) -> dns.name.Name:
    return dns.name.from_wire(wire, 0)[0]


def _reason(error: BaseException) -> str:
    """dnspython's words where it has any."""
    text = _CAUGHT.sub("", str(error)).strip().rstrip(".")
    if not text:
        return "not in the syntax of a master file"
    return text[0].lower() + text[1:] if text[1:2].islower() else text


def _expected(line: str, reason: str) -> str:
    """What was expected, where dnspython says no more than that an address is malformed or a type unknown."""
    if unknown := _UNKNOWN_TYPE.fullmatch(reason):
        likely = nearest(unknown[1], _types())
        return f"unknown type {_cut(unknown[1])} - {f'did you mean {likely}?' if likely else 'expected a record type'}"
    if reason == _MALFORMED:
        for word in line.upper().split()[:5]:
            if word in _ADDRESS_WORDS:
                return _ADDRESS_WORDS[word]
    return reason


@lru_cache(maxsize=1)
def _types() -> tuple[str, ...]:
    """The mnemonics of data types, by number: the common ones come first."""
    known = (kind for kind in dns.rdatatype.RdataType if kind and not dns.rdatatype.is_metatype(kind))
    return tuple(map(type_text, sorted(known)))


def _cut(line: str) -> str:
    text = printable(" ".join(line.split()))
    return text if len(text) <= 72 else text[:69] + "..."
