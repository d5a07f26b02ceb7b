"""Servers of bad manners as a process of a test: ADDRESS PORT.  IO.

Each manner has an address of its own (`address_of`), all at one port.  At ADDRESS there are pages of load: `/MANNER` and
`/KIND-OF-LOAD` tell a load of 100 at first, and what their name says after SIGUSR1.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
PIECE = 64 * 1024
DRIP_S = 0.05
LOADS = {"nan": b"NaN", "negative": b"-1", "huge": b"1e308", "text": b'"many"', "nothing": b"null"}

Manner = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def hang(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take everything, say nothing."""
    while await reader.read(PIECE):
        pass


async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Headers without an end, as fast as they are taken."""
    writer.write(HEAD + b"X-Flood: ")
    await _pour(writer, b"x" * PIECE)


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What is no protocol, with what a terminal or a log could act upon."""
    writer.write(b"\x1b[2J\0\xff\xfe\r\n2026-01-01 all is well\r\n" * 100)
    await hang(reader, writer)


async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A good answer whose body has no end."""
    writer.write(HEAD + b"\r\n" + b'{"rps": 1')
    await _pour(writer, b"0" * PIECE)


async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A good answer, one octet at a time."""
    for octet in HEAD + b"Content-Length: 2\r\n\r\nok":
        writer.write(bytes([octet]))
        await writer.drain()
        await asyncio.sleep(DRIP_S)


async def close(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Say nothing, and close."""


MANNERS: dict[str, Manner] = {one.__name__: one for one in (hang, flood, garbage, endless, drip, close)}


async def _pour(writer: asyncio.StreamWriter, piece: bytes) -> None:
    while True:
        writer.write(piece)
        await writer.drain()


class Pages:
    """Pages of load."""

    def __init__(self) -> None:
        self.turned = False

    def turn(self) -> None:
        """They are bad from now on."""
        self.turned = True

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As the request's path says."""
        request = await reader.readuntil(b"\r\n\r\n")
        name = request.split()[1].decode().strip("/")
        if not self.turned:
            _say(writer, b"200 OK", b'{"rps": 100}')
        elif name in MANNERS:
            await MANNERS[name](reader, writer)
        elif name in LOADS:
            _say(writer, b"200 OK", b'{"rps": %s}' % LOADS[name])
        else:
            _say(writer, b"404 Not Found", b'{"rps": 7}')


def address_of(manner: str) -> str:
    """Where that manner is met."""
    return f"127.0.4.{list(MANNERS).index(manner) + 10}"


def _say(writer: asyncio.StreamWriter, status: bytes, body: bytes) -> None:
    writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))


def _met(manner: Manner) -> Manner:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await manner(reader, writer)
        writer.close()

    return meet


async def main(address: str, port: int) -> None:
    """Serve until killed."""
    pages = Pages()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, pages.turn)
    for name, manner in MANNERS.items():
        await asyncio.start_server(_met(manner), address_of(name), port)
    await (await asyncio.start_server(_met(pages.answer), address, port)).serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
