"""The XDP and TC programs as the fuzzer runs them: a scene, changes of it, one frame.  IO: the kernel; needs root."""

from __future__ import annotations

import ctypes
import random
import struct
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gslb import layout
from gslb.layout import EventCount
from tests.fuzz import judge
from tests.fuzz.frames import ENDS, SERVER, corpus, tunnelled
from tests.fuzz.judge import Came
from tests.xdp.harness import LOOPBACK, Programs, word
from tests.xdp.packets.frames import ether, tcp
from tests.xdp.packets.scene import (
    BACKENDS,
    DOWN,
    ELSEWHERE,
    GUE_PORT,
    KEY,
    MOVING_RING,
    UNREACHABLE,
    VIPS,
    Backend,
    Scene,
    all_slots,
)
from xdp import build, decap, libbpf, loading
from xdp.decap import DecapCount

EVENTS = tuple(event.name.removeprefix("COUNT_") for event in EventCount if event < EventCount.COUNTS)
ROOMS = (0, 10, 20, 27, 28, 40, 47, 48, 100)  # octets of headroom that are left, about the sizes of headers
SNAP = layout.SNAP_OCTETS


class Target(Protocol):
    """One program, or programs behind each other."""

    name: str
    corpus: tuple[bytes, ...]

    def begin(self) -> None:
        """As if no packet had come."""

    def change(self, chance: random.Random) -> None:
        """Other tables."""

    def run(self, frame: bytes, chance: random.Random) -> tuple[tuple[str, ...], str]:
        """What became of one frame, by name, and what is wrong with that."""

    def close(self) -> None:
        """Let go of the programs."""


