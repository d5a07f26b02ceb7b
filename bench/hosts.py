"""The two hosts of the DNS bench: servers in one namespace on one core, the load from another.  IO; needs root."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.rdatatype
import maxminddb
import psutil

from bench.generator import networks, query
from bench.peers import ANSWERS, Server, Setup
from tests.namespaces import Namespace, World

NETWORK = "198.18.{}"  # RFC 2544: networks for benchmarks
SOURCE_RATE = 60_000  # queries/s of `source`: what our worker must reach
READY_S = 180.0  # the first start reads the whole database
LOADS = ("ecs", "static", "source")
FOLDER = Path(__file__).resolve().parent.parent / "build" / "bench"


@dataclass
class Run:
    """One server under one load for some seconds."""

    answered: int
    lost: float
    seconds: float
    cpu_s: float = 0.0
    right: float | None = None
    idle: float | None = None


@dataclass
class Running:
    """A started server."""

    server: Server
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def family(self) -> list[psutil.Process]:
        """The process and its descendants."""
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.process.pid)
            return [top, *top.children(recursive=True)]
        return []

    def cpu_s(self) -> float:
        """CPU seconds of the whole family so far."""
        total = 0.0
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def memory_mb(self) -> float:
        """Resident memory of the family, each shared page counted once (PSS)."""
        total = 0
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total / 1e6


class Hosts:
    """A server's host and the client's, joined by a link of their own, and what is right."""

    def __init__(
        self,
        world: World,
        city: Path | None,
        databases: tuple[Path, ...],
        number: int = 0,
        client: Namespace | None = None,
    ) -> None:
        """Of several servers, each has a `number`; all may have one `client`."""
        self.city = city
        self.databases = databases
        self.reader = maxminddb.open_database(city) if city else None
        cores = sorted(os.sched_getaffinity(0))
        self.server_core, self.client_core = cores[0], cores[-1]
        self.host, self.client = world.namespace(f"server{number}"), client or world.namespace("client")
        self.address, near = (f"{NETWORK.format(number)}.{last}" for last in (1, 2))
        self.far_end, self.near_end = world.join(self.host, self.client, f"{self.address}/24", f"{near}/24")
        self.host.add_route("default", near)  # the random sources of kxdpgun live behind the client

    def expected(self, network: str) -> str:
        """The address that is right for a client network."""
        found = self.reader.get(network) if self.reader else None
        continent = found.get("continent") if isinstance(found, dict) else None
        return ANSWERS[str(continent["code"])] if isinstance(continent, dict) else ANSWERS["EU"]

    def start(self, server: Server, port: int) -> Running:
        """Start a server on its core and wait until it answers from geography.  Raises TimeoutError with its last word."""
        folder = FOLDER / server.name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        argv = server.configure(Setup(folder, self.address, port, self.city, self.databases, self.far_end))
        log = folder / "log"
        with log.open("wb") as output:
            process = self.host.start(*_on_core(self.server_core, argv), stdout=output, stderr=output)
        running = Running(server, port, process, log)
        self._wait_ready(running)
        return running

    def _wait_ready(self, running: Running) -> None:
        network, wanted = self._far_network()
        question = query("www.example.com", "ecs4")[:-3] + network
        deadline = time.monotonic() + READY_S
        with self.client.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asking:
            asking.settimeout(0.25)
            asking.connect((self.address, running.port))
            while time.monotonic() < deadline and running.process.poll() is None:
                with contextlib.suppress(OSError):
                    asking.send(question)
                    answer = _address(asking.recv(4096))
                    if answer == wanted or (answer and not running.server.by_client):
                        return
                    time.sleep(0.25)
        said = running.log.read_text(errors="replace").splitlines()
        raise TimeoutError(f"does not answer {wanted}: {said[-1] if said else 'its log is empty'}")

    def _far_network(self) -> tuple[bytes, str]:
        """A client network whose right answer is not the default one, so that it tells whether geography is there."""
        for row in networks("ecs4", seed=7):
            answer = self.expected(".".join(map(str, (*row.tolist(), 0))))
            if self.reader is None or answer not in (ANSWERS["EU"], ANSWERS["NA"]):
                return row.tobytes(), answer
        raise ValueError("the city database knows no place outside of Europe and North America")

    def run(self, running: Running, load: str, seconds: float, seed: int) -> Run:
        """Put one load on one server."""
        before = running.cpu_s()
        if load == "source":
            result = self.shoot(running.port, seconds, SOURCE_RATE)
        else:
            result = self.generate(running.port, load, seconds, seed)
        result.cpu_s = running.cpu_s() - before
        if not running.server.by_client:
            result.right = None
        return result

    def generate(self, port: int, load: str, seconds: float, seed: int, rate: int = 0) -> Run:
        """Our generator: a closed loop, or so many queries a second."""
        kind, name = ("ecs4", "www.example.com") if load == "ecs" else ("plain", "static.example.com")
        argv = [sys.executable, "-m", "bench.generator", self.address, str(port), "--name", name, "--kind", kind]
        text = self.client.run(
            *_on_core(self.client_core, [*argv, "--seconds", str(seconds), "--seed", str(seed), "--rate", str(rate)])
        )
        seen = json.loads(text)
        right = [address == self.expected(network) for network, address in seen["sample"] if network]
        return Run(
            answered=seen["good"],
            lost=1 - seen["good"] / max(1, seen["sent"]),
            seconds=seen["seconds"],
            right=sum(right) / len(right) if right else None,
            idle=seen["idle"],
        )

    def shoot(self, port: int, seconds: float, rate: int) -> Run:
        """`kxdpgun` at so many queries a second from random sources."""
        questions = FOLDER / "questions"
        questions.write_text("www.example.com A\n")
        argv = ["kxdpgun", "-t", str(round(seconds)), "-Q", str(rate), "-b", "32", "-F", str(self.client_core)]
        argv += ["-p", str(port), "-l", "64.0.0.0/3", "-i", str(questions), self.address]
        text = self.client.run(*argv)
        sent = re.search(r"total queries:\s+(\d+)", text)
        good = re.search(r"responded NOERROR:\s+(\d+)", text)
        asked, answered = (int(found[1]) if found else 0 for found in (sent, good))
        return Run(answered, 1 - answered / max(1, asked), float(round(seconds)))


def _on_core(core: int, argv: Sequence[str]) -> list[str]:
    return ["taskset", "-c", str(core), *argv]


def _address(reply: bytes) -> str | None:
    with contextlib.suppress(dns.exception.DNSException):
        for rrset in dns.message.from_wire(reply).answer:
            if rrset.rdtype == dns.rdatatype.A:
                return str(rrset[0])
    return None
