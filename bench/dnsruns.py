"""Test runs of the programs that answer DNS in the driver, each with another frame and another network.  IO: the kernel; needs root.

Rule 1: the programs and their tables are put in force by the code that a node runs, pinned in a folder of their own.
Rule 2: `replay.bpf.c` goes before; what it costs is measured with a program that does nothing, and taken off.
Rule 3: the least of several runs counts: whatever else the machine does only adds.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from bench.dnsscene import Scene
from bench.queries import Asked
from bench.xdpruns import compiled
from gslb.model.deployment import Attach
from xdp import build, libbpf, pins
from xdp.answers import Answers
from xdp.loader import DataPlane, remove
from xdp.machine import Own
from xdp.messages import Block, DnsFile, DnsTables, DnsWant

FRAMES, FRAME_OCTETS, NETWORKS = 1 << 16, 256, 1 << 20  # of replay.bpf.c
FRAME_MOST = FRAME_OCTETS - 12
ETHERNET = b"\2" * 6  # of client and server
RUN = 1 << 18  # queries
RUNS = 5

Networks = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Frames:
    """What is sent in turn: a power of two of frames of one length each, and where the next network goes in all of them."""

    frames: Sequence[bytes]
    network_at: int = 0
    network: int = 0  # octets: 4 or 8; 0: none is put in


@dataclass(frozen=True, slots=True)
class Way:
    """From where to where frames go: Ethernet addresses, and the server's address and port."""

    client: bytes
    server: bytes
    address: str
    port: int

    def frame(self, asked: Asked, source_port: int) -> bytes:
        """A query as a frame; over IPv4 without a checksum of UDP, over IPv6 with one that nobody looks at."""
        to = ip_address(self.address).packed
        octets = 8 + len(asked.message)
        udp = struct.pack("!4H", source_port, self.port, octets, 0) + asked.message
        if len(to) == 16:
            udp = udp[:6] + b"\xff\xff" + udp[8:]
            header = struct.pack("!IHBB", 6 << 28, octets, 17, 64) + asked.source + to
            return self.server + self.client + b"\x86\xdd" + header + udp
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + octets, 0, 0x4000, 64, 17, 0) + asked.source + to
        total: int = sum(struct.unpack("!10H", header))
        total = (total & 0xFFFF) + (total >> 16)
        check = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        return self.server + self.client + b"\x08\x00" + header[:10] + check.to_bytes(2, "big") + header[12:] + udp


class Driver:
    """The entry program and DNS behind it, over one scene; attached to nothing."""

    def __init__(self, plane: DataPlane, folder: Path, scene: Scene, addresses: Sequence[tuple[str, int]]) -> None:
        """Raises OSError."""
        self.plane = plane
        self.answers = Answers(plane, lambda: Own(frozenset({ETHERNET})))
        tables = DnsTables(_file(folder, "image", scene.image), _file(folder, "geography", scene.geography))
        state = self.answers.want(DnsWant(tables, tuple(addresses), (), Attach.OFF, ""), 0.0)
        if state is None or state.refused or state.problems:
            raise OSError(0, f"DNS in the driver is not in force: {state}")
        self.fd = plane.program("entry")

    def block(self) -> Block:
        """What it counted so far."""
        return self.answers.blocks()[-1]


@contextmanager
def driver(scene: Scene, addresses: Sequence[tuple[str, int]]) -> Iterator[Driver]:
    """Programs and tables, gone afterwards.  Raises OSError, Refused, and NotBuilt where they cannot be compiled."""
    build.build()
    home = pins.folder("bench", f"dns-{os.getpid()}")
    with TemporaryDirectory() as folder:
        plane = DataPlane.open(home, build.OBJECTS, programs=())
        try:
            yield Driver(plane, Path(folder), scene, addresses)
        finally:
            plane.close()
            remove(home)


class Replay:
    """Test runs, and a generator of the same frames."""

    def __init__(self) -> None:
        """Raises OSError, and NotBuilt."""
        with compiled() as folder:
            self._object = libbpf.Object(folder / "replay.bpf.o")
            self._object.load()
        self._plan, self._target = self._object.map("plan"), self._object.map("target")
        self._replies = self._object.map("replies")
        self._first, self._nothing = self.program("replay"), self.program("nothing")
        self._frames = mmap.mmap(self._object.map("frames").fd, FRAMES * FRAME_OCTETS)
        self._networks = mmap.mmap(self._object.map("networks").fd, 8 * NETWORKS)
        self._sent: Frames | None = None
        self._many = 1

    def close(self) -> None:
        """Let go of the programs."""
        self._frames.close()
        self._networks.close()
        self._object.close()

    def program(self, name: str) -> int:
        """The descriptor of one of replay.bpf.c."""
        return self._object.program_fd(name)

    def load(self, sent: Frames, networks: Networks | None = None) -> None:
        """Send these from now on; of `networks` a power of two."""
        head = struct.Struct("=3I")
        for number, frame in enumerate(sent.frames):
            if len(frame) > FRAME_MOST:
                raise ValueError(f"a frame of {len(frame)} octets - at most {FRAME_MOST}")
            at = number * FRAME_OCTETS
            self._frames[at : at + 12 + len(frame)] = head.pack(len(frame), sent.network_at, sent.network) + frame
        if networks is not None:
            self._networks[: networks.nbytes] = networks.tobytes()
        self._sent, self._many = sent, 1 if networks is None else len(networks)

    def cost(self, program: int, runs: int = RUNS) -> tuple[float, int]:
        """Nanoseconds of `program` for a frame, and its last verdict."""
        bare, _ = self._best(self._nothing, runs)
        whole, verdict = self._best(program, runs)
        return whole - bare, verdict

    def run(self, program: int, count: int) -> tuple[float, int]:
        """Run it on so many frames once: nanoseconds for each of them with what goes before, and the last verdict."""
        self._aim(program)
        verdict, _, ns = libbpf.run_on(self._first, self._one(), repeat=count)
        return ns, verdict

    def send(self, index: int, count: int) -> None:
        """Send so many frames by an interface of this thread's namespace."""
        self._aim(self.program("send"), index)
        libbpf.send(self._first, self._one(), count)

    def replies(self) -> list[int]:
        """What `take` had so far, by RCODE."""
        found = []
        for code in range(16):
            raw = self._replies.lookup(struct.pack("=I", code)) or b""
            found.append(sum(struct.unpack(f"={len(raw) // 8}Q", raw)))
        return found

    def _best(self, program: int, runs: int) -> tuple[float, int]:
        times, verdict = [], 0
        for _ in range(runs + 1):  # the first fills caches
            ns, verdict = self.run(program, RUN)
            times.append(ns)
        return min(times[1:]), verdict

    def _one(self) -> bytes:
        assert self._sent is not None
        return self._sent.frames[0]

    def _aim(self, program: int, index: int = 0) -> None:
        assert self._sent is not None
        self._target.update(struct.pack("=I", 0), struct.pack("=I", program))
        raw = self._plan.lookup(struct.pack("=I", 0)) or bytes(16)
        following = int.from_bytes(raw[8:12], sys.byteorder)
        self._plan.update(
            struct.pack("=I", 0), struct.pack("=4I", len(self._sent.frames), self._many, following, index)
        )


def _file(folder: Path, kind: str, content: bytes | mmap.mmap) -> DnsFile:
    digest = blake2b(content, digest_size=16).hexdigest()
    path = folder / f"{kind}-{digest}"
    path.write_bytes(content)
    return DnsFile(str(path), len(content), digest)
