"""The controller's talk with the balancer's process: the real process, over a kernel made of files."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from gslb.control.balancerchild import DOOR, LOCK
from gslb.control.balancing import SILENT, Balancing
from gslb.control.checks import Ways, probes_of
from gslb.control.indriver import NO_IMAGE, UNKNOWN
from gslb.model.deployment import Attach, Balancer, Monitor, MonitorId, PoolId, Socket, Via
from gslb.model.framing import frame
from gslb.model.plan import Plan
from gslb.nameserver import channel
from tests.control.make import FRA, NODE
from tests.control.test_forwarding import BALANCED, TABLE, WEB
from tests.xdp.test_process import Running
from xdp.messages import Attached, DnsState, Interface, Report, State

AT_NODE = replace(NODE, interfaces=("eth0",))
SEEN = Monitor(MonitorId("seen"), "tcp", 1.0, 1.0, 1, 1, 1.0, 80, via=Via.VIP)
PROBED = replace(BALANCED, monitors={SEEN.name: SEEN}, pools={WEB: replace(BALANCED.pools[WEB], monitor=SEEN.name)})
PLAN = Plan("example", 7, "", {}, (), balancers={WEB: TABLE})
WAIT_S = 10.0


class Bench:
    """A Balancing, and the processes that it talks with one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changes = 0
        self.runs: list[Running] = []

    def balancing(self, known: Mapping[PoolId, str] | None = None) -> Balancing:
        return Balancing(self.folder, self._changed, known)

    def start(self) -> Running:
        self.runs.append(Running(self.folder, DOOR))
        return self.runs[-1]

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "run").mkdir()
    one = Bench(tmp_path / "run")
    yield one
    for run in one.runs:
        run.clear()


@pytest.fixture(autouse=True)
def _all_addresses_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gslb.control.addresses.ours", frozenset)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110  # of many kinds, and bounded
            await asyncio.sleep(0.01)


def while_running(balancing: Balancing, scenario: Callable[[], Awaitable[None]]) -> None:
    async def both() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(balancing.run(stop))
        try:
            await scenario()
        finally:
            stop.set()
            await asyncio.wait_for(running, WAIT_S)

    asyncio.run(both())


def in_force(balancing: Balancing, version: int) -> bool:
    return balancing.state is not None and balancing.state.version == version


def test_a_plan_comes_in_force_and_again_after_the_process_died(bench: Bench) -> None:
    balancing = bench.balancing()

    async def scenario() -> None:
        first = bench.start()
        balancing.want(BALANCED, AT_NODE, b"secret")
        await balancing.first_word()
        assert balancing.state is not None
        balancing.apply(PLAN)
        await until(lambda: in_force(balancing, 7))
        assert balancing.unbalanced() == {}
        assert balancing.problems() == ()
        await until(lambda: balancing.pulse is not None)
        assert balancing.pulses()
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert balancing.unbalanced() == {}, "the kernel forwards on"
        balancing.apply(replace(PLAN, version=8, balancers={WEB: replace(TABLE, backends=())}))
        bench.start()
        await until(lambda: in_force(balancing, 8))
        assert balancing.state.adopted

    while_running(balancing, scenario)


def test_a_process_that_hangs_is_told_of_until_it_speaks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gslb.control.balancing.SILENCE_S", 2.0)  # it speaks every second
    balancing = bench.balancing()

    async def scenario() -> None:
        process = bench.start()
        balancing.want(BALANCED, AT_NODE, b"secret")
        balancing.apply(PLAN)
        await until(lambda: in_force(balancing, 7))
        assert balancing.problems() == ()
        os.kill(process.pid, signal.SIGSTOP)
        await until(balancing.problems)
        assert balancing.problems() == (SILENT,)
        with (bench.folder.parent / LOCK).open("w") as lock:  # the supervisor's child holds it
            lock.write("4711\n")
            lock.flush()
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert balancing.problems() == (), "it has just begun"
            await until(balancing.problems)
            assert "(pid 4711) hangs" in balancing.problems()[0]
        assert balancing.unbalanced() == {}, "the kernel forwards on"
        os.kill(process.pid, signal.SIGCONT)
        await until(lambda: not balancing.problems())

    while_running(balancing, scenario)


def test_what_is_the_same_is_not_said_again(bench: Bench) -> None:
    balancing = bench.balancing()

    async def scenario() -> None:
        bench.start()
        balancing.want(BALANCED, AT_NODE, b"secret")
        balancing.apply(PLAN)
        await until(lambda: in_force(balancing, 7))
        balancing.apply(replace(PLAN, version=8))
        balancing.want(BALANCED, AT_NODE, b"secret")
        balancing.apply(replace(PLAN, version=9, balancers={WEB: replace(TABLE, site=FRA, backends=())}))
        await until(lambda: in_force(balancing, 9))
        assert balancing.state is not None
        assert balancing.state.serial == 2

    while_running(balancing, scenario)


