"""What tests of the data plane may ask for: the built objects, and a pin folder of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from xdp import build, pins
from xdp.loader import remove

_count = iter(range(1 << 30))


@pytest.fixture(scope="session")
def objects(tool: Callable[[str], str]) -> Path:
    """The folder of the built objects."""
    tool("clang")
    try:
        build.build()
    except build.NotBuilt as error:
        missing(str(error))
    return build.OBJECTS


@pytest.fixture
def home() -> Iterator[Path]:
    """A pin folder that is not there yet, and is gone afterwards with all that it holds in force."""
    path = pins.folder("test", f"{os.getpid()}-{next(_count)}")
    yield path
    remove(path)
