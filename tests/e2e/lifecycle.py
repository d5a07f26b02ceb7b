"""`gslb run` as a process of a test: started, asked, killed, started again; and gone at the end whatever happened.  IO."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.edns
import dns.message
import dns.query

from gslb.config.load import load
from gslb.control.report import report
from gslb.control.store import Store
from tests.ports import free_port

ADDRESS = "127.0.0.1"
WAIT_S = 15.0
GSLB = (sys.executable, "-m", "gslb.cli")
ZONE = """\
'':
  - type: SOA
    value: {mname: ns1.example.com., rname: hostmaster.example.com.}
  - type: NS
    values: [ns1.example.com.]
ns1: {type: A, value: 127.0.0.1}
www: {policy: web, ttl: 60, types: [A]}
"""
CONFIG = """\
deployment: example
datacenters:
  fra: {at: [50.11, 8.68], continent: EU}
  iad: {at: [38.95, -77.45], continent: NA}
pools:
  web-fra: {datacenter: fra, answers: [192.0.2.10]}
  web-iad: {datacenter: iad, answers: [198.51.100.10]}
policies:
  web:
    rules:
      - {subnets: [203.0.113.0/24], pools: [web-iad]}
      - {pools: [web-fra, web-iad]}
dns: {listen: ["ADDRESS:PORT"], workers: 2}
zones: [zones/*.yaml]
"""


def wait_until(condition: Callable[[], bool], what: str, within_s: float = WAIT_S) -> None:
    """Until `condition`; AssertionError naming `what` when time runs out."""
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, f"not within {within_s} s: {what}"
        time.sleep(0.02)


class Server:
    """A node's files, and the runs of `gslb run` on them.  `ADDRESS:PORT` in the configuration is `address:port`."""

    def __init__(self, folder: Path, config: str = CONFIG, zones: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.address = ADDRESS
        self.port = free_port()
        self.config = folder / "gslb.yaml"
        self.state = folder / "state"
        self.output = folder / "output"
        self.runs: list[subprocess.Popen[bytes]] = []
        (folder / "zones").mkdir()
        for name, text in (zones or {"example.com.yaml": ZONE}).items():
            (folder / "zones" / name).write_text(text)
        self.configure(config)

    def configure(self, config: str) -> None:
        """Write the configuration anew."""
        self.sound = True
        self.config.write_text(config.replace("ADDRESS:PORT", f"{self.address}:{self.port}"))

    def spoil(self) -> None:
        """Make the configuration one that is refused."""
        self.sound = False
        self.config.write_text("deployment: [")

    def start(self, *, ready: bool = True) -> subprocess.Popen[bytes]:
        """Start `gslb run`; wait for its first answer unless told not to."""
        with self.output.open("ab") as sink:
            process = subprocess.Popen(
                self.words("run"),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.runs.append(process)
        if ready:
            wait_until(lambda: process.poll() is not None or self.answers(), f"an answer; it said: {self.said()}")
            assert process.poll() is None, self.said()
        return process

    def refused(self) -> tuple[int, str]:
        """Run it where it must not start: its exit status and what it said on standard error."""
        done = self.command("run")
        return done.returncode, done.stderr

    def command(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of the program for this node."""
        return subprocess.run(self.words(name, *arguments), capture_output=True, text=True, timeout=60, check=False)

    def status(self) -> dict[str, Any]:
        """What `gslb status --json` says, without starting it."""
        deployment = load(self.config).deployment if self.sound else None
        return report(Store(self.state, "example", "fra"), deployment, time.time())

    def workers(self, kind: str = "udp") -> set[int]:
        """The process ids of the living workers."""
        return {one["pid"] for one in self.status()["workers"] if one["alive"] and one["kind"] == kind}

    def query(
        self, name: str = "www.example.com", rtype: str = "A", *, subnet: str | None = None, tcp: bool = False
    ) -> dns.message.Message:
        """Ask with dnspython; 2 s of patience, no retry."""
        options: list[dns.edns.Option] = [dns.edns.ECSOption(*_subnet(subnet))] if subnet is not None else []
        message = dns.message.make_query(name, rtype, use_edns=0, options=options)
        ask = dns.query.tcp if tcp else dns.query.udp
        return ask(message, self.address, timeout=2, port=self.port)

    def addresses(self, name: str = "www.example.com", *, subnet: str | None = None) -> list[str]:
        """The addresses of an A query."""
        answer = self.query(name, subnet=subnet).answer
        return [record.address for record in answer[-1]] if answer else []

    def answers(self) -> bool:
        """Whether it answers now; where nobody listens that is known at once, since the socket is connected."""
        packet = dns.message.make_query("www.example.com", "A").to_wire()
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(2)
            try:
                sock.connect((self.address, self.port))
                sock.send(packet)
                reply = sock.recv(65535)
                return reply[:2] == packet[:2] and bool(reply[2] & 0x80)  # QR: no echo of a socket met by itself
            except OSError:
                return False

    def said(self) -> str:
        """What all runs wrote."""
        return self.output.read_text()

    def stop(self) -> int:
        """SIGTERM to the newest run; its exit status."""
        self.runs[-1].terminate()
        return self.runs[-1].wait(timeout=WAIT_S)

    def left(self) -> list[int]:
        """The processes of this node's runs that live: those that have its state folder among their arguments."""
        processes = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
        mine = str(self.state).encode()
        return [int(entry.name) for entry in processes if mine in _arguments(entry)]

    def clear(self) -> None:
        """Nothing of this node outlives its test."""
        for process in self.runs:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=WAIT_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for pid in self.left():
            os.kill(pid, signal.SIGKILL)

    def words(self, name: str, *arguments: str) -> list[str]:
        """The command line of a command for this node."""
        return [*GSLB, name, *arguments, "--config", str(self.config), "--node", "fra", "--state", str(self.state)]


class Client:
    """Asks without a pause, one query after the other, each on a new port; `lost` counts those without an answer in 1 s."""

    def __init__(self, server: Server) -> None:
        self._packet = dns.message.make_query("www.example.com", "A").to_wire()
        self._to = (server.address, server.port)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.asked = 0
        self.lost = 0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(self._packet, self._to)
                self.asked += 1
                if not select.select([sock], [], [], 1.0)[0]:
                    self.lost += 1
            self._over.wait(0.002)  # leaves the machine to what is tested


def _subnet(text: str) -> tuple[str, int]:
    address, _, bits = text.partition("/")
    return address, int(bits)


def _arguments(entry: Path) -> list[bytes]:
    try:
        return (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
