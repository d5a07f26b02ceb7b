"""`python -m tests.e2e.named_server NAME PORT ADDRESS...`: says its name to each line over TCP and to each datagram.  IO.

A connection stays open until its client closes it, so it tells which server holds it for as long as it lives.
"""

# typing.override arrives with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import asyncio
import resource
import sys
from typing import cast


class Lines(asyncio.Protocol):
    """One connection."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(self._name * data.count(b"\n"))


class Datagrams(asyncio.DatagramProtocol):
    """Each datagram is answered from the address that it was sent to."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(data + b" " + self._name, address)


async def serve(name: bytes, port: int, addresses: list[str]) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    for address in addresses:
        await loop.create_server(lambda: Lines(name), address, port, backlog=4096)
        await loop.create_datagram_endpoint(lambda: Datagrams(name), (address, port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(serve(sys.argv[1].encode() + b"\n", int(sys.argv[2]), sys.argv[3:]))
