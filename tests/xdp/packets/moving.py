"""Clients of the VIPs called moving, whose slots a test changes while flows run.  IO: BPF test runs.

Rule 1: every packet is an exact case: verdict, octets, counters.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from scapy.packet import Packet

from gslb import layout
from gslb.layout import COARSE_SHIFT
from tests.xdp.harness import word
from tests.xdp.packets.cases import DROP, TX, Case, check, sent
from tests.xdp.packets.frames import ether, hash_of, leaves, octets, towards
from tests.xdp.packets.scene import BACKENDS, MOVING_RING, VIPS, Scene, all_slots
from xdp.flow import index_of, slot_of, udp_tag_of

COARSE_CLOCK = 6  # CLOCK_MONOTONIC_COARSE of Linux
AT_REST_NS = 1_000_000_000  # more than a few packets take
NOBODY = ""  # the backend of a packet that is dropped


@dataclass(frozen=True, slots=True)
class Moving:
    """Clients of one IP version."""

    scene: Scene
    version: int

    # ---- what user space does ----

    def slots(self, current: str, previous: str = NOBODY) -> None:
        """Every slot of the ring, by the names of backends."""
        self.scene.moving(all_slots(number_of(current), number_of(previous)))

    def flag(self, backend: str, flags: int) -> None:
        """Flags of a backend."""
        self.scene.backend(replace(BACKENDS[backend], flags=flags))

    # ---- what clients do ----

    def tcp(self, flags: str, port: int, to: str, *, seq: int = 1000, **more: int) -> None:
        """A segment of the flow from this port goes to this backend; `more`: counters as in `cases.sent`."""
        packet = self.segment(flags, port, seq=seq)
        if to and "S" in flags and "A" not in flags:
            more = {"syns": 1} | more
        self._goes(f"{flags or 'no flags'} from port {port}", f"moving/{self.version}/tcp", packet, to, more)

    def udp(self, port: int, to: str, **more: int) -> None:
        """A datagram of the flow from this port goes to this backend."""
        self._goes(f"UDP from port {port}", f"moving/{self.version}/udp", self.datagram(port), to, more)

    def segment(self, flags: str, port: int, *, seq: int = 1000) -> Packet:
        """A packet over TCP; a SYN has no data."""
        payload = b"" if flags == "S" else b"hello"
        return towards(f"moving/{self.version}/tcp", flags, sport=port, seq=seq, payload=payload)

    def datagram(self, port: int) -> Packet:
        """A packet over UDP."""
        return towards(f"moving/{self.version}/udp", sport=port)

    def _goes(self, name: str, vip: str, packet: Packet, to: str, more: dict[str, int]) -> None:
        if to:
            case = Case(
                f"{name} to {to}", ether() / packet, TX, leaves(to, packet), sent(vip, to, octets(packet), **more)
            )
        else:
            case = Case(f"{name} to nobody", ether() / packet, DROP, None, {"NO_BACKEND": 1} | more)
        check(self.scene.programs, case)

    # ---- what the program remembers ----

    @property
    def used(self) -> dict[int, int]:
        """Slots that sent a packet elsewhere than to their current backend, and when: coarse time modulo 2^16."""
        return {slot: at for slot, at in enumerate(self.scene.programs.ring_uses(MOVING_RING)) if at}

    def slot(self, packet: Packet) -> int:
        """Of a packet's flow."""
        return slot_of(hash_of(packet))

    def udp_flow(self, port: int) -> layout.UdpFlow:
        """What the place of a flow holds in the table of UDP flows."""
        held = self.scene.programs.maps["udp_flows"].lookup(word(index_of(hash_of(self.datagram(port)))))
        assert held is not None
        return layout.UdpFlow.from_buffer_copy(held)

    def put_udp_flow(self, port: int, backend: str, age: int, *, tag: int | None = None) -> None:
        """As if a datagram of this flow had gone to this backend `age` coarse units ago; `tag`: of another flow in its place."""
        hashed = hash_of(self.datagram(port))
        seen = (coarse_now() - age) & 0xFFFF
        held = layout.UdpFlow(udp_tag(self.datagram(port)) if tag is None else tag, number_of(backend), seen)
        self.scene.programs.set("udp_flows", word(index_of(hashed)), held)


def number_of(backend: str) -> int:
    """The id of a backend; 0 of nobody."""
    return BACKENDS[backend].number if backend else 0


def udp_tag(packet: Packet) -> int:
    """What the table of UDP flows knows a flow by: never 0."""
    return udp_tag_of(hash_of(packet), VIPS[f"moving/{packet.version}/udp"].number)


def coarse_now() -> int:
    """The program's coarse time, modulo 2^16."""
    return time.clock_gettime_ns(COARSE_CLOCK) >> COARSE_SHIFT & 0xFFFF


def at_rest(shift: int = COARSE_SHIFT, still_ns: int = AT_REST_NS) -> None:
    """Not just before the next unit of 2^shift ns, so that ages and limits stay exact for a while."""
    now, unit = time.clock_gettime_ns(COARSE_CLOCK), 1 << shift
    while unit - now % unit < still_ns:
        time.sleep(0.01)
        now = time.clock_gettime_ns(COARSE_CLOCK)
