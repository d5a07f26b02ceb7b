"""Wants put in force in the kernel's own maps: what is written, in which order, what is left alone, what is refused."""

# typing.override arrives with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import dataclasses
import errno
import os
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path

import numpy as np
import pytest

from gslb import layout
from gslb.layout import RING_SLOTS, BackendFlags
from gslb.model.deployment import Attach, Forward, SiteId
from gslb.model.plan import BackendPlan, BalancerTable, Serving, Vip
from tests.namespaces import Namespace, World
from tests.xdp.kernelmaps import KernelMaps
from xdp import libbpf, pins
from xdp.entries import address_octets, address_text, vip_key
from xdp.inforce import word
from xdp.loader import DataPlane
from xdp.messages import Probe, TableState, Want
from xdp.slots import from_bytes
from xdp.tables import AGE_EVERY_S, Tables

pytestmark = pytest.mark.root
UP, DRAIN, DOWN = Serving.UP, Serving.DRAIN, Serving.DOWN
IDLE_S = 30.0


def pool(*servings: Serving, vip: int = 1, first: int = 2, **others: object) -> BalancerTable:
    """A pool of backends 10.7.0.2 and so on."""
    backends = tuple(
        dataclasses.replace(BackendPlan(f"10.7.0.{first + index}", 1, Forward.L2, serving), **others)  # type: ignore[arg-type]
        for index, serving in enumerate(servings)
    )
    return BalancerTable(SiteId("fra"), (Vip(f"192.0.2.{vip}/32", 6, 80),), backends)


def want(version: int, probes: tuple[Probe, ...] = (), **tables: BalancerTable) -> Want:
    key = bytes(range(16)).hex()
    where = ("198.18.0.0/15", "100::/64")
    return Want(version, "shop", version, ("eth0",), Attach.AUTO, key, *where, IDLE_S, tables, probes)


