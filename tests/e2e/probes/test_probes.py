"""The probes against the peers (is the judge right?) and the completeness of the list."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.probes import peers
from tests.e2e.probes.case import Probe
from tests.e2e.probes.catalogue import ALL, ITEMS, NOT_YET, PARTLY
from tests.e2e.probes.wire import Target

PAIRS = [
    pytest.param(peer, probe, id=f"{peer}-{probe.id}")
    for peer in peers.COMMANDS
    for probe in ALL
    if probe.needs <= peers.FEATURES[peer]
]


@pytest.fixture(scope="module")
def serving(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Target]]:
    """`serving("nsd")` starts that peer with the acceptance zone, once, whatever the order of the tests."""
    running: dict[str, Target] = {}
    with contextlib.ExitStack() as stack:

        def target_of(name: str) -> Target:
            if name not in running:
                program = tool(peers.COMMANDS[name][1])
                running[name] = stack.enter_context(peers.serving(name, program, tmp_path_factory.mktemp(name)))
            return running[name]

        yield target_of


@pytest.mark.slow
@pytest.mark.parametrize(("peer", "probe"), PAIRS)
def test_peer(peer: str, probe: Probe, serving: Callable[[str], Target]) -> None:
    """Stock servers pass, but for what they are known to miss."""
    target = serving(peer)
    if probe.id in peers.MISSES[peer]:
        with pytest.raises((AssertionError, TimeoutError)):
            probe.run(target)
        return
    probe.run(target)


def test_every_probe_has_a_judge() -> None:
    """But for what only policies can do, each probe is passed by some peer: none is mere opinion."""
    passed = {
        probe.id
        for peer, misses in peers.MISSES.items()
        for probe in ALL
        if probe.needs <= peers.FEATURES[peer] and probe.id not in misses
    }
    unjudged = {probe.id for probe in ALL if "policies" not in probe.needs} - passed
    assert unjudged == {
        "64-ecs-tailored",
        "64-ecs-nooverlap",
        "64-ecs-unmatched-scope",  # RFC 7871 section 7.2.1 judges
        "61-cookie-qdcount0-wrong",  # and RFC 7873 section 5.4
    }


def test_every_item_is_probed_or_explained() -> None:
    """The list is whole: each number has a probe or a reason."""
    assert {probe.item for probe in ALL} | NOT_YET.keys() == set(ITEMS)
    assert not {probe.item for probe in ALL} & NOT_YET.keys()
    assert PARTLY.keys() <= {probe.item for probe in ALL}


def test_ids_are_unique() -> None:
    """Each probe has a name of its own."""
    ids = [probe.id for probe in ALL]
    assert len(ids) == len(set(ids))
