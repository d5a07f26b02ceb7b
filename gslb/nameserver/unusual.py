"""Messages that no resolver's ordinary question looks like, with dnslib as their codec.  Pure.

Rule 1: every well-formed message gets a reply (RFC 8906), a malformed one FORMERR; nothing here ever has an effect.
Rule 2: what dnslib reads is bounded first: it takes as many records as a message claims to have.
Standards: RFC 1035 section 4.1.1 and RFC 8490 (NOTIMP), RFC 1996 and RFC 2136 (NOTIFY and UPDATE, refused), RFC 8945 section 5
(TSIG), RFC 4892 (identification by CH TXT).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dnslib import RD, RR, TXT, DNSBuffer, DNSError, DNSLabel

from gslb import __version__
from gslb.nameserver.counters import Counter
from gslb.nameserver.message import Finished, empty, finished
from gslb.nameserver.wire import AUTHORITATIVE, CLASS_CH, Malformed, Rcode, Rtype, name_end

RECORDS_MAX = 16  # beside the question; a query has an OPT, a TSIG, and an SOA when it is an IXFR
OCTETS_MAX = 4096  # of a message with such records
CLASS_ANY = 255
BADKEY = 17  # RFC 8945 section 3
TEXT_MAX = 255  # octets of one character string
TSIG_TIMES = struct.Struct(">6sHH")  # time signed, fudge, MAC size
TSIG_REST = struct.Struct(">HHH")  # original id, error, other length
# NOTIFY and UPDATE: we are nobody's secondary and take no updates.  Other opcodes are unknown: NOTIMP.
REFUSED_OPCODES = (4, 5)
_VERSION_NAMES = (b"\x07version\x04bind\x00", b"\x07version\x06server\x00")
_SERVER_NAMES = (b"\x08hostname\x04bind\x00", b"\x02id\x06server\x00")


@dataclass(frozen=True, slots=True)
class Extras:
    """What stood behind the question: an OPT record as it came, and the reply to a TSIG record (RFC 8945)."""

    opt: bytes = b""
    unsigned: bytes = b""


def read_extras(query: bytes, start: int, counts: tuple[int, int, int]) -> Extras:
    """Read all records from offset `start`; `counts` as in the header: answer, authority, additional.

    Records that mean nothing to us are only checked.  Raises Malformed.
    """
    answers, authorities, additionals = counts
    total = answers + authorities + additionals
    if total > RECORDS_MAX or len(query) > OCTETS_MAX:
        raise Malformed(f"a query with {total} records in {len(query)} octets")
    buffer = DNSBuffer(query)
    buffer.offset = start
    extras = Extras()
    for index in range(total):
        before = buffer.offset
        record = _read_record(buffer)
        raw = query[before : buffer.offset]
        if extras.unsigned:
            raise Malformed("TSIG is not the last record")
        if record.rtype not in (Rtype.OPT, Rtype.TSIG):
            continue
        if index < answers + authorities or (record.rtype == Rtype.OPT and extras.opt):
            raise Malformed("an OPT or TSIG record where none may be")
        extras = Extras(raw, b"") if record.rtype == Rtype.OPT else Extras(extras.opt, _unsigned(record))
    if buffer.remaining():
        raise Malformed(f"{buffer.remaining()} octets behind the last record")
    return extras


def chaos(name: bytes, rtype: int, nsid: bytes | None) -> Finished:
    """The reply in class CH: version and name of this server, as TXT.  `name` is lowered."""
    if name in _VERSION_NAMES:
        text = f"gslb {__version__}".encode()
    elif name in _SERVER_NAMES and nsid is not None:
        text = nsid[:TEXT_MAX]
    else:
        return empty(Rcode.REFUSED)
    if rtype not in (Rtype.TXT, Rtype.ANY):
        return empty(Rcode.NOERROR, authoritative=True)
    record = _pack(RR(_label(name), Rtype.TXT, CLASS_CH, 0, TXT(text)))
    return finished(AUTHORITATIVE, (1, 0, 0), record, Counter.ANSWERED)


def _read_record(buffer: DNSBuffer) -> RR:
    try:
        return RR.parse(buffer)
    except (DNSError, ValueError, LookupError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise Malformed(f"not a record: {error}") from error


def _unsigned(record: RR) -> bytes:
    """The TSIG record that says that we know no such key: the asker's times, no MAC (RFC 8945 section 5.3.2)."""
    data: bytes = record.rdata.data
    times_at = name_end(data, 0)
    if len(data) < times_at + TSIG_TIMES.size:
        raise Malformed("the TSIG record is cut")
    time_signed, fudge, mac_octets = TSIG_TIMES.unpack_from(data, times_at)
    rest_at = times_at + TSIG_TIMES.size + mac_octets
    if record.rclass != CLASS_ANY or len(data) < rest_at + TSIG_REST.size:
        raise Malformed("the TSIG record is cut, or not of class ANY")
    original_id, _, _ = TSIG_REST.unpack_from(data, rest_at)
    reply = data[:times_at] + TSIG_TIMES.pack(time_signed, fudge, 0) + TSIG_REST.pack(original_id, BADKEY, 0)
    return _pack(RR(record.rname, Rtype.TSIG, CLASS_ANY, 0, RD(reply)))


def _label(name: bytes) -> DNSLabel:
    labels = []
    at = 0
    while name[at]:
        labels.append(name[at + 1 : at + 1 + name[at]])
        at += name[at] + 1
    return DNSLabel(labels)


def _pack(record: RR) -> bytes:
    buffer = DNSBuffer()
    record.pack(buffer)
    return bytes(buffer.data)
