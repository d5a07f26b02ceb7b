"""The twin in Python says of every packet which backend the program gives it to: packets and changes of tables in any order.

Rule 1: the twin is asked before the packet, from the maps in the kernel (`xdp.held`), as `gslb lb flows` does.
Rule 2: the twin knows no limits, so none is reached.
HYPOTHESIS_PROFILE=soak tries 20 000 sequences, with `--timeout=0`.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach
from scapy.packet import Packet, Raw

from gslb import layout
from gslb.layout import EventCount, Mode
from tests.conftest import missing
from tests.xdp.harness import LOOPBACK, Programs, Unusable, programs, word
from tests.xdp.packets.cases import DROP, PASS, TX
from tests.xdp.packets.frames import OUTSIDE, ether, ip
from tests.xdp.packets.scene import DOWN, LEAVES, UNREACHABLE, mac, packed
from xdp import flow
from xdp.flow import Flow
from xdp.held import Held

SCTP = 132  # a protocol whose ports nobody reads
COARSE = 6  # CLOCK_MONOTONIC_COARSE of Linux, by which the program tells ages
PORTS = (0, 53, 80)
RINGS = (1, 2)
NO_RING = 3
BACKENDS = range(1, 6)
ADDRESSES = {4: ("198.51.100.1", "198.51.100.2", "203.0.114.9"), 6: ("2001:db8:5::1", "2001:db8:5::2", "2001:db8:6::9")}
PREFIXES = (
    "198.51.100.0/24",
    "198.51.100.0/30",
    "203.0.114.0/25",
    "2001:db8:5::/64",
    "2001:db8::/32",
    "2001:db8:6::/127",
)
CLIENTS = {4: ("203.0.113.7", "203.0.113.8"), 6: ("2001:db8:c::7", "2001:db8:c::8")}
TCP_FLAGS = ("S", "SEC", "A", "PA", "FA", "R", "SA", "")

indexes = st.integers(0, 3)  # of the flows of one example: so few that each is met again and again
backends = st.sampled_from((*BACKENDS, *BACKENDS, 0))
slots = st.lists(st.tuples(backends, backends), min_size=1, max_size=3)
modes = st.sampled_from((*(Mode.MODE_L2,) * 6, *Mode))
states = st.sampled_from((0, 0, 0, 0, DOWN, DOWN, UNREACHABLE, DOWN | UNREACHABLE))
ages = st.sampled_from((0, 1, 2, 13, 14, 14, 15, 15, 40000))


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Of both families, TCP, UDP, and of a protocol without ports."""
    version, number = draw(st.sampled_from((4, 6))), draw(st.sampled_from((flow.TCP, flow.UDP, SCTP)))
    source, destination = (draw(st.sampled_from(of[version])) for of in (CLIENTS, ADDRESSES))
    if number == SCTP:
        return Flow(source, destination, 0, 0, number)
    return Flow(source, destination, draw(st.integers(40000, 40003)), draw(st.sampled_from(PORTS)), number)


def networks_of(address: str) -> tuple[str, ...]:
    """The address, and the prefixes with it."""
    inside = ip_address(address)
    return (address, *(prefix for prefix in PREFIXES if inside in ip_network(prefix)))


@dataclass
class Vips:
    """What stands in vips and vip_prefixes, each entry with an id of its own."""

    loaded: Programs
    made: dict[tuple[str, int, int], int]
    version: int = 0

    def set(self, network: str, port: int, protocol: int, ring: int) -> None:
        """One VIP, or the same with another ring."""
        number = self.made.setdefault((network, port, protocol), len(self.made) + 1)
        self.loaded.set(*_entry(network, port, protocol), layout.Vip(id=number, ring=ring))

    def remove(self, network: str, port: int, protocol: int) -> None:
        """It is gone, or was not there."""
        self.loaded.maps[_entry(network, port, protocol)[0]].delete(_entry(network, port, protocol)[1])

    def clear(self) -> None:
        """None is left."""
        for name in ("vips", "vip_prefixes"):
            self.loaded.clear(name)


def _entry(network: str, port: int, protocol: int) -> tuple[str, bytes]:
    address, _, length = network.partition("/")
    names: dict[str, Any] = {"address": tuple(packed(address)), "port": port, "protocol": protocol}
    if not length:
        return "vips", bytes(layout.VipKey(**names))
    return "vip_prefixes", bytes(layout.VipPrefix(length=32 + int(length) + (96 if "." in address else 0), **names))


