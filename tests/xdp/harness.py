"""The programs as the loader wires them, fed frame by frame through BPF test runs.  IO: the kernel; needs root.

Rule 1: nothing is attached or pinned; all of it is gone with `close`.
Rule 2: a frame meets poisoned headroom (`before.bpf.c`), as in a driver's buffer that was used before.
Rule 3: counters are read as differences, summed over CPUs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import struct
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gslb import layout
from xdp import build, libbpf

HERE = Path(__file__).parent
LOOPBACK = 1  # the device of a test run: what leaves by it leaves by XDP_TX
VERDICTS = ("ABORTED", "DROP", "PASS", "TX", "REDIRECT")
WORD = struct.Struct("=I")
ARRAY, PERCPU_ARRAY = 2, 6  # BPF_MAP_TYPE_*
GUARD = b"\xa5" * 64  # behind the room for a frame that comes out


class Unusable(Exception):
    """Why the programs cannot be run here."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What one frame came to: verdict, the frame as it was left, and every counter that changed."""

    verdict: int
    out: bytes
    counts: Mapping[str, int]


def word(value: int) -> bytes:
    """A key or value of 32 bits."""
    return WORD.pack(value)


class Programs:
    """Entry and balancer, with one set of maps between them."""

    def __init__(self) -> None:
        """Build what is out of date, load and wire.  Raises Unusable."""
        build.build()
        self._objects: list[libbpf.Object] = []
        self._inner: dict[tuple[str, int], libbpf.Map] = {}
        self._names: dict[str, tuple[str, int]] = {}  # counter's owner -> (map, id)
        self._buffers: dict[str, Buffer] = {}
        self._zeros: dict[str, tuple[bytes, bytes]] = {}
        self._how = (0, 0)
        self._cpus = libbpf.possible_cpus()
        try:
            self._load()
        except OSError as error:
            self.close()
            raise Unusable(str(error)) from error

    def close(self) -> None:
        """Let go of everything."""
        for inner in self._inner.values():
            os.close(inner.fd)
        self._inner.clear()
        for buffer in self._buffers.values():
            buffer.close()
        self._buffers.clear()
        for loaded in self._objects:
            loaded.close()
        self._objects.clear()

    # ---- what user space writes ----

    def set(self, name: str, key: bytes, value: ctypes.Structure | bytes) -> None:
        """Set one entry of a map."""
        self.maps[name].update(key, bytes(value))

    def clear(self, name: str) -> None:
        """Empty a map: a hash loses its entries, an array is filled with zeros."""
        found = self.maps[name]
        if name in self._arrays:
            entries = self._arrays[name]
            if name not in self._zeros:
                self._zeros[name] = struct.pack(f"={entries}I", *range(entries)), bytes(entries * found.value_size)
            keys, values = self._zeros[name]
            number = ctypes.c_uint32(entries)
            result = libbpf.library().bpf_map_update_batch(found.fd, keys, values, ctypes.byref(number), None)
            libbpf.require(result, f"empty {name}")
            return
        for key in list(found.keys()):
            found.delete(key)

    def put_rings(self, rings: Mapping[int, bytes]) -> None:
        """Whole new rings, put in force by one update, each with a fresh record of its uses."""
        for name, kind in (("ring_uses", layout.RingUse), ("rings", layout.Ring)):
            size = ctypes.sizeof(kind)
            entries = []
            for number, slots in rings.items():
                fd = libbpf.require(libbpf.library().bpf_map_create(ARRAY, b"inner", 4, size, 1, None), f"make {name}")
                inner = libbpf.Map(fd, name, size)
                if name == "rings":
                    inner.update(word(0), slots)
                before, self._inner[name, number] = self._inner.get((name, number)), inner
                entries.append((word(number), word(fd)))
                if before is not None:
                    os.close(before.fd)
            self.maps[name].update_many(entries)

    def fill_ring(self, number: int, slots: bytes) -> None:
        """Other slots for a ring that is there, in place: the product never does that, but between two frames nobody sees it."""
        self._inner["rings", number].update(word(0), slots)

    def no_ring(self, number: int) -> None:
        """Take a ring away."""
        for name in ("rings", "ring_uses"):
            self.maps[name].delete(word(number))
            gone = self._inner.pop((name, number), None)
            if gone is not None:
                os.close(gone.fd)

    def ring_uses(self, number: int) -> Sequence[int]:
        """When each slot of a ring last sent a packet elsewhere than to its current backend."""
        held = self._inner["ring_uses", number].lookup(word(0))
        assert held is not None
        return memoryview(held).cast("H")

    def count_as(self, name: str, table: str, number: int) -> None:
        """Call the counters of entry `number` of `table` (vip_counts, backend_counts) "name.field" from now on."""
        self._names[name] = (table, number)

    # ---- what programs write ----

    def counters(self, cpu: int | None = None) -> dict[str, int]:
        """Every counter that has a name: those of `counts` by their event, the others as "name.field".

        Summed over CPUs, or those of one.
        """
        totals = self._sum("counts", 0, cpu)
        found = {event.name.removeprefix("COUNT_"): totals[event] for event in layout.EventCount if event < len(totals)}
        for name, (table, number) in self._names.items():
            fields = (layout.VipCounters if table == "vip_counts" else layout.BackendCounters)._fields_
            for (field, *_), value in zip(fields, self._sum(table, number, cpu), strict=True):
                found[f"{name}.{field}"] = value
        return found

    def outcomes(self) -> tuple[int, ...]:
        """The counts by event alone, which is quick."""
        return self._sum("counts", 0)

    def packets(self, table: str, number: int) -> int:
        """The packets of one entry of `table` (vip_counts, backend_counts)."""
        return self._sum(table, number)[0]

    def events(self, name: str) -> list[bytes]:
        """What a ring buffer holds by now; it is empty afterwards."""
        return self._buffers[name].read()

    # ---- runs ----

    def run(self, frame: bytes, *, eaten: int = 0) -> Ran:
        """One frame through entry and balancer; `eaten` octets of headroom are taken away before."""
        before = self.counters()
        verdict, out = self.quick(frame, eaten=eaten)
        changed = {name: value - before[name] for name, value in self.counters().items() if value != before[name]}
        return Ran(verdict, out, changed)

    def quick(self, frame: bytes, *, eaten: int = 0) -> tuple[int, bytes]:
        """The same without counters: verdict and frame.  Raises OSError where the kernel refuses the frame."""
        self._eat(frame, eaten)
        verdict, out, _ = libbpf.run_on(self._first, frame)
        if verdict == libbpf.XDP_ABORTED:
            raise Unusable("the frame met XDP_ABORTED: no program of ours says so, unless there is no headroom to take")
        return verdict, out

    def live(self, frame: bytes) -> None:
        """One frame that truly leaves, by the interface that it is redirected to in this thread's network namespace."""
        self._eat(frame, 0)
        libbpf.send(self._first, frame, 1)

    def most_eaten(self, frame: bytes) -> int:
        """How much headroom there is to be taken away from this frame."""
        for eaten in range(256, 0, -1):
            with contextlib.suppress(Unusable):
                self.quick(frame, eaten=eaten)
                return eaten
        raise Unusable("a test run has no headroom")

    def _eat(self, frame: bytes, eaten: int) -> None:
        how = (len(frame) if eaten else 0, eaten)
        if self._how != how:
            self._how = how
            self._before.map("how").update(word(0), struct.pack("=II", *how))

    def _load(self) -> None:
        entry = self._take(build.OBJECTS / "entry.bpf.o")
        balancer = self._take(build.OBJECTS / "lb.bpf.o")
        self.maps: dict[str, libbpf.Map] = {}
        self._arrays: dict[str, int] = {}
        for taken in (balancer, entry):
            for name, handle in taken.maps().items():
                self.maps[name] = taken.map(name)
                if libbpf.library().bpf_map__type(handle) in (ARRAY, PERCPU_ARRAY):
                    self._arrays[name] = libbpf.library().bpf_map__max_entries(handle)
        self.maps["programs"].update(word(layout.Program.PROGRAM_BALANCER), word(only_program(balancer)))
        with tempfile.TemporaryDirectory() as folder:
            self._before = self._take(compiled(HERE / "before.bpf.c", Path(folder)))
        self._first = self._before.program_fd("before")
        self._before.map("next").update(word(0), word(only_program(entry)))
        self._buffers = {name: Buffer(self.maps[name]) for name in ("handshake_log", "captured")}

    def _take(self, path: Path) -> libbpf.Object:
        """Load an object; maps that an earlier one has under the same name are shared."""
        taken = libbpf.Object(path)
        shared = {name: map_ for earlier in self._objects for name, map_ in earlier.maps().items()}
        lib = libbpf.library()
        for name, handle in taken.maps().items():
            if name in shared and "." not in name:
                fd = libbpf.require(lib.bpf_map__fd(shared[name]), f"map {name}")
                libbpf.require(lib.bpf_map__reuse_fd(handle, fd), f"share {name}")
        self._objects.append(taken)
        taken.load()
        return taken

    def _sum(self, table: str, number: int, cpu: int | None = None) -> tuple[int, ...]:
        raw = self.maps[table].lookup(word(number))
        assert raw is not None
        values = struct.unpack(f"={len(raw) // 8}Q", raw)
        size = len(values) // self._cpus
        if cpu is not None:
            return values[cpu * size :][:size]
        return tuple(sum(values[at::size]) for at in range(size))


