"""DNS over a TCP connection, without the connection: framing, and how long to wait for what.  Sans-IO.

Time is an argument (seconds of any one monotonic clock).  The driver (`gslb.nameserver.tcp`) feeds octets, asks
for complete queries, tells what it answered, and closes the connection at `deadline()`.
Standards: RFC 1035 section 4.2.2 (two length octets), RFC 7766 sections 6.2.3, 8 and 10 (idle timeouts, framing in one write,
slow senders).
"""

from __future__ import annotations

from dataclasses import dataclass

LENGTH_OCTETS = 2
MESSAGE_MAX = 65535


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a connection may keep us waiting, in seconds."""

    idle_s: float = 10.0  # without an answered query; "in the order of a few seconds" (RFC 7766 section 6.2.3)
    message_s: float = 5.0  # from the first octet of a message to its last
    write_s: float = 10.0  # while the client does not read


def frame(message: bytes) -> bytes:
    """The message behind its length, to be written in one piece (RFC 7766 section 8)."""
    return len(message).to_bytes(LENGTH_OCTETS, "big") + message


class Framer:
    """Octets in, whole messages out."""

    __slots__ = ("_buffer", "_start")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._start = 0

    def feed(self, octets: bytes | bytearray | memoryview) -> None:
        """Take what arrived."""
        self._buffer += octets

    def next(self) -> bytes | None:
        """The next whole message, which may be empty; None while there is none."""
        body = self._start + LENGTH_OCTETS
        buffer = self._buffer
        if len(buffer) >= body:
            end = body + (buffer[self._start] << 8 | buffer[self._start + 1])
            if len(buffer) >= end:
                self._start = end
                return bytes(buffer[body:end])
        del buffer[: self._start]  # once for all messages that came together, not once a message
        self._start = 0
        return None

    @property
    def held(self) -> int:
        """Octets that were fed and not handed out yet."""
        return len(self._buffer) - self._start


class Session:
    """One connection's queries and its deadlines."""

    __slots__ = ("_active_s", "_framer", "_partial_since_s", "_patience", "_stalled_since_s")

    def __init__(self, patience: Patience, now: float) -> None:
        self._patience = patience
        self._framer = Framer()
        self._active_s = now
        self._partial_since_s: float | None = None
        self._stalled_since_s: float | None = None

    def receive(self, octets: bytes | bytearray | memoryview, now: float) -> None:
        """Take what arrived at `now`."""
        self._framer.feed(octets)
        if self._partial_since_s is None:
            self._partial_since_s = now

    def next_query(self, now: float) -> bytes | None:
        """The next whole message, or None.  Ask until None: only then is it known whether a message has begun."""
        message = self._framer.next()
        if message is not None:
            self._partial_since_s = now
        elif self._framer.held == 0:
            self._partial_since_s = None
        return message

    def answered(self, now: float) -> None:
        """A query was answered: only that counts as activity, so garbage keeps no connection open."""
        self._active_s = now

    def stalled(self, now: float) -> None:
        """The client stopped reading."""
        self._stalled_since_s = now

    def flowing(self, now: float) -> None:
        """The client reads again."""
        self._stalled_since_s = None
        self._active_s = now
        if self._partial_since_s is not None:  # it was us who did not read on
            self._partial_since_s = now

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, so that the connection may be closed for another client's sake."""
        return self._partial_since_s is None and self._stalled_since_s is None

    @property
    def active_s(self) -> float:
        """When the last query was answered (or the connection made)."""
        return self._active_s

    def deadline(self) -> float:
        """When the client's time is up, unless something happens before."""
        if self._stalled_since_s is not None:
            return self._stalled_since_s + self._patience.write_s
        if self._partial_since_s is not None:
            return self._partial_since_s + self._patience.message_s
        return self._active_s + self._patience.idle_s