class Twins(RuleBasedStateMachine):
    """Both are told the same, and asked the same."""

    loaded: Programs
    vips: Vips

    @initialize(
        key=st.binary(min_size=16, max_size=16),
        rings=st.tuples(slots, slots),
        flows=st.lists(flows(), min_size=4, max_size=4),
    )
    def begin(self, key: bytes, rings: Sequence[Sequence[tuple[int, int]]], flows: Sequence[Flow]) -> None:
        """Backends that are up, rings, and VIPs for some of the flows."""
        for name in ("new_flows", "udp_flows"):
            self.loaded.clear(name)
        self.vips.clear()
        self.key, self.flows = key, flows
        for number in BACKENDS:
            self.backend(number, Mode.MODE_L2, 0)
        for ring, content in zip(RINGS, rings, strict=True):
            self.slots_change(ring, content)
        for of in flows[1:]:
            self.vips.set(networks_of(of.destination)[-1], of.destination_port, of.protocol, RINGS[0])
        self._settle()

    @rule(number=st.sampled_from(BACKENDS), mode=modes, flags=states)
    def backend(self, number: int, mode: Mode, flags: int) -> None:
        """It is up, down, unreachable, unknown."""
        record = layout.Backend(
            address=tuple(packed(f"10.0.0.{number}")),
            next_hop=(2, 0, 0, 0, 1, number),
            source=tuple(mac(LEAVES)),
            ifindex=LOOPBACK,
            mtu=1500,
            mode=mode,
            flags=flags,
        )
        self.loaded.set("backends", word(number), record)

    @rule(ring=st.sampled_from(RINGS), content=slots)
    def slots_change(self, ring: int, content: Sequence[tuple[int, int]]) -> None:
        """Other backends, current and previous, in turn in all slots."""
        turn = b"".join(bytes(layout.Slot(*pair)) for pair in content)
        self.loaded.fill_ring(ring, (turn * (layout.RING_SLOTS // len(content) + 1))[: 4 * layout.RING_SLOTS])

    @rule(index=indexes, place=st.integers(0, 3), any_port=st.booleans(), ring=st.sampled_from((*RINGS, NO_RING, 0)))
    def vip(self, index: int, place: int, any_port: bool, ring: int) -> None:  # noqa: FBT001
        """One of the VIPs that may mean a flow comes, changes, or goes (ring 0)."""
        of = self.flows[index]
        networks = networks_of(of.destination)
        entry = networks[place % len(networks)], 0 if any_port else of.destination_port, of.protocol
        if ring:
            self.vips.set(*entry, ring)
        else:
            self.vips.remove(*entry)
        self._settle()

    @rule(index=indexes, backend=backends, age=ages, mine=st.booleans())
    def udp_was_seen(self, index: int, backend: int, age: int, mine: bool) -> None:  # noqa: FBT001
        """A flow, or another one in its place, went to a backend so long ago."""
        hashed = flow.flow_hash(self.key, self.flows[index])
        found = flow.find_vip(Held(self.loaded.maps), self.flows[index])
        tag = flow.udp_tag_of(hashed, found.vip if found else 1)
        self._udp(flow.index_of(hashed), tag if mine else tag ^ 2, backend, age)
        self.packets([index], "A")

    @rule(index=indexes, age=ages)
    def time_passes(self, index: int, age: int) -> None:
        """What stands in a flow's place was seen so long ago."""
        at = flow.index_of(flow.flow_hash(self.key, self.flows[index]))
        held = Held(self.loaded.maps).udp_flow(at)
        self._udp(at, held.tag, held.backend, age)
        self.packets([index], "A")

    @rule(index=indexes, backend=backends)
    def tcp_began(self, index: int, backend: int) -> None:
        """A flow is remembered with a backend."""
        hashed = flow.flow_hash(self.key, self.flows[index])
        self.loaded.set("new_flows", struct.pack("=Q", hashed), layout.NewFlow(backend=backend))
        self.packets([index], "A")

    @rule(indexes=st.lists(indexes, min_size=1, max_size=4, unique=True), flags=st.sampled_from(TCP_FLAGS))
    def packets(self, indexes: Sequence[int], flags: str) -> None:
        """Packets of clients."""
        for index in indexes:
            of = self.flows[index]
            self._compare(of, bytes(ether() / _sent(of, flags)), syn="S" in flags and "A" not in flags)

    @rule(index=indexes)
    def error(self, index: int) -> None:
        """A router on the way tells the VIP of a packet that it sent; that is no new flow."""
        of = self.flows[index]
        if of.protocol == SCTP:
            return
        back = Flow(of.destination, of.source, of.destination_port, of.source_port, of.protocol)
        version = 6 if ":" in of.source else 4
        told: Packet = ICMPv6DestUnreach() if version == 6 else ICMP(type=3, code=1)
        told = ip(version, OUTSIDE[version], of.destination) / told / _sent(back, "A")
        self._compare(of, bytes(ether() / told), syn=False, without=EventCount.COUNT_ICMP_UNKNOWN)

    def _settle(self) -> None:
        """Settings, which say that VIPs changed."""
        self.vips.version += 1
        value = layout.Settings(
            key=struct.unpack("=2Q", self.key),
            new_flows_per_s=1 << 31,
            vips_version=self.vips.version,
            prefixes=any("/" in network for network, *_ in self.vips.made),
        )
        self.loaded.set("settings", word(0), value)

    def _udp(self, at: int, tag: int, backend: int, age: int) -> None:
        seen = (_coarse_ns() >> layout.COARSE_SHIFT) - age & 0xFFFF
        self.loaded.set("udp_flows", word(at), layout.UdpFlow(tag, backend, seen))

    def _compare(self, of: Flow, frame: bytes, *, syn: bool, without: EventCount = EventCount.COUNT_NO_VIP) -> None:
        held = Held(self.loaded.maps)
        began = _coarse_ns()
        said = [flow.choose(held, of, began / 1e9, syn=syn)]
        later = flow.choose(held, of, (began + (1 << layout.COARSE_SHIFT)) / 1e9, syn=syn)
        event(said[0].why)
        before = self.loaded.outcomes()
        counted = self.loaded.packets("vip_counts", said[0].vip)
        verdict, out = self.loaded.quick(frame)
        if _coarse_ns() >> layout.COARSE_SHIFT != began >> layout.COARSE_SHIFT:
            said.append(later)
        after = self.loaded.outcomes()
        reasons = {EventCount(at) for at, (was, now) in enumerate(zip(before, after, strict=True)) if now > was}
        want: set[object] = {(PASS, 0, frozenset({without}))}
        if said[0].vip:
            want = {self._becomes(held, choice.backend) for choice in said}
        got = verdict, out[5] if verdict == TX else 0, frozenset(reasons - {EventCount.COUNT_ICMP_FORWARDED})
        assert got in want, (of, said)
        if verdict == TX:
            assert self.loaded.packets("vip_counts", said[0].vip) == counted + 1, (of, said)

    @staticmethod
    def _becomes(held: Held, backend: int) -> tuple[int, int, frozenset[EventCount]]:
        """Verdict, backend and counts of a packet for a backend."""
        mode, flags = held.backend(backend)
        if mode == Mode.MODE_NONE or flags & layout.BackendFlags.BACKEND_UNREACHABLE:
            return DROP, 0, frozenset({EventCount.COUNT_NO_BACKEND})
        return TX, backend, frozenset()


def _coarse_ns() -> int:
    return time.clock_gettime_ns(COARSE)


def _sent(of: Flow, flags: str) -> Packet:
    version = 6 if ":" in of.source else 4
    if of.protocol == SCTP:
        fields = {"nh": SCTP} if version == 6 else {"proto": SCTP}
        return ip(version, of.source, of.destination, **fields) / Raw(bytes(12))
    ports: dict[str, Any] = {"sport": of.source_port, "dport": of.destination_port}
    return ip(version, of.source, of.destination) / (
        TCP(flags=flags, **ports) if of.protocol == flow.TCP else UDP(**ports)
    )


@pytest.fixture(scope="module")
def loaded() -> Iterator[Programs]:
    """The programs with empty rings."""
    try:
        with programs() as made:
            made.put_rings({ring: bytes(4 * layout.RING_SLOTS) for ring in RINGS})
            yield made
    except Unusable as error:
        missing(str(error))


@pytest.mark.root
@pytest.mark.slow
def test_the_twin_and_the_program_choose_alike(loaded: Programs) -> None:
    """In any order: packets, errors, other slots, other VIPs, backends in all states, what is remembered, and time."""
    Twins.loaded, Twins.vips = loaded, Vips(loaded, {})
    run_state_machine_as_test(
        Twins, settings=settings(max_examples=max(100, settings().max_examples), stateful_step_count=40)
    )
