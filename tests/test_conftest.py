"""What may be skipped, and where it may not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CASES = """
import pytest

@pytest.mark.root
def test_kernel():
    pytest.skip("no such device")

def test_parameter():
    pytest.skip("a peer that cannot")

def test_tool(tool):
    tool("no-such-program")

def test_known(tool):
    assert tool("sh").endswith("/sh")
"""


def outcomes(folder: Path, ci: str) -> dict[str, str]:
    """How each case ended with CI set to `ci`."""
    file = folder / "test_cases.py"
    file.write_text(CASES)
    environment = os.environ | {"CI": ci, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "pytest", "-v", "-p", "tests.conftest", "-p", "no:randomly", "-p", "no:cacheprovider"]
    argv += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environment, cwd=folder)
    lines = [line.split() for line in done.stdout.splitlines() if "::test_" in line and "%]" in line]
    return {line[0].partition("::")[2]: line[1] for line in lines}


def test_a_developer_may_lack_a_tool(tmp_path: Path) -> None:
    assert outcomes(tmp_path, ci="") == {
        "test_kernel": "SKIPPED",
        "test_parameter": "SKIPPED",
        "test_tool": "SKIPPED",
        "test_known": "PASSED",
    }


@pytest.mark.root
def test_ci_may_not(tmp_path: Path) -> None:
    assert outcomes(tmp_path, ci="true") == {
        "test_kernel": "FAILED",
        "test_parameter": "SKIPPED",
        "test_tool": "FAILED",
        "test_known": "PASSED",
    }
