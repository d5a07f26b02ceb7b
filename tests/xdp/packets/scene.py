"""The small world that packet cases share: backends of every mode, and a VIP of each family for each of them.

Every ring of the scene sends all its slots to one backend, so that a case says nothing of hashes; outer sources do not spread.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from gslb import layout
from gslb.layout import Mode
from tests.xdp.harness import LOOPBACK, Programs, word

ROUTER = "02:00:00:00:00:01"  # who sends us frames
OWN = "02:00:00:00:00:02"  # where they arrive
LEAVES = "02:00:00:00:00:03"  # of the interface that frames leave by
ELSEWHERE = 77  # another interface
KEY = bytes(range(16))
SOURCE4, SOURCE6 = "198.18.5.9", "100::99"
OWN4, OWN6 = "192.0.2.254", "2001:db8:1b::1"
GUE_PORT = 6080
MTU = 1500
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58


@dataclass(frozen=True, slots=True)
class Backend:
    """One backend as cases name it."""

    number: int
    address: str
    mode: Mode
    flags: int = 0
    ifindex: int = LOOPBACK
    mtu: int = MTU

    @property
    def next_hop(self) -> str:
        """Its Ethernet address."""
        return f"02:00:00:00:01:{self.number:02x}"

    def record(self) -> layout.Backend:
        """`struct backend`."""
        return layout.Backend(
            address=tuple(packed(self.address)),
            next_hop=tuple(mac(self.next_hop)),
            source=tuple(mac(LEAVES)),
            ifindex=self.ifindex,
            mtu=self.mtu,
            mode=self.mode,
            flags=self.flags,
        )


@dataclass(frozen=True, slots=True)
class Vip:
    """One VIP as cases name it; `address` may be a prefix."""

    number: int
    address: str
    protocol: int
    port: int
    ring: int
    flags: int = 0


DOWN, UNREACHABLE = int(layout.BackendFlags.BACKEND_DOWN), int(layout.BackendFlags.BACKEND_UNREACHABLE)
BACKENDS = {
    "l2": Backend(1, "10.0.0.1", Mode.MODE_L2),
    "ip4": Backend(2, "10.0.0.2", Mode.MODE_IP),
    "ip6": Backend(3, "fd00::3", Mode.MODE_IP),
    "gue4": Backend(4, "10.0.0.4", Mode.MODE_GUE),
    "gue6": Backend(5, "fd00::5", Mode.MODE_GUE),
    "far": Backend(6, "10.0.0.6", Mode.MODE_L2, ifindex=ELSEWHERE),
    "far-ip4": Backend(7, "10.0.0.7", Mode.MODE_IP, ifindex=ELSEWHERE),
    "lost": Backend(8, "10.0.0.8", Mode.MODE_L2, flags=UNREACHABLE),
    "one": Backend(9, "10.0.0.9", Mode.MODE_L2),
    "two": Backend(10, "10.0.0.10", Mode.MODE_L2),
    "three": Backend(11, "10.0.0.11", Mode.MODE_L2),
    "none": Backend(12, "10.0.0.12", Mode.MODE_NONE),
}
MODES = ("l2", "ip4", "ip6", "gue4", "gue6")
ANY_RING = BACKENDS["one"].number  # rings are numbered as the backend that they send all to
MOVING_RING = 100  # all to "one", until a test makes something else of its slots
EMPTY_RING, NO_RING = 101, 102


def address_of(backend: str, version: int) -> str:
    """The VIP behind which only this backend stands."""
    number = BACKENDS[backend].number
    return f"198.51.100.{number}" if version == 4 else f"2001:db8:5::{number:x}"


def _vips() -> Iterable[tuple[str, str, int, int, int, int]]:
    for name, backend in BACKENDS.items():
        for version in (4, 6):
            for protocol, text in ((TCP, "tcp"), (UDP, "udp")):
                yield f"{name}/{version}/{text}", address_of(name, version), protocol, 80, backend.number, 0
    for version, base in ((4, "198.51.100."), (6, "2001:db8:5::")):
        yield f"any/{version}/tcp", f"{base}100", TCP, 0, ANY_RING, 0
        yield f"exact/{version}/tcp", f"{base}100", TCP, 443, BACKENDS["two"].number, 0
        yield f"moving/{version}/tcp", f"{base}101", TCP, 80, MOVING_RING, 0
        yield f"moving/{version}/udp", f"{base}101", UDP, 53, MOVING_RING, 0
        yield f"empty/{version}/tcp", f"{base}102", TCP, 80, EMPTY_RING, 0
        yield f"no-ring/{version}/tcp", f"{base}103", TCP, 80, NO_RING, 0
        yield f"quic/{version}/udp", f"{base}104", UDP, 443, MOVING_RING, int(layout.VipFlags.VIP_QUIC)
    for version, prefix in ((4, "203.0.114.0/24"), (6, "2001:db8:6::/64")):
        yield f"prefix/{version}/tcp", prefix, TCP, 80, ANY_RING, 0
        yield f"prefix-any/{version}/udp", prefix, UDP, 0, ANY_RING, 0
    yield "within/4/tcp", "203.0.114.9", TCP, 80, BACKENDS["two"].number, 0
    yield from _nested()


def _nested() -> Iterable[tuple[str, str, int, int, int, int]]:
    """VIPs within each other, so that it is seen which is meant."""
    one, two, three = (BACKENDS[name].number for name in ("one", "two", "three"))
    for version, base, wide, half, quarter in ((4, "203.0.120.", 24, 25, 26), (6, "2001:db8:7::", 64, 121, 122)):
        least, middle, most = ("0", "128", "192") if version == 4 else ("", "80", "c0")
        yield f"wide/{version}/tcp", f"{base}{least}/{wide}", TCP, 80, one, 0
        yield f"half/{version}/tcp", f"{base}{middle}/{half}", TCP, 80, two, 0
        yield f"wide-any/{version}/tcp", f"{base}{least}/{wide}", TCP, 0, two, 0
        yield f"quarter-any/{version}/tcp", f"{base}{most}/{quarter}", TCP, 0, three, 0
        yield f"host/{version}/tcp", f"{base}81", TCP, 80, three, 0
        yield f"host-any/{version}/tcp", f"{base}82", TCP, 0, three, 0
        yield f"host-any/{version}/udp", f"{base}82", UDP, 0, two, 0


VIPS = {
    name: Vip(number, address, protocol, port, ring, flags)
    for number, (name, address, protocol, port, ring, flags) in enumerate(_vips(), 1)
}


@dataclass(slots=True)
class Scene:
    """The scene in the kernel's maps."""

    programs: Programs
    moved: bool = False  # the moving ring is not as the scene says

    def build(self) -> None:
        """Fill every map."""
        rings = {backend.number: all_slots(backend.number) for backend in BACKENDS.values()}
        self.programs.put_rings(rings | {EMPTY_RING: all_slots(0), MOVING_RING: all_slots(ANY_RING)})
        for name, backend in BACKENDS.items():
            self.programs.count_as(name, "backend_counts", backend.number)
        for name, vip in VIPS.items():
            self.vip(vip)
            self.programs.count_as(name, "vip_counts", vip.number)
        self.begin()

    def begin(self) -> None:
        """What tests change is as the scene says, and no packet has come."""
        self.settings()
        for backend in BACKENDS.values():
            self.backend(backend)
        if self.moved:
            self.moving(all_slots(ANY_RING))
            self.moved = False
        self.forget()

    def moving(self, slots: bytes | None) -> None:
        """The ring of the VIPs called moving and quic, put in force at once; None: there is none."""
        self.moved = True
        if slots is None:
            self.programs.no_ring(MOVING_RING)
        else:
            self.programs.put_rings({MOVING_RING: slots})

    def forget(self) -> None:
        """As if no packet had come: tables of flows, handshakes and fragments empty."""
        for name in ("new_flows", "fragments", "udp_flows", "handshakes", "tracked", "quic_ids", "capture", "limits"):
            self.programs.clear(name)
        for name in ("handshake_log", "captured"):
            self.programs.events(name)

    def settings(self, **changes: object) -> None:
        """`struct settings`: the scene's, with changes."""
        values: dict[str, Any] = {
            "key": struct.unpack("=2Q", KEY),
            "source4": int(ipaddress.IPv4Address(SOURCE4)),
            "source6": tuple(packed(SOURCE6)),
            "own4": int(ipaddress.IPv4Address(OWN4)),
            "own6": tuple(packed(OWN6)),
            "new_flows_per_s": 1_000_000,
            "events_per_s": 1_000_000,
            "gue_port": GUE_PORT,
            "prefixes": 1,
        }
        self.programs.set("settings", word(0), layout.Settings(**(values | changes)))

    def backend(self, backend: Backend) -> None:
        """`struct backend`."""
        self.programs.set("backends", word(backend.number), backend.record())

    def vip(self, vip: Vip) -> None:
        """A VIP, and the entry that says of its address that it is one, whatever the port."""
        for each in (vip, _address_of(vip)):
            name, key = _entry(each)
            self.programs.set(name, key, layout.Vip(id=each.number, ring=each.ring, flags=each.flags))

    def without(self, vip: Vip) -> None:
        """A VIP is no more, nor is its address one, unless others of the scene have it."""
        others = {each.address for each in VIPS.values() if each != vip}
        for each in (vip,) if vip.address in others else (vip, _address_of(vip)):
            name, key = _entry(each)
            self.programs.maps[name].delete(key)


