"""`gslb status --watch` goes on with the configuration that a node takes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest

from tests.e2e.lifecycle import CONFIG, Server

LATER = CONFIG.replace("pools:\n", "pools:\n  late: {datacenter: fra, answers: [192.0.2.99]}\n", 1).replace(
    "[web-fra, web-iad]", "[web-fra, web-iad, late]"
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path)
    try:
        one.start()
        yield one
    finally:
        one.clear()


@pytest.mark.slow
def test_a_pool_that_comes_later_is_shown(server: Server) -> None:
    words = server.words("status", "--watch", "--json")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as watching:
        limit = Timer(30, watching.kill)
        limit.start()
        try:
            assert watching.stdout is not None
            first = pools(watching.stdout.readline())
            server.configure(LATER)
            later = next((found for line in watching.stdout if "late" in (found := pools(line))), None)
        finally:
            limit.cancel()
            watching.kill()
    assert "late" not in first
    assert later == first | {"late"}, "it is not shown within 30 s"


def pools(line: str) -> set[str]:
    """The names in one report."""
    return {one["name"] for one in json.loads(line)["pools"]}
