"""The probes against our own server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.probes.case import Probe
from tests.e2e.probes.catalogue import ALL
from tests.e2e.probes.wire import Target
from tests.e2e.program import FEATURES, acceptance


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The real program with the acceptance zone."""
    with acceptance(tmp_path_factory.mktemp("gslb")) as program:
        yield program.target


@pytest.mark.parametrize("probe", [pytest.param(probe, id=probe.id) for probe in ALL])
def test_probe(probe: Probe, served: Target) -> None:
    """Every probe says something about us, and passes."""
    assert probe.needs <= FEATURES
    probe.run(served)