def _address_of(vip: Vip) -> Vip:
    """The entry beside a VIP that says of its address that it is one."""
    return replace(vip, protocol=ICMP6 if ":" in vip.address else ICMP, port=0, ring=0, flags=0)


def _entry(vip: Vip) -> tuple[str, bytes]:
    """Map and key: one address stands in `vips`, more in `vip_prefixes`."""
    address, _, length = vip.address.partition("/")
    names = {"address": tuple(packed(address)), "port": vip.port, "protocol": vip.protocol}
    if not length:
        return "vips", bytes(layout.VipKey(**names))
    bits = 32 + int(length) + (96 if ":" not in address else 0)
    return "vip_prefixes", bytes(layout.VipPrefix(length=bits, **names))


def all_slots(current: int, previous: int = 0) -> bytes:
    """A ring whose every slot is the same."""
    return bytes(layout.Slot(current, previous)) * layout.RING_SLOTS


def packed(address: str) -> bytes:
    """The 16 octets of an address as maps hold it."""
    parsed = ipaddress.ip_address(address)
    return parsed.packed if parsed.version == 6 else bytes(10) + b"\xff\xff" + parsed.packed


def mac(address: str) -> bytes:
    """The six octets of an Ethernet address."""
    return bytes.fromhex(address.replace(":", ""))
