"""The API of a node: a server where the configuration wants it, and what happens when that changes.  IO.

Rule 1: DNS does not depend on it.  A port that cannot be had is a problem that is told, and is tried again.
Rule 2: a start does not wait for it: what it needs of libraries is loaded beside the first answers.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from gslb.api.token import token_of
from gslb.control.desk import Api, Desk
from gslb.model.deployment import Deployment, Socket

if TYPE_CHECKING:
    from gslb.api.server import Server

RETRY_S = 10.0

log = logging.getLogger("gslb.api")


class HttpApi:
    """`gslb.control.desk.Api` over HTTP."""

    def __init__(self, desk: Desk, retry_s: float = RETRY_S) -> None:
        self._desk = desk
        self._retry_s = retry_s
        self._wanted: Deployment | None = None
        self._changed = asyncio.Event()
        self._open: Server | None = None

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
                again = await self._followed()
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

    async def _followed(self) -> bool:
        """As `_follow`; a defect of the API must not end the controller."""
        try:
            return await self._follow()
        except Exception:
            log.exception("the API could not be opened")
            return True

    async def _follow(self) -> bool:
        """Be as the configuration wants it; True where that has to be tried again."""
        if self._wanted is None:
            return False
        api = self._wanted.api
        token, lacking = token_of(api, os.environ, self._desk.config)
        problems = [] if lacking is None else [lacking]
        if self._open is not None and self._open.listen != api.listen:
            await self._close()
        if self._open is None:
            try:
                self._open = await (await _server()).on(api.listen, self._desk, token)
            except OSError as error:
                why = os.strerror(error.errno) if error.errno else str(error)
                where = f"[{api.listen.address}]" if api.listen.address.version == 6 else str(api.listen.address)
                problems.append(f"{where}:{api.listen.port}: {why}; next try in {self._retry_s:g} s")
        else:
            self._open.admit_by(token)
        self._desk.api_problem(problems)
        return self._open is None

    async def _close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            await opened.close()


async def _server() -> type[Server]:
    """The class, loaded in a thread: its libraries take most of a second."""

    def loaded() -> type[Server]:
        from gslb.api.server import Server  # noqa: PLC0415

        return Server

    return await asyncio.to_thread(loaded)


def open_api(desk: Desk) -> Api:
    """See `gslb.control.desk.Opens`."""
    return HttpApi(desk)
