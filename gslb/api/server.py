"""One server: the paths of the API, and its listening socket.  IO."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from gslb.api.auth import Doorman
from gslb.api.connection import CONNECTIONS, OF_ONE_CLIENT, Connection, Patience
from gslb.api.exposition import Exposition
from gslb.api.gate import Gate
from gslb.api.limits import Room
from gslb.api.page import PATHS, Page
from gslb.api.reads import Reads
from gslb.api.stream import Stream
from gslb.api.writes import Writes
from gslb.control.desk import Desk
from gslb.model.deployment import Socket

BODY_MAX = 64 << 10  # octets
_BACKLOG = 64
_END_S = 1.0  # for requests that are being answered when the server closes

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Routes:
    """The paths of the API.  `TABLE` is what docs/api.md lists."""

    def __init__(self, desk: Desk) -> None:
        reads, writes, page = Reads(desk), Writes(desk), Page()
        self.stream = Stream(desk.events, desk.queries)
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


class Server:
    """A server on one socket."""

    def __init__(
        self, listen: Socket, gate: Gate, routes: Routes, runner: web.AppRunner, listener: asyncio.Server
    ) -> None:
        self.listen = listen
        self._gate = gate
        self._routes = routes
        self._runner = runner
        self._listener = listener

    @classmethod
    async def on(cls, listen: Socket, desk: Desk, token: bytes | None, patience: Patience | None = None) -> Server:
        """Listen.  Raises OSError."""
        gate, routes = Gate(Doorman(listen, token)), Routes(desk)
        waits = patience if patience is not None else Patience()
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
        room = Room(CONNECTIONS, OF_ONE_CLIENT)
        try:
            listener = await asyncio.get_running_loop().create_server(
                lambda: Connection(manager, room, waits),
                str(listen.address),
                listen.port,
                backlog=_BACKLOG,
                reuse_address=True,
            )
        except OSError:
            await runner.cleanup()
            raise
        return cls(listen, gate, routes, runner, listener)

    @property
    def bound(self) -> Socket:
        """Where it listens."""
        return Socket(self.listen.address, self._listener.sockets[0].getsockname()[1])

    def admit_by(self, token: bytes | None) -> None:
        """Take another token from now on."""
        self._gate.doorman = Doorman(self.listen, token)

    async def close(self) -> None:
        """Listen no more, and end what is open."""
        self._listener.close()
        self._routes.stream.close()
        await self._runner.cleanup()
        await self._listener.wait_closed()
