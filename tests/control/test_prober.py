"""The prober with the real checking process, real HTTP servers, and processes that are not themselves."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from aiohttp import web

from gslb.control.checking import COMMAND
from gslb.control.prober import Prober
from gslb.model.deployment import Answer, Deployment, LoadSource, Monitor, MonitorId, Pool, PoolId
from gslb.model.world import Health, Verdict, Verdicts
from tests.control.make import DEPLOYMENT, FRA

WAIT_S = 20.0
ROOT = Path(__file__).parents[2]
WEB, A = MonitorId("web"), PoolId("a")
SERVED, OTHER = "127.0.0.1", "127.0.0.2"  # nobody listens at the other


class Server:
    """An HTTP server at SERVED whose answers can be changed."""

    def __init__(self) -> None:
        self.status: dict[str, int] = {}
        self.asked = 0
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Server]:
        app = web.Application()
        app.router.add_get("/{tail:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, SERVED, self.port).start()
            self.port = runner.addresses[0][1]
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if request.path == "/load":
            return web.json_response({"rps": 812})
        return web.Response(status=self.status.get(request.path, 200))


class Bench:
    """A prober that runs, and what it has said."""

    def __init__(self, prober: Prober, server: Server) -> None:
        self.prober = prober
        self.server = server

    def want(self, *addresses: str, reference: tuple[str, ...] = (), known: Verdicts | None = None) -> None:
        self.prober.want(self.deployed(*addresses, reference=reference), FRA, known or {})

    def deployed(self, *addresses: str, reference: tuple[str, ...] = ()) -> Deployment:
        settings = {"path": ("/ping", "/login"), "expect": (200,)}
        monitor = Monitor(WEB, "http", 0.1, 0.1, 3, 2, 0.5, self.server.port, settings)
        page = LoadSource("url", f"http://{SERVED}:{self.server.port}/load", json="$.rps")
        pool = Pool(A, FRA, tuple(Answer(IPv4Address(one)) for one in addresses), WEB, load=page)
        return replace(DEPLOYMENT, monitors={WEB: monitor}, pools={A: pool}, reference=reference)

    def health(self, address: str = SERVED) -> Health | None:
        verdict = self.verdict(address)
        return verdict.health if verdict is not None else None

    def verdict(self, address: str = SERVED) -> Verdict | None:
        return self.prober.verdicts().get(A, {}).get(address)

    @property
    def pid(self) -> int | None:
        pid = self.prober.state()["pid"]
        assert pid is None or isinstance(pid, int)
        return pid

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110  # of many kinds, and bounded
                await asyncio.sleep(0.01)


def run(
    scenario: Callable[[Bench], Awaitable[None]], command: tuple[str, ...] = COMMAND, silence_s: float = 10.0
) -> None:
    async def whole() -> None:
        async with Server().listening() as server:
            stop = asyncio.Event()
            prober = Prober(lambda: None, command, silence_s)
            running = asyncio.create_task(prober.run(stop))
            try:
                await scenario(Bench(prober, server))
            finally:
                stop.set()
                await asyncio.wait_for(running, WAIT_S)
            assert prober.state()["pid"] is None

    asyncio.run(whole())


def gone(pid: int) -> bool:
    """Whether a process has ended, even where nobody has collected it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True


def test_targets_are_judged_within_the_first_round() -> None:
    async def scenario(bench: Bench) -> None:
        bench.want(SERVED, OTHER)
        assert bench.prober.verdicts() == {}
        await bench.prober.first_round(1.0)
        assert bench.health(SERVED) is Health.UP
        other = bench.verdict(OTHER)
        assert other is not None
        assert other.health is Health.DOWN
        assert other.double
        assert "/ping: connection refused" in other.why

    run(scenario)


def test_a_path_that_fails_takes_the_target_down_and_it_comes_back() -> None:
    async def scenario(bench: Bench) -> None:
        bench.want(SERVED)
        await bench.until(lambda: bench.health() is Health.UP)
        bench.server.status["/login"] = 500
        await bench.until(lambda: bench.health() is Health.DOWN)
        verdict = bench.verdict()
        assert verdict is not None
        assert verdict.why == "/login: status 500, expected 200"
        assert not verdict.double
        assert verdict.age_s < 2.0
        bench.server.status.clear()
        await bench.until(lambda: bench.health() is Health.UP)

    run(scenario)


