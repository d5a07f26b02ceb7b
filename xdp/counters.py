"""The balancer's counters and handshakes, read from its maps -> messages.Pulse.  IO: system calls.

Rule 1: counts are of names and not of ids: what an id counts is added to what it stands for at that time, so ids may be used
again, and several may stand for one.
Rule 2: counts begin with this process, and events with the maps.
Rule 3: what is read at once is bounded: of more handshakes than MOST_HANDSHAKES the rest is passed over.
"""

from __future__ import annotations

import socket
import struct
import time
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from ctypes import byref, c_char, c_uint32
from operator import add, sub
from typing import Protocol

from gslb import layout
from xdp.libbpf import Map, library, require
from xdp.messages import Count, Handshakes, Pulse
from xdp.ringbuffer import RingBuffer

MOST_HANDSHAKES = 4096  # a pulse

_VIPS, _BACKENDS = "vip_counts", "backend_counts"
_IDS = {_VIPS: layout.MOST_VIPS, _BACKENDS: layout.MOST_BACKENDS}
_FIELDS = 8  # of either struct of counters, in the order of a Count; the last of a backend is always 0
_Counted = tuple[int, ...]
_EVENT = struct.Struct("=16sIIII")  # struct handshake_event
_KEY = struct.Struct("=I")
_MAPPED = b"\0" * 10 + b"\xff\xff"
_NONE = (0,) * _FIELDS


class Names(Protocol):
    """What ids stand for; looked at anew at each reading."""

    @property
    def vips(self) -> Mapping[int, tuple[str, str]]:
        """VIP id -> pool and VIP."""

    @property
    def backends(self) -> Mapping[int, tuple[tuple[str, str], ...]]:
        """Backend id -> each pool and address that it stands for."""


class Plane(Protocol):
    """What holds the maps."""

    @property
    def maps(self) -> Mapping[str, Map]:
        """The maps by name."""

    @property
    def adopted(self) -> bool:
        """Whether they were there before this process."""


class Counters:
    """Reads one data plane's counters."""

    def __init__(self, plane: Plane, names: Names) -> None:
        """Raises OSError."""
        self._maps = plane.maps
        self._names = names
        self._born = time.monotonic()
        self._sums: dict[str, dict[tuple[str, str], _Counted]] = {_VIPS: {}, _BACKENDS: {}}
        self._last: dict[str, dict[int, _Counted]] = {_VIPS: {}, _BACKENDS: {}}
        if plane.adopted:
            self._last = {kind: read_counts(self._maps[kind], range(1, ids)) for kind, ids in _IDS.items()}
        self._log = RingBuffer(self._maps["handshake_log"], layout.EVENT_OCTETS)

    def read(self) -> Pulse:
        """Everything that was counted until now.  Raises OSError."""
        vips = {vip: (name,) for vip, name in self._names.vips.items()}
        return Pulse(
            at=time.monotonic(),
            born=self._born,
            vips=self._counted(_VIPS, vips),
            backends=self._counted(_BACKENDS, self._names.backends),
            events=read_events(self._maps["counts"]),
            handshakes=self._handshakes(),
        )

    def close(self) -> None:
        """Read no more."""
        self._log.close()

    def _counted(self, kind: str, names: Mapping[int, tuple[tuple[str, str], ...]]) -> dict[str, dict[str, Count]]:
        last, sums = self._last[kind], self._sums[kind]
        now = read_counts(self._maps[kind], names)
        found: dict[tuple[str, str], _Counted] = {}
        for each, owners in names.items():
            grown = tuple(map(sub, now[each], last.get(each, _NONE)))
            for owner in owners:
                found[owner] = tuple(map(add, found.get(owner) or sums.get(owner, _NONE), grown))
        last.update(now)
        self._sums[kind] = found
        return _by_pool(found)

    def _handshakes(self) -> tuple[Handshakes, ...]:
        records = self._log.read(MOST_HANDSHAKES)
        if len(records) == MOST_HANDSHAKES:
            self._log.skip()
        grouped: defaultdict[tuple[bytes, int, int], list[int]] = defaultdict(list)
        for client, rtt, vip, backend, _ in _EVENT.iter_unpack(b"".join(records)):
            network = client[:15] if client[:12] == _MAPPED else client[:7]
            grouped[network, vip, backend].append(rtt)
        found = (self._told(*of, rtts) for of, rtts in grouped.items())
        return tuple(one for one in found if one is not None)

    def _told(self, network: bytes, vip: int, backend: int, rtts: list[int]) -> Handshakes | None:
        """Handshakes under the names of those who had them; None where they are gone."""
        if vip not in self._names.vips:
            return None
        pool = self._names.vips[vip][0]
        address = next((address for of, address in self._names.backends.get(backend, ()) if of == pool), None)
        return None if address is None else Handshakes(network_text(network), pool, address, tuple(rtts))


def network_text(prefix: bytes) -> str:
    """The base address of a /24, given as 15 octets of a mapped address, or of a /56, as 7 octets."""
    if len(prefix) == 7:
        return socket.inet_ntop(socket.AF_INET6, prefix.ljust(16, b"\0"))
    return socket.inet_ntop(socket.AF_INET, prefix[12:].ljust(4, b"\0"))


def totals(maps: Mapping[str, Map], names: Names, at: float) -> Pulse:
    """All that was counted since the maps were made, at the time `at`, without handshakes: those are for one reader.

    Raises OSError.
    """
    vips = {vip: (name,) for vip, name in names.vips.items()}
    return Pulse(
        at, 0.0, _summed(maps[_VIPS], vips), _summed(maps[_BACKENDS], names.backends), read_events(maps["counts"])
    )


def _summed(counts: Map, names: Mapping[int, tuple[tuple[str, str], ...]]) -> dict[str, dict[str, Count]]:
    sums: dict[tuple[str, str], _Counted] = {}
    for each, counted in read_counts(counts, names).items():
        for owner in names[each]:
            sums[owner] = tuple(map(add, sums.get(owner, _NONE), counted))
    return _by_pool(sums)


def _by_pool(sums: Mapping[tuple[str, str], _Counted]) -> dict[str, dict[str, Count]]:
    pools: defaultdict[str, dict[str, Count]] = defaultdict(dict)
    for (pool, name), sum_ in sums.items():
        pools[pool][name] = Count(*sum_)
    return dict(pools)


def read_counts(counts: Map, ids: Iterable[int]) -> dict[int, _Counted]:
    """The counters of each id, summed over CPUs, in the order of the struct.  Raises OSError.

    One buffer for all of them: `Map.lookup` makes one for each, which would take as long as the rest.
    """
    nothing, value, key = bytes(counts.value_size), bytearray(counts.value_size), c_uint32()
    buffer, lookup, fd = (c_char * len(value)).from_buffer(value), library().bpf_map_lookup_elem, counts.fd
    numbers = memoryview(value).cast("Q")
    found = {}
    for each in ids:
        key.value = each
        require(lookup(fd, byref(key), buffer), f"read an entry of {counts.name}")
        if value == nothing:
            found[each] = _NONE
        else:
            sums = numbers.tolist()
            found[each] = tuple([sum(sums[field::_FIELDS]) for field in range(_FIELDS)])
    return found


def read_events(counts: Map) -> dict[str, int]:
    """How often each event happened, summed over CPUs, by its name.  Raises OSError."""
    numbers = array("Q", counts.lookup(_KEY.pack(0)) or b"")
    names = [event for event in layout.EventCount if event.name != "COUNTS"]
    return {
        event.name.removeprefix("COUNT_").lower(): sum(numbers[event.value :: layout.EventCount.COUNTS])
        for event in names
    }
