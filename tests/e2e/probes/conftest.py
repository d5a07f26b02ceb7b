"""Probes are plain modules; their assertions are rewritten like those of tests."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite(
    *(f"tests.e2e.probes.{path.stem}" for path in Path(__file__).parent.glob("*.py") if path.stem != "conftest")
)
