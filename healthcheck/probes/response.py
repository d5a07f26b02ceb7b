"""One HTTP/1 response, as far as it is wanted.  Sans-IO and bounded.

Standards: RFC 9112; the parser is llhttp's, by httptools.
"""

from __future__ import annotations

import httptools

from healthcheck.probes.connection import Failed
from healthcheck.probes.shown import shown_octets

HEAD_OCTETS = 16 * 1024  # status line and headers together
_SHOWN = 40  # octets of what is not HTTP
_INTERIM = frozenset({100, *range(102, 200)})  # RFC 9110 section 15.2: another response follows
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class Response:
    """The talk of one request: done with the headers, or with the body where `body_octets` of it are wanted."""

    def __init__(self, request: bytes, body_octets: int = 0) -> None:
        self.status = 0
        self.body = bytearray()
        self.done = False
        self._request = request
        self._most = body_octets
        self._first = b""
        self._head = 0  # octets that came before the headers were whole
        self._headed = False
        self._framed = False  # a header tells where the body ends
        self._parser = httptools.HttpResponseParser(self)

    def begin(self) -> bytes:
        """The request."""
        return self._request

    def receive(self, data: bytes) -> bytes:
        """Parse; raises Failed for what is no HTTP, endless headers, and a body beyond the bound."""
        rest = data if self._headed else self._parse_head(data)
        if rest and not self.done:
            self._parse(rest)
        if len(self.body) > self._most:
            raise Failed(f"a body of more than {self._most // 1000} kB")
        return b""

    def ended(self) -> None:
        """A body that no header frames ends with the connection (RFC 9112 section 6.3)."""
        if not self._first:
            raise Failed("closed without an answer")
        if not self._headed:
            raise Failed("closed within the headers")
        if self._framed:
            raise Failed("closed within the body")

    def _parse_head(self, data: bytes) -> bytes:
        """Parse no more than headers may have; gives what is left."""
        self._first = (self._first + data[:_SHOWN])[:_SHOWN]
        part = data[: HEAD_OCTETS - self._head]
        self._head += len(part)
        self._parse(part)
        if not self._headed and self._head >= HEAD_OCTETS:
            raise Failed(f"headers of more than {HEAD_OCTETS // 1024} kB")
        return data[len(part) :]

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.done = True  # 101: what follows is another protocol
        except httptools.HttpParserError as error:
            if self._headed and not self.done:
                raise Failed(f"a broken body ({error})") from error
            if not self.done:  # behind a finished response anything may stand
                raise Failed(f"not HTTP: {shown_octets(self._first)}") from error

    def on_message_begin(self) -> None:
        """Called by the parser, also behind an interim response."""
        self._framed = False

    def on_header(self, name: bytes, _value: bytes) -> None:
        """Called by the parser for each header."""
        if name.lower() in _FRAMING:
            self._framed = True

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        status = self._parser.get_status_code()
        if status not in _INTERIM:
            self.status = status
            self._headed = True
            self.done = self._most == 0

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        if self._most:
            self.body += body

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self.done = self.done or self._headed
