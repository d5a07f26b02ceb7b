"""A lab with one router, once with BIRD and once with FRR."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bgp.birdsite import VIPS
from tests.bgp.lab import Lab
from tests.bgp.routers import Frr, Router, bird_router, peers
from tests.namespaces import World


@pytest.fixture(params=["bird", "frr"])
def router(
    request: pytest.FixtureRequest, netns: World, tmp_path: Path, tool: Callable[[str], str]
) -> Iterator[tuple[Lab, Router]]:
    tool("bird" if request.param == "bird" else "vtysh")
    lab = Lab(netns, "a", "b")
    lab.bind(*VIPS.values())
    sessions = peers(lab, 4, 6)
    made: Router = bird_router(lab, tmp_path / "router", sessions) if request.param == "bird" else Frr(lab, sessions)
    try:
        made.start()
        yield lab, made
    finally:
        made.stop()
