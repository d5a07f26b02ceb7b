"""What a balancer has in force, read from its pins: with names of the plan, without them, and while it changes."""

# typing.override arrives with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gslb.model.plan import Plan, Serving, Vip
from gslb.model.world import Forced
from tests.decide.worlds import override
from tests.namespaces import World
from tests.xdp.balancer import API, WEB, Balancer
from xdp.held import Held
from xdp.libbpf import Map
from xdp.messages import Attached, Interface
from xdp.pinned import NotInForce, Pinned

pytestmark = pytest.mark.root
ONE, TWO = "10.7.0.2", "10.7.0.3"


@pytest.fixture
def balancer(netns: World, tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Balancer]:
    tool("clang")
    with closing(Balancer(netns, tmp_path)) as made:
        yield made


def looked(balancer: Balancer, plan: Plan | None) -> Pinned:
    tables = {} if plan is None else {str(name): table for name, table in plan.balancers.items()}
    return Pinned.opened(balancer.home, tables)


def test_all_of_it(balancer: Balancer) -> None:
    plan = balancer.decided()
    with looked(balancer, plan) as found:
        assert found.version == plan.version
        assert balancer.host.call(found.interfaces) == (Interface(balancer.device, Attached.NATIVE),)
        vips = found.vips()
        assert [(one.pool, one.name, one.quic) for one in vips] == [
            ("api", f"{API} tcp/80", False),
            ("web", f"{WEB} tcp/80", False),
            ("web", f"{WEB} udp/443", True),
        ]
        assert len({one.id for one in vips}) == 3
        backends = balancer.host.call(found.backends)
        assert {
            one.address: (one.mode, one.interface, one.mtu, one.pools) for one in backends.values()
        } == dict.fromkeys((ONE, TWO), ("l2", balancer.device, 1500, ("api", "web")))
        assert not [one for one in backends.values() if one.down or one.unreachable]
        names = found.names(vips, backends)
        assert names.vips == {one.id: (one.pool, one.name) for one in vips}
        assert sorted(names.backends.values()) == [(("api", each), ("web", each)) for each in (ONE, TWO)]
        assert (found.serving("web", ONE), found.serving("web", "10.7.0.9"), found.serving("far", ONE)) == (
            Serving.UP,
            None,
            None,
        )


def test_the_digest_is_that_of_every_balancer_with_this_table(balancer: Balancer) -> None:
    with looked(balancer, None) as found:
        ring = found.ring(1, found.backends())
        assert ring is not None
        assert {ring.digest} == {table.digest for table in balancer.tables().values()}
        assert sum(ring.slots.values()) == 65_537
        assert (ring.keeping, ring.moving) == ({}, 0)
        unknown = found.ring(1, {})
        assert unknown is not None
        assert (unknown.slots, unknown.digest == ring.digest) == (ring.slots, False)
        assert found.ring(9, {}) is None


def test_what_the_plan_does_not_name_has_its_address(balancer: Balancer) -> None:
    with looked(balancer, None) as found:
        assert {(one.pool, one.name) for one in found.vips()} == {
            ("", f"{API} tcp/80"),
            ("", f"{WEB} tcp/80"),
            ("", f"{WEB} udp/443"),
        }
        names = found.names(found.vips(), found.backends())
        assert set(names.backends.values()) == {(("", ONE),), (("", TWO),)}


def test_vips_of_every_kind_by_the_names_that_the_plan_gives_them(balancer: Balancer) -> None:
    kinds = (Vip("203.0.113.0/28", 6, 0), Vip("2001:db8::/64", 17, 53), Vip("2001:db8:1::1/128", 6, 443))
    plan = balancer.decided()
    web = next(name for name in plan.balancers if name == "web")
    balancer.put(replace(plan, balancers={web: replace(plan.balancers[web], vips=kinds)}))
    names = ["2001:db8:1::1 tcp/443", "2001:db8::/64 udp/53", "203.0.113.0/28 tcp/any"]
    for tables in ({}, {"web": replace(plan.balancers[web], vips=kinds)}):
        with Pinned.opened(balancer.home, tables) as found:
            assert [one.name for one in found.vips()] == names
            assert {one.pool for one in found.vips()} == {"web" if tables else ""}


def test_backends_that_are_down_or_unreachable(balancer: Balancer) -> None:
    words = [override(f"backend/{pool}/{ONE}", Forced.DOWN) for pool in ("web", "api")]
    balancer.host.run("ip", "link", "set", balancer.device, "down")
    plan = balancer.decided(*words)
    balancer.put(plan)
    with looked(balancer, plan) as found:
        states = {one.address: (one.down, one.unreachable) for one in found.backends().values()}
        assert states[ONE][0]
        assert not states[TWO][0]


def test_tables_may_change_meanwhile(balancer: Balancer) -> None:
    """Rings are replaced all the time, each by a new map: what is read is one of them, whole."""
    well = balancer.decided()
    drained = balancer.decided(*(override(f"backend/{pool}/{ONE}", Forced.DRAIN) for pool in ("web", "api")))
    stop = threading.Event()

    def change() -> None:
        version = drained.version
        while not stop.is_set():
            for plan in (well, drained):
                version += 1
                balancer.put(replace(plan, version=version))

    thread = threading.Thread(target=change)
    thread.start()
    seen = set()
    try:
        with looked(balancer, well) as found:
            backends = found.backends()
            for _ in range(100):
                ring = found.ring(1, backends)
                assert ring is not None
                assert sum(ring.slots.values()) == 65_537
                seen.add(ring.digest)
    finally:
        stop.set()
        thread.join()
    assert len(seen) == 2


class Late(Map):
    """A map of maps that was changed just after it was read: the first answers name maps that are gone."""

    def __init__(self, held: Map, gone: int) -> None:
        super().__init__(held.fd, held.name, held.value_size, held.key_size)
        self._gone = gone

    def lookup(self, key: bytes) -> bytes | None:
        self._gone -= 1
        return super().lookup(key) if self._gone < 0 else (0x7FFFFFFF).to_bytes(4, sys.byteorder)


def test_a_ring_that_is_replaced_between_two_questions_is_asked_for_again(balancer: Balancer) -> None:
    late = {**balancer.maps, "rings": Late(balancer.maps["rings"], 1)}
    assert Pinned(balancer.folder, late, {}).ring(1, {}) is not None
    late = {**balancer.maps, "rings": Late(balancer.maps["rings"], 1)}
    assert Held(late).slot(1, 0) is not None
    late = {**balancer.maps, "rings": Late(balancer.maps["rings"], 1_000)}
    with pytest.raises(FileNotFoundError):
        Pinned(balancer.folder, late, {}).ring(1, {})


def descriptors() -> int:
    """How many this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_nothing_stays_open(balancer: Balancer) -> None:
    before = descriptors()
    with looked(balancer, None) as found:
        found.ring(1, found.backends())
        assert descriptors() == before + len(found.maps)
    assert descriptors() == before


def test_nothing_in_force(balancer: Balancer) -> None:
    with pytest.raises(NotInForce, match="no balancer is in force here"):
        Pinned.opened(balancer.home / "nowhere", {})
    balancer.folder.rename(balancer.home / "another")
    with pytest.raises(NotInForce, match="another version of gslb is in force"):
        Pinned.opened(balancer.home, {})


def test_an_address_alone_is_no_vip(balancer: Balancer) -> None:
    """Beside its VIPs each address stands in the map for echo and for errors: nobody would know what that entry is."""
    with looked(balancer, None) as found:
        assert (len(list(found.maps["vips"].keys())), len(found.vips())) == (5, 3)
