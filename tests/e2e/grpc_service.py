"""A gRPC server with grpc.health.v1, by grpclib, as a process of a test: ADDRESS PORT.  IO.

SIGUSR1: its service does not serve; SIGUSR2: it serves again.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health
from grpclib.server import Server


class Shop:
    """The service whose health is told."""

    def __mapping__(self) -> dict[str, object]:
        return {"/shop.v1.Cart/Add": None}


async def serve(address: str, port: int) -> None:
    """Serve until killed."""
    status = ServiceStatus()
    status.set(True)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, status.set, False)  # noqa: FBT003  # grpclib's interface
    loop.add_signal_handler(signal.SIGUSR2, status.set, True)  # noqa: FBT003
    server = Server([Health({Shop(): [status]})])
    await server.start(address, port)
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