def test_pages_of_load_are_read_and_figures_kept() -> None:
    async def scenario(bench: Bench) -> None:
        bench.want(SERVED)
        await bench.until(lambda: A in bench.prober.readings())
        reading = bench.prober.readings()[A]
        assert reading.value == 812.0
        assert 0 <= time.monotonic() - reading.at < 5.0
        await bench.until(lambda: bench.prober.state()["targets"][0].get("p99_s"))
        await bench.until(lambda: bench.prober.state()["checks_per_s"])
        state = bench.prober.state()
        assert [path["path"] for path in state["targets"][0]["paths"]] == ["/ping", "/login"]
        assert 1 < state["checks_per_s"] < 25  # one target, ten times a second

    run(scenario)


def test_a_killed_process_is_replaced_and_verdicts_stay() -> None:
    async def scenario(bench: Bench) -> None:
        bench.want(SERVED, OTHER)
        await bench.until(lambda: bench.health(SERVED) and bench.health(OTHER))
        before = bench.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        await bench.until(lambda: bench.pid != before)
        assert bench.health(SERVED) is Health.UP
        assert bench.health(OTHER) is Health.DOWN
        await bench.until(lambda: bench.pid is not None)
        asked = bench.server.asked
        await bench.until(lambda: bench.server.asked > asked + 5)
        assert bench.health(OTHER) is Health.DOWN
        assert gone(before)
        assert bench.prober.state()["restarts"] == 1

    run(scenario)


def test_a_frozen_process_is_replaced_and_ages_grow_until_then() -> None:
    async def scenario(bench: Bench) -> None:
        bench.want(SERVED)
        await bench.until(lambda: bench.health() is Health.UP)
        before = bench.pid
        assert before is not None
        os.kill(before, signal.SIGSTOP)
        await bench.until(lambda: (verdict := bench.verdict()) is not None and verdict.age_s > 1.5)
        assert bench.pid == before
        began = time.monotonic()
        for _ in range(200):  # nobody takes them
            bench.want(*(f"127.0.{number}.1" for number in range(200)))
        assert time.monotonic() - began < 5.0
        bench.want(SERVED)
        await bench.until(lambda: bench.pid not in (None, before))
        assert gone(before)
        await bench.until(lambda: (verdict := bench.verdict()) is not None and verdict.age_s < 1.0)

    run(scenario, silence_s=2.5)


def test_a_controller_that_stood_still_does_not_take_that_for_silence() -> None:
    async def scenario(bench: Bench) -> None:
        bench.want(SERVED)
        await bench.until(lambda: bench.health() is Health.UP)
        pid = bench.pid
        time.sleep(3.0)  # noqa: ASYNC251  # longer than the silence that is allowed
        asked = bench.server.asked
        await bench.until(lambda: bench.server.asked > asked + 5)
        assert bench.pid == pid
        assert bench.prober.state()["restarts"] == 0

    run(scenario, silence_s=2.5)


TALES = {
    "garbage": "import os, sys; os.write(int(sys.argv[1]), b'GET / HTTP/1.1 ' * 1000); input()",
    "no report": "import os, sys; os.write(int(sys.argv[1]), bytes([0, 0, 0, 1, 1])); import time; time.sleep(60)",
    "ends at once": "raise SystemExit(3)",
    "silence": "import time; time.sleep(60)",
    "half a report, for ever": "import os, sys, time\nwhile True: os.write(int(sys.argv[1]), bytes(1)); time.sleep(1)",
}


