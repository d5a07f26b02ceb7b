"""gRPC health checks against grpclib's server, and against servers that are none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from ssl import SSLContext

import h2.config
import h2.connection
import h2.events
import pytest
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health
from grpclib.server import Server
from hypothesis import given
from hypothesis import strategies as st

from healthcheck.check import Sample
from healthcheck.probes.connection import Failed
from healthcheck.probes.grpc import HealthTalk
from tests.healthcheck.probes.certificates import server_context, trusted
from tests.healthcheck.probes.servers import (
    LOCAL,
    SHORT_S,
    Handler,
    check,
    closed_port,
    closing,
    flooding,
    response,
    sample,
    serving,
    silent,
)


class Cart:
    """A service whose health is told."""

    def __mapping__(self) -> dict[str, object]:
        return {"/shop.v1.Cart/Add": None}


@asynccontextmanager
async def health(*, serving: bool, context: SSLContext | None = None) -> AsyncIterator[int]:
    """A gRPC server whose service shop.v1.Cart is as said; gives its port."""
    status = ServiceStatus()
    status.set(serving)
    cart = Cart()
    server = Server([Health({cart: [status]})])
    listener = socket.create_server((LOCAL, 0))
    await server.start(sock=listener, ssl=context)
    try:
        yield listener.getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def asked_health(settings: dict[str, object], *, serving: bool = True, context: SSLContext | None = None) -> Sample:
    async def main() -> Sample:
        async with health(serving=serving, context=context) as port:
            return await sample(check("grpc", port, settings))

    return asyncio.run(main())


def asked(handler: Handler, timeout_s: float = 5.0) -> Sample:
    async def main() -> Sample:
        async with serving(handler) as port:
            return await sample(check("grpc", port, timeout_s=timeout_s))

    return asyncio.run(main())


def test_the_server_and_a_service_are_serving() -> None:
    assert asked_health({}).ok
    assert asked_health({"service": "shop.v1.Cart", "host": "shop.example.com"}).ok


def test_a_service_is_not_serving() -> None:
    found = asked_health({"service": "shop.v1.Cart"}, serving=False)
    assert found.why == "NOT_SERVING, expected SERVING"


def test_a_service_is_not_known() -> None:
    assert asked_health({"service": "shop.v1.Cars"}).why == "gRPC status NOT_FOUND"


def test_over_tls(tmp_path: Path) -> None:
    soon = server_context(alpn="h2", ends_in=timedelta(days=5, hours=1))
    with trusted(tmp_path):
        found = asked_health({"tls": True}, context=soon)
    assert (found.why, found.warning) == ("", "the certificate expires in 5 days")
    assert asked_health({"tls": True}, context=soon).why == "the certificate's issuer is unknown"
    assert asked_health({"tls": True, "verify": False}, context=soon).ok


def web(reader_says: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(reader_says)
        await reader.read()

    return handler


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (web(response(400)), "not HTTP/2: HTTP/1.1 400 Said"),
        (web(bytes(range(256))), r"not HTTP/2: \x00\x01\x02"),
        (closing, "co|closed without an answer"),
        (
            flooding(b"\0\0\0\x04\0\0\0\0\0", b"\0\0\x04\x08\0\0\0\0\0\0\0\0\1" * 1000),
            "more than 64 kB came, and no whole answer",
        ),
        (flooding(b"", b"\xff" * 65536), r"not HTTP/2: \xff"),
    ],
    ids=["http", "octets", "close", "windows", "ff"],
)
def test_a_server_of_something_else(handler: Handler, why: str) -> None:
    found = asked(handler).why
    assert any(found.startswith(one) for one in why.split("|")), found


def test_no_answer() -> None:
    assert asked(silent, SHORT_S).why == "no answer within 300ms"
    assert asyncio.run(sample(check("grpc", closed_port()))).why == "connection refused"
    assert asyncio.run(sample(check("grpc", None))).why == "no port to connect to"


def talked(headers: list[tuple[str, str]], data: bytes, trailers: list[tuple[str, str]] | None, size: int) -> str:
    """What a talk makes of one answer, which comes `size` octets at a time: "" or why it failed."""
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    talk = HealthTalk("", "localhost", "http")
    server.initiate_connection()
    server.receive_data(talk.begin())
    server.send_headers(1, headers, end_stream=trailers is None and not data)
    if data:
        server.send_data(1, data, end_stream=trailers is None)
    if trailers is not None:
        server.send_headers(1, trailers, end_stream=True)
    said = server.data_to_send()
    try:
        for at in range(0, len(said), size):
            talk.receive(said[at : at + size])
        assert talk.done
        talk.judge()
    except Failed as failed:
        return str(failed)
    return ""


OK = [(":status", "200"), ("content-type", "application/grpc")]
DONE = [("grpc-status", "0")]


@pytest.mark.parametrize(
    ("headers", "data", "trailers", "why"),
    [
        (OK, b"\0\0\0\0\2\x08\1", DONE, ""),
        (OK, b"\0\0\0\0\2\x08\2", DONE, "NOT_SERVING, expected SERVING"),
        (OK, b"\0\0\0\0\2\x08\3", DONE, "SERVICE_UNKNOWN, expected SERVING"),
        (OK, b"\0\0\0\0\2\x08\x7f", DONE, "127, expected SERVING"),
        (OK, b"\0\0\0\0\0", DONE, "UNKNOWN, expected SERVING"),
        (OK, b"\1\0\0\0\2\x08\1", DONE, "the answer is no gRPC message"),
        (OK, b"\0\0\0\0\3\x08\1", DONE, "the answer is no gRPC message"),
        (OK, b"\0\0", DONE, "the answer is no gRPC message"),
        (OK, b"", DONE, "the answer is no gRPC message"),
        (OK, b"\0\0\0\0\2\x10\1", DONE, "the answer is no HealthCheckResponse"),
        (OK, b"\0" * 1025, DONE, "a message of more than 1024 octets"),
        (OK, b"\0\0\0\0\2\x08\1", [("grpc-status", "14"), ("grpc-message", "draining")], "gRPC status UNAVAILABLE: draining"),
        ([*OK, ("grpc-status", "12")], b"", None, "gRPC status UNIMPLEMENTED"),
        (OK, b"", [("grpc-status", "99")], "gRPC status 99"),
        (OK, b"", [("grpc-status", "5"), ("grpc-message", "a\x1b[31mb")], "gRPC status NOT_FOUND: a?[31mb"),
        (OK, b"", [("grpc-status", "\u00b2")], "gRPC status \u00b2"),
        (OK, b"\0\0\0\0\2\x08\1", [("other", "x")], "gRPC status missing"),
        ([(":status", "503")], b"busy", None, "HTTP status 503, expected 200"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 7, 65536])
def test_answers(
    headers: list[tuple[str, str]], data: bytes, trailers: list[tuple[str, str]] | None, why: str, size: int
) -> None:
    assert talked(headers, data, trailers, size) == why


def test_a_reset_and_a_farewell() -> None:
    for farewell in ("reset_stream", "close_connection"):
        server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        talk = HealthTalk("a" * 200, "localhost", "http")
        server.initiate_connection()
        events = server.receive_data(talk.begin())
        (data,) = (event.data for event in events if isinstance(event, h2.events.DataReceived))
        assert data == b"\0\0\0\0\xcb\x0a\xc8\1" + b"a" * 200
        server.reset_stream(1, 7) if farewell == "reset_stream" else server.close_connection(7)
        with pytest.raises(Failed, match=r"the call was refused by HTTP/2 \(error .*7\)|REFUSED"):
            talk.receive(server.data_to_send())


@given(st.lists(st.binary(max_size=60), max_size=8), st.booleans())
def test_octets_at_random_raise_nothing_else(pieces: list[bytes], greeted: bool) -> None:  # noqa: FBT001
    talk = HealthTalk("", "localhost", "http")
    talk.begin()
    with suppress(Failed):
        if greeted:
            talk.receive(b"\0\0\0\x04\0\0\0\0\0")
        for piece in pieces:
            talk.receive(piece)
