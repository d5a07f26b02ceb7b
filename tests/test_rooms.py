"""The import table of docs/layout.md is law: every import of every module is read by `ast` and looked up there."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ARMS = ("healthcheck", "xdp")
MODULES = sorted(path for folder in ("gslb", *ARMS) for path in (ROOT / folder).rglob("*.py"))
SOURCES = sorted(path for folder in ("gslb", *ARMS, "tests", "bench") for path in (ROOT / folder).rglob("*.py"))
LIMIT = 400  # lines a module
NAMELESS = {"utils", "helpers", "common", "misc", "base", "manager"}
WORDS = {
    "IO": {"asyncio", "io", "mmap", "multiprocessing", "os", "pathlib", "select", "shutil", "socket", "subprocess"},
    "clock": {"datetime", "time"},
    "random": {"random", "secrets", "uuid"},
}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[0] if parts[0] in ARMS else ".".join(parts[:2])


def read_table(text: str) -> dict[str, tuple[dict[str, str], set[str]]]:
    """Room -> what it may import (name -> the only module that may, or "" for all) and never may."""
    rooms: dict[str, tuple[dict[str, str], set[str]]] = {}
    above: dict[str, str] = {}
    for room, may, never in re.findall(r"^\| `(gslb\.\w+|healthcheck|xdp)` \| (.*?) \| (.*?) \|$", text, re.M):
        allowed = dict(above) if "all above" in may else {}
        for item in re.split("[,;]", may.replace("all above", "")):
            if found := re.match(r"\s*([\w.]+)(?:.* in `(\w+)` only)?", item):
                allowed[found[1]] = found[2] or ""
        words = [word.strip() for word in re.split("[,;]", never)]
        rooms[room] = (allowed, set().union(*(WORDS.get(word, {word}) for word in words)))
        above |= {name: only for name, only in allowed.items() if name != "stdlib"} | {room.removeprefix("gslb."): ""}
    return rooms


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


ROOMS = read_table((ROOT / "docs/layout.md").read_text())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_only_what_its_room_may(path: Path) -> None:
    room = room_of(name_of(path))
    allowed, never = ROOMS.get(room, ({}, set()))
    for name in imports_of(path):
        top = name.split(".")[0]
        assert top not in never, f"{room} never imports {top}"
        if top in sys.stdlib_module_names or name == "gslb.__version__" or f"{name}.".startswith(f"{room}."):
            continue
        bare = name.removeprefix("gslb.")
        rule = next((rule for rule in allowed if f"{bare}.".startswith(f"{rule}.")), None)
        assert rule is not None, f"{room} may not import {name}"
        assert allowed[rule] in ("", path.stem), f"only {allowed[rule]} of {room} may import {name}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_module_is_short_and_named_for_what_it_does(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LIMIT
    assert path.stem not in NAMELESS


def test_every_room_is_in_the_table() -> None:
    found = {room_of(name_of(path)) for path in MODULES} - {"gslb"}
    assert found <= ROOMS.keys()
