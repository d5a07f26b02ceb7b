"""`setup/lab.sh` on machines that differ: where the base image comes from, and what is taken away again.

Docker, debootstrap and apt-get are fakes that write down what they were told; tests/compose/test_containers.py has the real ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_setup import Machine

PUBLIC = "debian:bookworm-slim"
MADE = "gslb-lab-base"
SOURCES = r"""
[ "$1" = indextargets ] || exit 0
echo 'http://other.test/ nodistro main'
echo "http://archive.test/debian/ $CODENAME main"
echo "http://archive.test/security/ $CODENAME-security main"
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with an engine that runs, without any image, and without a registry."""
    found = Machine(tmp_path)
    engine(found, 'case "$*" in "image inspect"*|pull*|"compose version"*) exit 1;; esac')
    for name in ("docker-compose", "dockerd", "dpkg-query", "tar"):
        found.fake(name, "")
    found.fake("debootstrap", 'mkdir -p "$3/var/cache/apt/archives"')
    found.fake("id", "echo 0")
    found.fake("apt-get", SOURCES)
    return found


def engine(machine: Machine, body: str, info: str = "6.12.1 [name=seccomp,profile=builtin]") -> None:
    """What the engine answers, and what it says of itself: its kernel and how it confines."""
    machine.fake("docker", f'if [ "$1" = info ]; then echo "{info}"; exit; fi\n{body}')


def codename() -> str:
    """Of the machine that runs this."""
    lines = Path("/etc/os-release").read_text().splitlines()
    return next((line.partition("=")[2] for line in lines if line.startswith("VERSION_CODENAME=")), "")


def build(machine: Machine) -> str:
    """The line that built the image."""
    return next(call for call in machine.calls("docker") if call.startswith("build "))


def lab(machine: Machine, word: str, **extra: str) -> str:
    """Run it; what it said."""
    done = machine.run("setup/lab.sh", word, CODENAME=codename(), **extra)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not codename(), reason="this system has no code name")
def test_without_a_registry_the_base_is_made_of_what_apt_reads(machine: Machine) -> None:
    assert "making a base" in lab(machine, "up")
    (made,) = machine.calls("debootstrap")
    assert made.startswith("--variant=minbase bookworm /")
    assert made.endswith(" http://archive.test/debian/")
    assert any(call.startswith("import ") and call.endswith(f"- {MADE}") for call in machine.calls("docker"))
    assert not list((machine.checkout / "build").iterdir()), "nothing stays in the tree"
    lab(machine, "down")
    assert f"image rm {MADE}" in machine.calls("docker")


@pytest.mark.skipif(not codename(), reason="this system has no code name")
def test_the_build_is_handed_what_the_base_was_made_of(machine: Machine) -> None:
    lab(machine, "up", PIP_FIND_LINKS="/opt/wheels", PIP_INDEX_URL="http://index.test/simple")
    for name in ("LAB_BASE", "DEBIAN_MIRROR", "SECURITY_MIRROR", "PIP_INDEX_URL"):
        assert f"--build-arg {name}" in build(machine)
    assert "PIP_FIND_LINKS" not in build(machine), "a folder of this machine"


def test_who_is_not_root_is_told_what_else_does(machine: Machine) -> None:
    machine.fake("id", "echo 1000")
    done = machine.run("setup/lab.sh", "up", CODENAME=codename())
    assert done.returncode == 1
    assert "LAB_BASE=NAME" in done.stderr
    assert not machine.calls("debootstrap")


def test_a_base_that_was_fetched_is_taken_away_with_the_lab(machine: Machine) -> None:
    engine(machine, 'case "$*" in "image inspect"*|"compose version"*) exit 1;; esac')
    lab(machine, "up")
    assert "DEBIAN_MIRROR" not in build(machine)
    lab(machine, "down", KEEP_IMAGE="1")
    assert not [call for call in machine.calls("docker") if call.startswith("image rm")]
    lab(machine, "down")
    assert f"image rm {PUBLIC}" in machine.calls("docker")


def test_a_base_that_was_here_stays(machine: Machine) -> None:
    engine(machine, "")
    lab(machine, "up")
    lab(machine, "down")
    assert not [call for call in machine.calls("docker") if call.startswith("pull") or call.endswith(PUBLIC)][1:]
    assert f"image rm {PUBLIC}" not in machine.calls("docker")


def test_an_engine_that_does_not_run_is_not_started_unasked(machine: Machine) -> None:
    machine.fake("docker", "exit 1")
    done = machine.run("setup/lab.sh", "up")
    assert done.returncode == 1
    assert "LAB_ENGINE=own" in done.stderr
    assert not machine.calls("dockerd")


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ("6.12.1 [name=seccomp,profile=builtin name=rootless]", "rootless or maps users"),
        ("6.12.1 [name=userns]", "rootless or maps users"),
        (
            "5.15.0-91-generic [name=seccomp,profile=builtin]",
            "expected Linux 6.1 or newer, and the engine's kernel is 5.15.0-91-generic",
        ),
    ],
)
def test_an_engine_that_cannot_have_the_lab_is_told_so(machine: Machine, info: str, said: str) -> None:
    engine(machine, "", info)
    done = machine.run("setup/lab.sh", "up")
    assert done.returncode == 1
    assert said in done.stderr
    assert not [call for call in machine.calls("docker") if call.startswith("build ")]