class Balancer:
    """Entry and balancer, in the scene of packet cases."""

    name = "balancer"

    def __init__(self) -> None:
        """Raises Unusable."""
        self.corpus = corpus()
        self._programs = Programs()
        self._scene = Scene(self._programs)
        self._scene.build()
        self._scene.moving(all_slots(0))
        self._headroom = self._programs.most_eaten(bytes(ether() / tcp("l2", 4)))
        self._tables = tuple(
            Table(self._programs.maps[name], entries)
            for name, entries in (("vip_counts", len(VIPS)), ("backend_counts", len(BACKENDS)))
        )
        self._backends = {backend.number: backend for backend in BACKENDS.values()}
        self._captures = False
        self._vips_version = 0
        self._before = self._programs.outcomes()

    def begin(self) -> None:
        """The scene, and servers' ids."""
        self._scene.begin()
        for server, name in ((SERVER, "two"), (0x0077, "none"), (0x0055, "lost")):
            key = layout.QuicKey(ring=MOVING_RING, server=server)
            self._programs.set("quic_ids", bytes(key), word(BACKENDS[name].number))

    def change(self, chance: random.Random) -> None:
        """Backends in other states and on other ways, a ring that changed, limits, a capture."""
        for backend in BACKENDS.values():
            flags = chance.choice((0, 0, 0, 0, DOWN, UNREACHABLE))
            mtu = chance.choice((1500, 1500, 1500, 1280, 600, 60, 9000))
            changed = replace(backend, flags=flags, mtu=mtu, ifindex=chance.choice((LOOPBACK, LOOPBACK, ELSEWHERE)))
            self._backends[backend.number] = changed
            self._scene.backend(changed)
        numbers = (0, *self._backends)
        turn = b"".join(bytes(layout.Slot(chance.choice(numbers), chance.choice(numbers))) for _ in range(7))
        self._programs.fill_ring(MOVING_RING, (turn * (layout.RING_SLOTS // 7 + 1))[: 4 * layout.RING_SLOTS])
        self._vips_version += 1
        self._scene.settings(
            source4=judge.SOURCE4,
            spread4=judge.SPREAD4,
            source6=tuple(judge.SOURCE6 + bytes(8)),
            spread6=tuple(bytes(8) + b"\xff" * 8),
            vips_version=chance.choice((0, self._vips_version)),
            new_flows_per_s=chance.choice((0, 1 << 30)),
            events_per_s=chance.choice((0, 1 << 30)),
        )
        self._captures = chance.random() < 0.3
        capture = layout.Capture(one_in=int(self._captures), until_s=(1 << 32) - 1)
        self._programs.set("capture", word(0), capture)
        self._programs.events("handshake_log")

    def run(self, frame: bytes, chance: random.Random) -> tuple[tuple[str, ...], str]:
        """One in fifty meets a driver that left little headroom."""
        eaten = max(0, self._headroom - chance.choice(ROOMS)) if chance.random() < 0.02 else 0
        verdict, out = self._programs.quick(frame, eaten=eaten)
        after = self._programs.outcomes()
        events = tuple(
            event for event, was, now in zip(EVENTS, self._before, after, strict=False) for _ in range(now - was)
        )
        self._before = after
        (vips, _), (taken, backend) = (table.grown() for table in self._tables)
        came = Came(verdict, out, events, vips, taken, backend)
        wrong = judge.wrong(frame, came, self._backends) or self._captured(frame, came)
        return (*events, *(["FORWARDED"] if vips[0] else [])), wrong

    def _captured(self, frame: bytes, came: Came) -> str:
        """What is captured is the frame as it came, once, if it is for a VIP."""
        if not self._captures:
            return ""
        found = [layout.CaptureEvent.from_buffer_copy(event) for event in self._programs.events("captured")]
        if came.vips[0] or not {"NOT_IP", "MALFORMED", "NO_VIP", "ICMP_UNKNOWN"} & set(came.events):
            if len(found) != 1:
                return f"captured {len(found)} times"
        elif len(found) > ("MALFORMED" in came.events):
            return "captured, and for no VIP"
        for event in found:
            if (event.octets, event.verdict) != (len(frame), came.verdict):
                return f"captured with {event.octets} octets and verdict {event.verdict}"
            if bytes(event.data[: event.captured]) != frame[:SNAP]:
                return "captured, and not as it came"
        return ""

    def close(self) -> None:
        """Let go of the programs."""
        self._programs.close()


class Table:
    """The counters of the first entries of a table, read at once."""

    def __init__(self, of: libbpf.Map, entries: int) -> None:
        self._fd, self._entries = of.fd, entries + 1
        self._cpus = libbpf.possible_cpus()
        self._keys = ctypes.create_string_buffer(4 * self._entries)
        self._values = ctypes.create_string_buffer(of.value_size * self._entries)
        self._next = ctypes.create_string_buffer(4)
        self._before = self._read()

    def grown(self) -> tuple[tuple[int, ...], int]:
        """What was added since the last time: to all entries together, and the entry whose packets grew last, or 0."""
        now = self._read()
        more = now - self._before
        self._before = now
        whose = np.flatnonzero(more[:, 0])
        return tuple(int(value) for value in more.sum(axis=0)), int(whose[-1]) if len(whose) else 0

    def _read(self) -> NDArray[np.uint64]:
        count = ctypes.c_uint32(self._entries)
        result = libbpf.library().bpf_map_lookup_batch(
            self._fd, None, self._next, self._keys, self._values, ctypes.byref(count), None
        )
        libbpf.require(result, "read counters")
        by_cpu: NDArray[np.uint64] = np.frombuffer(self._values.raw, np.uint64).reshape(self._entries, self._cpus, 8)
        total: NDArray[np.uint64] = by_cpu.sum(axis=1)
        return total


class Decap:
    """The program at a backend."""

    name = "decap"

    def __init__(self) -> None:
        """Raises OSError, Refused."""
        build.build()
        self.corpus = tunnelled()
        networks = [ip_network(text) for text in ("198.51.100.0/24", "2001:db8:5::/65")]
        self._object = decap.loaded(networks, [ip_address(end) for end in ENDS.values()])
        self._program = self._object.program_fd("decap")
        self._counts = self._object.map("decap_counts")
        self._before = self._read()

    def begin(self) -> None:
        """It remembers nothing."""

    def change(self, chance: random.Random) -> None:
        """Its tables stay."""

    def run(self, frame: bytes, chance: random.Random) -> tuple[tuple[str, ...], str]:  # noqa: ARG002
        """One frame."""
        verdict, out, _ = libbpf.run_on(self._program, frame)
        after = self._read()
        events = tuple(
            kind.name for kind, was, now in zip(DecapCount, self._before, after, strict=True) for _ in range(now - was)
        )
        self._before = after
        return events or ("PASSED",), judge.wrong_decapsulated(frame, Came(verdict, out, events))

    def close(self) -> None:
        """Let go of the program."""
        self._object.close()

    def _read(self) -> list[int]:
        found = []
        for kind in DecapCount:
            raw = self._counts.lookup(word(kind))
            assert raw is not None
            found.append(sum(memoryview(raw).cast("Q")))
        return found


class Probe:
    """The program on the way out, by TC; marks are numbers of backends."""

    name = "probe"

    def __init__(self) -> None:
        """Raises OSError, Refused."""
        build.build()
        self.corpus = tuple(frame for frame in corpus() if frame[12:14] in (b"\x08\x00", b"\x86\xdd"))
        self._object = loading.load(loading.DIRECTORY / "probe.bpf.o", {})
        self._program = self._object.program_fd("probe")
        self._backends: dict[int, Backend] = {}
        self.begin()

    def begin(self) -> None:
        """Settings as the balancer's."""
        value = layout.Settings(key=struct.unpack("=2Q", KEY), gue_port=GUE_PORT)
        self._object.map("settings").update(word(0), bytes(value))
        for backend in BACKENDS.values():
            self._object.map("marks").update(word(backend.number), word(backend.number))
            self._set(backend)

    def change(self, chance: random.Random) -> None:
        """Backends in other states."""
        for backend in BACKENDS.values():
            self._set(replace(backend, flags=chance.choice((0, 0, DOWN, UNREACHABLE))))

    def run(self, frame: bytes, chance: random.Random) -> tuple[tuple[str, ...], str]:
        """With a mark or, at times, without or with another one.  The kernel refuses a socket buffer without a whole IP header."""
        frame = frame.ljust(14 + 40, b"\0")
        mark = chance.choice((*self._backends, 0, 99))
        verdict, out, _ = libbpf.run_on(self._program, frame, mark=mark)
        to = self._backends.get(mark)
        done = "WITHOUT MARK" if to is None else "SENT" if verdict != judge.REFUSED else "REFUSED"
        return (done,), judge.wrong_probe(frame, Came(verdict, out, ()), to)

    def close(self) -> None:
        """Let go of the program."""
        self._object.close()

    def _set(self, backend: Backend) -> None:
        self._backends[backend.number] = backend
        self._object.map("backends").update(word(backend.number), bytes(backend.record()))
