"""The wheel holds the XDP programs where there is a compiler, and is made without them where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import missing

ROOT = Path(__file__).resolve().parent.parent
OBJECTS = {"entry.bpf.o", "lb.bpf.o", "probe.bpf.o", "decap.bpf.o", "libgslb.so"}

pytestmark = pytest.mark.slow


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What is built of, without anything that was built before."""
    folder = tmp_path / "gslb"
    folder.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("gslb", "bgp", "healthcheck", "xdp"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("objects", "__pycache__"))
    return folder


def wheel_of(checkout: Path, **environment: str) -> tuple[Path, str]:
    """The wheel, made of what is here and nothing from the network; and what was said."""
    if int(version("setuptools").split(".")[0]) < 77:
        missing("setuptools 77 is not installed; `make test` installs it")
    argv = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-v",
        "-w",
        "dist",
        ".",
    ]
    done = subprocess.run(
        argv, cwd=checkout, env=os.environ | environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    (wheel,) = (checkout / "dist").iterdir()
    return wheel, done.stdout + done.stderr


def objects_in(wheel: Path) -> set[str]:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"xdp/c/lb.bpf.c", "xdp/c/layout.h", "gslb/api/files/index.html"} <= set(names)
    return {Path(name).name for name in names if name.startswith("xdp/objects/")}


def test_the_wheel_holds_the_programs(checkout: Path, tool: Callable[[str], str]) -> None:
    tool("clang")
    wheel, _ = wheel_of(checkout)
    assert objects_in(wheel) >= OBJECTS
    assert wheel.name.endswith(f"-py3-none-linux_{os.uname().machine}.whl")


def test_without_a_compiler_the_wheel_holds_none(checkout: Path) -> None:
    wheel, said = wheel_of(checkout, CLANG="no-such-compiler")
    assert objects_in(wheel) == set()
    assert "gslb: going on without XDP: no-such-compiler is not installed" in said