def test_checks_go_by_the_balancer_from_when_it_leads_them(bench: Bench) -> None:
    balancing = bench.balancing()
    (one,) = PROBED.pools.values()

    async def scenario() -> None:
        assert balancing.ways() == Ways()
        (bench.folder / "unprobed").touch()
        bench.start()
        balancing.want(PROBED, AT_NODE, b"secret")
        balancing.apply(PLAN)
        await until(lambda: in_force(balancing, 7))
        ways = balancing.ways()
        assert ways.marks == frozenset()
        assert "checks to VIPs cannot leave by eth0" in ways.why
        (bench.folder / "unprobed").unlink()
        balancing.apply(replace(PLAN, version=8, balancers={WEB: replace(TABLE, backends=())}))
        await until(lambda: balancing.ways().marks)
        assert balancing.ways().marks == {probe.mark for probe in probes_of(PROBED, FRA)}
        assert one.name not in balancing.ways().unbalanced

    while_running(balancing, scenario)


def test_a_kernel_that_holds_a_newer_plan_is_told_of_to_who_numbers_plans(bench: Bench) -> None:
    (bench.folder / "pins").mkdir()
    (bench.folder / "pins" / "tables").write_text('{"version": 40}')
    balancing = bench.balancing()

    async def scenario() -> None:
        bench.start()
        balancing.want(BALANCED, AT_NODE, b"secret")
        balancing.apply(PLAN)
        await until(lambda: balancing.version == 40)
        balancing.apply(replace(PLAN, version=41))
        await until(lambda: in_force(balancing, 41))
        assert balancing.problems() == ()

    while_running(balancing, scenario)


def test_a_refusal_is_a_reason_at_once_and_has_a_decision_made(bench: Bench) -> None:
    (bench.folder / "refuse").touch()
    balancing = bench.balancing()

    async def scenario() -> None:
        bench.start()
        balancing.want(BALANCED, AT_NODE, b"secret")
        await until(balancing.unbalanced)
        assert balancing.unbalanced() == {WEB: "no such kernel here; apt-get install one"}
        assert bench.changes == 1
        assert "this node does not balance" in balancing.problems()[0]
        assert balancing.ways() == Ways(why=balancing.unbalanced()[WEB], unbalanced=frozenset({WEB}))

    while_running(balancing, scenario)


def test_before_its_first_word_what_an_earlier_run_knew_holds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        fine, broken = bench.balancing({}), bench.balancing({WEB: "no libbpf"})
        for one in (fine, broken):
            one.want(BALANCED, AT_NODE, b"secret")
            one.apply(PLAN)
            assert one.problems() == ()
        assert fine.unbalanced() == {}
        assert broken.unbalanced() == {WEB: "no libbpf"}
        monkeypatch.setattr("gslb.control.balancing.PATIENCE_S", 0.0)
        assert fine.unbalanced() == {WEB: SILENT}
        assert fine.problems() == (SILENT,)

    asyncio.run(scenario())


def test_switched_off_nothing_is_balanced_and_nobody_is_asked(bench: Bench) -> None:
    async def scenario() -> None:
        balancing = bench.balancing()
        balancing.want(replace(BALANCED, balancer=Balancer(attach=Attach.OFF)), AT_NODE, b"secret")
        await balancing.first_word()
        assert balancing.unbalanced() == {WEB: "balancer.attach is off"}
        assert balancing.ways() == Ways(why="balancer.attach is off", unbalanced=frozenset({WEB}))
        told = balancing.to_json()
        assert told is not None
        assert told["balancer"] is None

    asyncio.run(scenario())


@pytest.mark.parametrize("turns", range(8))
def test_it_ends_at_once_also_while_the_process_speaks(tmp_path: Path, turns: int) -> None:
    """At whichever turn of the loop after a report has come."""
    balancing = Balancing(tmp_path, lambda: None, None)

    async def scenario() -> None:
        door = channel.listen(tmp_path, DOOR, socket.SOCK_STREAM)
        door.settimeout(0)
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        running = asyncio.create_task(balancing.run(stop))
        balancing.want(BALANCED, AT_NODE, b"secret")
        line, _ = await asyncio.wait_for(loop.sock_accept(door), WAIT_S)
        with door, line:
            line.sendall(frame(Report(State(1, 1, ""), None)))
            await until(lambda: balancing.version == 1)
            line.sendall(frame(Report(State(2, 2, ""), None)))
            for _ in range(turns):
                await asyncio.sleep(0)
            stop.set()
            await asyncio.wait_for(running, 2.0)

    asyncio.run(scenario())