class Counting(KernelMaps):
    """Maps that note what is written to them, in order, and refuse to be written to when told so."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []
        self.broken = ""
        self._maps = {name: _Noted(held, self) for name, held in self._maps.items()}

    def took(self) -> list[str]:
        """What was written since the last call, repeats as one."""
        names, self.written = self.written, []
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


class _Noted(libbpf.Map):
    def __init__(self, held: libbpf.Map, owner: Counting) -> None:
        super().__init__(held.fd, held.name, held.value_size, held.key_size)
        self._owner = owner

    def update(self, key: bytes, value: bytes, flags: int = libbpf.ANY) -> None:
        self._note(self.name)
        super().update(key, value, flags)

    def update_many(self, entries: object) -> None:
        self._note(self.name)
        super().update_many(entries)  # type: ignore[arg-type]

    def delete(self, key: bytes) -> bool:
        self._note(f"-{self.name}")
        return super().delete(key)

    def _note(self, what: str) -> None:
        if what == self._owner.broken:
            raise OSError(errno.E2BIG, "no room")
        self._owner.written.append(what)


class Node:
    """A balancer with a backend that answers, 10.7.0.2; 10.7.0.3 and 10.7.0.4 are its as well."""

    def __init__(self, world: World) -> None:
        self.place: Namespace = world.namespace("balancer")
        backend = world.namespace("backend")
        self.port, port = world.join(self.place, backend, "10.7.0.1/24", "10.7.0.2/24")
        for number in range(3, 8):
            backend.add_address(port, f"10.7.0.{number}/24")
        self.maps = Counting()

    def tables(self) -> Tables:
        return self.place.call(lambda: Tables(self.maps))

    def ring(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        inner = self.maps.inner("rings", number)
        assert inner is not None
        with closing(_Open(inner)):
            slots = from_bytes(inner.lookup(word(0)) or b"")
        return slots.current, slots.previous

    def mark_used(self, ring: int, slot: int, now: float) -> None:
        inner = self.maps.inner("ring_uses", ring)
        assert inner is not None
        with closing(_Open(inner)):
            times = np.frombuffer(inner.lookup(word(0)) or b"", np.uint16).copy()
            times[slot] = int(now * 1e9) >> layout.COARSE_SHIFT & 0xFFFF
            inner.update(word(0), times.tobytes())

    def backends(self) -> dict[str, layout.Backend]:
        """The records that stand for somebody, by address."""
        held = [self.maps.maps["backends"].lookup(word(number)) for number in range(20)]
        records = [layout.Backend.from_buffer_copy(each) for each in held if each is not None]
        return {address_text(bytes(each.address)): each for each in records if each.mode}

    def vip(self, number: int, protocol: int = 6, port: int = 80) -> layout.Vip | None:
        found = self.maps.maps["vips"].lookup(vip_key(ip_network(f"192.0.2.{number}/32"), protocol, port))
        return layout.Vip.from_buffer_copy(found) if found else None

    @property
    def settings(self) -> layout.Settings:
        return layout.Settings.from_buffer_copy(self.maps.maps["settings"].lookup(word(0)) or b"")


class _Open:
    def __init__(self, held: libbpf.Map) -> None:
        self._fd = held.fd

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def node(netns: World) -> Iterator[Node]:
    made = Node(netns)
    yield made
    made.maps.close()


@pytest.fixture
def tables(node: Node) -> Iterator[Tables]:
    with closing(node.tables()) as made:
        yield made


def test_a_table_is_in_force_as_a_whole(node: Node, tables: Tables) -> None:
    states = tables.want(want(7, web=pool(UP, UP, UP)))
    current, previous = node.ring(1)
    assert {int(each): int(count) for each, count in zip(*np.unique(current, return_counts=True), strict=True)} == {
        number: states["web"].slots[f"10.7.0.{number + 1}"] for number in (1, 2, 3)
    }
    assert not previous.any()
    assert states["web"].unreachable == {}
    records = node.backends()
    assert records.keys() == {"10.7.0.2", "10.7.0.3", "10.7.0.4"}
    assert all(each.mode == layout.Mode.MODE_L2 and each.flags == 0 and each.mtu == 1500 for each in records.values())
    assert any(bytes(records["10.7.0.2"].next_hop))
    exact, place = node.vip(1), node.vip(1, 1, 0)
    assert exact is not None
    assert place is not None
    assert ((exact.id, exact.ring), (place.id, place.ring)) == ((1, 1), (1, 0))
    assert tables.names.vips == {1: ("web", "192.0.2.1 tcp/80")}
    assert tables.names.backends[1] == (("web", "10.7.0.2"),)


def test_settings_are_those_of_the_want(node: Node, tables: Tables) -> None:
    tables.want(want(7, web=pool(UP)))
    held = node.settings
    assert struct.pack("=QQ", *held.key) == bytes(range(16))
    assert (held.source4, held.spread4) == (0xC6120000, 0x0001FFFF)
    assert bytes(held.source6) == b"\1" + bytes(15)
    assert bytes(held.spread6) == bytes(8) + b"\xff" * 8
    assert held.own4 == 0x0A070001
    assert (held.version, held.gue_port, held.prefixes, tables.version) == (7, 6080, 0, 7)
    assert 0 < held.new_flows_per_s <= layout.MOST_NEW_FLOWS


def test_what_is_in_force_is_not_written_again(node: Node, tables: Tables) -> None:
    tables.want(want(1, web=pool(UP, UP)))
    node.maps.took()
    tables.want(want(1, web=pool(UP, UP)))
    assert node.maps.took() == []
    tables.want(want(2, web=pool(UP, UP)))
    assert node.maps.took() == ["settings"], "the number of the plan"


def test_a_change_is_written_in_an_order_in_which_no_packet_goes_astray(node: Node, tables: Tables) -> None:
    tables.want(want(1, web=pool(UP, UP), old=pool(UP, vip=9, first=6)))
    node.maps.took()
    tables.want(want(2, web=pool(DOWN, UP, UP), new=pool(UP, vip=2, first=5)))
    assert node.maps.took() == [
        *("backends", "ring_uses", "rings", "vips", "settings", "backends"),
        *("-vips", "settings", "-rings", "-ring_uses", "backends", "settings"),
    ]
    assert node.vip(9) is None
    records = node.backends()
    assert records.keys() == {f"10.7.0.{number}" for number in (2, 3, 4, 5)}
    assert records["10.7.0.2"].flags == BackendFlags.BACKEND_DOWN


def test_who_drains_is_previous_and_who_is_down_is_not(node: Node, tables: Tables) -> None:
    tables.want(want(1, web=pool(UP, UP, UP)))
    before, _ = node.ring(1)
    states = tables.want(want(2, web=pool(DRAIN, UP, UP)))
    current, previous = node.ring(1)
    changed = current != before
    assert (previous[changed] == before[changed]).all()
    assert not previous[~changed].any()
    assert states["web"].moving == np.count_nonzero(changed)
    assert not (current == 1).any()
    tables.want(want(3, web=pool(DOWN, UP, UP)))
    assert not (node.ring(1)[1] == 1).any()


def test_a_slot_forgets_when_it_was_idle_and_not_before(node: Node, tables: Tables) -> None:
    tables.want(want(1, web=pool(UP, UP)))
    tables.want(want(2, web=pool(DRAIN, UP)))
    now = time.monotonic()
    moving = np.nonzero(node.ring(1)[1])[0]
    assert tables.tick(now + AGE_EVERY_S + 1) is not None
    assert np.count_nonzero(node.ring(1)[1]) == moving.size
    late = now + IDLE_S + 15
    node.mark_used(1, int(moving[0]), late - IDLE_S / 2)
    states = tables.tick(late)
    assert states is not None
    assert (states["web"].moving, np.nonzero(node.ring(1)[1])[0].tolist()) == (1, [int(moving[0])])
    states = tables.tick(late + IDLE_S + 15)
    assert states is not None
    assert states["web"].moving == 0


def test_rings_that_are_alike_again_become_one_when_they_have_settled(node: Node, tables: Tables) -> None:
    tables.want(want(1, a=pool(UP, UP), b=pool(UP, DRAIN, vip=2)))
    tables.want(want(2, a=pool(UP, UP), b=pool(UP, UP, vip=2)))
    assert {node.vip(1).ring, node.vip(2).ring} == {1, 2}  # type: ignore[union-attr]
    tables.tick(time.monotonic() + IDLE_S + 15)
    assert {node.vip(1).ring, node.vip(2).ring} == {1}  # type: ignore[union-attr]
    assert node.maps.inner("rings", 2) is None


def test_a_later_process_adopts_what_is_in_force(node: Node) -> None:
    with closing(node.tables()) as first:
        first.want(want(1, web=pool(UP, UP, UP)))
        told = first.want(want(2, web=pool(UP, DRAIN, UP), other=pool(UP, vip=2, server=5)))
    node.maps.adopted = True
    node.maps.took()
    with closing(node.tables()) as second:
        assert second.version == 2
        again = second.want(want(2, web=pool(UP, DRAIN, UP), other=pool(UP, vip=2, server=5)))
        assert again == told
        assert node.maps.took() == ["settings"], "that VIPs may be others, since the first may have died in a change"
        second.want(want(3, web=pool(UP, UP, UP)))
        assert (node.ring(1)[1] == 2).any(), "it goes on from the slots that it found"


def test_a_hop_that_an_earlier_process_knew_is_kept_until_it_is_found_anew(node: Node) -> None:
    with closing(node.tables()) as first:
        first.want(want(1, web=pool(UP)))
    before = bytes(node.backends()["10.7.0.2"])
    node.maps.adopted = True
    node.place.run("ip", "link", "set", node.port, "down")
    with closing(node.tables()) as second:
        states = second.want(want(1, web=pool(UP)))
        assert bytes(node.backends()["10.7.0.2"]) == before
        assert states["web"].unreachable.keys() == {"10.7.0.2"}
        second.tick(time.monotonic() + 11)
        assert node.backends()["10.7.0.2"].flags == BackendFlags.BACKEND_UNREACHABLE


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        (want(4, web=pool(UP)), "the balancer holds plan 5, and plan 4 is older"),
        (dataclasses.replace(want(6, web=pool(UP)), deployment="other"), "the tables of another deployment than other"),
    ],
    ids=["older", "another deployment"],
)
def test_what_is_not_to_be_is_refused(node: Node, given: Want, refusal: str) -> None:
    with closing(node.tables()) as first:
        first.want(want(5, web=pool(UP)))
    node.maps.adopted = True
    node.maps.took()
    with closing(node.tables()) as second, pytest.raises(ValueError, match=refusal):
        second.want(given)
    assert node.maps.took() == []


@pytest.mark.parametrize("broken", ["backends", "rings", "ring_uses", "vips"])
def test_after_a_failure_the_old_table_serves_and_the_next_want_mends_it(
    node: Node, tables: Tables, broken: str
) -> None:
    tables.want(want(1, web=pool(UP, UP)))
    before = node.ring(1)[0].tolist()
    node.maps.broken = broken
    with pytest.raises(OSError, match="no room"):
        tables.want(want(2, web=pool(UP, UP, UP), new=pool(UP, vip=2)))
    if broken != "vips":
        assert node.ring(1)[0].tolist() == before
    assert (tables.version, node.vip(2)) == (1, None)
    node.maps.broken = ""
    states = tables.want(want(2, web=pool(UP, UP, UP), new=pool(UP, vip=2)))
    assert node.vip(2) is not None
    assert len(set(node.ring(node.vip(1).ring)[0].tolist())) == 3  # type: ignore[union-attr]
    assert sum(states["web"].slots.values()) == RING_SLOTS


def test_prefixes_connection_ids_and_marks_have_their_maps(node: Node, tables: Tables) -> None:
    backends = pool(UP, UP).backends
    quic = tuple(dataclasses.replace(each, server=index) for index, each in enumerate(backends))
    table = BalancerTable(SiteId("fra"), (Vip("198.51.100.0/24", 17, 443),), quic)
    tables.want(want(1, (Probe(0x67000001, "web", "10.7.0.3"),), web=table))
    prefix = layout.VipPrefix(32 + 96 + 24, 443, 17, 0, tuple(address_octets("198.51.100.0")))
    vip = layout.Vip.from_buffer_copy(node.maps.maps["vip_prefixes"].lookup(bytes(prefix)) or b"")
    assert (vip.flags, node.settings.prefixes) == (layout.VipFlags.VIP_QUIC, 1)
    assert node.maps.maps["quic_ids"].lookup(bytes(layout.QuicKey(vip.ring, 1))) == word(2)
    assert node.maps.maps["marks"].lookup(word(0x67000001)) == word(2)
    tables.want(want(2))
    for name in ("vip_prefixes", "quic_ids", "marks", "vips"):
        assert list(node.maps.maps[name].keys()) == []
    assert (node.settings.prefixes, node.backends()) == (0, {})


def test_a_pool_of_which_all_are_down_has_an_empty_ring(node: Node, tables: Tables) -> None:
    states = tables.want(want(1, web=pool(DOWN, DOWN)))
    assert not node.ring(1)[0].any()
    assert (states["web"].digest, sum(states["web"].slots.values())) == ("", 0)


def test_a_way_that_leaves_too_little_for_ipv6_is_told(node: Node, tables: Tables) -> None:
    node.place.run("ip", "link", "set", node.port, "mtu", "1300")
    four = pool(UP, forward=Forward.IPIP)
    both = dataclasses.replace(four, vips=(*four.vips, Vip("2001:db8::80/128", 6, 80)))
    assert tables.want(want(1, web=four))["web"].narrow == {}
    assert tables.want(want(2, web=both))["web"].narrow == {}, "1280 are left"
    gue = dataclasses.replace(both, backends=pool(UP, forward=Forward.GUE).backends)
    (why,) = tables.want(want(3, web=gue))["web"].narrow.values()
    assert why.startswith("the way to it takes 1300 octets, which leaves 1272 in its tunnel")


def test_balancers_that_number_backends_otherwise_tell_the_same_digest(node: Node, tables: Tables) -> None:
    first = tables.want(want(1, web=pool(UP, UP)))
    other = Counting()
    with closing(other), closing(node.place.call(lambda: Tables(other))) as others:
        others.want(want(1, x=pool(UP, vip=3, first=3)))
        last = others.want(want(2, web=pool(UP, UP)))
        assert others.names.backends != tables.names.backends
    assert last["web"].digest == first["web"].digest


def test_maps_of_the_loader_are_filled_and_adopted(objects: Path, home: Path) -> None:
    def fill(version: int, backends: int = 2) -> tuple[bool, dict[str, TableState]]:
        plane = DataPlane.open(home, objects)
        with closing(plane), closing(Tables(plane)) as tables:
            return plane.adopted, tables.want(want(version, web=pool(*[UP] * backends, forward=Forward.IPIP)))

    first, second = fill(1), fill(2)
    assert (first[0], second[0]) == (False, True)
    assert first[1]["web"].digest == second[1]["web"].digest
    fill(3, backends=3)
    held = sorted(pin.name.rpartition("_")[0] for pin in (home / layout.LAYOUT_HASH / pins.INNER).iterdir())
    assert held == ["ring_uses", "rings"], "what was replaced is pinned no more"
    with pytest.raises(ValueError, match="is older"):
        fill(1)


@pytest.mark.alone
def test_many_pools_change_in_little_time(node: Node, tables: Tables) -> None:
    """40 pools of 100 backends: well inside 200 ms where nothing else runs; here others do, so it is counted in CPU time."""

    def all_of(down: int) -> dict[str, BalancerTable]:
        found = {}
        for number in range(40):
            backends = [
                BackendPlan(f"10.{number}.0.{each}", 1, Forward.IPIP, DOWN if each == down else UP)
                for each in range(100)
            ]
            found[f"p{number}"] = BalancerTable(SiteId("fra"), (Vip(f"192.0.2.{number}/32", 6, 80),), tuple(backends))
        return found

    node.place.run("ip", "route", "add", "default", "via", "10.7.0.2")
    tables.want(dataclasses.replace(want(1), tables=all_of(100)))
    spent = []
    for version in range(2, 6):
        begun = time.thread_time()
        tables.want(dataclasses.replace(want(version), tables=all_of(version)))
        spent.append(time.thread_time() - begun)
    assert min(spent) < 0.4
