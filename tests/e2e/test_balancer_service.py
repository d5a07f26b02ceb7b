"""The balancer with no more rights than packaging/gslb-balancer.conf gives a node, and a bpffs as it prepares one."""

# typing.override arrives with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from tests.e2e.balanced import BACKENDS, Balanced
from tests.e2e.lifecycle import wait_until
from tests.namespaces import Namespace, World

DROP_IN = (Path(__file__).resolve().parents[2] / "packaging" / "gslb-balancer.conf").read_text()

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(180)]


def settings(key: str) -> list[str]:
    """The values of a key of the drop-in, in order."""
    return re.findall(rf"^{key}=(.*)$", DROP_IN, re.M)


class Service(Namespace):
    """A host whose processes have the rights of the drop-in and no other, with a bpffs of their own.

    They are root by name alone (SECBIT_NOROOT of capabilities(7)): another user might not be let to read this checkout.
    """

    def __init__(self, host: Namespace) -> None:
        super().__init__(host.name)
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--", "sh", "-c", "mount -t bpf -o mode=0700 bpf /sys/fs/bpf && echo && read end"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"\n"
        (line,) = settings("ExecStartPre")
        prepare = shlex.split(line.removeprefix("+").replace("gslb:gslb", "root:root"))
        subprocess.run([*self._entered, *prepare], check=True, timeout=30)

    @property
    def _entered(self) -> list[str]:
        mount = f"--mount=/proc/{self._holder.pid}/ns/mnt"
        return ["nsenter", mount, f"--net={self.path}", f"--wdns={Path.cwd()}", "--"]

    def command(self, argv: Sequence[str]) -> list[str]:
        rights = ",".join(f"+{one.removeprefix('CAP_').lower()}" for one in settings("AmbientCapabilities")[-1].split())
        given = [f"--{which}={rights}" for which in ("inh-caps", "ambient-caps")]
        few = ["--securebits=+noroot", "--no-new-privs", f"--bounding-set=-all,{rights}"]
        return [*self._entered, "setpriv", *few, *given, "--", *argv]

    def pins(self) -> str:
        """What lies in the node's folder of bpffs."""
        words = [*self._entered, "find", "/sys/fs/bpf/gslb", "-mindepth", "1"]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=30).stdout

    def close(self) -> None:
        """Let the mount go, and all that lies in it."""
        self._holder.communicate(timeout=10)


@pytest.fixture
def site(netns: World, tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Balanced]:
    """A site with checks by way of the VIP, whose balancer is such a service."""
    for name in ("setpriv", "unshare"):
        tool(name)
    with contextlib.closing(Balanced(netns, tmp_path, f"s{os.getpid()}")) as site:
        site.via = "vip"
        site.balancer = service = Service(site.balancer)
        with contextlib.closing(service):
            yield site


def test_it_balances_is_adopted_after_a_kill_and_leaves_nothing(site: Balanced) -> None:
    """The few rights are enough for a whole life: attached, checks led, adopted by the next run, tables changed, removed."""
    with site.running() as program:
        flows = site.flows(60)
        assert set(flows.names) == set(BACKENDS)
        state = program.status()["balancer"]
        assert (state["refused"], state["problems"]) == ("", [])
        every = processes(program.process.pid)
        for one in every:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended with its parent
                one.kill()
        psutil.wait_procs(every, timeout=10)
    assert flows.ask() == flows.names, "with every process dead forwarding goes on"
    with site.running() as program:
        wait_until(lambda: program.status()["balancer"]["adopted"], "the adoption")
        assert flows.ask() == flows.names
        site.kill("b")
        site.settle(program, ["a", "c"])
        assert set(site.flows(60).names) == {"a", "c"}
        site.serve("b")
        site.settle(program, BACKENDS)
        state = program.status()["balancer"]
        assert (state["refused"], state["problems"]) == ("", [])
        assert isinstance(site.balancer, Service)
        assert site.balancer.pins()
    assert site.balancer.pins() == ""


def processes(pid: int) -> list[psutil.Process]:
    """A process and all below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
