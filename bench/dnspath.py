"""What an answer costs the whole machine, side by side: DNS in the driver, Knot in its XDP mode, gdnsd, our workers.  IO; needs root.

`python -m bench.dnspath [--json FILE]`.  Each server has a host and a veth link of its own; all are up at once and are driven in turn
(A B C, A B C).  The CPU seconds are those of the whole machine, whoever worked, since what a driver does is nobody's process; what a
program takes that only sends each query back, driven in the same way, is taken off: generator, links and interrupts.  Loads:

ecs      random client networks (EDNS Client Subnet, IPv4 /24) at a fixed rate: `bench/generator.py`
source   random source addresses at a fixed rate: `kxdpgun`
full     the same, as fast as `kxdpgun` can: what is lost then, and how many answers come
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from bench import citydb
from bench.dns import ENDING, ended
from bench.hosts import FOLDER, Hosts
from bench.peers import DRIVEN, SERVERS, Server
from bench.xdppath import attached, index_of
from bench.xdpruns import compiled
from tests.databases import city_databases
from tests.namespaces import World, unavailable
from xdp import libbpf
from xdp.build import NotBuilt

REFLECTOR = "reflector"
NAMES = ("gslb XDP", "knot XDP", "gdnsd", "gslb", "gslb Python")
LOADS = ("ecs", "source", "full")
PORT = 5300
FULL = 3_000_000  # queries/s, which nobody reaches
ATTACHED_S = 60.0
BUDGETS = (("gslb XDP", "gdnsd", 3.0), ("gslb XDP", "knot XDP", 1.5))  # whose CPU time is to be so much less than whose


@dataclass
class Shot:
    """One run: answers, the share without one, and the machine's CPU seconds."""

    answered: int
    lost: float
    seconds: float
    cpu_s: float


@dataclass
class Row:
    """One server under one load: medians.  `own`: CPU seconds for a million answers, less the reflector's."""

    server: str
    load: str
    answers_per_s: float
    lost: float
    whole: float
    own: float | None = None
    note: str = ""
    shots: list[Shot] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who is driven, and where."""

    name: str
    hosts: Hosts


def measure(rounds: int, seconds: float, rate: int, only: Sequence[str]) -> list[Row]:
    """Every row.  Raises OSError, NotBuilt, CalledProcessError."""
    databases = city_databases()
    city = citydb.cached(databases[0], FOLDER / "databases") if databases else None
    notes: dict[str, str] = {}
    with World() as world, ExitStack() as stack:
        with compiled() as folder:
            programs = libbpf.Object(folder / "reflect.bpf.o")
            programs.load()
        stack.callback(programs.close)
        client = world.namespace("client")
        ready: list[Contestant] = []
        for number, name in enumerate([REFLECTOR, *(name for name in NAMES if not only or name in only)]):
            hosts = Hosts(world, city, databases, number, client)
            client.run("ethtool", "-K", hosts.near_end, "tx", "off")
            _say(f"starting {name}")
            try:
                stack.enter_context(_serving(hosts, programs, name))
            except (TimeoutError, FileNotFoundError) as error:
                notes[name] = str(error)
                continue
            ready.append(Contestant(name, hosts))
        shots = _drive(ready, programs, rounds, seconds, rate)
    rows = [_row(one.name, load, shots[one.name, load]) for load in LOADS for one in ready]
    return compare(rows) + [Row(name, load, 0, 0, 0, note=note) for name, note in notes.items() for load in LOADS]


def compare(rows: list[Row]) -> list[Row]:
    """Take off what the reflector took under the same load, where all answered: not at full speed."""
    floors = {row.load: row.whole for row in rows if row.server == REFLECTOR}
    for row in rows:
        if row.load != "full" and row.load in floors and row.server != REFLECTOR:
            row.own = row.whole - floors[row.load]
    return rows


def missed(rows: Sequence[Row]) -> list[str]:
    """Which budgets are exceeded, in words."""
    own = {(row.server, row.load): row.own for row in rows if row.own is not None}
    found = []
    for load in LOADS:
        for name, other, factor in BUDGETS:
            mine, theirs = own.get((name, load)), own.get((other, load))
            if mine is not None and theirs is not None and theirs < factor * mine:
                found.append(
                    f"{load}: {name} takes {mine:.2f} s a million, {other} {theirs:.2f} - at most a {factor}th"
                )
    machines = {row.load: row.lost for row in rows if row.server == REFLECTOR}  # what no program could have answered
    for row in rows:
        bare = machines.get(row.load, 0.0)
        if row.server == NAMES[0] and row.lost > bare:
            found.append(f"{row.load}: {row.server} lost {row.lost:.4%} - at most the reflector's {bare:.4%}")
    return found


def table(rows: Sequence[Row]) -> str:
    """The rows as a table in Markdown.  The columns are explained in docs/bench.md."""
    own = {(row.server, row.load): row.own for row in rows}
    lines = ["| load | server | answers/s | lost | machine s/M | own s/M | x gdnsd |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        if row.note:
            lines.append(f"| {row.load} | {row.server} | {row.note} | | | | |")
            continue
        theirs, mine = own.get(("gdnsd", row.load)), row.own
        ratio = f"{theirs / mine:.2f}" if theirs and mine and mine > 0 else "-"
        shown = "-" if mine is None else f"{mine:.2f}"
        lines.append(
            f"| {row.load} | {row.server} | {row.answers_per_s:,.0f} | {row.lost:.2%} | {row.whole:.2f} | {shown} | {ratio} |"
        )
    return "\n".join(lines)


def _drive(
    ready: Sequence[Contestant], programs: libbpf.Object, rounds: int, seconds: float, rate: int
) -> dict[tuple[str, str], list[Shot]]:
    shots: dict[tuple[str, str], list[Shot]] = {(one.name, load): [] for one in ready for load in LOADS}
    for load in LOADS:
        for one in ready:
            _shot(one.hosts, programs, load, 1.0, rate, 99)  # caches, page faults, ARP
        for number in range(rounds):
            for one in ready:
                _say(f"{load} {number + 1}/{rounds}: {one.name}")
                shots[one.name, load].append(_shot(one.hosts, programs, load, seconds, rate, number))
    return shots


def _shot(hosts: Hosts, programs: libbpf.Object, load: str, seconds: float, rate: int, seed: int) -> Shot:
    with _passing(hosts, programs) if load == "ecs" else nullcontext():
        before = _busy_s()
        if load == "ecs":
            run = hosts.generate(PORT, load, seconds, seed, rate)
        else:
            run = hosts.shoot(PORT, seconds, rate if load == "source" else FULL)
        return Shot(run.answered, run.lost, run.seconds, _busy_s() - before)


def _busy_s() -> float:
    """CPU seconds of this machine so far, interrupts too."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _row(name: str, load: str, shots: list[Shot]) -> Row:
    return Row(
        server=name,
        load=load,
        answers_per_s=statistics.median(shot.answered / shot.seconds for shot in shots),
        lost=statistics.median(shot.lost for shot in shots),
        whole=statistics.median(shot.cpu_s / max(1, shot.answered) * 1e6 for shot in shots),
        shots=shots,
    )


