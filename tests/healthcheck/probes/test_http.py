"""HTTP checks against servers of every kind of manners."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest
from aiohttp import web

from healthcheck.check import Check, Sample
from tests.healthcheck.probes.servers import (
    LOCAL,
    SHORT_S,
    Handler,
    check,
    closed_port,
    closing,
    dripping,
    flooding,
    full_port,
    resetting,
    response,
    sample,
    samples,
    saying,
    serving,
    silent,
)

REDIRECT = response(302, b"", "Location: http://192.0.2.1/")
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def asked(handler: Handler, **settings: object) -> Sample:
    async def main() -> Sample:
        async with serving(handler) as port:
            return await sample(check("http", port, settings))

    return asyncio.run(main())


def waited(handler: Handler) -> Sample:
    async def main() -> Sample:
        async with serving(handler) as port:
            return await sample(check("http", port, timeout_s=SHORT_S))

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("reply", "settings", "why"),
    [
        (response(), {}, ""),
        (response(204, b""), {"expect": (200, 204)}, ""),
        (NO_CONTENT, {"expect": [204]}, ""),
        (b"HTTP/1.0 200 OK\r\n\r\n", {}, ""),
        (b"HTTP/1.1 200\r\n\r\n", {}, ""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + response(), {}, ""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response(), {}, ""),
        (response(500), {}, "status 500, expected 200"),
        (response(404), {"expect": (200, 204)}, "status 404, expected 200 or 204"),
        (REDIRECT, {}, "status 302, expected 200"),
        (REDIRECT, {"expect": (302,)}, ""),
        (response(500), {"expect": tuple(range(100, 500))}, "status 500, expected 100 or 101 or 102 or 103 or 104 or 105 or 106 or 107 or others"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n\0\0\0", {}, "status 101, expected 200"),
        (response() + b"\xff\0 junk behind it", {}, ""),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n", {}, r"not HTTP: SSH-2.0-OpenSSH_9.2p1 Debian\r\n"),
        (bytes(range(256)) * 8, {}, "not HTTP: \\x00\\x01"),
        (b"HTTP/2 200\r\n\r\n", {}, "not HTTP: HTTP/2 200"),
        (b"HTTP/1.1 9999 Odd\r\n\r\n", {}, "not HTTP: HTTP/1.1 9999 Odd"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", {}, "not HTTP: HTTP/1.1 200 OK"),
        (b"HTTP/1.1 200 OK\r\nServer: x\r\n", {}, "closed within the headers"),
        (b"", {}, "closed without an answer"),
    ],
)  # fmt: skip
def test_answers(reply: bytes, settings: dict[str, object], why: str) -> None:
    found = asked(saying(reply), **settings)
    assert found.why[: len(why)] == why
    assert found.ok == (not why)


def test_closes_at_once() -> None:
    """With our request unread the kernel may say it by a reset."""
    assert asked(closing).why in ("closed without an answer", "connection reset")


def test_resets() -> None:
    assert asked(resetting).why == "connection reset"


def test_says_nothing() -> None:
    assert waited(silent).why == "no answer within 300ms"


def test_drips() -> None:
    """A slow drip is not taken for life: the deadline is for the whole answer."""
    assert waited(dripping(response(), 0.02)).why == "no whole answer within 300ms"


def test_an_endless_body_is_not_read() -> None:
    """The status is known when the headers are whole."""
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    assert asked(flooding(head, b"x" * 65536)).ok


@pytest.mark.parametrize(
    "handler",
    [
        flooding(b"HTTP/1.1 200 OK\r\n", b"X-Flood: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 1000),
        flooding(b"HTTP/1.1 200 OK\r\nX-Endless: ", b"x" * 65536),
        flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    ],
    ids=["headers", "one header", "interim responses"],
)
def test_a_flood_of_headers_is_bounded(handler: Handler) -> None:
    tracemalloc.start()
    found = asked(handler)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.why == "headers of more than 16 kB"
    assert peak < 4_000_000


def test_nobody_listens() -> None:
    assert asyncio.run(sample(check("http", closed_port()))).why == "connection refused"


def test_no_connection() -> None:
    """SYNs are dropped: no refusal, no connection."""
    with full_port() as port:
        found = asyncio.run(sample(check("http", port, timeout_s=SHORT_S)))
    assert found.why == "no connection within 300ms"
    assert found.latency_s > SHORT_S / 2


def test_a_name_that_is_none() -> None:
    found = asyncio.run(sample(check("http", 80, address="no-such-host.invalid")))
    assert found.why.startswith("the host's name cannot be resolved")


async def _with_paths(port_of: web.Application, make: Check) -> tuple[Sample, ...]:
    runner = web.AppRunner(port_of, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOCAL, 0)
        await site.start()
        port = runner.addresses[0][1]
        return await samples(check("http", port, make.settings, timeout_s=make.timeout_s))
    finally:
        await runner.cleanup()


def test_each_path_is_a_sample() -> None:
    """A target that passes /ping and fails /login is failing, and the hung path does not hide the others."""
    seen: list[tuple[str, str, str]] = []

    async def page(request: web.Request) -> web.Response:
        seen.append((request.path_qs, request.headers["Host"], request.headers["User-Agent"]))
        if request.path == "/hang":
            await asyncio.Event().wait()
        return web.Response(status=500 if request.path == "/login" else 200)

    app = web.Application()
    app.router.add_get("/{tail:.*}", page)
    paths = ["/ping?deep=1", "/login", "/hang"]
    found = asyncio.run(
        _with_paths(app, check("http", None, {"path": paths, "host": "www.example.com"}, timeout_s=SHORT_S))
    )
    assert [(one.path, one.ok, one.why) for one in found] == [
        ("/ping?deep=1", True, ""),
        ("/login", False, "status 500, expected 200"),
        ("/hang", False, "no answer within 300ms"),
    ]
    assert sorted(seen) == sorted((path, "www.example.com", "gslb-healthcheck") for path in paths)
    assert found[0].latency_s < found[2].latency_s


def test_the_target_is_the_host_where_none_is_given() -> None:
    heard: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        port = writer.get_extra_info("sockname")[1]
        assert f"Host: {LOCAL}:{port}\r\n".encode() in heard[0]
        writer.write(response())

    assert asked(handler).ok
    assert heard[0].startswith(b"GET / HTTP/1.1\r\n")


def test_cancelled_by_its_runner_leaves_nothing_open() -> None:
    ended = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.read() == b""
        ended.set()

    async def main() -> None:
        async with serving(handler) as port:
            task = asyncio.create_task(samples(check("http", port)))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(5):
                await ended.wait()

    asyncio.run(main())
