"""The programs and their scene, loaded once; every test begins as if no packet had come."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conftest import missing
from tests.xdp.harness import Unusable, programs
from tests.xdp.packets.connection import Client
from tests.xdp.packets.moving import Moving
from tests.xdp.packets.scene import Scene


@pytest.fixture(scope="session")
def standing() -> Iterator[Scene]:
    """Entry and balancer in the kernel, and the scene in their maps."""
    try:
        with programs() as ready:
            made = Scene(ready)
            made.build()
            yield made
    except Unusable as error:
        missing(str(error))


@pytest.fixture
def scene(standing: Scene) -> Scene:
    """The scene as `packets/scene.py` says, without a memory."""
    standing.begin()
    return standing


@pytest.fixture(params=[4, 6], ids=["v4", "v6"])
def moving(scene: Scene, request: pytest.FixtureRequest) -> Moving:
    """A slot that changed from one to two: flows that began before are with one."""
    made = Moving(scene, request.param)
    made.slots("two", "one")
    return made


@pytest.fixture(params=[4, 6], ids=["v4", "v6"])
def client(scene: Scene, request: pytest.FixtureRequest) -> Client:
    """A client of the VIP behind which "l2" stands."""
    return Client(scene.programs, f"l2/{request.param}/tcp", "l2")


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """All packets of the test on one CPU: limits are by CPU, and so is what is kept of VIPs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)
