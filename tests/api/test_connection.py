"""Slow, large and many: what one client can do to a connection, by raw sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import time

import pytest

from gslb.api.connection import CONNECTIONS, FIELDS_MAX, OF_ONE_CLIENT, Patience
from gslb.api.server import Server
from tests.api.desk import LISTEN, FakeDesk
from tests.api.served import Served, wait_for

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


def read_all(one: socket.socket) -> bytes:
    parts = []
    try:
        while part := one.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HEAD + b"X: " + b"a" * 9_000 + b"\r\n\r\n",
        HEAD + b"".join(b"X%d: y\r\n" % number for number in range(FIELDS_MAX + 5)) + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        b"GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n",
    ],
    ids=["tls", "long line", "long field", "many fields", "no colon", "no length", "two lengths", "version"],
)
def test_what_is_no_request_is_a_problem_and_the_end(api: Served, octets: bytes) -> None:
    with api.raw(octets) as one:
        answer = read_all(one)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == 400
    assert api.get("/healthz").status == 200


def test_an_endless_body_ends_with_its_connection(api: Served) -> None:
    head = b"POST /v1/load HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    with api.raw(head) as one:
        assert one.recv(12) == b"HTTP/1.1 401"
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            flood(one, time.monotonic() + 8)
    assert api.get("/healthz").status == 200


def flood(one: socket.socket, end: float) -> None:
    while time.monotonic() < end:
        one.sendall(b"x" * 65536)


async def open_with(desk: FakeDesk, patience: Patience) -> Server:
    return await Server.on(LISTEN, desk, b"token", patience)


def test_deadlines_end_those_who_are_slow(desk: FakeDesk) -> None:
    """A head that never ends, a body that never ends, and a connection on which nothing is asked."""
    patience = Patience(head_s=0.2, answer_s=0.3, idle_s=0.4, body_s=0.1)
    body = b"POST /v1/load HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"

    async def one(port: int, first: bytes) -> tuple[bytes, float]:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first)
        answer = b""
        try:
            async with asyncio.timeout(8):
                while part := await reader.read(65536):
                    answer += part
        except ConnectionError:
            pass
        writer.close()
        return answer, time.monotonic() - began

    async def scenario() -> None:
        opened = await open_with(desk, patience)
        port = opened.bound.port
        silent, head, slow, idle = await asyncio.gather(
            one(port, b""), one(port, HEAD), one(port, body + b"{"), one(port, HEAD + b"\r\n")
        )
        await opened.close()
        assert (silent[0], head[0]) == (b"", b"")
        assert slow[0].startswith(b"HTTP/1.1 408 ")
        assert idle[0].startswith(b"HTTP/1.1 200 ")
        assert all(took < 6 for _, took in (silent, head, slow, idle))
        assert (silent[1] >= 0.2, idle[1] >= 0.4) == (True, True)

    asyncio.run(scenario())


def test_one_too_many_is_sent_away_and_room_comes_back(api: Served) -> None:
    clients = [f"127.0.0.{place // OF_ONE_CLIENT + 2}" for place in range(CONNECTIONS)]
    opened = [api.raw(client=client) for client in clients]
    try:
        opened[-1].sendall(HEAD + b"\r\n")
        assert opened[-1].recv(12) == b"HTTP/1.1 200"
        assert _sent_away(api, "127.0.0.1") == "too many connections are open"
    finally:
        for one in opened:
            one.close()
    wait_for(lambda: _answers(api))


def test_one_client_cannot_hold_all_connections(api: Served) -> None:
    opened = [api.raw(client="127.0.0.2") for _ in range(OF_ONE_CLIENT)]
    try:
        assert _sent_away(api, "127.0.0.2").startswith("64 connections of your address are open")
        assert _answers(api)  # another client is heard
        opened.pop().close()
        wait_for(lambda: _status(api, "127.0.0.2") == b"200")
    finally:
        for one in opened:
            one.close()


def _sent_away(api: Served, client: str) -> str:
    with api.raw(HEAD + b"\r\n", client) as one:
        answer = read_all(one)
    assert answer.startswith(b"HTTP/1.1 503 ")
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["detail"])


def _status(api: Served, client: str) -> bytes:
    with api.raw(HEAD + b"\r\n", client) as one:
        return one.recv(12)[-3:]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"421"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer guess\r\n\r\n", b"401"),
        (b"DELETE /v1/overrides HTTP/1.1\r\nHost: localhost\r\n\r\n", b"401"),
        (b"POST /v1/load HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{", b"401"),
    ],
    ids=["another name", "wrong token", "no token", "no token and half a body"],
)
def test_who_may_not_ask_holds_no_connection(api: Served, request_: bytes, status: bytes) -> None:
    """The patience of the server is a minute, that of the test ten seconds."""
    with api.raw(request_) as one:
        answer = read_all(one)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nConnection: close\r\n" in answer
    assert api.get("/healthz").status == 200


def _answers(api: Served) -> bool:
    try:
        return api.get("/healthz").status == 200
    except OSError:
        return False


def test_a_client_that_goes_in_the_middle_leaves_nothing(api: Served) -> None:
    for _ in range(20):
        api.raw(HEAD + b"\r\n").close()
        api.raw(b"POST /v1/load HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{").close()
    assert api.get("/healthz").status == 200
