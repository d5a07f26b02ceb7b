"""The probes against the peers (is the judge right?) and the completeness of the list."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e.probes import peers
from tests.e2e.probes.case import Probe
from tests.e2e.probes.catalogue import ALL, ITEMS, NOT_YET, PARTLY
from tests.e2e.probes.wire import Target


@pytest.fixture(scope="module", params=sorted(peers.COMMANDS))
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Target]]:
    """One peer after the other, each with the acceptance zone."""
    name: str = request.param
    if not peers.installed(name):
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    with peers.serving(name, tmp_path_factory.mktemp(name)) as target:
        yield name, target


@pytest.mark.slow
@pytest.mark.parametrize("probe", [pytest.param(probe, id=probe.id) for probe in ALL])
def test_peer(probe: Probe, peer: tuple[str, Target]) -> None:
    """Stock servers pass, but for what they are known to miss."""
    name, target = peer
    if not probe.needs <= target.features:
        pytest.skip(f"{name} has no {', '.join(sorted(probe.needs - target.features))}")
    if probe.id in peers.MISSES[name]:
        with pytest.raises((AssertionError, TimeoutError)):
            probe.run(target)
        return
    probe.run(target)


def test_every_item_is_probed_or_explained() -> None:
    """The list is whole: each number has a probe or a reason."""
    assert {probe.item for probe in ALL} | NOT_YET.keys() == set(ITEMS)
    assert not {probe.item for probe in ALL} & NOT_YET.keys()
    assert PARTLY.keys() <= {probe.item for probe in ALL}


def test_ids_are_unique() -> None:
    """Each probe has a name of its own."""
    ids = [probe.id for probe in ALL]
    assert len(ids) == len(set(ids))
