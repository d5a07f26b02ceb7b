"""The small deployment on disk, and commands run on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gslb.control.store import Store
from tests.cli.deployment import write_deployment


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all tests keep location tables: 64 MB each, made once for each set of rules."""
    return tmp_path_factory.mktemp("tables")


@pytest.fixture
def options(tmp_path: Path, tables: Path) -> list[str]:
    """The options that name a fresh deployment and its state folder."""
    return write_deployment(tmp_path, tables)


@pytest.fixture
def store(tmp_path: Path, options: list[str]) -> Store:  # noqa: ARG001  # the state folder is there after it
    """The node's own state folder."""
    return Store(tmp_path / "state", "test", "fra")
