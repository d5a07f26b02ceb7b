"""The balancer's programs with tables of our making, and test runs of them that restore each frame.  IO: the kernel; needs root.

Rule 1: a test run keeps one buffer, so `restore.bpf.c` goes before the program and makes each frame again, of the next flow; what that costs
is measured with a program that does nothing, and taken off.
Rule 2: the least of several runs counts: whatever else the machine does only adds.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from gslb import layout
from xdp import build, libbpf

HERE = Path(__file__).resolve().parent
HEADERS = 96  # octets of a frame that are written again: HEADERS of restore.bpf.c
BACKENDS = 100  # of each ring
RUN = 400_000  # packets
RUNS = 5
_ARRAY = 2  # BPF_MAP_TYPE_ARRAY


@dataclass(frozen=True, slots=True)
class Reach:
    """How the backends of a ring are reached; `changed`: each slot has a previous backend as well."""

    first: str
    mode: layout.Mode
    changed: bool = False


class Programs:
    """Entry and balancer with maps of their own, never attached by this class."""

    def __init__(self) -> None:
        """Raises OSError, and NotBuilt where they cannot be compiled."""
        build.build()
        self._inner: list[int] = []
        self._balancer = libbpf.Object(build.OBJECTS / "lb.bpf.o")
        self._balancer.load()
        self._entry = libbpf.Object(build.OBJECTS / "entry.bpf.o")
        held = self._balancer.maps()
        lib = libbpf.library()
        for name, handle in self._entry.maps().items():
            if name in held:
                fd = libbpf.require(lib.bpf_map__fd(held[name]), f"map {name}")
                libbpf.require(lib.bpf_map__reuse_fd(handle, fd), f"share {name}")
        self._entry.load()
        self.maps = {name: self._balancer.map(name) for name in held if "." not in name}
        self.maps["programs"].update(
            _word(layout.Program.PROGRAM_BALANCER), _word(self._balancer.program_fd("balancer"))
        )
        self.fd = self._entry.program_fd("entry")

    def close(self) -> None:
        """Let go of all of it."""
        for fd in self._inner:
            os.close(fd)
        self._entry.close()
        self._balancer.close()

    def settle(self, *, keep_vips: bool = True, track_mask: int = 0) -> None:
        """Write the settings; `keep_vips`: a CPU keeps the VIPs that it found, as a node has it.

        One connection of `track_mask` + 1 is tracked, from the ACK of its handshake on.
        """
        value = layout.Settings(
            key=(0x0706050403020100, 0x0F0E0D0C0B0A0908),
            source4=int(ip_address("198.18.0.0")),
            spread4=0x1FFFF,
            source6=tuple(octets("100::")),
            spread6=tuple(bytes(8) + b"\xff" * 8),
            own4=int(ip_address("10.0.0.1")),
            own6=tuple(octets("fd00::1")),
            new_flows_per_s=1 << 30,
            events_per_s=2000,
            gue_port=6080,
            vips_version=int(keep_vips),
            track_mask=track_mask,
        )
        self.maps["settings"].update(_word(0), bytes(value))

    def vip(self, address: str, protocol: int, port: int, number: int, ring: int) -> None:
        """One VIP."""
        key = layout.VipKey(tuple(octets(address)), port, protocol)
        self.maps["vips"].update(bytes(key), bytes(layout.Vip(number, ring)))

    def ring(
        self, number: int, reach: Reach, *, ethernet: tuple[bytes, bytes] = (b"\2" * 6, b"\2" * 6), index: int = 1
    ) -> None:
        """BACKENDS backends from `reach.first` on, in turn in the slots of a ring."""
        base = number * BACKENDS
        first = ip_address(reach.first)
        for place in range(BACKENDS):
            record = layout.Backend(tuple(octets(str(first + place))), *map(tuple, ethernet), index, 1500, reach.mode)
            self.maps["backends"].update(_word(base + place), bytes(record))
        previous = [base + place for place in range(BACKENDS)] if reach.changed else [0] * BACKENDS
        turn = b"".join(struct.pack("=HH", base + (place + 1) % BACKENDS, previous[place]) for place in range(BACKENDS))
        slots = (turn * (layout.RING_SLOTS // BACKENDS + 1))[: 4 * layout.RING_SLOTS]
        for name, value in (("ring_uses", bytes(2 * (layout.RING_SLOTS + 1))), ("rings", slots)):
            fd = libbpf.require(
                libbpf.library().bpf_map_create(_ARRAY, b"inner", 4, len(value), 1, None), f"make {name}"
            )
            self._inner.append(fd)
            libbpf.Map(fd, name, len(value)).update(_word(0), value)
            self.maps[name].update(_word(number), _word(fd))

    def packets(self, vip: int) -> int:
        """How many packets of a VIP were forwarded."""
        raw = self.maps["vip_counts"].lookup(_word(vip)) or b""
        return sum(struct.unpack_from("=Q", raw, at)[0] for at in range(0, len(raw), 64))


class Runs:
    """Test runs that restore the frame, and a generator of the same frames."""

    def __init__(self) -> None:
        """Raises OSError, and NotBuilt."""
        with compiled() as folder:
            self._object = libbpf.Object(folder / "restore.bpf.o")
            self._object.load()
        self._plan, self._target = self._object.map("plan"), self._object.map("target")
        self._first, self._nothing = self.program("restore"), self.program("nothing")

    def close(self) -> None:
        """Let go of the programs."""
        self._object.close()

    def program(self, name: str) -> int:
        """The descriptor of one of restore.bpf.c."""
        return self._object.program_fd(name)

    def pass_once(self, program: int, frame: bytes, flows: int) -> None:
        """Have `program` see a packet of each flow."""
        self._aim(program, frame, flows)
        libbpf.run_on(self._first, frame, repeat=max(2, flows))

    def cost(self, program: int, frame: bytes, flows: int) -> tuple[float, int]:
        """Nanoseconds of `program` for a packet of so many flows (a power of two), and its verdict."""
        bare, _ = self._run(self._nothing, frame, flows)
        whole, verdict = self._run(program, frame, flows)
        return whole - bare, verdict

    def send(self, frame: bytes, flows: int, index: int, count: int) -> None:
        """Send so many frames by an interface of this thread's namespace."""
        self._aim(self.program("send"), frame, flows, index)
        libbpf.send(self._first, frame, count)

    def _run(self, program: int, frame: bytes, flows: int) -> tuple[int, int]:
        self.pass_once(program, frame, flows)
        times, verdict = [], 0
        for _ in range(RUNS):
            verdict, _, ns = libbpf.run_on(self._first, frame, repeat=RUN)
            times.append(ns)
        return min(times), verdict

    def _aim(self, program: int, frame: bytes, flows: int, index: int = 0) -> None:
        self._target.update(_word(0), _word(program))
        plan = struct.pack("=6I", len(frame), flows, *varied(frame), 0, index)
        self._plan.update(_word(0), frame[:HEADERS] + plan)


