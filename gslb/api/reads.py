"""What the API tells: status, plan, explanations, overrides, health of the node itself."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from typing import Any

from aiohttp import web

from gslb.api.fields import Fields, query_fields, refuse
from gslb.api.problem import Problem
from gslb.config.zonefile import name_wire, type_number
from gslb.control.desk import Desk
from gslb.control.report import Report
from gslb.control.store import OverridesRead
from gslb.inspect.basis import Basis, NothingInForce, from_desk
from gslb.inspect.explanation import report as explained
from gslb.inspect.explanation_json import as_json
from gslb.inspect.question import Asked
from gslb.model.deployment import Address, Network
from gslb.model.world import Override

REPORT_S = 0.5  # a report serves all who ask within that time
_WAITING = 8  # explanations that may wait for the one that is made
_LOOPBACK = "127.0.0.1"


class Reads:
    """Handlers that change nothing."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._reported: tuple[float, Report] | None = None
        self._explaining = asyncio.Lock()
        self._waiting = 0

    def report(self) -> Report:
        """The report, at most REPORT_S old."""
        now = asyncio.get_running_loop().time()
        if self._reported is None or now - self._reported[0] > REPORT_S:
            self._reported = now, self._desk.report()
        return self._reported[1]

    async def status(self, request: web.Request) -> web.Response:
        """`gslb status --json`."""
        query_fields(request.query.items(), ())
        return as_response(self.report())

    async def plan(self, request: web.Request) -> web.Response:
        """The plan in force, as it is stored."""
        query_fields(request.query.items(), ())
        plan = self._desk.plan
        if plan is None:
            raise Problem(HTTPStatus.NOT_FOUND, "there is no plan yet")
        body = await asyncio.to_thread(plan.to_bytes)
        return web.Response(body=body, content_type="application/json")

    async def overrides(self, request: web.Request) -> web.Response:
        """The overrides that are stored, and whether each holds."""
        query_fields(request.query.items(), ())
        now, stored = self._desk.world().now, self._desk.overrides()
        return await asyncio.to_thread(_overrides, stored, now)

    async def explain(self, request: web.Request) -> web.Response:
        """`gslb explain --json`."""
        asked = _asked(query_fields(request.query.items(), ("name", "type", "client", "resolver")))
        if self._waiting >= _WAITING:
            detail = f"{_WAITING} explanations are being made already"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "1"})
        self._waiting += 1
        try:
            async with self._explaining:
                basis = basis_of(self._desk)
                return as_response(await asyncio.to_thread(lambda: as_json(explained(basis, asked))))
        finally:
            self._waiting -= 1

    async def alive(self, _: web.Request) -> web.Response:
        """Whether the controller is alive: it answers."""
        return as_response({"status": "ok"})

    async def ready(self, _: web.Request) -> web.Response:
        """Whether this node answers queries by a plan: each executor is asked."""
        lacking = unready(self.report()) or list(await self._desk.silent())
        if lacking:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(lacking), {"Retry-After": "1"})
        return as_response({"status": "ready"})


def unready(report: Report) -> list[str]:
    """What keeps the node from answering; nothing where it does."""
    lacking = [] if report["generation"] is not None else ["no plan is in force"]
    if not any(worker["alive"] and worker["kind"] == "udp" for worker in report["workers"]):
        lacking.append("no worker that answers over UDP is alive")
    return lacking


def basis_of(desk: Desk) -> Basis:
    """What the controller goes by now.  Raises Problem."""
    try:
        return from_desk(desk)
    except (NothingInForce, OSError, ValueError) as error:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "5"}) from error


def as_response(body: Any, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """JSON."""
    return web.Response(
        status=status, body=json.dumps(body, ensure_ascii=True).encode(), content_type="application/json"
    )


def override_json(override: Override, now: float) -> dict[str, object]:
    """One override, and whether it holds."""
    return {**asdict(override), "state": override.state.value, "holds": override.holds_at(now)}


def _overrides(stored: OverridesRead, now: float) -> web.Response:
    told = [override_json(one, now) for one in stored.overrides or ()]
    return as_response({"overrides": told, "note": stored.note})


def _asked(fields: Fields) -> Asked:
    name, rtype = fields.text("name"), fields.maybe_text("type") or "A"
    try:
        wire = name_wire(name).lower()
    except ValueError as error:
        refuse(f"parameter name: {name[:80]!r} - {error}")
    try:
        number = type_number(rtype)
    except ValueError as error:
        refuse(f"parameter type: {error}")
    return Asked(wire, number, _network(fields.maybe_text("client")), _address(fields.maybe_text("resolver")))


def _network(text: str | None) -> Network | None:
    if text is None:
        return None
    try:
        return ip_network(text, strict=False)
    except ValueError:
        refuse(f"parameter client: {text[:80]!r} - expected an address or a subnet")


def _address(text: str | None) -> Address:
    try:
        return ip_address(_LOOPBACK if text is None else text)
    except ValueError:
        refuse(f"parameter resolver: {text!r:.80} - expected an address")
