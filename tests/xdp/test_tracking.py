"""The sample kept and counted over real maps; what programs would write is written by the test."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from gslb.layout import MOST_TRACKED, Tracked, UdpFlow
from tests.xdp.kernelmaps import KernelMaps
from xdp import tracking
from xdp.messages import Estimate
from xdp.slots import coarse
from xdp.tables import Names
from xdp.tracking import MOST_PACKETS, Tracking

pytestmark = pytest.mark.root

IDLE_S = 300.0
START_S = 1_000_000.0  # of the test's clock
VIP, BACKEND = "192.0.2.1 tcp/80", "10.0.0.1"
NAMES = Names({1: ("web", VIP)}, {5: (("web", BACKEND),)})


@dataclass
class Tuned:
    """Tables that hold nothing but the mask."""

    idle_s: float | None = IDLE_S
    track_mask: int = 0
    names: Names = field(default_factory=lambda: NAMES)

    def set_track_mask(self, mask: int) -> None:
        self.track_mask = mask


@dataclass
class Scene:
    """The maps, the clock, and what is tested."""

    maps: KernelMaps
    tuned: Tuned
    tracking: Tracking
    now: float = START_S

    def put(self, *hashes: int, age: int = 0, mask: int = 0, vip: int = 1) -> None:
        held = bytes(Tracked(5, vip, mask, coarse(self.now) - age & 0xFFFF))
        self.maps.maps["tracked"].update_many([(struct.pack("=Q", each), held) for each in hashes])

    def put_udp(self, place: int, age: int = 0) -> None:
        held = UdpFlow(1 << 12 | 1, 5, coarse(self.now) - age & 0xFFFF)
        self.maps.maps["udp_flows"].update(struct.pack("=I", place), bytes(held))

    def held(self) -> dict[int, int]:
        """Hash -> mask of what is tracked."""
        tracked = self.maps.maps["tracked"]
        found = {key: tracked.lookup(key) for key in list(tracked.keys())}
        return {
            struct.unpack("=Q", key)[0]: Tracked.from_buffer_copy(value).mask for key, value in found.items() if value
        }

    def look(self, packets: int = 0, after_s: float = 1.0) -> Estimate:
        """What is told of the VIP, which is what is told of its only backend."""
        self.now += after_s
        vips, backends = self.tracking.look(packets, self.now)
        assert vips["web"][VIP] == backends["web"][BACKEND]
        return vips["web"][VIP]


@pytest.fixture
def scene() -> Iterator[Scene]:
    maps, tuned = KernelMaps(), Tuned()
    yield Scene(maps, tuned, Tracking(maps.maps, tuned))
    maps.close()


def hashes(count: int, seed: int = 1) -> list[int]:
    """Of flows, as good in every bit as the program's."""
    return [int(each) for each in np.random.default_rng(seed).integers(0, 1 << 64, count, np.uint64)]


def test_all_are_counted_while_they_are_few(scene: Scene) -> None:
    scene.put(*hashes(300))
    assert scene.look() == Estimate(300.0)
    assert scene.tuned.track_mask == 0
    assert len(scene.held()) == 300


def test_nothing_is_told_before_a_want(scene: Scene) -> None:
    scene.tuned.idle_s = None
    scene.put(*hashes(3), age=30_000)
    assert scene.tracking.look(0, scene.now) == ({}, {})
    assert len(scene.held()) == 3


def test_idle_connections_are_not_counted_and_deleted(scene: Scene) -> None:
    first, second, *others = hashes(10)
    scene.put(first, age=coarse(IDLE_S) + 5)
    scene.put(second, age=40_000)
    scene.put(*others, age=coarse(IDLE_S) - 1)
    assert scene.look() == Estimate(8.0)
    assert scene.held().keys() == set(others)


def test_what_has_no_name_is_not_told(scene: Scene) -> None:
    scene.put(*hashes(3), vip=9)
    assert scene.look() == Estimate()


def test_many_connections_are_told_from_a_sample(scene: Scene) -> None:
    """The mask grows; the connections that it leaves out go, the others stand for more."""
    every = hashes(12_000)
    scene.put(*every)
    assert scene.look() == Estimate(12_000.0)
    assert scene.tuned.track_mask == 7
    found = scene.look()
    assert found.error > 0
    assert abs(found.flows - 12_000) < 4 * found.error
    assert scene.held() == {each: 7 for each in every if each >> 32 & 7 == 0}


def test_a_smaller_mask_changes_no_estimate(scene: Scene) -> None:
    """Old entries stand for what they stood for; new ones for fewer."""
    scene.tuned.track_mask = 15
    every = [each for each in hashes(16_000) if each >> 32 & 15 == 0]
    scene.put(*every, mask=15)
    before = scene.look()
    for _ in range(8):
        scene.look(after_s=10.0)
        scene.put(*every, mask=15)
    assert scene.tuned.track_mask == 0
    scene.put(*hashes(100, seed=2))
    found = scene.look()
    assert (found.flows, found.error) == (before.flows + 100, before.error)


def test_many_packets_make_the_sample_smaller_and_few_larger(scene: Scene) -> None:
    scene.put(*hashes(300))
    scene.look(packets=0)
    scene.look(packets=10 * MOST_PACKETS)
    assert scene.tuned.track_mask == 15
    scene.look(packets=10 * MOST_PACKETS)
    assert scene.tuned.track_mask == 15, "not at once"
    scene.look(packets=10 * MOST_PACKETS, after_s=tracking.LOWER_EVERY_S)
    assert scene.tuned.track_mask == 7


def test_counters_that_begin_anew_are_no_packets(scene: Scene) -> None:
    scene.look(packets=100 * MOST_PACKETS)
    scene.look(packets=0)
    assert scene.tuned.track_mask == 0


def test_udp_flows_are_counted_with_connections(scene: Scene) -> None:
    scene.put(*hashes(3))
    for place in range(10):
        scene.put_udp(place, age=place * 3)
    found = scene.look()
    assert found.flows == pytest.approx(3 + 5, abs=0.01)


def test_places_of_old_udp_flows_are_freed_before_they_seem_young(scene: Scene) -> None:
    scene.put_udp(7, age=40_000)
    scene.put_udp(8, age=30_000)
    scene.look()
    held = {place: scene.maps.maps["udp_flows"].lookup(struct.pack("=I", place)) for place in (7, 8)}
    assert held[7] == bytes(ctypes.sizeof(UdpFlow))
    assert held[8] != held[7]


def test_a_full_sample_is_read_whole_and_who_only_reads_changes_nothing(scene: Scene) -> None:
    every = hashes(MOST_TRACKED)
    scene.put(*every)
    vips, _ = tracking.count(scene.maps.maps, NAMES, 0, IDLE_S, scene.now)
    assert vips == {"web": {VIP: Estimate(float(MOST_TRACKED))}}
    assert scene.held().keys() == set(every)
