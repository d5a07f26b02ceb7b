"""The API of a node: its paths, its listening socket, and what happens when the configuration changes either.  IO.

Rule: DNS does not depend on it.  A port that cannot be had is a problem that is told, and is tried again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from aiohttp import web

from gslb.api.auth import Doorman, token_of
from gslb.api.connection import Connection
from gslb.api.exposition import Exposition
from gslb.api.gate import Gate
from gslb.api.page import PATHS, Page
from gslb.api.reads import Reads
from gslb.api.stream import Stream
from gslb.api.writes import Writes
from gslb.control.desk import Api, Desk
from gslb.model.deployment import Deployment, Socket

BODY_MAX = 64 << 10  # octets
RETRY_S = 10.0
_BACKLOG = 64
_END_S = 1.0  # for requests that are being answered when the server closes

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Routes:
    """The paths of the API.  `TABLE` is what docs/api.md lists."""

    def __init__(self, desk: Desk) -> None:
        reads, writes, page = Reads(desk), Writes(desk), Page()
        self.stream = Stream(desk.events)
        self.table: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/v1/status", reads.status),
            ("GET", "/v1/plan", reads.plan),
            ("GET", "/v1/explain", reads.explain),
            ("GET", "/v1/overrides", reads.overrides),
            ("POST", "/v1/overrides", writes.begin),
            ("DELETE", "/v1/overrides", writes.end),
            ("POST", "/v1/load", writes.load),
            ("GET", "/v1/events", self.stream.events),
            ("GET", "/healthz", reads.alive),
            ("GET", "/readyz", reads.ready),
            ("GET", "/metrics", Exposition(desk, reads.report).metrics),
            *(("GET", path, page.file) for path in PATHS),
        )


class HttpApi:
    """`gslb.control.desk.Api` over HTTP."""

    def __init__(self, desk: Desk, retry_s: float = RETRY_S) -> None:
        self._desk = desk
        self._retry_s = retry_s
        self._wanted: Deployment | None = None
        self._changed = asyncio.Event()
        self._open: _Open | None = None

    @property
    def listening(self) -> Socket | None:
        """What is listened on now, with the port that the system chose where 0 was asked."""
        return self._open.bound if self._open is not None else None

    def want(self, deployment: Deployment) -> None:
        """See `Api`."""
        self._wanted = deployment
        self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """See `Api`."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._changed.clear()
                again = await self._follow()
                changing = asyncio.create_task(self._changed.wait())
                await asyncio.wait(
                    (stopping, changing),
                    timeout=self._retry_s if again else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                changing.cancel()
        finally:
            stopping.cancel()
            await self._close()

    async def _follow(self) -> bool:
        """Be as the configuration wants it; True where that has to be tried again."""
        if self._wanted is None:
            return False
        api = self._wanted.api
        token, lacking = token_of(api, os.environ, self._desk.config)
        doorman = Doorman(api.listen, token)
        problems = [] if lacking is None else [lacking]
        if self._open is not None and self._open.listen != api.listen:
            await self._close()
        if self._open is None:
            try:
                self._open = await _Open.on(api.listen, self._desk, doorman)
            except OSError as error:
                why = os.strerror(error.errno) if error.errno else str(error)
                where = f"[{api.listen.address}]" if api.listen.address.version == 6 else str(api.listen.address)
                problems.append(f"{where}:{api.listen.port}: {why}; next try in {self._retry_s:g} s")
        else:
            self._open.gate.doorman = doorman
        self._desk.api_problem(problems)
        return self._open is None

    async def _close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            await opened.close()


class _Open:
    """A server on one socket."""

    def __init__(
        self, listen: Socket, gate: Gate, routes: Routes, runner: web.AppRunner, server: asyncio.Server
    ) -> None:
        self.listen = listen
        self.gate = gate
        self._routes = routes
        self._runner = runner
        self._server = server

    @classmethod
    async def on(cls, listen: Socket, desk: Desk, doorman: Doorman) -> _Open:
        """Listen.  Raises OSError."""
        gate, routes = Gate(doorman), Routes(desk)
        app = web.Application(middlewares=[gate.middleware()], client_max_size=BODY_MAX)
        for method, path, handler in routes.table:
            if method == "GET":
                app.router.add_get(path, handler, allow_head=handler != routes.stream.events)
            else:
                app.router.add_route(method, path, handler)
        runner = web.AppRunner(app, shutdown_timeout=_END_S)
        await runner.setup()
        manager = runner.server
        assert manager is not None
        opened: set[Connection] = set()
        try:
            server = await asyncio.get_running_loop().create_server(
                lambda: Connection(manager, opened),
                str(listen.address),
                listen.port,
                backlog=_BACKLOG,
                reuse_address=True,
            )
        except OSError:
            await runner.cleanup()
            raise
        return cls(listen, gate, routes, runner, server)

    @property
    def bound(self) -> Socket:
        """Where it listens."""
        return Socket(self.listen.address, self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more, and end what is open."""
        self._server.close()
        self._routes.stream.close()
        await self._runner.cleanup()
        await self._server.wait_closed()


def open_api(desk: Desk) -> Api:
    """See `gslb.control.desk.Opens`."""
    return HttpApi(desk)
