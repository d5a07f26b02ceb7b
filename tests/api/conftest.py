"""The API over a fake desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.desk import FakeDesk, make_desk
from tests.api.served import Served, served


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where location tables are kept: 64 MB each, made once."""
    return tmp_path_factory.mktemp("tables")


@pytest.fixture
def desk(tmp_path: Path, tables: Path) -> FakeDesk:
    """A small deployment in force."""
    return make_desk(tmp_path, tables)


@pytest.fixture
def api(desk: FakeDesk) -> Iterator[Served]:
    """The API over that desk, listening."""
    with served(desk) as listening:
        yield listening
