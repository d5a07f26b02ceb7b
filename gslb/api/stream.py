"""Changes as server-sent events.

Standard: HTML, section 9.2 (server-sent events): `id`, `event`, `data`, `retry`, and comments as heartbeats.
Rule: each reader is an id in the ring of events and one socket, so a slow one costs no memory: it is told what it missed.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus

from aiohttp import web

from gslb.api.connection import Connection
from gslb.api.fields import query_fields, refuse
from gslb.api.gate import dress
from gslb.api.problem import Problem
from gslb.control.events import Event, Hub, News

READERS = 32
HEARTBEAT_S = 15.0
WRITE_S = 10.0  # for a reader to take what was written
RETRY_MS = 3_000
_LAST_MOST = 200


class Stream:
    """All readers of one hub."""

    def __init__(self, hub: Hub, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._hub = hub
        self._heartbeat_s = heartbeat_s
        self._readers: set[asyncio.Event] = set()  # each says that one is over

    def close(self) -> None:
        """End all streams; their readers come back by themselves."""
        for over in self._readers:
            over.set()

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Follow the changes from now on, from `Last-Event-ID`, or from the last ones by `?last=20`."""
        first = self._first(request)
        if len(self._readers) >= READERS:
            detail = f"{READERS} readers follow the events already"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "10"})
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        dress(answer)
        over = asyncio.Event()
        self._readers.add(over)
        try:
            await answer.prepare(request)
            assert isinstance(request.protocol, Connection)
            request.protocol.streams(over.set)
            await self._follow(answer, first, over)
        except (ConnectionError, TimeoutError):  # it went away, or reads no more
            request.protocol.force_close()
        finally:
            self._readers.remove(over)
        return answer

    async def _follow(self, answer: web.StreamResponse, news: News, over: asyncio.Event) -> None:
        number = self._hub.last
        await _write(answer, f"retry: {RETRY_MS}\n\n" + self._text(news))
        while True:
            waiting = asyncio.create_task(self._hub.wait(number, self._heartbeat_s))
            ending = asyncio.create_task(over.wait())
            try:
                await asyncio.wait((waiting, ending), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                ending.cancel()
            if over.is_set():
                return
            news = self._hub.after(number)
            number = self._hub.last
            await _write(answer, self._text(news) or ": still here\n\n")

    def _first(self, request: web.Request) -> News:
        last = query_fields(request.query.items(), ("last",)).maybe_text("last")
        given = request.headers.get("Last-Event-ID")
        if given:
            return self._hub.since(given)
        if last is None:
            return News(())
        if not (last.isascii() and last.isdigit() and int(last[:9]) <= _LAST_MOST):
            refuse(f"parameter last: {last[:40]!r} - expected a number from 0 to {_LAST_MOST}")
        return News(self._hub.latest(int(last))[::-1])

    def _text(self, news: News) -> str:
        gap = ""
        if news.missed != 0:
            gap = f"event: gap\ndata: {json.dumps({'missed': news.missed})}\n\n"
        return gap + "".join(self._event(event) for event in news.events)

    def _event(self, event: Event) -> str:
        data = json.dumps({"time": event.at, **event.body}, ensure_ascii=True)
        return f"id: {self._hub.id_of(event.number)}\nevent: change\ndata: {data}\n\n"


async def _write(answer: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(WRITE_S):
        await answer.write(text.encode())
