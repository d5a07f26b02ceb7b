"""The data plane in the kernel: made or adopted, attached, upgraded, removed.  IO: libbpf, bpffs, netlink.

Rule 1: all that is in force is pinned: with every process dead forwarding goes on, and the next process adopts it.
Rule 2: a layout's folder is whole or not there; what a crash left half made is removed and made again.
Rule 3: newer programs take the place of older ones by updates of links and of the program array, never by detaching.
Rule 4: an older layout stays in force until the tables of the new one are filled (`take_over`).
Rule 5: a program that the kernel refuses keeps the others from nothing: the entry program passes by where it is missing.
Rule 6: one process at a time drives it (`xdp.seat`): another run is refused, and takes nothing away when it ends.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from gslb.layout import LAYOUT_HASH, Program, Ring, RingUse
from gslb.model.deployment import Attach
from xdp import kernelinfo, links, loading, machine, pins, preflight, tc
from xdp.libbpf import Map, Object, library, require, run_on
from xdp.messages import Interface
from xdp.preflight import Refused
from xdp.seat import Seat

OBJECTS = loading.DIRECTORY
ENTRY, BALANCER, DNS, PROBE = "entry", "lb", "dns", "probe"
_PLACES = {BALANCER: Program.PROGRAM_BALANCER, DNS: Program.PROGRAM_DNS}  # behind the entry program
_ARRAY, _ARRAY_OF_MAPS = 2, 12  # BPF_MAP_TYPE_*
_INNER = {"rings": ("ring", Ring), "ring_uses": ("ring_use", RingUse)}

__all__ = ["OBJECTS", "DataPlane", "Refused", "remove"]


class DataPlane:
    """Programs, maps and links of one node.  `adopted`: the maps were in force already, and hold what they held."""

    def __init__(self, home: Path, objects: Path) -> None:
        self._home = home
        self._folder = home / LAYOUT_HASH
        self._directory = objects
        self._objects: dict[str, Object] = {}
        self._programs: dict[str, int] = {}
        self._maps: dict[str, Map] = {}
        self._seat: Seat | None = None
        self._identity: tuple[int, int] | None = None  # of the folder: another may come to lie in its place
        self.adopted = False

    @classmethod
    def open(
        cls, home: Path, objects: Path = OBJECTS, programs: Sequence[str] = (BALANCER,), *, drives: bool = False
    ) -> DataPlane:
        """The data plane whose pins lie in `home` (`pins.folder`): what is there is adopted, what is not is made.

        `programs` are those that it must have behind the entry program.  `drives`: until it is closed no other may that does so too.
        Raises Refused, and then all is as it was.
        """
        _prepare(home, objects, (ENTRY, *programs))
        plane = cls(home, objects)
        try:
            if drives:
                plane._seat = _seat(home)
            plane._start(programs)
        except OSError as error:
            plane.close()
            raise Refused(f"the data plane cannot be set up: {error.strerror or error}") from error
        except Refused:
            plane.close()
            raise
        return plane

    @property
    def pinned(self) -> bool:
        """Whether the folder that was opened or made is still there; also where it may not be looked at now."""
        try:
            return _identity(self._folder) == self._identity
        except FileNotFoundError:
            return False
        except OSError:
            return True

    @property
    def maps(self) -> Mapping[str, Map]:
        """Every map by name."""
        return self._maps

    def program(self, name: str) -> int:
        """The descriptor of a loaded program, which stays the plane's.  Raises KeyError."""
        return self._programs[name]

    def has(self, name: str) -> bool:
        """Whether a program is in force here, by this process or an earlier one."""
        return name in self._programs or (self._folder / pins.PROGRAMS / name).exists()

    def use(self, name: str, first: Callable[[Mapping[str, Map]], None] = lambda _: None) -> None:
        """Have a program behind the entry program, with its maps; `first` may look at those before it is in force.

        Raises Refused, OSError, and then all is as it was.
        """
        if name not in self._programs:
            missing = loading.missing(self._directory, (name,))
            if missing:
                raise Refused(*preflight.not_built(missing))
            self._add(name)
        first(self._maps)
        self._place(name)

    def run(self, packet: bytes) -> tuple[int, bytes]:
        """What the programs in force make of a packet that did not come: verdict and packet.  Raises OSError."""
        verdict, out, _ = run_on(self._programs[ENTRY], packet)
        return verdict, out

    def new_inner(self, name: Literal["rings", "ring_uses"]) -> Map:
        """An empty inner map for one of the maps of maps, pinned; the caller closes its descriptor.  Raises OSError."""
        called, value = _INNER[name]
        size = ctypes.sizeof(value)
        fd = require(library().bpf_map_create(_ARRAY, called.encode(), 4, size, 1, None), f"make a map for {name}")
        made = Map(fd, called, size)
        try:
            self.keep_inner(name, made)
        except OSError:
            os.close(fd)
            raise
        return made

    def keep_inner(self, name: str, inner: Map) -> None:
        """Pin a map that goes into the map of maps `name`, so that it can be opened again.  Raises OSError."""
        pins.put(inner.fd, pins.inner(self._folder, name, kernelinfo.map_info(inner.fd).id))

    def drop_inner(self, name: str, identity: int) -> None:
        """Let go of an inner map that is in force no more."""
        pins.inner(self._folder, name, identity).unlink(missing_ok=True)

    def inner(self, name: str, index: int) -> Map | None:
        """The inner map in force at `index`, or None; the caller closes its descriptor.  Raises OSError."""
        found = self._maps[name].lookup(index.to_bytes(4, sys.byteorder))
        if not found:
            return None
        return kernelinfo.described(pins.opened(pins.inner(self._folder, name, int.from_bytes(found, sys.byteorder))))

    def attach(self, interface: str, how: Attach, asked: str = "balancer.attach") -> Interface:
        """Have the program run on an interface, or say why it does not.  Call it when the tables are filled.

        `asked`: the key of the configuration that says `how`.  Raises OSError.
        """
        self._adopt_links()
        return links.attach(self._links, self._programs[ENTRY], interface, how, asked)

    def detach(self, interface: str) -> None:
        """Take the program from an interface, and the probes' filter.  Raises OSError."""
        for folder in pins.layouts(self._home):
            links.detach(folder / pins.LINKS, interface)
        if interface in tc.attached(self._home):
            tc.detach(self._home, interface)

    def attached(self) -> tuple[Interface, ...]:
        """The interfaces on which the program runs.  Raises OSError."""
        return links.attached(self._links)

    def attach_probe(self, interface: str) -> None:
        """Send what leaves by `interface` with a mark of `marks` to that backend, as the balancer would.

        Raises Refused, OSError.
        """
        if PROBE not in self._programs:
            self._add(PROBE)
        tc.attach(self._home, self._programs[PROBE], interface)

    def take_over(self) -> None:
        """End what older layouts have in force, now that the tables are filled: links and filters run these programs, maps go.

        Raises Refused, OSError.
        """
        older = self._older()
        self._adopt_links()
        for interface in tc.attached(self._home) if older else ():
            self.attach_probe(interface)
        for folder in older:
            pins.clear(folder)

    def remove(self) -> None:
        """Take all of it out of the kernel: links, filters, programs, maps, pins.  Raises OSError."""
        self._let_go()
        remove(self._home)
        self.close()

    def close(self) -> None:
        """Let go of it; all of it stays in force."""
        self._let_go()
        if self._seat is not None:
            self._seat.release()
            self._seat = None

    def _let_go(self) -> None:
        for loaded in self._objects.values():
            loaded.close()
        self._objects.clear()
        self._programs.clear()
        self._maps = {}

    @property
    def _links(self) -> Path:
        return self._folder / pins.LINKS

    def _start(self, programs: Sequence[str]) -> None:
        pins.clear(self._home / pins.BUILDING)
        whole = self._folder.exists()
        with ExitStack() as stack:
            held = pins.held(self._folder)
            for pinned in held.values():
                stack.callback(os.close, pinned.fd)
            self._maps = dict(held)
            for name in (ENTRY, *programs):
                self._load(name)
            self._maps = {name: loaded.map(name) for loaded in self._objects.values() for name in _shared(loaded)}
        folder = self._folder if whole else self._home / pins.BUILDING
        pins.make(folder)
        self._pin(folder)
        for name in programs:
            self._place(name)
        if not whole:
            folder.rename(self._folder)
        self._identity = _identity(self._folder)
        links.sweep(self._links)
        for pin in links.every(self._links):
            links.update(pin, self._programs[ENTRY])
        if whole:
            self._sweep_inner()
        self.adopted = whole

    def _add(self, name: str) -> None:
        """Load one more object, with what is pinned of its maps.  Raises Refused, OSError."""
        with ExitStack() as stack:
            held = pins.held(self._folder)
            for pinned in held.values():
                stack.callback(os.close, pinned.fd)
            known, self._maps = self._maps, {**held, **self._maps}
            try:
                self._load(name)
            finally:
                self._maps = known
        self._maps = known | {found: self._objects[name].map(found) for found in _shared(self._objects[name])}
        self._pin(self._folder)
        self._sweep_inner()

    def _load(self, name: str) -> None:
        """Raises Refused, OSError."""
        loaded = self._objects[name] = loading.load(self._directory / f"{name}.bpf.o", self._maps)
        self._maps |= {found: loaded.map(found) for found in _shared(loaded) if found not in self._maps}
        self._programs[name] = loaded.program_fd(next(iter(loaded.programs())))

    def _place(self, name: str) -> None:
        fd = self._programs[name].to_bytes(4, sys.byteorder)
        self._maps["programs"].update(_PLACES[name].to_bytes(4, sys.byteorder), fd)

    def _pin(self, folder: Path) -> None:
        """Pin the maps that are not, and the programs in the place of older ones."""
        for name, pinned in self._maps.items():
            if not (folder / pins.MAPS / name).exists():
                pins.put(pinned.fd, folder / pins.MAPS / name)
        for name, fd in self._programs.items():
            pins.put(fd, folder / pins.PROGRAMS / name)

    def _sweep_inner(self) -> None:
        for name, outer in self._maps.items():
            if kernelinfo.map_info(outer.fd).type != _ARRAY_OF_MAPS:
                continue
            found = (outer.lookup(key) for key in list(outer.keys()))
            pins.sweep_inner(self._folder, name, {int.from_bytes(one, sys.byteorder) for one in found if one})

    def _older(self) -> list[Path]:
        return [folder for folder in pins.layouts(self._home) if folder != self._folder]

    def _adopt_links(self) -> None:
        """Have links of older layouts run the new program, and lie beside its others."""
        for folder in self._older():
            links.sweep(folder / pins.LINKS)
            for pin in links.every(folder / pins.LINKS):
                links.update(pin, self._programs[ENTRY])
                pin.rename(self._links / pin.name)


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def remove(home: Path) -> None:
    """Take everything of a node out of the kernel, also what other layouts or a crash left.  Raises OSError."""
    if not home.exists():
        return
    for folder in pins.layouts(home):
        for pin in links.every(folder / pins.LINKS):
            links.end(pin)
    for interface in tc.attached(home):
        tc.detach(home, interface)
    pins.clear(home)
    with suppress(OSError):  # another node's are there
        home.parent.rmdir()


def _seat(home: Path) -> Seat:
    """Raises Refused, OSError."""
    try:
        return Seat(home)
    except PermissionError as error:
        raise pins.not_ours(error) from error


def _shared(loaded: Object) -> list[str]:
    return [name for name in loaded.maps() if loading.shared(name)]


def _prepare(home: Path, objects: Path, names: tuple[str, ...]) -> None:
    """Raises Refused."""
    found = machine.machine(loading.missing(objects, names), home)
    refused = preflight.refusal(found)
    if refused is None:
        return
    if found.bpffs or preflight.refusal(replace(found, bpffs=True)) is not None:
        raise refused
    try:
        pins.mount()
    except OSError as error:
        raise refused from error
