"""The API served for a test: its own loop in a thread, asked by the standard library's client and by raw sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from gslb.api.app import HttpApi
from gslb.model.deployment import Api, Deployment, Socket
from tests.api.desk import FakeDesk

TOKEN = "correct horse battery staple"
WAIT_S = 10.0


@dataclass(frozen=True)
class Got:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


class Served:
    """An API that is listening."""

    def __init__(self, desk: FakeDesk, api: HttpApi, loop: asyncio.AbstractEventLoop) -> None:
        self.desk = desk
        self._api = api
        self._loop = loop

    @property
    def port(self) -> int:
        """Where."""
        listening = self._api.listening
        assert listening is not None
        return listening.port

    @property
    def bound(self) -> Socket | None:
        """Where; None while it is nowhere."""
        return self._api.listening

    def call(self, work: Callable[[], object]) -> None:
        """Do something on the API's own loop."""
        done = threading.Event()

        def do() -> None:
            work()
            done.set()

        self._loop.call_soon_threadsafe(do)
        assert done.wait(WAIT_S)

    def want(self, deployment: Deployment) -> None:
        """Another configuration."""
        self.call(lambda: self._api.want(deployment))

    def get(self, path: str, **headers: str) -> Got:
        """GET from loopback without a token."""
        return self.ask("GET", path, headers=headers)

    def write(self, method: str, path: str, body: object = None) -> Got:
        """With the token, and a body of JSON."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        if body is None:
            return self.ask(method, path, headers=headers)
        return self.ask(method, path, json.dumps(body).encode(), {**headers, "Content-Type": "application/json"})

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Got:
        """Any request, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            connection.request(method, path, body, {"Host": "localhost", **(headers or {})})
            answer = connection.getresponse()
            return Got(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def raw(self, octets: bytes = b"", client: str = "127.0.0.1") -> socket.socket:
        """A connection of a client on loopback, on which `octets` were sent."""
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S, source_address=(client, 0))
        opened.sendall(octets)
        return opened


@contextmanager
def served(desk: FakeDesk, retry_s: float = 0.05) -> Iterator[Served]:
    """Serve `desk` until the block ends."""
    (desk.config.parent / "token").write_text(TOKEN + "\n")
    ready = threading.Event()
    found: list[tuple[HttpApi, asyncio.AbstractEventLoop, asyncio.Event]] = []
    crashed: list[BaseException] = []

    async def run() -> None:
        api, stop = HttpApi(desk, retry_s), asyncio.Event()
        assert desk.model is not None
        api.want(desk.model.deployment)
        found.append((api, asyncio.get_running_loop(), stop))
        asyncio.get_running_loop().call_soon(ready.set)
        await api.run(stop)

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001  # told below, in the test's own thread
            crashed.append(error)
            ready.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(WAIT_S)
        api, loop, stop = found[0]
        wait_for(lambda: api.listening is not None or desk.problems != () or crashed != [])
        yield Served(desk, api, loop)
        loop.call_soon_threadsafe(stop.set)
    finally:
        if found and thread.is_alive():
            found[0][1].call_soon_threadsafe(found[0][2].set)
        thread.join(WAIT_S)
    assert not thread.is_alive()
    assert not crashed, crashed


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.002)


def with_api(deployment: Deployment, api: Api) -> Deployment:
    """The deployment with another `api` section."""
    return replace(deployment, api=api)
