"""`tcp`: the connection is made, and where wanted something is sent and a text comes back.  IO."""

from __future__ import annotations

import time

from gslb.model.escape import octets
from healthcheck.check import Check, Sample
from healthcheck.probes.connection import Failed, converse
from healthcheck.probes.marks import mark_of
from healthcheck.probes.shown import shown_octets

MOST_OCTETS = 64 * 1024  # in which the expected text must stand
_SHOWN = 40  # octets of what came instead


async def probe(check: Check) -> tuple[Sample, ...]:
    """One sample."""
    began = time.perf_counter()
    why = ""
    try:
        send, expect = (octets(str(check.settings.get(name) or "")) for name in ("send", "expect"))
        if check.port is None:
            raise Failed("no port to connect to")
        await converse(Banner(send, expect), check.address, check.port, check.timeout_s, mark=mark_of(check))
    except (Failed, ValueError) as error:
        why = str(error)
    return (Sample(not why, time.perf_counter() - began, why),)


class Banner:
    """The talk: done when `expect` stands in what came, or at once where nothing is expected.  Sans-IO."""

    def __init__(self, send: bytes, expect: bytes) -> None:
        self.done = not expect
        self._send = send
        self._expect = expect
        self._first = b""
        self._tail = b""  # the end of what came, in which the text may have begun
        self._octets = 0

    def begin(self) -> bytes:
        """What is sent."""
        return self._send

    def receive(self, data: bytes) -> bytes:
        """Look for the text.  Raises Failed when too much has come without it."""
        self._first = (self._first + data[:_SHOWN])[:_SHOWN]
        data = data[: MOST_OCTETS - self._octets]
        self._octets += len(data)
        window = self._tail + data
        if self._expect in window:
            self.done = True
        elif self._octets >= MOST_OCTETS:
            raise Failed(f"the expected text is not in the first {MOST_OCTETS // 1024} kB ({self._came()})")
        self._tail = window[-(len(self._expect) - 1) :] if len(self._expect) > 1 else b""
        return b""

    def ended(self) -> None:
        """Raises Failed: the text did not come."""
        raise Failed(f"closed without the expected text ({self._came()})")

    def _came(self) -> str:
        return f"first came {shown_octets(self._first)}" if self._first else "nothing came"
