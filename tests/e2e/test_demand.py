"""What the real program answered is on its workers' pages, over deaths, and becomes demand."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gslb.config.load import load
from gslb.control.demand import DemandMeter, Measured
from gslb.control.geography import Located
from gslb.control.planner import geography_of
from gslb.model.deployment import TYPE_A, PolicyId
from gslb.nameserver import demand
from tests.e2e.lifecycle import wait_until
from tests.e2e.probes.wire import ecs, opt, query
from tests.e2e.program import Program, acceptance

CLIENTS = {"192.0.2.0/24": "one", "198.51.7.0/24": "two", "198.51.100.0/24": "three", "10.0.0.0/24": "other"}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with acceptance(tmp_path) as started:
        yield started


def ask(program: Program, times: int) -> None:
    """Ask as a client of each pool, over UDP and TCP, at the name, an alias of it, and below a wildcard."""
    for client in CLIENTS:
        for turn in range(times):
            name = ("geo", "geochain", f"x{turn}.dyn")[turn % 3]
            packet = query(name, "A", edns=opt(ecs(client)))
            reply = program.target.tcp(packet) if turn % 5 == 0 else program.target.udp(packet)
            assert reply.rcode == "NOERROR"


def by_pool(run: Path) -> Counter[str]:
    pages = demand.read(run)
    found: Counter[str] = Counter()
    for counts in (pages.retired, *(page.pools for page in pages.living)):
        for (pool, _), count in counts.items():
            found[pool] += count
    return found


def measured(meter: DemandMeter, program: Program, now: float) -> Measured:
    deployment = load(program.config).deployment
    (table,) = (program.state).rglob("serving/geography-*")
    geography = geography_of(Located(table, table.name, (), ()))
    return meter.sample(now, geography, deployment)


def test_answers_are_counted_once_each_whatever_the_path_and_over_deaths(program: Program) -> None:
    (run,) = program.state.rglob("run")
    meter = DemandMeter(run)
    measured(meter, program, 0.0)
    ask(program, 30)
    want = dict.fromkeys(CLIENTS.values(), 30)
    wait_until(lambda: by_pool(run) == want, f"{want} on the pages")
    told = measured(meter, program, 10.0)
    assert told.demand[PolicyId("geo")][TYPE_A] == pytest.approx([3.0] * len(CLIENTS), rel=0.05)
    assert told.rate == pytest.approx(dict.fromkeys(CLIENTS.values(), 3.0), rel=0.05)
    for worker in program.status()["workers"]:
        os.kill(worker["pid"], signal.SIGKILL)
    wait_until((run / demand.RETIRED).exists, "the counts of the dead")
    ask(program, 3)
    want = dict.fromkeys(CLIENTS.values(), 33)
    wait_until(lambda: by_pool(run) == want, f"{want} on the pages")
    assert {pool: count for (pool, _), count in measured(meter, program, 20.0).answers.items()} == want


def test_a_stop_leaves_no_page(program: Program) -> None:
    (run,) = program.state.rglob("run")
    ask(program, 3)
    wait_until(lambda: bool(by_pool(run)), "a page")
    program.process.terminate()
    assert program.process.wait(10) == 0
    assert list(run.glob("*")) == []
