"""Reading a BPF ring buffer straight from its pages, many times faster than by a callback for each record.  IO.

The pages (Linux kernel/bpf/ringbuf.c): the reader's position; the writers' position; the data, mapped twice in a row, so that
no record is ever in two pieces.  A record has a header of 8 octets, whose first 32 bits are its length and two flags.

Rule 1: one reader at a time: who reads moves the position for all.
Rule 2: a record that is still being written ends the reading; it and what follows come the next time.
"""

from __future__ import annotations

import mmap
import select
from types import TracebackType
from typing import Self

from xdp.libbpf import Map

_BUSY, _DISCARDED = 1 << 31, 1 << 30
_LENGTH = _DISCARDED - 1
_HEADER = 8


class RingBuffer:
    """The reading end of one ring buffer."""

    def __init__(self, ring: Map, octets: int) -> None:
        """`octets` is its size.  Raises OSError."""
        page = mmap.PAGESIZE
        self._mask = octets - 1
        self._reader = mmap.mmap(ring.fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._writer = mmap.mmap(ring.fd, page + 2 * octets, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._read = memoryview(self._reader).cast("Q")
        self._written = memoryview(self._writer).cast("Q")
        self._headers = memoryview(self._writer)[page:].cast("I")
        self._data = memoryview(self._writer)[page:]
        self._events = select.epoll()
        self._events.register(ring.fd, select.EPOLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, most: int) -> list[bytes]:
        """At most so many records, the oldest first, without waiting."""
        found: list[bytes] = []
        at, end = self._read[0], self._written[0]
        headers, data, mask = self._headers, self._data, self._mask
        while at < end and len(found) < most:
            place = at & mask
            header = headers[place >> 2]
            if header & _BUSY:
                break
            length = header & _LENGTH
            if not header & _DISCARDED:
                found.append(bytes(data[place + _HEADER : place + _HEADER + length]))
            at += (length + _HEADER + 7) & ~7
        self._read[0] = at
        return found

    def skip(self) -> None:
        """Pass over all that is there."""
        while self.read(1 << 16):
            pass

    def wait(self, seconds: float) -> bool:
        """Wait until there is something to read; False where nothing came."""
        return bool(self._events.poll(seconds))

    def close(self) -> None:
        """Unmap it; its owner closes the map."""
        for view in (self._read, self._written, self._headers, self._data):
            view.release()
        self._reader.close()
        self._writer.close()
        self._events.close()
