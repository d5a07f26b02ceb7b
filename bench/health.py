"""What checking costs: CPU of the checking process at 2 000 HTTP targets every 5 s, and of the engine without probes.

`python -m bench.health [--json FILE] [--targets N] [--interval S] [--seconds S]`.  The targets are loopback addresses, served by
a process of its own.  The kernel delivers loopback packets in the time of their sender, so the checking process also pays
for the server's half of the network stack.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import time
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

import psutil

from gslb.control.checks import checks_of
from gslb.control.prober import Prober
from gslb.model.deployment import (
    Answer,
    Api,
    Datacenter,
    Deployment,
    Dns,
    Monitor,
    MonitorId,
    Node,
    NodeId,
    Pool,
    PoolId,
    SiteId,
    Socket,
)
from healthcheck.check import Check, Sample
from healthcheck.messages import Work
from healthcheck.runner import Runner
from tests.ports import free_port

BUDGET = 0.25  # of one core
SITE, WEB = SiteId("fra"), MonitorId("web")
POOL_SIZE = 10
FIRST = int(IPv4Address("127.1.0.1"))
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
ENGINE_INTERVAL_S = 0.5
ENGINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of one kind of process over a time."""

    share: float  # of one core
    per_check_us: float
    checks_per_s: float


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    port = free_port()
    server = multiprocessing.Process(target=_serve, args=(port,), daemon=True)
    server.start()
    try:
        model = deployment(arguments.targets, arguments.interval, port)
        whole, controller, resident = asyncio.run(measure_process(model, arguments.seconds))
    finally:
        server.terminate()
        server.join()
    engine = asyncio.run(measure_engine(deployment(arguments.targets, ENGINE_INTERVAL_S, port)))
    print(f"{arguments.targets} targets every {arguments.interval:g} s: {whole.checks_per_s:.0f} checks a second")
    print(
        f"checking process {whole.share:7.1%} of a core, {whole.per_check_us:5.0f} us a check, {resident >> 20} MB resident"
    )
    print(f"controller       {controller:7.1%} of a core, reading reports")
    print(f"engine alone     {'':17} {engine.per_check_us:5.0f} us a check, at {engine.checks_per_s:.0f} a second")
    verdict = "within" if whole.share <= BUDGET else "BEYOND"
    print(f"{verdict} the budget of {BUDGET:.0%} of a core")
    if arguments.json:
        found = {
            "targets": arguments.targets,
            "interval_s": arguments.interval,
            "checks_per_s": whole.checks_per_s,
            "share_of_core": whole.share,
            "us_per_check": whole.per_check_us,
            "controller_share_of_core": controller,
            "engine_us_per_check": engine.per_check_us,
            "resident_octets": resident,
        }
        arguments.json.write_text(json.dumps(found))


async def measure_process(model: Deployment, seconds: float) -> tuple[Cost, float, int]:
    """CPU of the real checking process after one round, the controller's share of a core, memory."""
    stop = asyncio.Event()
    prober = Prober(lambda: None)
    prober.want(model, SITE, {})
    running = asyncio.create_task(prober.run(stop))
    await prober.first_round(10.0)
    down = sum(one.health != "up" for found in prober.verdicts().values() for one in found.values())
    if down:
        raise SystemExit(f"{down} of the targets do not answer: nothing to measure")
    await asyncio.sleep(max(one.interval_s for one in (model.monitors or {}).values()))  # the first round is a burst
    process = psutil.Process(prober.state()["pid"])
    began, cpu, own = time.monotonic(), _cpu_s(process), _own_cpu_s()
    checks = 0.0
    for _ in range(round(seconds)):
        await asyncio.sleep(1)
        checks += prober.state()["checks_per_s"]
    passed, cpu, own = time.monotonic() - began, _cpu_s(process) - cpu, _own_cpu_s() - own
    resident = process.memory_info().rss
    stop.set()
    await running
    return Cost(cpu / passed, cpu / checks * 1e6, checks / passed), own / passed, resident


async def measure_engine(model: Deployment) -> Cost:
    """CPU of schedule, runner, verdicts, statistics and reports, with a probe that answers at once."""
    done = 0

    async def probe(check: Check) -> tuple[Sample, ...]:
        nonlocal done
        done += 1
        await asyncio.sleep(0)
        return (Sample(ok=True, latency_s=0.001 + (done % 64) * 1e-5, path=check.kind),)

    checks = checks_of(model, SITE)
    runner = Runner({"http": probe}, lambda: None)
    runner.want(Work(1, tuple(replace(order) for order in checks.orders), checks.peers))
    await asyncio.sleep(1)
    began, before, used = time.monotonic(), done, _own_cpu_s()
    for _ in range(round(ENGINE_S)):
        await asyncio.sleep(1)
        runner.pulse()
    passed, used = time.monotonic() - began, _own_cpu_s() - used
    await runner.close()
    return Cost(used / passed, used / (done - before) * 1e6, (done - before) / passed)


def deployment(targets: int, interval_s: float, port: int) -> Deployment:
    """Pools of POOL_SIZE targets each."""
    addresses = [IPv4Address(FIRST + number) for number in range(targets)]
    pools = {}
    for at in range(0, targets, POOL_SIZE):
        name = PoolId(f"web-{at // POOL_SIZE}")
        pools[name] = Pool(name, SITE, tuple(map(Answer, addresses[at : at + POOL_SIZE])), WEB)
    settings = {"path": ("/healthz",), "expect": (200,)}
    node = Node(NodeId("fra"), SITE)
    listen = Socket(IPv4Address("127.0.0.1"), port)
    return Deployment(
        name="bench",
        nodes={node.name: node},
        datacenters={SITE: Datacenter(SITE)},
        pools=pools,
        policies={},
        dns=Dns((listen,)),
        api=Api(listen),
        monitors={WEB: Monitor(WEB, "http", interval_s, min(2.0, interval_s), 3, 5, 0.5, port, settings)},
    )


class _Answers(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # type: ignore[explicit-override]  # of 3.12
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:  # type: ignore[explicit-override]
        if b"\r\n\r\n" in data:
            self._transport.write(REPLY)
            self._transport.close()


def _serve(port: int) -> None:
    """The process of the targets: every loopback address."""

    async def listen() -> None:
        server = await asyncio.get_running_loop().create_server(_Answers, "0.0.0.0", port, backlog=1024)
        await server.serve_forever()

    asyncio.run(listen())


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.health")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--targets", type=int, default=2000)
    parser.add_argument("--interval", type=float, default=5.0, metavar="S")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S")
    return parser.parse_args()


if __name__ == "__main__":
    main()
