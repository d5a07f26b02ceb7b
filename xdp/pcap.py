"""Sampled packets from the balancer to a pcap file.  IO: the maps `capture` and `captured`, a file.

Rule 1: a capture ends by itself, in the program too: by its time, by the number of packets, and by who captures.
Rule 2: one capture at a time on a node.
Source: draft-ietf-opsawg-pcap-05 (classic pcap, here with nanoseconds).
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from ctypes import sizeof
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gslb import layout
from xdp.libbpf import Map
from xdp.ringbuffer import RingBuffer

MOST_PACKETS = 100_000
_MAGIC, _VERSION, _ETHERNET = 0xA1B23C4D, (2, 4), 1  # nanoseconds
_FILE = struct.Struct("=IHHiIII")
HEADER_OCTETS = _FILE.size  # of a file without packets
_PACKET = struct.Struct("=IIII")
_AT_ONCE = 4096  # records
_WAIT_S = 0.05
_LATE_S = 2  # beyond its end, for the program
_EVENT = layout.CaptureEvent
_DATA = sizeof(_EVENT) - layout.SNAP_OCTETS


class Busy(Exception):
    """Somebody else captures on this node."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to capture: one of `one_in` packets of these VIPs (none: of all), for so many seconds, no more than `most`."""

    vips: frozenset[int]
    one_in: int
    seconds: float
    most: int = MOST_PACKETS


def capture(maps: Mapping[str, Map], folder: Path, wish: Wish, file: BinaryIO) -> int:
    """Write packets to `file` until the wish is fulfilled, or until Ctrl-C, and say how many.  Raises Busy, OSError.

    `folder` is where the maps are pinned.
    """
    out = _File(file, wish)
    with _alone(folder), RingBuffer(maps["captured"], layout.CAPTURE_OCTETS) as ring:
        ring.skip()
        ends = time.monotonic() + wish.seconds
        with _captured(maps["capture"], wish), suppress(KeyboardInterrupt):
            while out.written < wish.most and (left := ends - time.monotonic()) > 0:
                ring.wait(min(left, _WAIT_S))
                out.add(ring.read(_AT_ONCE))
        out.add(ring.read(_AT_ONCE))
    return out.written


class _File:
    """A pcap file that grows, packet by packet."""

    def __init__(self, file: BinaryIO, wish: Wish) -> None:
        self.written = 0
        self._file = file
        self._wish = wish
        self._epoch_ns = time.time_ns() - time.monotonic_ns()
        file.write(_FILE.pack(_MAGIC, *_VERSION, 0, 0, layout.SNAP_OCTETS, _ETHERNET))

    def add(self, records: Iterable[bytes]) -> None:
        """Write those that are wished for."""
        vips = self._wish.vips
        for record in records:
            event = _EVENT.from_buffer_copy(record.ljust(sizeof(_EVENT), b"\0"))
            if self.written < self._wish.most and (not vips or event.vip in vips):
                seconds, nanoseconds = divmod(event.at_ns + self._epoch_ns, 1_000_000_000)
                about = _PACKET.pack(seconds, nanoseconds, event.captured, event.octets)
                self._file.write(about + record[_DATA : _DATA + event.captured])
                self.written += 1


@contextmanager
def _captured(settings: Map, wish: Wish) -> Iterator[None]:
    """The program captures within, and not after."""
    vip = next(iter(wish.vips)) if len(wish.vips) == 1 else 0
    until = int(time.monotonic() + wish.seconds) + _LATE_S
    settings.update(bytes(4), bytes(layout.Capture(vip, wish.one_in, until, 0)))
    try:
        yield
    finally:
        settings.update(bytes(4), bytes(layout.Capture()))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Busy("somebody else captures on this node; wait until that ends") from error
    finally:
        os.close(handle)
