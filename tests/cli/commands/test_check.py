"""`gslb check` as a user calls it: problems, exit status, summary, and a dump that named-checkzone accepts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent.parent
FULL = ROOT / "tests" / "config" / "good" / "full.yaml"


def check(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gslb.cli", "check", *arguments]
    environment = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_summary() -> None:
    done = check()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "gslb.yaml: deployment example is fine: 6 sites, 6 nodes, 8 pools, 2 policies, 2 zones, "
        "39 static records, 4 dynamic records, 0 warnings\n"
    )


def test_every_problem_and_its_place(tmp_path: Path) -> None:
    (tmp_path / "gslb.yaml").write_text("deployment: a b\ndatacenters: {fra: {att: [1, 2]}}\nzones: [none.zone]\n")
    done = check(folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "gslb.yaml:1:13: deployment: a b - expected a name of letters, digits, - and _, at most 63",
        "gslb.yaml:2:15: datacenters.fra: unused - expected a pool or a node there",
        "gslb.yaml:2:21: datacenters.fra.att: unknown key - did you mean at?",
        "gslb.yaml:3:9: zones[0]: none.zone - no such file",
        "gslb.yaml: refused",
    ]


def test_no_file(tmp_path: Path) -> None:
    done = check("none.yaml", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("none.yaml: cannot be read: No such file or directory\n")


def test_warnings_do_not_fail() -> None:
    case = ROOT / "tests" / "config" / "bad" / "slow-failover.yaml"
    done = check(str(case))
    assert done.returncode == 0
    assert "warning: policies.web.ttl.max" in done.stderr
    assert "1 warning\n" in done.stdout


@pytest.mark.parametrize(
    ("config", "zone"),
    [
        ("gslb.yaml", "example.com"),
        ("gslb.yaml", "EXAMPLE.net."),
        (str(FULL), "example.net"),
        (str(FULL), "example.com"),
    ],
)
def test_named_checkzone_accepts_a_dump(tool: Callable[[str], str], tmp_path: Path, config: str, zone: str) -> None:
    done = check(config, "--dump", zone)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "zone"
    file.write_text(done.stdout)
    judged = subprocess.run(
        [tool("named-checkzone"), "-i", "local", zone, str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout
    assert judged.stdout.endswith("OK\n")


def test_dump_has_the_addresses_of_dynamic_records() -> None:
    lines = check("--dump", "example.net").stdout.splitlines()
    assert "www.example.net. 60 IN A 203.0.113.50" in lines
    assert sum(line.startswith("www.example.net. 60 IN AAAA ") for line in lines) == 3


def test_dump_of_an_unknown_zone() -> None:
    done = check("--dump", "exmple.com")
    assert done.returncode == 1
    assert done.stderr == "gslb: zone exmple.com - did you mean example.com.?\n"
