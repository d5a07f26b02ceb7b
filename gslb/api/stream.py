"""Changes, and sampled queries, as server-sent events.

Standard: HTML, section 9.2 (server-sent events): `id`, `event`, `data`, `retry`, and comments as heartbeats.
Rule: each reader is an id in the ring of events and one socket, so a slow one costs no memory: it is told what it missed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable
from contextlib import nullcontext
from http import HTTPStatus
from typing import Any

from aiohttp import web

from gslb.api.connection import Connection
from gslb.api.fields import Fields, query_fields, refuse
from gslb.api.gate import dress
from gslb.api.problem import Problem
from gslb.control.events import Event, Hub, News
from gslb.control.queries import MOST_ONE_IN, Queries

READERS = 32
HEARTBEAT_S = 15.0
WRITE_S = 10.0  # for a reader to take what was written
RETRY_MS = 3_000
_LAST_MOST = 200


class Stream:
    """All readers of one hub, and of the sample of queries."""

    def __init__(self, hub: Hub, queries: Queries, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._hub = hub
        self._queries = queries
        self._heartbeat_s = heartbeat_s
        self._readers: set[asyncio.Event] = set()  # each says that one is over

    def close(self) -> None:
        """End all streams; their readers come back by themselves."""
        for over in self._readers:
            over.set()

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Follow the changes from now on, from `Last-Event-ID`, or from the last ones by `?last=20`.

        With `?queries=100` one query in 100 as well.
        """
        fields = query_fields(request.query.items(), ("last", "queries"))
        first, one_in = self._first(request, fields), _one_in(fields)
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
            with self._queries.listening(one_in) if one_in else nullcontext():
                await self._follow(answer, first, over, asks=bool(one_in))
        except (ConnectionError, TimeoutError):  # it went away, or reads no more
            request.protocol.force_close()
        finally:
            self._readers.remove(over)
        return answer

    async def _follow(self, answer: web.StreamResponse, news: News, over: asyncio.Event, *, asks: bool) -> None:
        number, queries = self._hub.last, self._queries
        told, lost = queries.hub.last, queries.lost
        await _write(answer, f"retry: {RETRY_MS}\n\n" + self._text(news))
        while True:
            waiting = [over.wait(), self._hub.wait(number, self._heartbeat_s)]
            if asks:
                waiting.append(queries.hub.wait(told, self._heartbeat_s))
            await _first_of(waiting)
            if over.is_set():
                return
            text = self._text(self._hub.after(number))
            number = self._hub.last
            if asks:
                text += _queries(queries.hub.after(told), queries.lost - lost)
                told, lost = queries.hub.last, queries.lost
            await _write(answer, text or ": still here\n\n")

    def _first(self, request: web.Request, fields: Fields) -> News:
        last = fields.maybe_text("last")
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
        return f"id: {self._hub.id_of(event.number)}\nevent: change\ndata: {_json(event)}\n\n"


def _one_in(fields: Fields) -> int:
    """Of how many queries one is asked for; 0: of none."""
    given = fields.maybe_text("queries")
    if given is None:
        return 0
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= MOST_ONE_IN):
        refuse(f"parameter queries: {given[:40]!r} - expected a number from 1 to {MOST_ONE_IN}: one query in so many")
    return int(given)


def _queries(news: News, lost: int) -> str:
    """Queries have no ids: who comes back is told of those that come then."""
    missed = lost + (news.missed or 0)
    told = [f"event: query\ndata: {_json(event)}\n\n" for event in news.events]
    return "".join(told) + (f"event: lost\ndata: {json.dumps({'queries': missed})}\n\n" if missed else "")


def _json(event: Event) -> str:
    return json.dumps({"time": event.at, **event.body}, ensure_ascii=True)


async def _first_of(waiting: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Wait for the first of these, and leave the others."""
    tasks = [asyncio.create_task(one) for one in waiting]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _write(answer: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(WRITE_S):
        await answer.write(text.encode())
