"""Checks that go by the balancer, as clients do: what they see that others do not, and that a node which may not ask knows nothing."""

# typing.override arrives with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.balanced import BACKENDS, VIP4, Balanced
from tests.e2e.lifecycle import wait_until
from tests.e2e.program import Program
from tests.namespaces import Namespace, World
from xdp import decap

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(180)]


class Lacking(Namespace):
    """A host whose processes are root without some rights."""

    def __init__(self, host: Namespace, *rights: str) -> None:
        super().__init__(host.name)
        self._rights = ",".join(f"-{one}" for one in rights)

    def command(self, argv: Sequence[str]) -> list[str]:
        return super().command(["setpriv", f"--bounding-set={self._rights}", "--", *argv])


@contextlib.contextmanager
def checked(netns: World, folder: Path, forward: str) -> Iterator[Balanced]:
    """A site whose backends are checked by way of the VIP."""
    with contextlib.closing(Balanced(netns, folder, f"v{os.getpid()}", forward=forward)) as site:
        site.via = "vip"
        yield site


@pytest.mark.parametrize("forward", ["l2", "ipip"])
def test_a_backend_without_its_vip_or_tunnel_is_down_by_way_of_the_vip_alone(
    netns: World, tmp_path: Path, forward: str
) -> None:
    """Its own address answers all the while, and only who asks as clients do finds out; mended, it is back."""
    with checked(netns, tmp_path, forward) as site, site.running() as program:
        flows = site.flows(60)
        assert set(flows.names) == set(BACKENDS)
        if forward == "l2":
            site.backends["b"].run("ip", "address", "del", f"{VIP4}/32", "dev", "lo")
        else:
            assert site.backends["b"].call(decap.remove)
        site.settle(program, ["a", "c"])
        assert set(site.flows(60).names) == {"a", "c"}
        site.write(via="address")
        site.settle(program, BACKENDS)
        site.write(via="vip")
        site.settle(program, ["a", "c"])
        site.prepare("b")
        site.settle(program, BACKENDS)
        assert set(site.flows(60).names) == set(BACKENDS)


def test_a_backend_that_is_down_by_its_address_too_is_so_by_the_vip(netns: World, tmp_path: Path) -> None:
    """A dead service, and a machine that is silent: neither is mistaken for what cannot be asked."""
    with checked(netns, tmp_path, "l2") as site, site.running() as program:
        site.kill("b")
        site.settle(program, ["a", "c"])
        site.serve("b")
        site.settle(program, BACKENDS)
        site.backends["c"].run("ip", "link", "set", "eth0", "down")
        site.settle(program, ["a", "b"])


def test_without_the_right_to_mark_nothing_is_known(netns: World, tmp_path: Path, tool: Callable[[str], str]) -> None:
    """Such checks count neither for nor against, and say which right is missing."""
    tool("setpriv")
    with checked(netns, tmp_path, "l2") as site:
        site.balancer = Lacking(site.balancer, "net_raw")
        with site.running() as program:
            wait_until(lambda: warned(program, "CAP_NET_RAW") == len(BACKENDS), "the warnings")
            site.backends["b"].run("ip", "address", "del", f"{VIP4}/32", "dev", "lo")
            site.kill("c")
            site.settle(program, BACKENDS)
            assert judged(program) == {}


def test_where_the_balancer_is_refused_nothing_is_known_of_backends(
    netns: World, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """What cannot be led to a backend is not sent: it would go where routes lead, and say something of somebody else."""
    tool("setpriv")
    with checked(netns, tmp_path, "l2") as site:
        site.balancer = Lacking(site.balancer, "bpf", "sys_admin")
        with site.started() as program:
            wait_until(lambda: warned(program, "CAP_BPF") == len(BACKENDS), "the warnings")
            assert judged(program) == {}
            assert program.status()["checks"]["rounds"].get("line", [0, 0]) == [0, 0]


def warned(program: Program, what: str) -> int:
    """How many checks warn of it, by `gslb status`."""
    return sum(what in one["warning"] for one in program.status()["checks"].get("targets", ()))


def judged(program: Program) -> dict[str, str]:
    """The verdict on each backend that has one."""
    (pool,) = program.status()["pools"]
    return {one["address"]: one["health"] for one in pool["targets"]}
