"""The real program as a child process: `gslb run` with a config of the test's own, and its other commands.  IO."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e.lifecycle import GSLB
from tests.e2e.probes import dynamic, peers
from tests.e2e.probes.wire import Target, query
from tests.namespaces import Namespace
from tests.ports import free_port

START_S = 15.0
FEATURES = frozenset({"nsid", "ecs", "tailoring", "policies", "keepalive", "cookies"})


@dataclass(frozen=True)
class Program:
    """A running `gslb run`."""

    process: subprocess.Popen[bytes]
    target: Target
    config: Path
    node: str
    state: Path

    def command(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the program for the same node."""
        where = ("--config", str(self.config), "--node", self.node, "--state", str(self.state))
        return subprocess.run(
            [*GSLB, name, *where, *arguments], capture_output=True, text=True, timeout=60, check=False
        )

    def status(self) -> dict[str, Any]:
        """`gslb status --json`, whether or not the node serves (0 and 1)."""
        done = self.command("status", "--json")
        assert done.returncode in (0, 1), done.stderr
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def log(self) -> str:
        """What the program has said so far."""
        return (self.state.parent / "output").read_text()


@contextlib.contextmanager
def running(
    folder: Path,
    config: Path,
    node: str,
    target: Target,
    *,
    first: bytes | None = None,
    inside: Namespace | None = None,
    within_s: float = START_S,
) -> Iterator[Program]:
    """Start the program (`inside` a namespace), wait until it answers `first` at `target`, end it with SIGTERM."""
    state, output = folder / "state", folder / "output"
    command = [*GSLB, "run", "--config", str(config), "--node", node, "--state", str(state)]
    with output.open("wb") as sink:
        process = subprocess.Popen(
            inside.command(command) if inside else command,
            stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait = partial(wait_for_answer, target, process, output, first or query("leaf", "A"), within_s)
        inside.call(wait) if inside else wait()
        yield Program(process, target, config, node, state)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_answer(
    target: Target, process: subprocess.Popen[bytes], output: Path, first: bytes, within_s: float
) -> None:
    """Ask until a NOERROR comes; AssertionError when the process ends or time runs out."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        assert process.poll() is None, f"ended with {process.returncode}: {output.read_text()}"
        with contextlib.suppress(OSError):
            if target.raw_udp(first)[3] & 15 == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"no answer within {within_s} s: {output.read_text()}")


@contextlib.contextmanager
def acceptance(
    folder: Path,
    target: Target | None = None,
    inside: Namespace | None = None,
    *,
    workers: int = 2,
    listen: str | None = None,
) -> Iterator[Program]:
    """The program with the zone and the dynamic names of the probes, on a free loopback port unless told.

    `listen` is a YAML list where it differs from the target.
    """
    target = target or Target("127.0.0.1", free_port(), FEATURES)
    config = folder / "gslb.yaml"
    listen = listen or f'["{target.address}:{target.port}"]'
    config.write_text(dynamic.CONFIG.format(listen=listen, workers=workers, api=free_port()))
    (folder / "acceptance.test.zone").write_text(peers.ZONE_FILE.read_text() + dynamic.ALIASES)
    with running(folder, config, "one", target, inside=inside) as program:
        yield program
