"""What every request passes before its handler, and every answer after it.

Order: rate, then who may do what, then the handler.  Every error leaves as a problem document; a request that may not
pass ends its connection.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gslb.api.auth import Asking, Doorman, peer_address
from gslb.api.connection import Connection
from gslb.api.limits import Limiter
from gslb.api.problem import Problem, of_http, response

PER_S = 50.0  # requests of one client
BURST = 100.0
_WRONG_TOKEN = 20.0  # requests that a wrong token costs
_READS = frozenset({"GET", "HEAD"})
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "gslb",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

log = logging.getLogger("gslb.api")


class Gate:
    """The middleware, and what it needs; `doorman` changes with the configuration."""

    def __init__(self, doorman: Doorman, limiter: Limiter | None = None) -> None:
        self.doorman = doorman
        self._limiter = limiter if limiter is not None else Limiter(PER_S, BURST)

    def middleware(self) -> Middleware:
        """For `web.Application`."""

        @web.middleware
        async def passing(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = request.protocol
            assert isinstance(connection, Connection)
            refused = self._refused(request)
            if refused is not None:
                connection.within(connection.patience.head_s)
                return refused
            connection.within(connection.patience.answer_s)
            try:
                answer = await self._answer(request, handler)
            finally:
                connection.within(connection.patience.idle_s)
            if not answer.prepared:
                dress(answer)
            return answer

        return passing

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Problem as problem:
            return response(problem, request.path)
        except web.HTTPException as error:
            return response(of_http(error), request.path)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:  # a defect must not end the connection without a word
            log.exception("a request failed", extra={"method": request.method, "path": request.path})
            defect = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a defect of gslb; its log has the traceback")
            return response(defect, request.path)

    def _refused(self, request: web.Request) -> web.Response | None:
        """What a request is told that may not pass.  Its connection ends: who may not ask holds no place."""
        try:
            self._admit(request)
        except Problem as problem:
            answer = response(problem, request.path)
            answer.force_close()
            dress(answer)
            return answer
        return None

    def _admit(self, request: web.Request) -> None:
        peer = peer_address(request.remote)
        wait_s = self._limiter.take(peer, asyncio.get_running_loop().time())
        if wait_s:
            detail = f"more than {PER_S:.0f} requests a second; try again in {wait_s} s"
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(wait_s)})
        asking = Asking(
            peer=peer,
            host=request.headers.get("Host"),
            authorization=request.headers.get("Authorization"),
            writes=request.method not in _READS,
        )
        try:
            self.doorman.admit(asking)
        except Problem:
            if asking.authorization is not None:
                self._limiter.fine(peer, _WRONG_TOKEN)
            raise


def dress(answer: web.StreamResponse) -> None:
    """The headers that every answer has."""
    for name, value in _HEADERS.items():
        answer.headers.setdefault(name, value)
