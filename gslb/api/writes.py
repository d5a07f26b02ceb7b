"""What the API changes: overrides, and loads that are pushed."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from http import HTTPStatus

from aiohttp import web

from gslb.api.connection import Connection
from gslb.api.fields import Fields, body_fields, query_fields, refuse
from gslb.api.problem import Problem
from gslb.api.reads import as_response, basis_of, override_json
from gslb.config.problem import one_of
from gslb.config.zonefile import type_text
from gslb.control.desk import Desk
from gslb.control.store import StateError
from gslb.control.targets import UnknownTarget, target_of
from gslb.inspect.override import Done, WouldHarm, begin, end, lasting, words
from gslb.model.deployment import PoolId
from gslb.model.world import Forced, Override

NOBODY = "api"  # who asks without a name


class Writes:
    """Handlers that change something."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._one = asyncio.Lock()  # an edit decides twice; one at a time is enough

    async def begin(self, request: web.Request) -> web.Response:
        """Put an override in force."""
        fields = await self._fields(request, ("target", "state", "why", "who", "for", "force"))
        async with self._one:
            basis = basis_of(self._desk)
            try:
                new = Override(
                    target=target_of(basis.model, fields.text("target")),
                    state=_state(fields),
                    who=_who(fields),
                    why=_words(fields, "why"),
                    since=basis.world.now,
                    until=_until(fields, basis.world.now),
                    force=fields.flag("force"),
                    node=basis.store.folder.name,
                )
                done = await asyncio.to_thread(begin, basis, new)
            except UnknownTarget as error:
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"field target: {error}") from error
            except WouldHarm as error:
                detail = f'{error}; nothing was changed ("force": true does it all the same)'
                raise Problem(HTTPStatus.CONFLICT, detail) from error
            except StateError as error:
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
        self._desk.overrides_written()
        return as_response(_done_json(done, basis.world.now))

    async def end(self, request: web.Request) -> web.Response:
        """End the override of a target."""
        fields = query_fields(request.query.items(), ("target", "who"))
        what = fields.text("target")
        async with self._one:
            basis = basis_of(self._desk)
            try:
                done = await asyncio.to_thread(end, basis, what, _who(fields))
            except UnknownTarget as error:
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"parameter target: {error}") from error
            except StateError as error:
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
        if done.replaced is None:
            raise Problem(HTTPStatus.NOT_FOUND, f"{done.target}: there is no override")
        self._desk.overrides_written()
        return as_response(_done_json(done, basis.world.now))

    async def load(self, request: web.Request) -> web.Response:
        """Take a pool's load."""
        fields = await self._fields(request, ("pool", "value", "at"))
        pool, value, at = fields.text("pool"), fields.number("value"), fields.maybe_number("at")
        model = basis_of(self._desk).model
        if pool not in model.pools:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"field pool: {pool[:80]!r} - {one_of(model.pools, pool)}")
        try:
            self._desk.push_load(PoolId(pool), value, at)
        except ValueError as error:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _fields(self, request: web.Request, known: tuple[str, ...]) -> Fields:
        query_fields(request.query.items(), ())
        if request.content_type != "application/json" or "Content-Encoding" in request.headers:
            detail = "expected a body with Content-Type: application/json and no Content-Encoding"
            raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
        assert isinstance(request.protocol, Connection)
        body_s = request.protocol.patience.body_s
        try:
            async with asyncio.timeout(body_s):
                body = await request.read()
        except TimeoutError:
            detail = f"the body did not arrive within {body_s:g} s"
            raise Problem(HTTPStatus.REQUEST_TIMEOUT, detail, {"Connection": "close"}) from None
        return body_fields(body, known)


def _state(fields: Fields) -> Forced:
    written = fields.text("state")
    try:
        return Forced(written)
    except ValueError:
        refuse(f"field state: {written[:40]!r} - expected one of {', '.join(Forced)}")


def _words(fields: Fields, name: str) -> str:
    try:
        return words(fields.text(name))
    except ValueError as error:
        refuse(f"field {name}: expected {error}")


def _who(fields: Fields) -> str:
    return _words(fields, "who") if fields.maybe_text("who") is not None else NOBODY


def _until(fields: Fields, now: float) -> float | None:
    written = fields.maybe_text("for")
    if written is None:
        return None
    try:
        return now + lasting(written)
    except ValueError as error:
        refuse(f"field for: {written[:40]!r} - expected {error}")


def _done_json(done: Done, now: float) -> dict[str, object]:
    return {
        "target": done.target,
        "override": None if done.new is None else override_json(done.new, now),
        "replaced": None if done.replaced is None else override_json(done.replaced, now),
        "moves": [{**asdict(move), "rtype": type_text(move.rtype)} for move in done.moves],
        "backends": [asdict(turn) for turn in done.turns],
        "note": done.note,
    }
