"""The edge at which a defect of ours becomes SERVFAIL instead of a dead worker.  Pure but for the log.

Standards: RFC 1035 section 4.1.1 (rcode 2), RFC 8906 section 3 (a query is answered, whatever happens).
"""

from __future__ import annotations

import logging

LOG_EVERY_S = 60.0  # one line a kind of failure in that time
_KINDS_MAX = 64
_HEADER = 12  # octets
_SERVFAIL = 2

log = logging.getLogger("gslb.worker")


class Failures:
    """Turns exceptions into replies, and logs each kind once a minute."""

    def __init__(self) -> None:
        self._logged: dict[tuple[str, str, int], tuple[float, int]] = {}

    def reply(self, query: bytes, error: Exception, now: float) -> bytes | None:
        """SERVFAIL for what looks like a query, else silence."""
        self._log(error, query, now)
        return servfail(query)

    def _log(self, error: Exception, query: bytes, now: float) -> None:
        kind = (type(error).__name__, *_place(error))
        last, suppressed = self._logged.get(kind, (None, 0))
        if last is not None and now - last < LOG_EVERY_S:
            self._logged[kind] = (last, suppressed + 1)
            return
        if len(self._logged) >= _KINDS_MAX:
            self._logged.clear()
        self._logged[kind] = (now, 0)
        fields = {"query": query[:512].hex(), "suppressed": suppressed}
        log.error("a query could not be answered", exc_info=error, extra=fields)


def servfail(query: bytes) -> bytes | None:
    """A header with SERVFAIL and no sections; None for what is too short or a response itself."""
    if len(query) < _HEADER or query[2] & 0x80:
        return None
    flags = 0x80 | (query[2] & 0x79)  # QR; opcode and RD as asked
    return query[:2] + bytes((flags, _SERVFAIL)) + bytes(8)


def _place(error: Exception) -> tuple[str, int]:
    """The file and line that raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace is not None else ("", 0)