DNS_HERE = replace(BALANCED, dns=replace(BALANCED.dns, listen=(Socket(ip_address("192.0.2.53"), 53),), xdp="native"))


def test_dns_in_the_driver_is_wanted_beside_the_tables_and_told(bench: Bench) -> None:
    bench.start()

    async def scenario() -> None:
        balancing = bench.balancing()
        balancing.want(DNS_HERE, AT_NODE, b"secret")
        balancing.apply(PLAN)

        async def told() -> None:
            await until(lambda: balancing.version == 7 and not balancing.unbalanced())
            assert balancing.problems() == (f"DNS is not answered in the driver: {NO_IMAGE}",)
            found = balancing.to_json()
            assert found is not None
            assert (found["driver"]["why"], found["driver"]["addresses"]) == (NO_IMAGE, 1)

        async with asyncio.TaskGroup() as tasks:
            stop = asyncio.Event()
            tasks.create_task(balancing.run(stop))
            await told()
            stop.set()

    asyncio.run(scenario())


def test_interfaces_that_cannot_be_looked_at_change_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(24, "Too many open files")

    balancing = bench.balancing()
    monkeypatch.setattr("gslb.control.addresses.present", fail)
    balancing.want(DNS_HERE, AT_NODE, b"secret")
    balancing.apply(PLAN)
    assert balancing.problems() == ()


def test_an_address_is_answered_while_it_is_on_this_machine(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gslb.control.balancing.LOOK_S", 0.05)
    bench.start()

    async def scenario() -> None:
        balancing = bench.balancing()

        def notes() -> Any:
            found = balancing.to_json()
            return found["driver"]["notes"] if found is not None else None

        async with asyncio.TaskGroup() as tasks:
            stop = asyncio.Event()
            monkeypatch.setattr("gslb.control.addresses.ours", lambda _: frozenset())
            balancing.want(DNS_HERE, AT_NODE, b"secret")
            balancing.apply(PLAN)
            tasks.create_task(balancing.run(stop))
            (address,) = (str(one.address) for one in DNS_HERE.dns.listen)
            await until(lambda: notes() == [f"not on this machine, answered when it comes: {address}"])
            monkeypatch.setattr("gslb.control.addresses.ours", frozenset)
            await until(lambda: notes() == [])
            stop.set()

    asyncio.run(scenario())


def test_without_a_process_for_it_that_is_why(bench: Bench) -> None:
    balancing = bench.balancing()
    balancing.no_driver = "no rights"
    balancing.want(replace(DNS_HERE, pools={}), AT_NODE, b"secret")
    found = balancing.to_json()
    assert found is not None
    assert found["driver"]["why"] == "no rights"
    assert balancing.problems() == ("DNS is not answered in the driver: no rights",)


def test_what_was_said_before_a_change_of_mode_is_no_problem_of_the_new_one(tmp_path: Path) -> None:
    """Else each change of `dns.xdp` is an error in the log that is mended a second later."""
    balancing = Balancing(tmp_path, lambda: None, None)
    answered = DnsState(image="1", version=7, addresses=1)

    async def scenario() -> None:
        door = channel.listen(tmp_path, DOOR, socket.SOCK_STREAM)
        door.settimeout(0)
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        balancing.want(replace(DNS_HERE, pools={}, dns=replace(DNS_HERE.dns, xdp="generic")), AT_NODE, b"secret")
        balancing.apply(PLAN)
        running = asyncio.create_task(balancing.run(stop))
        line, _ = await asyncio.wait_for(loop.sock_accept(door), WAIT_S)

        def driver() -> Any:
            found = balancing.to_json()
            assert found is not None
            return found["driver"]

        async def say(serial: int, why: str) -> None:
            state = State(serial, 7, "", (Interface("eth0", Attached.GENERIC, why),), dns=answered)
            line.sendall(frame(Report(state, None)))
            await until(lambda: driver()["interfaces"] == [asdict(one) for one in state.interfaces])

        with door, line:
            line.sendall(frame(Report(State(0, 0, ""), None)))
            await until(lambda: balancing.to_json() is not None)
            assert driver()["why"] == UNKNOWN, "a process that has just begun"
            assert balancing.problems() == ()
            await say(1, "dns.xdp is generic")
            assert balancing.problems() == ()
            balancing.want(replace(DNS_HERE, pools={}), AT_NODE, b"secret")
            assert balancing.problems() == ()
            assert driver()["why"] == UNKNOWN
            await say(2, "it cannot")
            assert balancing.problems() == ("eth0: generic mode, which is slower: it cannot",)
            stop.set()
            await asyncio.wait_for(running, 2.0)

    asyncio.run(scenario())
