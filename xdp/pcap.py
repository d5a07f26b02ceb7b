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
from collections.abc import Collection, Iterator, Mapping
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
    """What to capture: one of `one_in` packets of these VIPs (none: of all), for so many seconds."""

    vips: frozenset[int]
    one_in: int
    seconds: float


def capture(maps: Mapping[str, Map], folder: Path, wish: Wish, file: BinaryIO) -> int:
    """Write packets to `file` until the wish is fulfilled, or until Ctrl-C, and say how many.  Raises Busy, OSError.

    `folder` is where the maps are pinned.
    """
    written = 0
    file.write(_FILE.pack(_MAGIC, *_VERSION, 0, 0, layout.SNAP_OCTETS, _ETHERNET))
    with _alone(folder), RingBuffer(maps["captured"], layout.CAPTURE_OCTETS) as ring:
        ring.skip()
        epoch_ns = time.time_ns() - time.monotonic_ns()
        ends = time.monotonic() + wish.seconds
        with _captured(maps["capture"], wish), suppress(KeyboardInterrupt):
            while written < MOST_PACKETS and (left := ends - time.monotonic()) > 0:
                ring.wait(min(left, _WAIT_S))
                written += _write(ring.read(_AT_ONCE), wish.vips, epoch_ns, file, MOST_PACKETS - written)
        written += _write(ring.read(_AT_ONCE), wish.vips, epoch_ns, file, MOST_PACKETS - written)
    return written


def _write(records: Collection[bytes], vips: frozenset[int], epoch_ns: int, file: BinaryIO, most: int) -> int:
    written = 0
    for record in records:
        event = _EVENT.from_buffer_copy(record.ljust(sizeof(_EVENT), b"\0"))
        if written < most and (not vips or event.vip in vips):
            seconds, nanoseconds = divmod(event.at_ns + epoch_ns, 1_000_000_000)
            file.write(_PACKET.pack(seconds, nanoseconds, event.captured, event.octets))
            file.write(record[_DATA : _DATA + event.captured])
            written += 1
    return written


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
