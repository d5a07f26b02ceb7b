"""One connection of the API: aiohttp's protocol with deadlines, for those who send or read slowly, and a bounded number of
them, in all and of one client.

Rule: at each moment a connection has a deadline, or is a stream whose heartbeats find out that nobody reads.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gslb.api.auth import peer_address
from gslb.api.limits import Room
from gslb.api.problem import Problem, response
from gslb.model.deployment import Address

CONNECTIONS: Final = 256
OF_ONE_CLIENT: Final = 64  # connections
LINE_MAX: Final = 8_190  # octets of the request line
FIELD_MAX: Final = 8_190  # octets of one header field
FIELDS_MAX: Final = 64  # header fields

log = logging.getLogger("gslb.api")


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: from the first moment to the end of a request's head, for its body, from the head to our answer, and from there
    until the client has read it and to the end of the next head.
    """

    head_s: float = 10.0
    body_s: float = 10.0
    answer_s: float = 30.0
    idle_s: float = 60.0


class Connection(RequestHandler):
    """The protocol of one connection."""

    __slots__ = ("_client", "_deadline", "_lost", "_room", "patience")

    def __init__(self, server: web.Server, room: Room, patience: Patience) -> None:
        """`room` counts the connections of this server."""
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # how it is switched off
            keepalive_timeout=patience.idle_s,
            lingering_time=1.0,
            max_line_size=LINE_MAX,
            max_field_size=FIELD_MAX,
            max_headers=FIELDS_MAX,
            auto_decompress=False,
        )
        self._room = room
        self._client: Address | None = None  # once it has entered the room
        self.patience = patience
        self._lost: Callable[[], None] | None = None
        self._deadline = loop.call_later(patience.head_s, self._over)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # type: ignore[explicit-override]  # 3.12 has it
        """A client came; one too many is told so and sent away."""
        peer = transport.get_extra_info("peername")
        client = peer_address(peer[0] if peer else None)
        full = self._room.enter(client)
        if full is not None:
            assert isinstance(transport, asyncio.Transport)
            self._deadline.cancel()
            transport.write(_sent_away(full))
            transport.close()
            return
        self._client = client
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:  # type: ignore[explicit-override]
        """It is over."""
        self._deadline.cancel()
        if self._client is not None:
            self._room.leave(self._client)
            self._client = None
            super().connection_lost(exc)
            if self._lost is not None:
                self._lost()

    def within(self, seconds: float) -> None:
        """End it in so many seconds unless there is another word."""
        self._deadline.cancel()
        self._lost = None
        if self.transport is not None:
            self._deadline = asyncio.get_running_loop().call_later(seconds, self._over)

    def streams(self, lost: Callable[[], None]) -> None:
        """It has no deadline: what is written to it has.  `lost` is called when the client goes."""
        self._deadline.cancel()
        self._lost = lost
        if self.transport is None:
            lost()

    def handle_error(  # type: ignore[explicit-override]
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is no HTTP, or a defect outside of our handlers, as a problem document; then the connection ends."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("a request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; there is no room for another")
        first = (message or "it cannot be answered").strip().splitlines()[0].rstrip(":")
        told = response(Problem(HTTPStatus(status), f"this is no request of HTTP: {first[:200]}"), "")
        told.force_close()
        return told

    def _over(self) -> None:
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()


def _sent_away(why: str) -> bytes:
    """The answer to a connection that there is no room for, whatever it asks."""
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\n"
        "Connection: close\r\n\r\n"
    )
    body = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": why}
    return head.encode() + json.dumps(body).encode()
