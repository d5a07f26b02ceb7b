"""The real program for a test: `server()` makes a node's files and starts `gslb run` on a free loopback port."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from tests.e2e.lifecycle import CONFIG, Server


class MakeServer(Protocol):
    """`server(config_text, zones)`; both have defaults, and `start=False` leaves the start to the test."""

    def __call__(
        self, config: str = CONFIG, zones: Mapping[str, str] | None = None, *, start: bool = True
    ) -> Server: ...


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MakeServer]:
    """Servers that end with the test."""
    made: list[Server] = []

    def make(config: str = CONFIG, zones: Mapping[str, str] | None = None, *, start: bool = True) -> Server:
        folder = tmp_path / f"node{len(made)}"
        folder.mkdir()
        one = Server(folder, config, zones)
        made.append(one)
        if start:
            one.start()
        return one

    yield make
    for one in made:
        one.clear()
