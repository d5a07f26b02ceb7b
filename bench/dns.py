"""Our nameserver beside others, in two network namespaces joined by veth, under the same load.  IO; needs root.

All servers are started at once, pinned to one core, and driven in turn (A B C A B C) from another core, so that what else
the machine does falls on all alike; the table holds medians.  Loads:

ecs      random client networks (EDNS Client Subnet, IPv4 /24) ask for the geographic name: `bench/generator.py`
static   the same without EDNS for a name with one static address
source   random source addresses at a fixed rate ask for the geographic name: `kxdpgun` of the Knot project
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from bench import citydb
from bench.hosts import FOLDER, LOADS, Hosts, Run, Running
from bench.peers import SERVERS
from tests.databases import city_databases
from tests.namespaces import World, unavailable

FIRST_PORT = 5301
ENDING = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Row:
    """One line of the table: medians over the runs, or why there are none."""

    server: str
    load: str
    version: str = ""
    answers_per_s: float = 0.0
    lost: float = 0.0
    cpu_s_per_million: float = 0.0
    busy: float = 0.0
    to_gdnsd: float | None = None
    right: float | None = None
    idle: float | None = None
    memory_mb: float | None = None
    note: str = ""
    runs: list[Run] = field(default_factory=list)


def measure(rounds: int, seconds: float, databases: tuple[Path, ...], only: Sequence[str]) -> list[Row]:
    """Start every installed server, drive all in turn, and return the rows of the table."""
    city = citydb.cached(databases[0], FOLDER / "databases") if databases else None
    rows: list[Row] = []
    with World() as world:
        hosts = Hosts(world, city, databases)
        started: list[Running] = []
        for number, server in enumerate(server for server in SERVERS if not only or server.name in only):
            if server.path is None:
                rows += [Row(server.name, load, note="not installed") for load in LOADS]
                continue
            _say(f"starting {server.name}")
            try:
                started.append(hosts.start(server, FIRST_PORT + number))
            except TimeoutError as error:
                rows += [Row(server.name, load, server.version_text(), note=str(error)) for load in LOADS]
        runs = _drive(hosts, started, rounds, seconds)
        rows += [_row(running, load, runs[running.server.name, load]) for running in started for load in LOADS]
    return compare(rows)


def _drive(hosts: Hosts, started: Sequence[Running], rounds: int, seconds: float) -> dict[tuple[str, str], list[Run]]:
    runs: dict[tuple[str, str], list[Run]] = {(r.server.name, load): [] for r in started for load in LOADS}
    for load in LOADS:
        for running in started:
            hosts.run(running, load, 1.0, seed=99)  # warm-up: caches, page faults, ARP
        for number in range(rounds):
            for running in started:
                _say(f"{load} {number + 1}/{rounds}: {running.server.name}")
                runs[running.server.name, load].append(hosts.run(running, load, seconds, seed=number))
    return runs


def _row(running: Running, load: str, runs: list[Run]) -> Row:
    def median(of: Callable[[Run], float]) -> float:
        return statistics.median(map(of, runs))

    return Row(
        server=running.server.name,
        load=load,
        version=running.server.version_text(),
        answers_per_s=median(lambda run: run.answered / run.seconds),
        lost=median(lambda run: run.lost),
        cpu_s_per_million=median(lambda run: run.cpu_s / max(1, run.answered) * 1e6),
        busy=median(lambda run: run.cpu_s / run.seconds),
        right=median(lambda run: run.right or 0.0) if runs[0].right is not None else None,
        idle=median(lambda run: run.idle or 0.0) if runs[0].idle is not None else None,
        memory_mb=running.memory_mb(),
        note="" if running.server.by_client else "one static answer",
        runs=runs,
    )


def compare(rows: list[Row]) -> list[Row]:
    """Fill in the ratio to gdnsd, and sort by load and server."""
    reference = {row.load: row.cpu_s_per_million for row in rows if row.server == "gdnsd"}
    for row in rows:
        if row.cpu_s_per_million and reference.get(row.load):
            row.to_gdnsd = reference[row.load] / row.cpu_s_per_million
    return sorted(rows, key=lambda row: (LOADS.index(row.load), [s.name for s in SERVERS].index(row.server)))


def table(rows: Sequence[Row]) -> str:
    """The rows for people.  The columns are explained in docs/bench.md."""
    head = f"{'load':8}{'server':13}{'version':9}{'answers/s':>10}{'lost':>8}{'CPU s/M':>9}{'x gdnsd':>9}{'busy':>6}{'right':>7}{'idle':>6}{'MB':>6}"
    lines = [head, "-" * len(head)]
    for row in rows:
        start = f"{row.load:8}{row.server:13}{row.version:9}"
        if not row.runs:
            lines.append(f"{start}  {row.note}")
            continue
        lines.append(
            f"{start}{row.answers_per_s:>10,.0f}{row.lost:>8.2%}{row.cpu_s_per_million:>9.2f}{_show(row.to_gdnsd, '.2f'):>9}{row.busy:>6.0%}"
            f"{_show(row.right, '.0%'):>7}{_show(row.idle, '.0%'):>6}{_show(row.memory_mb, '.0f'):>6}  {row.note}".rstrip()
        )
    return "\n".join(lines)


def _show(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _say(text: str) -> None:
    print(f"\r\033[K{text}" if sys.stderr.isatty() else text, end="" if sys.stderr.isatty() else "\n", file=sys.stderr)


def main() -> int:
    """Measure, print the table, and with --json write all runs to a file."""
    parser = argparse.ArgumentParser(prog="python -m bench.dns", description="DNS servers side by side.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--only", action="append", default=[], choices=[server.name for server in SERVERS])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    reason = unavailable()
    if reason is not None:
        print(f"the DNS bench cannot run: {reason}", file=sys.stderr)
        return 1
    for number in ENDING:
        signal.signal(number, ended)
    try:
        rows = measure(arguments.rounds, arguments.seconds, city_databases(), arguments.only)
    except KeyboardInterrupt:
        return 130
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 0


def ended(_number: int, _frame: FrameType | None) -> None:
    """Leave by the way of Ctrl-C, so that servers and namespaces go; nothing may break into that."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