@contextmanager
def _serving(hosts: Hosts, programs: libbpf.Object, name: str) -> Iterator[None]:
    """One contestant, until the end.  Raises TimeoutError, FileNotFoundError."""
    if name == REFLECTOR:
        with attached(hosts.host, index_of(hosts.host, hosts.far_end), programs.program_fd("answer")):
            yield
        return
    server = next(one for one in (*SERVERS, *DRIVEN) if one.name == name)
    if server.path is None:
        raise FileNotFoundError("not installed")
    with _passing(hosts, programs):
        hosts.start(server, PORT)
    if server in DRIVEN:
        _wait_attached(hosts, server)
    yield


@contextmanager
def _passing(hosts: Hosts, programs: libbpf.Object) -> Iterator[None]:
    """The client's end takes what a driver sends; `kxdpgun` brings a program of its own."""
    with attached(hosts.client, index_of(hosts.client, hosts.near_end), programs.program_fd("pass")):
        yield


def _wait_attached(hosts: Hosts, server: Server) -> None:
    deadline = time.monotonic() + ATTACHED_S
    while '"xdp"' not in hosts.host.run("ip", "-j", "link", "show", "dev", hosts.far_end):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{server.name} attaches no program to {hosts.far_end}")
        time.sleep(0.2)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.dnspath")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run [%(default)s]")
    parser.add_argument("--rate", type=int, default=100_000, help="queries a second [%(default)s]")
    parser.add_argument("--only", action="append", default=[], choices=NAMES)
    arguments = parser.parse_args()
    if reason := unavailable():
        print(f"servers cannot be put side by side here: {reason}", file=sys.stderr)
        return 1
    for number in ENDING:
        signal.signal(number, ended)
    try:
        rows = measure(arguments.rounds, arguments.seconds, arguments.rate, arguments.only)
    except KeyboardInterrupt:
        return 130
    except (OSError, NotBuilt, subprocess.CalledProcessError) as error:
        print(f"servers cannot be put side by side here: {error}", file=sys.stderr)
        return 1
    print(table(rows))
    for line in missed(rows):
        print(f"over budget: {line}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
