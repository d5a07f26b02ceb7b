"""`load`: a page is read, and a number found in it.  IO.

The settings are `url`, and `json` (a path) or `metric` (a series): see `gslb.model.loadpage`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from gslb.model import loadpage
from healthcheck.check import Check, Sample
from healthcheck.probes.connection import Failed, converse
from healthcheck.probes.http import DEFAULT_PORTS, host_header, request
from healthcheck.probes.response import Response
from healthcheck.probes.tls import secured

PAGE_OCTETS = 1_000_000


async def probe(check: Check) -> tuple[Sample, ...]:
    """One sample, whose `value` is the load."""
    began = time.perf_counter()
    try:
        page = await _page(str(check.settings.get("url", "")), check)
        value, why = _value(page, check.settings), ""
    except (Failed, ValueError) as error:  # loadpage.Unreadable is one
        value, why = None, str(error)
    return (Sample(not why, time.perf_counter() - began, why, value=value),)


async def _page(url: str, check: Check) -> bytes:
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise Failed(f"{url[:100]} is no URL with http or https")
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    response = Response(request(host_header(parts.hostname, port, parts.scheme), target), PAGE_OCTETS)
    safe = secured(check.settings, parts.hostname, "http/1.1") if parts.scheme == "https" else None
    await converse(response, parts.hostname, port, check.timeout_s, safe)
    if response.status != 200:
        raise Failed(f"status {response.status}, expected 200")
    return bytes(response.body)


def _value(page: bytes, settings: Mapping[str, object]) -> float:
    if "metric" in settings:
        return loadpage.metric_value(page, loadpage.series(str(settings["metric"])))
    return loadpage.json_value(page, loadpage.json_path(str(settings.get("json"))))