@contextmanager
def compiled() -> Iterator[Path]:
    """A folder with the bench's own programs."""
    with tempfile.TemporaryDirectory() as folder:
        build.build(objects=Path(folder), sources=HERE)
        yield Path(folder)


def varied(frame: bytes) -> tuple[int, int]:
    """Where the source address (its last four octets for IPv6) and the source port of a frame are."""
    if frame[12:14] == b"\x86\xdd":
        return 14 + 20, 14 + 40
    return 14 + 12, 14 + 20


def octets(address: str) -> bytes:
    """16 octets, IPv4 as ::ffff:a.b.c.d."""
    found = ip_address(address)
    return found.packed if found.version == 6 else bytes(10) + b"\xff\xff" + found.packed


def frame(source: str, destination: str, protocol: int, port: int, flags: int = 0x10) -> bytes:
    """Ethernet, IPv4 or IPv6, TCP (with these flags; an ACK is that of the SYN) or UDP, 64 octets of payload; checksums of the transport are left 0."""
    payload = bytes(64)  # more than HEADERS in all: padding would be cut off, and not restored
    ends = [ip_address(each) for each in (source, destination)]
    if protocol == 6:
        carried = struct.pack("!HHIIBBHHH", 1024, port, 1 + (flags == 0x10), 1, 5 << 4, flags, 65535, 0, 0) + payload
    else:
        carried = struct.pack("!HHHH", 1024, port, 8 + len(payload), 0) + payload
    addresses: bytes = b"".join(each.packed for each in ends)
    if ends[0].version == 6:
        header = struct.pack("!IHBB", 6 << 28, len(carried), protocol, 64) + addresses
        return b"\2" * 12 + b"\x86\xdd" + header + carried
    fields = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(carried), 1, 0x4000, 64, protocol, 0) + addresses
    total: int = sum(struct.unpack("!10H", fields))
    total = (total & 0xFFFF) + (total >> 16)
    check = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return b"\2" * 12 + b"\x08\x00" + fields[:10] + check.to_bytes(2, "big") + fields[12:] + carried


def _word(value: int) -> bytes:
    return struct.pack("=I", value)
