"""VIPs that a CPU keeps: never other than what a lookup finds, and only while their version is the same."""

from __future__ import annotations

import ipaddress

import pytest
from scapy.layers import inet
from scapy.packet import Packet, Raw

from gslb import layout
from tests.xdp.packets.frames import CLIENT, ether, ip, tcp
from tests.xdp.packets.scene import BACKENDS, TCP, VIPS, Scene, Vip, address_of, mac, packed
from xdp.libbpf import XDP_PASS, XDP_TX

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def _nothing_is_kept(scene: Scene, one_cpu: None) -> None:  # noqa: ARG001
    scene.programs.clear("known_vips")


def test_what_was_found_stays_until_the_version_changes(scene: Scene) -> None:
    vip, sent = VIPS["l2/4/tcp"], bytes(ether() / tcp("l2", 4))
    key = bytes(layout.VipKey(tuple(packed(address_of("l2", 4))), 80, TCP))
    try:
        scene.settings(vips_version=1)
        assert scene.programs.run(sent).verdict == XDP_TX
        scene.programs.maps["vips"].delete(key)
        assert scene.programs.run(sent).verdict == XDP_TX
        scene.settings(vips_version=2)
        ran = scene.programs.run(sent)
        assert (ran.verdict, ran.counts) == (XDP_PASS, {"NO_VIP": 1})
    finally:
        scene.vip(vip)
    assert scene.programs.run(sent).verdict == XDP_TX, "what was not found is not kept"


def test_without_a_version_nothing_is_kept(scene: Scene) -> None:
    vip, sent = VIPS["l2/4/tcp"], bytes(ether() / tcp("l2", 4))
    key = bytes(layout.VipKey(tuple(packed(address_of("l2", 4))), 80, TCP))
    try:
        assert scene.programs.run(sent).verdict == XDP_TX
        scene.programs.maps["vips"].delete(key)
        assert scene.programs.run(sent).verdict == XDP_PASS
    finally:
        scene.vip(vip)


def towards(vip: Vip, port: int) -> Packet:
    """A packet to the first address of a VIP."""
    address = ipaddress.ip_network(vip.address)[0]
    segment = inet.TCP(sport=40000, dport=port, flags="A") if vip.protocol == TCP else inet.UDP(sport=40000, dport=port)
    return ether() / ip(address.version, CLIENT[address.version], str(address)) / segment / Raw(b"hello")


def test_kept_or_looked_up_is_the_same(scene: Scene) -> None:
    """Every VIP of the scene and neighbours of its port, so that many meet in few places."""
    sent = [bytes(towards(vip, port)) for vip in VIPS.values() for port in (vip.port or 80, 53, 80, 443, 9999)]

    outcome = scene.programs.quick
    looked_up = [outcome(frame) for frame in sent]
    scene.settings(vips_version=3)
    assert [outcome(frame) for frame in sent] == looked_up
    assert [outcome(frame) for frame in reversed(sent)] == looked_up[::-1]


@pytest.mark.parametrize("version", [4, 6])
def test_what_meets_in_one_place_is_told_apart(scene: Scene, version: int) -> None:
    """Four ports of a thousand have the place of another VIP of the same address."""
    scene.settings(vips_version=4)
    exact, wide = VIPS[f"exact/{version}/tcp"], VIPS[f"any/{version}/tcp"]
    at, all_else = (mac(BACKENDS[name].next_hop) for name in ("two", "one"))
    mine = bytes(towards(exact, exact.port))
    for port in range(1000, 2000):
        for frame, next_hop in ((mine, at), (bytes(towards(wide, port)), all_else)):
            _, out = scene.programs.quick(frame)
            assert out[:6] == next_hop, port
