"""Connections counted from what the maps hold: each, from a sample, and from a table of places."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from gslb.layout import MOST_TRACKED, MOST_VIPS, UDP_FLOWS
from xdp import active
from xdp.messages import Estimate
from xdp.tracking import MANY, MOST_MASK, MOST_PACKETS, next_mask

NOW = 70_000  # coarse units: beyond 2^16


def sample(*entries: tuple[int, int, int]) -> NDArray[np.void]:
    """Entries by backend, VIP and mask."""
    return np.array([(backend, vip, mask, NOW & 0xFFFF) for backend, vip, mask in entries], active.TRACKED)


def table(flows: NDArray[np.uint32], age: int = 0) -> NDArray[np.void]:
    """Flows of VIP 3 with backend 5, each in its place."""
    held = np.zeros(UDP_FLOWS, active.UDP_FLOW)
    held["tag"][flows], held["backend"][flows], held["seen"][flows] = 0xABCDE000 | 3, 5, (NOW - age) & 0xFFFF
    return held


def test_each_is_counted_where_all_are_tracked() -> None:
    found = active.tcp(sample((1, 7, 0), (1, 7, 0), (2, 7, 0), (1, 8, 0)), 0)
    assert found == {(7, 1): Estimate(2.0), (7, 2): Estimate(1.0), (8, 1): Estimate(1.0)}


def test_nothing_is_nothing() -> None:
    assert active.tcp(sample(), 0) == {}
    assert active.udp(table(np.array([], np.uint32)), NOW) == {}


def test_an_entry_stands_for_as_many_as_when_it_came_or_more() -> None:
    """The mask was 7 and is 1; and it was 1 and is 3."""
    assert active.tcp(sample((1, 7, 7), (1, 7, 1)), 1) == {(7, 1): Estimate(10.0, math.sqrt(8 * 7 + 2 * 1))}
    assert active.tcp(sample((1, 7, 1)), 3) == {(7, 1): Estimate(4.0, math.sqrt(4 * 3))}


@pytest.mark.parametrize("mask", [1, 15, 255])
def test_the_error_is_that_of_the_sample(mask: int) -> None:
    """Many samples of the same connections scatter as much as each says, around the truth."""
    chosen = np.random.default_rng(1).binomial(10_000, 1 / (mask + 1), 400)
    found = [active.tcp(sample(*[(1, 1, mask)] * int(each)), mask)[1, 1] for each in chosen if each]
    assert np.mean([one.flows for one in found]) == pytest.approx(10_000, rel=0.03)
    assert np.std([one.flows for one in found]) == pytest.approx(np.mean([one.error for one in found]), rel=0.15)


@pytest.mark.parametrize("flows", [1, 300, 20_000, 65_536, 150_000])
def test_udp_flows_that_meet_in_a_place_are_counted_all_the_same(flows: int) -> None:
    places = np.random.default_rng(2).integers(0, UDP_FLOWS, flows).astype(np.uint32)
    [(pair, found)] = active.udp(table(places), NOW).items()
    assert pair == (3, 5)
    assert abs(found.flows - flows) <= 4 * found.error + 0.01
    assert found.error < 0.01 * flows + 0.1


def test_a_full_table_is_told_as_a_number() -> None:
    [found] = active.udp(table(np.arange(UDP_FLOWS, dtype=np.uint32)), NOW).values()
    assert UDP_FLOWS * 10 < found.flows < UDP_FLOWS * 12


@pytest.mark.parametrize(("age", "lives"), [(0, True), (14, True), (17, False), (40_000, False), (-1, True)])
def test_a_udp_flow_lives_a_minute(age: int, lives: bool) -> None:  # noqa: FBT001  parametrized
    assert bool(active.udp(table(np.array([9], np.uint32), age), NOW)) == lives


def test_every_name_has_an_estimate_and_shared_backends_are_told_apart() -> None:
    vips = {1: ("web", "192.0.2.1 tcp/80"), 2: ("api", "192.0.2.2 tcp/80"), 3: ("api", "192.0.2.3 tcp/80")}
    backends = {5: (("web", "10.0.0.1"), ("api", "10.0.0.1")), 6: (("web", "10.0.0.2"),)}
    pairs = {(1, 5): Estimate(3.0), (2, 5): Estimate(40.0, 3.0), (2, 99): Estimate(1.0), (99, 5): Estimate(1.0)}
    of_vips, of_backends = active.by_name([pairs, {(2, 5): Estimate(2.0, 4.0)}], vips, backends)
    assert of_vips == {
        "web": {"192.0.2.1 tcp/80": Estimate(3.0)},
        "api": {"192.0.2.2 tcp/80": Estimate(42.0, 5.0), "192.0.2.3 tcp/80": Estimate()},
    }
    assert of_backends == {
        "web": {"10.0.0.1": Estimate(3.0), "10.0.0.2": Estimate()},
        "api": {"10.0.0.1": Estimate(42.0, 5.0)},
    }


@pytest.mark.parametrize(
    ("mask", "tracked", "rate", "wanted"),
    [
        (0, 300, 1000.0, 0),
        (0, MANY, 0.0, 0),
        (0, MANY + 1, 0.0, 3),
        (0, MOST_TRACKED, 0.0, 7),
        (3, MOST_TRACKED, 0.0, 31),
        (MOST_MASK, MOST_TRACKED, 1e12, MOST_MASK),
        (0, 300, MOST_PACKETS * 1.0, 0),
        (0, 300, MOST_PACKETS * 1.1, 1),
        (0, 300, MOST_PACKETS * 60.0, 63),
        (63, 300, MOST_PACKETS * 60.0, 63),
        (63, 300, MOST_PACKETS * 20.0, 63),
        (63, 300, MOST_PACKETS * 15.0, 31),
        (63, 300, 0.0, 31),
        (1, 300, 0.0, 0),
        (1, MANY // 4, 0.0, 1),
    ],
)
def test_the_mask_grows_at_once_and_shrinks_by_steps(mask: int, tracked: int, rate: float, wanted: int) -> None:
    assert next_mask(mask, tracked, rate) == wanted
    if wanted > mask:
        assert next_mask(wanted, tracked * (mask + 1) // (wanted + 1), rate) == wanted, "it comes to rest"


def test_an_id_of_a_vip_fits_a_tag() -> None:
    assert MOST_VIPS == 1 << 12
