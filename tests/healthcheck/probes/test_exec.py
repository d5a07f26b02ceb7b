"""Checks by a program: its status, its output, its end, and what it is given."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import psutil
import pytest

from healthcheck.check import Check, Sample
from tests.healthcheck.probes.servers import SHORT_S, check, sample, samples


def script(text: str, *arguments: str, timeout_s: float = 5.0, port: int | None = 80) -> Check:
    return check("exec", port, {"command": ["/bin/sh", "-c", text, "sh", *arguments]}, timeout_s=timeout_s)


def run(text: str, *arguments: str, timeout_s: float = 5.0) -> Sample:
    return asyncio.run(sample(script(text, *arguments, timeout_s=timeout_s)))


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(pid)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exit 0", ""),
        ("echo fine; exit 0", ""),
        ("exit 2", "exit status 2"),
        ("echo; echo '  DISK CRITICAL '; echo more; exit 2", "exit status 2: DISK CRITICAL"),
        ("echo 'to stderr' >&2; exit 1", "exit status 1: to stderr"),
        (r"printf 'a\033[31mb\377\n'; exit 1", "exit status 1: a?[31mb\N{REPLACEMENT CHARACTER}"),
        ("kill -SEGV $$", "ended by SIGSEGV"),
        ("head -c 60000 /dev/zero; exit 3", "exit status 3: " + "?" * 200),
        ("exec yes", "wrote more than 64 kB"),
    ],
)
def test_status_and_output(text: str, why: str) -> None:
    assert run(text).why == why


def test_the_target_is_given_by_arguments_and_environment() -> None:
    assert run('test "$1,$2,$GSLB_ADDRESS,$GSLB_PORT" = "127.0.0.1:80,--x,127.0.0.1,80"', "{address}:{port}", "--x").ok
    nothing = script('test "$1,$GSLB_PORT" = ","', "{port}", port=None)
    assert asyncio.run(sample(nothing)).ok


def test_it_is_given_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret of the environment, no open file, no terminal to read from."""
    monkeypatch.setenv("GSLB_SECRET", "secret")
    assert run('env | grep -q secret && echo leaked && exit 1; test -n "$PATH"').why == ""
    with Path("/dev/null").open() as one:
        high = os.dup2(one.fileno(), 97, inheritable=True)
        assert run("test ! -e /proc/$$/fd/97").ok
        os.close(high)
    assert run("read line && exit 1 || exit 0").ok


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["/no/such/program"], "/no/such/program cannot be run (no such file or directory)"),
        (["/dev/null"], "/dev/null cannot be run (permission denied)"),
        (["/bin/echo", "nul\0inside"], "/bin/echo cannot be run (embedded null byte)"),
        ([], "no program to run"),
    ],
)
def test_a_program_that_cannot_be_run(command: list[str], why: str) -> None:
    assert asyncio.run(sample(check("exec", 80, {"command": command}))).why == why


def test_it_is_killed_with_all_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    found = run(f"sleep 1000 & echo $! $$ > {pids}; trap '' TERM; wait", timeout_s=SHORT_S)
    assert found.why == "did not end within 300ms"
    assert all(wait_until_gone(int(pid)) for pid in pids.read_text().split())


def test_what_it_leaves_behind_is_killed(tmp_path: Path) -> None:
    """A child that keeps the output open does not keep the check waiting."""
    pids = tmp_path / "pids"
    found = run(f"sleep 1000 & echo $! > {pids}; exit 0")
    assert found.ok
    assert found.latency_s < 2
    assert wait_until_gone(int(pids.read_text()))


def test_cancelled_by_its_runner_it_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    async def main() -> None:
        task = asyncio.create_task(samples(script(f"echo $$ > {pids}.new; mv {pids}.new {pids}; exec sleep 1000")))
        async with asyncio.timeout(5):
            while not pids.exists():  # noqa: ASYNC110  # a shell tells it
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert wait_until_gone(int(pids.read_text()))


def test_many_leave_no_descriptor_and_no_zombie() -> None:
    def left() -> tuple[int, set[int]]:
        children = psutil.Process().children()
        return psutil.Process().num_fds(), {child.pid for child in children}

    async def main() -> None:
        before = left()
        for _ in range(3):
            assert all(one.ok for one in await asyncio.gather(*(sample(script("exit 0")) for _ in range(5))))
        assert left() == before

    asyncio.run(main())
