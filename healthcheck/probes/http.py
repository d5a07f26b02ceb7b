"""`http` and `https`: every path is answered with an expected status.  IO.

The answer counts as soon as its headers are whole: no redirect is followed, and the body is not waited for.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import cast

from healthcheck.check import Check, Sample
from healthcheck.probes.connection import Failed, converse
from healthcheck.probes.marks import mark_of
from healthcheck.probes.response import Response
from healthcheck.probes.tls import Secured, certificate_warning, secured

DEFAULT_PORTS = {"http": 80, "https": 443}
_CODES_SHOWN = 8


async def probe(check: Check) -> tuple[Sample, ...]:
    """One sample a path; the paths are asked at the same time, each over a connection of its own."""
    paths = cast("Sequence[str]", check.settings.get("path", ("/",)))
    safe = secured(check.settings, check.address, "http/1.1") if check.kind == "https" else None
    if len(paths) == 1:
        return (await _ask(check, paths[0], safe),)
    return tuple(await asyncio.gather(*(_ask(check, path, safe) for path in paths)))


async def _ask(check: Check, path: str, safe: Secured | None) -> Sample:
    began = time.perf_counter()
    port = check.port or DEFAULT_PORTS[check.kind]
    host = str(check.settings.get("host") or host_header(check.address, port, check.kind))
    response = Response(request(host, path))
    warning = ""
    try:
        session = await converse(response, check.address, port, check.timeout_s, safe, mark_of(check))
        if session is not None and safe is not None:
            warning = _warning(session, check, safe)
        expected = cast("Collection[int]", check.settings.get("expect", (200,)))
        why = "" if response.status in expected else f"status {response.status}, expected {_codes(expected)}"
    except Failed as failed:
        why = str(failed)
    return Sample(not why, time.perf_counter() - began, why, path, warning)


def _warning(session: ssl.SSLObject, check: Check, safe: Secured) -> str:
    now = time.time()  # noqa: TID251  # certificates end by the calendar
    return certificate_warning(session, check.settings, safe.name, now)


def _codes(expected: Collection[int]) -> str:
    first = sorted(expected)[:_CODES_SHOWN]
    return " or ".join(map(str, first)) + (" or others" if len(expected) > _CODES_SHOWN else "")


def host_header(address: str, port: int, scheme: str) -> str:
    """The Host header of an address (RFC 9110 section 7.2)."""
    host = f"[{address}]" if ":" in address else address
    return host if port == DEFAULT_PORTS[scheme] else f"{host}:{port}"


@lru_cache(maxsize=4096)
def request(host: str, target: str) -> bytes:
    """A GET that asks for an answer as it is, and for the connection's end behind it."""
    lines = (
        f"GET {target} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: gslb-healthcheck",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