@pytest.mark.parametrize("tale", TALES)
def test_a_process_that_is_out_of_its_mind_is_replaced(
    tale: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = tmp_path / "child.py"
    script.write_text(TALES[tale])

    async def scenario(bench: Bench) -> None:
        bench.want(SERVED, known={A: {SERVED: Verdict(Health.DOWN, 1.0, "refused")}})
        await bench.until(lambda: bench.prober.state()["restarts"] >= 2)
        assert bench.health() is Health.DOWN
        began = time.monotonic()
        bench.want(SERVED, OTHER)
        assert time.monotonic() - began < 0.5

    with caplog.at_level(logging.WARNING):
        run(scenario, (sys.executable, str(script)), silence_s=0.5)
    assert "the checking process is lost" in caplog.text


def test_a_program_that_is_not_there_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(bench: Bench) -> None:
        bench.want(SERVED)
        await bench.until(lambda: bench.prober.state()["restarts"] >= 2)
        assert bench.prober.verdicts() == {}

    with caplog.at_level(logging.WARNING):
        run(scenario, ("/no/such/program",))
    assert any("cannot be started: No such file" in str(vars(one).get("why")) for one in caplog.records)


def test_where_nothing_is_checked_there_is_no_process() -> None:
    async def scenario(bench: Bench) -> None:
        nothing = replace(bench.deployed(), monitors=None, pools={})
        bench.prober.want(nothing, FRA, {})
        began = time.monotonic()
        await bench.prober.first_round(5.0)
        assert time.monotonic() - began < 0.1
        assert bench.pid is None
        bench.want(SERVED)
        await bench.until(lambda: bench.health() is Health.UP)
        pid = bench.pid
        assert pid is not None
        bench.prober.want(nothing, FRA, {})
        await bench.until(lambda: bench.pid is None and gone(pid))
        assert bench.prober.verdicts() == {}
        assert bench.prober.state()["restarts"] == 0
        bench.want(SERVED)
        await bench.until(lambda: bench.pid is not None and bench.health() is Health.UP)

    run(scenario)


def test_a_new_configuration_leaves_what_stands() -> None:
    async def scenario(bench: Bench) -> None:
        bench.want(OTHER)
        await bench.until(lambda: bench.health(OTHER) is Health.DOWN)
        pid = bench.pid
        bench.want(OTHER, SERVED)
        assert bench.health(OTHER) is Health.DOWN
        await bench.until(lambda: bench.health(SERVED) is Health.UP)
        assert bench.health(OTHER) is Health.DOWN
        bench.want(SERVED)
        assert bench.verdict(OTHER) is None
        assert bench.pid == pid

    run(scenario)


def test_a_site_that_reaches_no_reference_judges_nothing_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(bench: Bench) -> None:
        reference = Server()
        async with reference.listening():
            address = f"{SERVED}:{reference.port}"
            bench.want(SERVED, reference=(address, f"http://{address}/"))
            await bench.until(lambda: bench.health() is Health.UP)
        bench.server.status["/ping"] = bench.server.status["/login"] = 500  # from now on no reference answers
        await bench.until(lambda: bench.prober.blind_since is not None)
        asked = bench.server.asked
        await bench.until(lambda: bench.server.asked > asked + 20)
        verdict = bench.verdict()
        assert verdict is not None
        assert (verdict.health, verdict.settles_s) == (Health.UP, None)
        assert {one["answers"] for one in bench.prober.state()["references"].values()} == {False}
        since = bench.prober.blind_since
        assert since is not None
        assert abs(since - time.time()) < WAIT_S
        async with reference.listening():
            await bench.until(lambda: bench.prober.blind_since is None)
            await bench.until(lambda: bench.health() is Health.DOWN)

    with caplog.at_level(logging.WARNING):
        run(scenario)
    assert "no reference target answers" in caplog.text


def test_a_process_that_cannot_be_started_for_want_of_descriptors_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The limit is this process's own; what it holds open already goes on."""

    async def scenario(bench: Bench) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            bench.want(SERVED)
            await bench.until(lambda: bench.prober.state()["restarts"] >= 2)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await bench.until(lambda: bench.health(SERVED) is Health.UP)

    with caplog.at_level(logging.WARNING):
        run(scenario)
    assert "it cannot be started: Too many open files" in str([vars(record) for record in caplog.records])


CONTROLLER = """
import asyncio
from gslb.control.prober import Prober
from tests.control.make import FRA
from tests.control.test_checks import deployed, pool

async def main():
    prober = Prober(lambda: None)
    prober.want(deployed(pool("a", "127.0.0.2")), FRA, {})
    running = asyncio.create_task(prober.run(asyncio.Event()))
    while prober.state()["pid"] is None:
        await asyncio.sleep(0.01)
    print(prober.state()["pid"], flush=True)
    await running

asyncio.run(main())
"""


def test_the_process_ends_when_its_controller_is_killed() -> None:
    async def scenario(bench: Bench) -> None:
        controller = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CONTROLLER, stdout=asyncio.subprocess.PIPE, cwd=ROOT
        )
        assert controller.stdout is not None
        pid = int(await asyncio.wait_for(controller.stdout.readline(), WAIT_S))
        assert not gone(pid)
        controller.kill()
        await controller.communicate()
        await bench.until(lambda: gone(pid))

    run(scenario)
