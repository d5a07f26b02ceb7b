"""Targets of every kind of manners, on loopback, and a check of them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress

from healthcheck.check import Check, Sample
from healthcheck.probes import PROBES
from tests.ports import free_port

LOCAL = "127.0.0.1"
TIMEOUT_S = 5.0  # of checks that are to end by themselves
SHORT_S = 0.3  # of checks that are to wait in vain

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def check(
    kind: str,
    port: int | None,
    settings: Mapping[str, object] | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
    address: str = LOCAL,
) -> Check:
    return Check(f"{kind}/{address}", kind, address, port, timeout_s, settings or {})


async def samples(one: Check) -> tuple[Sample, ...]:
    """What the probe finds; it must end by its own deadline (late where the machine is busy), and never raise."""
    async with asyncio.timeout(one.timeout_s + 2):
        return await PROBES[one.kind](one)


async def sample(one: Check) -> Sample:
    (only,) = await samples(one)
    assert only.ok == (not only.why)
    return only


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server whose connections `handler` speaks to; gives its port.  Its connections end with it."""
    tasks: set[asyncio.Task[None]] = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
                await handler(reader, writer)
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(meet, LOCAL, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close their sockets in the next turn


def saying(data: bytes) -> Handler:
    """Read a request, say this, close."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        writer.close()

    return handler


def dripping(data: bytes, each_s: float) -> Handler:
    """One octet at a time."""

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for octet in data:
            writer.write(bytes([octet]))
            await writer.drain()
            await asyncio.sleep(each_s)

    return handler


def flooding(first: bytes, then: bytes) -> Handler:
    """No end."""

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(then)
            await writer.drain()

    return handler


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take everything, say nothing."""
    while await reader.read(65536):
        pass


async def closing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close at once."""
    writer.close()


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset once something was said."""
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def response(status: int = 200, body: bytes = b"ok", *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers)
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def closed_port() -> int:
    """A port at which nobody listens."""
    return free_port(LOCAL)


@contextmanager
def full_port() -> Iterator[int]:
    """A port that takes no connection and refuses none: its backlog is full, so SYNs are dropped."""
    with socket.socket() as listener:
        listener.bind((LOCAL, 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.settimeout(0)
                one.connect_ex(listener.getsockname())
            yield listener.getsockname()[1]
        finally:
            for one in waiting:
                one.close()
