"""Real NATS servers for tests and for the bench: one, or a cluster of three, with JetStream.  IO.

They listen on free loopback ports, or each in a namespace of its own (`tests/namespaces.py`) on the ports of NATS.
Everything that a `Cluster` started is gone when its `with` block ends.  All calls block: in an event loop that must go on,
use `asyncio.to_thread`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.namespaces import Namespace, stop
from tests.ports import LOCAL, free_port

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
READY_S = 30.0  # an election of a cluster takes 2 to 9 s
_POLL_S = 0.02
_CONFIG = """\
server_name: {name}
listen: "{address}:{port}"
http: "{address}:{monitor}"
pid_file: "{folder}/pid"
write_deadline: "2s"
jetstream {{ store_dir: "{folder}/store", max_memory_store: 64MB, max_file_store: 512MB }}
"""
_ROUTES = """\
cluster {{ name: test, listen: "{address}:{route}", no_advertise: true, routes: [{routes}] }}
"""


def installed() -> str | None:
    """The path of nats-server; None where it is not installed."""
    return shutil.which("nats-server", path=PATH)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server runs: an address of `namespace`, or of this machine."""

    address: str = LOCAL
    namespace: Namespace | None = None


class Server:
    """One nats-server.  It may be started again after each end; it keeps its ports, its name and, unless wiped, its disk."""

    def __init__(self, name: str, place: Place, folder: Path) -> None:
        self.name = name
        self.place = place
        self.folder = folder
        alone = place.namespace is None
        self.port = free_port(place.address) if alone else 4222
        self.route_port = free_port(place.address) if alone else 6222
        self.monitor_port = free_port(place.address) if alone else 8222
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"nats://{self.place.address}:{self.port}"

    @property
    def runs(self) -> bool:
        """Whether its process is there, even if paused."""
        return self.process is not None and self.process.poll() is None

    def write(self, others: Sequence[Server], extra: str) -> None:
        """Write its configuration; `extra` is text in the server's own language (users, accounts, TLS)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        values: dict[str, object] = {
            "name": self.name,
            "address": self.place.address,
            "port": self.port,
            "route": self.route_port,
            "monitor": self.monitor_port,
            "folder": self.folder,
            "routes": ", ".join(f'"nats://{other.place.address}:{other.route_port}"' for other in others),
        }
        text = _CONFIG.format(**values) + (_ROUTES.format(**values) if others else "") + extra
        (self.folder / "nats.conf").write_text(text)

    def start(self) -> None:
        """Start the process and wait until it takes connections (not for JetStream: `Cluster.ready`)."""
        program = installed()
        assert program is not None, "nats-server is not installed"
        assert not self.runs, f"{self.name} runs already"
        argv = [program, "-c", str(self.folder / "nats.conf")]
        with (self.folder / "log").open("ab") as log:
            if self.place.namespace is not None:
                self.process = self.place.namespace.start(*argv, stdout=log, stderr=log)
            else:
                self.process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        _await(self._listens, f"{self.name} does not listen", self.folder / "log")

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.resume()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """End it as an operator would."""
        if self.process is not None:
            self.resume()
            stop(self.process)

    def pause(self) -> None:
        """Its connections stay, and nothing moves."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after a pause."""
        self._signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Lose the disk.  The server must have ended."""
        assert not self.runs, f"{self.name} still runs"
        shutil.rmtree(self.folder / "store", ignore_errors=True)

    def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a page of its monitor, such as /jsz.  Raises OSError where it does not answer."""
        connection = http.client.HTTPConnection(self.place.address, self.monitor_port, timeout=2)

        def answer() -> tuple[int, dict[str, Any]]:
            with contextlib.closing(connection):
                connection.request("GET", path)
                response = connection.getresponse()
                return response.status, json.loads(response.read() or b"{}")

        return answer() if self.place.namespace is None else self.place.namespace.call(answer)

    def is_well(self) -> bool:
        """Whether it says that it and its JetStream are well, and who leads, where it is one of a cluster.

        All have then what is in the streams that it leads.  Of consumers nothing is asked: those of clients that went are missed
        for minutes by servers that came back.
        """
        try:
            status, _ = self.ask("/healthz?js-server-only=true")
            _, found = self.ask("/jsz?streams=true")
        except (OSError, http.client.HTTPException):
            return False
        led = "meta_cluster" not in found or bool(found["meta_cluster"].get("leader"))
        streams = [one for account in found.get("account_details", ()) for one in account.get("stream_detail", ())]
        clusters = [one.get("cluster", {}) for one in streams]
        replicas = [
            one for cluster in clusters if cluster.get("leader") == self.name for one in cluster.get("replicas", ())
        ]
        return status == 200 and led and all(one["current"] and not one.get("offline") for one in replicas)

    def _listens(self) -> bool:
        assert self.runs, f"{self.name} has ended: {(self.folder / 'log').read_text()[-2000:]}"

        def connect() -> bool:
            with socket.create_connection((self.place.address, self.port), timeout=2) as connection:
                return connection.recv(4) == b"INFO"

        try:
            return connect() if self.place.namespace is None else self.place.namespace.call(connect)
        except OSError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)


class Cluster:
    """`size` servers in `folder`, or one at each of `places`; two and more form a cluster.  Started by `with`."""

    def __init__(self, folder: Path, size: int = 1, places: Sequence[Place] = (), extra: str = "") -> None:
        places = places or [Place()] * size
        self.servers = [Server(f"n{number}", place, folder / f"n{number}") for number, place in enumerate(places)]
        self.configure(extra)

    def configure(self, extra: str) -> None:
        """Write the configuration of all anew, with `extra`; each takes it when it is started next."""
        for server in self.servers:
            server.write([other for other in self.servers if other is not server], extra)

    @property
    def urls(self) -> tuple[str, ...]:
        """Where clients find the servers."""
        return tuple(server.url for server in self.servers)

    def __enter__(self) -> Self:
        try:
            for server in self.servers:
                server.start()
            self.ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ready(self) -> None:
        """Wait until every server that runs is well."""
        for server in self.servers:
            if server.runs:
                _await(server.is_well, f"{server.name} is not well", server.folder / "log")

    def close(self) -> None:
        """End all."""
        for server in self.servers:
            server.kill()


def _await(condition: Callable[[], bool], otherwise: str, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} within {READY_S:g} s: {log.read_text()[-2000:]}")
        time.sleep(_POLL_S)