class Buffer:
    """A ring buffer of the kernel, read without waiting."""

    def __init__(self, of: libbpf.Map) -> None:
        self._found: list[bytes] = []
        prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        self._callback = prototype(self._keep)
        new = libbpf.library().ring_buffer__new(of.fd, ctypes.cast(self._callback, ctypes.c_void_p), None, None)
        self._handle = libbpf.pointer_or_raise(new, f"read {of.name}")

    def read(self) -> list[bytes]:
        """Every record that is there."""
        libbpf.require(libbpf.library().ring_buffer__consume(self._handle), "read a ring buffer")
        found, self._found = self._found, []
        return found

    def close(self) -> None:
        """Let go of the kernel's pages."""
        libbpf.library().ring_buffer__free(self._handle)

    def _keep(self, _: int | None, data: int, size: int) -> int:
        self._found.append(ctypes.string_at(data, size))
        return 0


def only_program(of: libbpf.Object) -> int:
    """The descriptor of the one program of an object."""
    (name,) = of.programs()
    return of.program_fd(name)


def compiled(source: Path, folder: Path) -> Path:
    """A BPF program of the tests.  Raises Unusable."""
    clang = shutil.which("clang")
    if clang is None:
        raise Unusable("clang is not installed; `make test` installs it")
    target = folder / f"{source.stem}.o"
    system = f"-I/usr/include/{sysconfig.get_config_var('MULTIARCH') or ''}"
    done = subprocess.run(
        [
            clang,
            "-O2",
            "-g",
            "-target",
            "bpf",
            "-Wall",
            "-Wextra",
            "-Werror",
            system,
            "-c",
            str(source),
            "-o",
            str(target),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Unusable(done.stderr)
    return target


@contextlib.contextmanager
def programs() -> Iterator[Programs]:
    """The programs, gone afterwards."""
    loaded = Programs()
    try:
        yield loaded
    finally:
        loaded.close()
