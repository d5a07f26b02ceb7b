"""Servers that pools stand for, as processes of their own: killed, frozen, slowed down, made to fail.  IO.

One service listens at one loopback address (127.0.1.1, 127.0.1.2, ...), all of a test at one port, since a monitor has one.
`GET /set?path=/login&status=500&delay=0.5` changes what it answers from then on; `/load` tells the number that was set.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from tests.e2e.lifecycle import wait_until


class Service:
    """An HTTP server at `address`:`port`."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, again where it was killed; returns when it answers."""
        command = [sys.executable, "-m", "tests.e2e.services", self.address, str(self.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until(self.answers, f"{self.address}:{self.port} answers")

    def answers(self) -> bool:
        """Whether it answers now."""
        try:
            self._get("/")
        except OSError:
            return False
        return True

    def set(self, path: str = "*", *, status: int = 200, delay_s: float = 0.0, load: float = 0.0) -> None:
        """What it answers at `path` (at every path) from now on."""
        self._get(f"/set?path={path}&status={status}&delay={delay_s}&load={load}")

    def seen(self) -> int:
        """How many requests it has had, those of this class left out."""
        return int(self._get("/seen"))

    def kill(self) -> None:
        """SIGKILL: connections are refused from now on."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: connections are taken by the system, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """The end of it, whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _get(self, path: str) -> str:
        request = urllib.request.Request(f"http://{self.address}:{self.port}{path}", headers={"User-Agent": "test"})
        with urllib.request.urlopen(request, timeout=2) as reply:
            text: str = reply.read().decode()
            return text


@contextmanager
def services(port: int, *addresses: str) -> Iterator[list[Service]]:
    """Services at these addresses for a block."""
    made: list[Service] = []
    try:
        made.extend(Service(address, port) for address in addresses)
        yield made
    finally:
        for service in made:
            service.close()


class _Behaviour:
    """What one server answers."""

    def __init__(self) -> None:
        self.by_path: dict[str, tuple[int, float]] = {}
        self.load = 0.0
        self.seen = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Every path."""
        if request.headers.get("User-Agent") == "test":
            return self._command(request)
        self.seen += 1
        if request.path == "/load" and "/load" not in self.by_path:
            return web.json_response({"rps": self.load})
        status, delay_s = self.by_path.get(request.path) or self.by_path.get("*") or (200, 0.0)
        await asyncio.sleep(delay_s)
        return web.Response(status=status, text="hello\n")

    def _command(self, request: web.Request) -> web.Response:
        if request.path == "/set":
            query = request.query
            self.load = float(query["load"])
            if query["path"] == "*":
                self.by_path.clear()
            self.by_path[query["path"]] = int(query["status"]), float(query["delay"])
        return web.Response(text=str(self.seen))


def main() -> None:
    """The server process: ADDRESS PORT."""
    address, port = sys.argv[1:]
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", _Behaviour().answer)
    web.run_app(app, host=address, port=int(port), print=lambda *_: None, access_log=None)


if __name__ == "__main__":
    main()
