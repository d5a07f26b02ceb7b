"""The lab in containers, once from a clean checkout: built, brought up, one drill in it, and nothing left of it.

Where no Docker engine answers `make lab` starts one of its own, below the checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compose import pages
from compose.clients import Outcome
from compose.drills.result import Death, fate
from compose.drills.stage import now
from compose.score import read
from compose.topology import ZONE, Topology, lab
from tests.conftest import missing

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="an engine of its own needs root"),
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.timeout(600),
]

ROOT = Path(__file__).resolve().parent.parent.parent
LAB = lab()
VICTIM = "web-fra1"
SECONDS = 16.0
DEAD_AT_S, DEAD_S = 4.0, 6.0
SETTLED_S = 60.0
NO_ENGINE = "the engine did not start:"  # as setup/lab.sh says it, with its last words
FORBIDDEN = re.compile(r"permission denied|not permitted|not supported|read-only file system|no such device", re.I)
NOTICED_S = 3.0  # a dead backend is out of the balancer's tables well before
MOST_MEMORY = 300_000_000  # of one node
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def said(*argv: str) -> str:
    """What a program prints; nothing where it fails."""
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout


def clean_checkout(folder: Path) -> Path:
    """What git knows of the tree, and what it would add: nothing that was made there."""
    git = ("git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT))
    names = said(*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    if len(names) < 2:
        missing("this is no git checkout")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def make(checkout: Path, target: str, **extra: str) -> None:
    """Run a target there, and end all of it where this test is cut short."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    with subprocess.Popen(
        ["make", "-C", str(checkout), target],
        env=inherited | extra,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            told, _ = running.communicate()
        except BaseException:
            os.killpg(running.pid, signal.SIGTERM)
            raise
    why = told.partition(NO_ENGINE)[2].strip()
    if FORBIDDEN.search(why):
        pytest.skip(f"this machine lets no Docker engine run: {why}")
    assert running.returncode == 0, f"make {target}:\n{told[-3000:]}"


def traces() -> dict[str, list[str]]:
    """What an engine and the lab leave on a machine: to be the same afterwards."""
    rules = said("iptables-save").splitlines()
    answers = bool(said("docker", "info", "--format", "{{.ID}}").strip())
    seen = {
        "links": sorted(link.name for link in Path("/sys/class/net").iterdir() if "gslb" in link.name),
        "rules": [rule for rule in rules if rule.startswith("-A")],
        "policies": [re.sub(r" \[.*", "", rule) for rule in rules if rule.startswith(":") and " ACCEPT" not in rule],
        "mounts": sorted(
            line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if "docker" in line
        ),
        "engines": said("pgrep", "-x", "-r", "DRST", "dockerd").split(),  # one that ended is none, collected or not
        "sockets": [path for path in ("/run/docker.sock", "/run/gslb-lab") if Path(path).exists()],
    }
    for what in ("container", "network", "volume", "image") if answers else ():
        seen[what] = sorted(said("docker", what, "ls", "-q").split())
    return seen


@contextmanager
def brought_up(checkout: Path) -> Iterator[None]:
    """`make lab`, then `make lab-down`, whatever comes between; an image that was here before stays."""
    if "gslb-" in said("docker", "ps", "--format", "{{.Names}}"):
        missing("the lab is up on this machine; `make lab-down` takes it away")
    kept = {"KEEP_IMAGE": "1"} if said("docker", "image", "ls", "-q", "gslb-lab").strip() else {}
    try:
        make(checkout, "lab", LAB_ENGINE="own")
        yield
    finally:
        make(checkout, "lab-down", **kept)


def settle(topology: Topology) -> None:
    """Wait until resolvers have forgotten what they were told while sites came up."""
    for region in topology.regions:
        until = time.monotonic() + SETTLED_S
        page = ("docker", "exec", f"gslb-client-{region.name}", "curl", "-s", "-m", "3", f"http://www.{ZONE}/")
        while not (told := said(*page)).startswith(f"{region.nearest} "):
            assert time.monotonic() < until, f"{region.name} is served by {told}, not by {region.nearest}"
            time.sleep(0.5)


def drill(topology: Topology, folder: Path) -> tuple[Death, dict[str, list[Outcome]]]:
    """A backend is killed under its clients, and comes back: when it was, and what the clients of each region met."""
    clients = {}
    for region in topology.regions:
        resolver = topology.at(region.name, "unbound", "recursor")[0].address
        words = ("python", "-m", "compose.clients", resolver, f"www.{ZONE}", "--seconds", str(SECONDS))
        with (folder / region.name).open("wb") as lines:
            clients[region.name] = subprocess.Popen(
                ["docker", "exec", f"gslb-client-{region.name}", *words], stdout=lines, stdin=subprocess.DEVNULL
            )
    time.sleep(DEAD_AT_S)
    began = now()
    subprocess.run(["docker", "kill", f"gslb-{VICTIM}"], check=True, stdout=subprocess.DEVNULL)
    death = Death(began, now(), VICTIM, topology.site(topology.by_name[VICTIM].place).vip or "")
    time.sleep(DEAD_S)
    subprocess.run(["docker", "start", f"gslb-{VICTIM}"], check=True, stdout=subprocess.DEVNULL)
    for client in clients.values():
        assert client.wait(SECONDS + 30) == 0
    return death, {region: read((folder / region).read_text().splitlines()) for region in clients}


def memory(topology: Topology) -> dict[str, int]:
    """What each node uses in octets, as Docker counts: all but files that were read once, which the kernel gives up first."""
    names = [f"gslb-{node.name}" for node in topology.running("gslb")]
    told = said("docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *names)
    parts: list[tuple[str, str, str]] = re.findall(r"^(\S+) ([\d.]+)(\w+) /", told, re.MULTILINE)
    found = {name: int(float(number) * UNITS[unit]) for name, number, unit in parts}
    assert sorted(found) == sorted(names), told
    return found


def test_the_lab_comes_up_from_a_clean_checkout_and_leaves_nothing(tmp_path: Path, tool: Callable[[str], str]) -> None:
    for program in ("docker", "make", "git"):
        tool(program)
    before = traces()
    checkout = tmp_path / "checkout"
    clean_checkout(checkout)
    with brought_up(checkout):
        for port in pages.ports(LAB).values():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
                assert b"gslb" in page.read()
        settle(LAB)
        death, heard = drill(LAB, tmp_path)
        used = memory(LAB)
    assert all(0 < octets <= MOST_MEMORY for octets in used.values()), used
    for region in LAB.regions:
        outcomes = heard[region.name]
        assert len(outcomes) > 50
        assert [one for one in outcomes if fate(one, [death]) == "failed"] == []
        assert {one.site for one in outcomes if not one.failed} == {region.nearest}
    dead = (death.ended + NOTICED_S, death.ended + DEAD_S)
    assert {one.server for one in heard["europe"] if dead[0] < one.at < dead[1]} == {"web-fra2"}
    assert traces() == before
    assert not (checkout / "build/engine").exists()
