"""Frames that leave by another interface, over a real link: what arrives at its other end."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import pytest

from tests.conftest import missing
from tests.namespaces import Namespace, World, unavailable
from tests.xdp.packets.cases import difference, sent
from tests.xdp.packets.frames import ether, leaves, octets, tcp
from tests.xdp.packets.scene import BACKENDS, MODES, Scene, mac

pytestmark = pytest.mark.root
BOTH = (4, 6)
ALL_FRAMES = 0x0003  # ETH_P_ALL
WAIT_S = 10.0


@dataclass
class Link:
    """A balancer's interface and whoever listens behind it."""

    node: Namespace
    ifindex: int
    far: socket.socket

    def arrived(self, to: str) -> bytes:
        """The next frame for this Ethernet address.  Raises TimeoutError."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            self.far.settimeout(max(end - time.monotonic(), 0.01))
            frame = self.far.recv(4096)
            if frame[:6] == mac(to):
                return frame
        raise TimeoutError(f"no frame for {to}")


@pytest.fixture
def link() -> Iterator[Link]:
    """A veth pair; its far end takes frames that a program sends (it has NAPI, by GRO)."""
    if reason := unavailable():
        missing(reason)
    if shutil.which("ethtool") is None:
        missing("ethtool is not installed")
    with World() as world:
        node, far = world.namespace("node"), world.namespace("far")
        near_end, far_end = world.join(node, far, "10.1.0.1/24", "10.1.0.2/24")
        far.run("ethtool", "-K", far_end, "gro", "on")

        def listen() -> socket.socket:
            heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_FRAMES))
            heard.bind((far_end, 0))
            return heard

        with far.call(listen) as heard:
            yield Link(node, node.call(lambda: socket.if_nametoindex(near_end)), heard)


@pytest.mark.parametrize("backend", MODES)
def test_a_frame_arrives_as_it_was_made(scene: Scene, link: Link, backend: str) -> None:
    scene.backend(replace(BACKENDS[backend], ifindex=link.ifindex))
    for version in BOTH:
        packet = tcp(backend, version)
        before = scene.programs.counters()
        link.node.call(partial(scene.programs.live, bytes(ether() / packet)))
        out = link.arrived(BACKENDS[backend].next_hop)
        want = bytes(leaves(backend, packet))
        assert out == want, difference(out, want)
        changed = {name: now - before[name] for name, now in scene.programs.counters().items() if now != before[name]}
        assert changed == sent(f"{backend}/{version}/tcp", backend, octets(packet))
