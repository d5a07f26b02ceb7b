"""Pages of load, over HTTP and HTTPS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path

import pytest

from healthcheck.check import Check, Sample
from tests.healthcheck.probes.certificates import server_context, trusted
from tests.healthcheck.probes.servers import (
    LOCAL,
    SHORT_S,
    Handler,
    closed_port,
    flooding,
    response,
    sample,
    saying,
    serving,
    silent,
)

ROOT = {"json": "$"}
PAGE = b"""# HELP requests The requests.
# TYPE requests counter
requests{code="200",zone="a"} 40 1700000000000
requests{code="500",zone="a"} 2.5
requests_created 1.7e9
"""


def read(
    handler: Handler, where: Mapping[str, str] = ROOT, context: ssl.SSLContext | None = None, timeout_s: float = 5.0
) -> Sample:
    async def main() -> Sample:
        async with serving(handler, context) as port:
            scheme = "http" if context is None else "https"
            url = f"{scheme}://{LOCAL}:{port}/load?of=web"
            return await sample(Check("load", "load", "", None, timeout_s, {"url": url, **where}))

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "where", "value"),
    [
        (b'{"a": {"b": [{"c": 1}, {"c": 420.5}]}}', {"json": "$.a.b[1].c"}, 420.5),
        (b"17", {"json": "$"}, 17),
        (PAGE, {"metric": "requests"}, 42.5),
        (PAGE, {"metric": 'requests{code="200"}'}, 40),
    ],
)
def test_a_value(body: bytes, where: dict[str, str], value: float) -> None:
    found = read(saying(response(200, body)), where)
    assert (found.ok, found.value, found.why) == (True, value, "")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"rps": NaN}', "NaN is no load"),
        (b'{"rps": -1}', "-1 is no load - expected 0 to 1e+12"),
        (b'{"rps": Infinity}', "inf is no load - expected 0 to 1e+12"),
        (b'{"rps": 1e308}', "1e+308 is no load - expected 0 to 1e+12"),
        (b'{"rps": "12"}', "'12' is no number"),
        (b'{"rps": true}', "True is no number"),
        (b"{}", "$ has no 'rps'"),
        (b"<html>", "not JSON (line 1 column 1: not JSON)"),
        (b"[" * 100_000, "not JSON (nested too deeply)"),
        (b"", "not JSON (line 1 column 1: not JSON)"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_no_value(body: bytes, why: str) -> None:
    found = read(saying(response(200, body)), {"json": "$.rps"})
    assert (found.ok, found.value, found.why) == (False, None, why)


def test_bodies_of_each_framing() -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    assert read(saying(head + b"\r\n7")).value == 7
    assert read(saying(head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n4\r\n1\r\n2\r\n0\r\n\r\n")).value == 42
    assert read(saying(head + b"Content-Length: 9\r\n\r\n7")).why == "closed within the body"


def test_failures_of_the_page() -> None:
    assert read(saying(response(503))).why == "status 503, expected 200"
    assert read(silent, timeout_s=SHORT_S).why == "no answer within 300ms"
    endless = flooding(b"HTTP/1.1 200 OK\r\n\r\n", b"7" * 65536)
    assert read(endless).why == "a body of more than 1000 kB"
    huge = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert read(flooding(huge, b"10000\r\n" + b"7" * 65536 + b"\r\n")).why == "a body of more than 1000 kB"


@pytest.mark.parametrize("url", ["ftp://192.0.2.1/", "nonsense", "http://", ""])
def test_a_url_that_is_none(url: str) -> None:
    found = asyncio.run(sample(Check("load", "load", "", None, 5.0, {"url": url, "json": "$"})))
    assert found.why == f"{url} is no URL with http or https"


def test_nobody_listens() -> None:
    url = f"http://{LOCAL}:{closed_port()}/"
    assert (
        asyncio.run(sample(Check("load", "load", "", None, 5.0, {"url": url, "json": "$"}))).why == "connection refused"
    )


def test_over_tls(tmp_path: Path) -> None:
    page = saying(response(200, b"5"))
    with trusted(tmp_path):
        assert read(page, context=server_context()).value == 5
    assert read(page, context=server_context()).why == "the certificate's issuer is unknown"
