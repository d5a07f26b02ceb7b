"""A balancer of ours on an interface that another one wants: told whose it is, and ended by the line that is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gslb.model.deployment import Attach
from tests.namespaces import World
from xdp import loader
from xdp.loader import DataPlane
from xdp.messages import Attached, Interface

pytestmark = pytest.mark.root


@pytest.fixture
def other(home: Path) -> Iterator[Path]:
    """The pin folder of another node."""
    path = home.with_name(f"{home.name}-other")
    yield path
    loader.remove(path)


@pytest.mark.usefixtures("objects")
def test_a_balancer_of_ours_is_told_with_the_line_that_ends_it_whole(
    netns: World, home: Path, other: Path, tool: Callable[[str], str]
) -> None:
    """The line is run as it is: neither link nor filter is left, and the interface can be had."""
    tool("tc")
    host = netns.namespace("host")
    _, port = netns.join(netns.namespace("client"), host, "192.0.2.1/24", "192.0.2.2/24")
    first = DataPlane.open(other, drives=True)
    second = DataPlane.open(home)
    try:
        host.call(lambda: first.attach(port, Attach.AUTO))
        host.call(lambda: first.attach_probe(port))
        found = host.call(lambda: second.attach(port, Attach.AUTO))
        assert (found.attached, found.taken) == (Attached.NOT, True)
        assert f"balancer of {other.name} (deployment-node) runs on {port}" in found.why
        assert f"pid {os.getpid()} of the run {os.getppid()} drives it" in found.why
        assert found.mend == f"kill {os.getppid()}"
        first.close()
        found = host.call(lambda: second.attach(port, Attach.AUTO))
        assert found.why.endswith("an earlier run left it, and no process drives it")
        assert found.mend.startswith(f"rm -r {other} && tc filter del dev {port} egress pref ")
        host.run("sh", "-c", found.mend)
        assert host.run("tc", "filter", "show", "dev", port, "egress") == ""
        assert host.call(lambda: second.attach(port, Attach.AUTO)) == Interface(port, Attached.NATIVE)
    finally:
        first.close()
        second.close()
        host.call(lambda: loader.remove(home))
