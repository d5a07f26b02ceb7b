"""The native executor: dns.h in libgslb.so, over one image.  IO: loads a library, and drains sockets by it.

Rule 1: it answers a part of all queries, octet by octet as the reference does, and hands the others on.
Rule 2: memory that C reads is held here for as long as it reads it, and never copied.
Rule 3: a library for images of another layout, or none at all, is a reason that people can read, and no failure.
"""
# a Structure's _fields_ overrides a class attribute
# mypy: disable-error-code="mutable-override"

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntop
from struct import Struct

from gslb.dnslayout import DNS_REPLY_MOST, LAYOUT_HASH, DnsCounts, DnsImage
from gslb.layout import DnsEvent
from gslb.nameserver.scoreboard import Executor

MESSAGE_MOST = 4096  # octets of a datagram that are looked at (DNS_MESSAGE_ROOM)
BATCH = 64  # DNS_BATCH
TOLD = 256  # DNS_TOLD
_SILENCE = 1  # DNS_SILENCE
_MAPPED = bytes(10) + b"\xff\xff"
_PASSED = Struct("<IIHHi16s")  # struct dns_passed
_PASSED_ROOM = BATCH * (_PASSED.size + MESSAGE_MOST)
_COUNT_OCTETS = 8

Client = tuple[str, int] | tuple[str, int, int, int]  # as sockets take it


class NoNative(Exception):
    """The native executor cannot be used; the text is for people and says why, `executor` in a word."""

    def __init__(self, text: str, executor: Executor = Executor.UNFIT) -> None:
        super().__init__(text)
        self.executor = executor


@dataclass(frozen=True, slots=True)
class Turn:
    """What became of what waited in sockets; `passed` are queries for the reference, and the sockets that they came to."""

    received: int
    passed: list[tuple[int, bytes, Client]]
    send_failed: int
    receive_failed: int


class Native:
    """Answers from one image and its location table.

    `counts` is what it counts in: struct dns_counts, then the image's cells and marks.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        image: bytes | memoryview,
        geography: bytes | memoryview,
        buckets: memoryview | None = None,
    ) -> None:
        """Without `buckets` (`gslb.nameserver.guard.Buckets.words`) nothing is limited.  Raises NoNative for an image that is none."""
        head = DnsImage.from_buffer_copy(image[: ctypes.sizeof(DnsImage)])
        octets = -(-(ctypes.sizeof(DnsCounts) + _COUNT_OCTETS * (head.cells + head.marks)) // 512) * 512
        self._library = library
        self._handle: int | None = None
        self._image, self._geography = _Held(image), _Held(geography)
        self._buckets = _Held(buckets) if buckets is not None else None
        self._block = (ctypes.c_uint64 * (octets // _COUNT_OCTETS))()
        self.counts = memoryview(self._block).cast("B").cast("Q")
        self._passed = ctypes.create_string_buffer(_PASSED_ROOM)
        self._turn = (ctypes.c_uint32 * 4)()
        self._reply = ctypes.create_string_buffer(DNS_REPLY_MOST)
        self._handle = library.gslb_dns_open(
            self._image.address,
            len(image),
            self._geography.address,
            len(geography),
            self._block,
            ctypes.sizeof(self._block),
        )
        if not self._handle:
            self._release()
            raise NoNative(f"an image of {len(image)} octets cannot be answered from")
        if self._buckets is not None:
            library.gslb_dns_limit(self._handle, self._buckets.address)
        self._room = memoryview(self._passed)
        self._sockets: Sequence[int] = ()
        self._descriptors = (ctypes.c_int * 0)()

    def answer(self, query: bytes, source: bytes, now_s: int) -> bytes | None:
        """The reply to a datagram from `source` (16 octets, IPv4 as ::ffff:0:0/96), empty where nobody is to answer.

        None: the reference is to answer.
        """
        octets = self._library.gslb_dns_answer(self._handle, query, len(query), source, now_s, self._reply)
        if octets == _SILENCE:
            return b""
        return self._reply.raw[:octets] if octets else None

    def drain(self, descriptor: int) -> Turn:
        """Answer what waits in a UDP socket that does not block, up to some hundred datagrams."""
        self._library.gslb_dns_drain(self._handle, descriptor, self._passed, self._turn)
        return self._taken()

    def serve(self, epoll: int, sockets: Sequence[int], word: memoryview, seen: int, wait_s: float) -> Turn:
        """Answer what comes to UDP `sockets` that `epoll` watches, until something is not for it.

        That is: `wait_s` are over, a query is to be passed on, another descriptor is ready, or `word[1]` is not `seen`.
        """
        if sockets != self._sockets:
            self._sockets = tuple(sockets)
            self._descriptors = (ctypes.c_int * len(sockets))(*sockets)
        held = _Held(word)
        at = held.address + word.itemsize
        held.release()  # the word stays where it is for as long as its file is mapped
        self._library.gslb_dns_serve(
            self._handle,
            epoll,
            self._descriptors,
            len(self._sockets),
            at,
            seen,
            int(wait_s * 1000),
            self._passed,
            self._turn,
        )
        return self._taken()

    def _taken(self) -> Turn:
        received, passed, send_failed, receive_failed = self._turn
        return Turn(received, list(self._handed_on(passed)) if passed else [], send_failed, receive_failed)

    @property
    def limited(self) -> str:
        """The client that was over the limit last; empty: nobody was."""
        if not self._handle:
            return ""
        address = ctypes.create_string_buffer(16)
        self._library.gslb_dns_limited(self._handle, address)
        if not any(address.raw):
            return ""
        mapped = address.raw.startswith(_MAPPED)
        return inet_ntop(AF_INET, address.raw[len(_MAPPED) :]) if mapped else inet_ntop(AF_INET6, address.raw)

    def sample(self, one_in: int, per_s: int) -> None:
        """Tell of one query in `one_in` from now on, at most `per_s` a second; of none: 0."""
        if self._handle:
            self._library.gslb_dns_sample(self._handle, one_in, per_s)

    def told(self) -> tuple[bytes, int]:
        """Structs dns_event since the last call, one behind the other, and how many are missing among them."""
        if not self._handle:
            return b"", 0
        room, lost = (DnsEvent * TOLD)(), ctypes.c_uint64()
        count = self._library.gslb_dns_told(self._handle, room, ctypes.sizeof(DnsEvent), ctypes.byref(lost))
        return bytes(room)[: count * ctypes.sizeof(DnsEvent)], lost.value

    def close(self) -> None:
        """Let go of image and location table; `counts` stay."""
        if self._handle:
            self._library.gslb_dns_close(self._handle)
            self._release()

    def _release(self) -> None:
        self._handle = None
        self._image.release()
        self._geography.release()
        if self._buckets is not None:
            self._buckets.release()

    def _handed_on(self, count: int) -> Iterator[tuple[int, bytes, Client]]:
        at = 0
        for _ in range(count):
            octets, scope, port, is_v6, descriptor, address = _PASSED.unpack_from(self._room, at)
            at += _PASSED.size
            query = bytes(self._room[at : at + octets])
            at += octets + -octets % 8
            if is_v6:
                yield descriptor, query, (inet_ntop(AF_INET6, address), port, 0, scope)
            else:
                yield descriptor, query, (inet_ntop(AF_INET, address[:4]), port)


@cache
def opened(path: Path) -> ctypes.CDLL:
    """The library in a file.  Raises NoNative."""
    try:
        library = ctypes.CDLL(str(path))
        layout = library.gslb_dns_layout
    except OSError:
        raise NoNative(
            f"{path.name} is not built, or not for this machine: python -m xdp.build makes it", Executor.NO_LIBRARY
        ) from None
    except AttributeError:
        raise NoNative(f"{path.name} has no DNS in it: python -m xdp.build makes it", Executor.OTHER_LAYOUT) from None
    layout.restype = ctypes.c_uint64
    if (found := f"{layout():012x}") != LAYOUT_HASH:
        text = f"{path.name} is for images of layout {found}, expected {LAYOUT_HASH}: python -m xdp.build makes it"
        raise NoNative(text, Executor.OTHER_LAYOUT)
    pointer, number, long = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    library.gslb_dns_open.restype = pointer
    library.gslb_dns_open.argtypes = [pointer, long, pointer, long, pointer, long]
    library.gslb_dns_close.restype = None
    library.gslb_dns_close.argtypes = [pointer]
    library.gslb_dns_limit.restype = None
    library.gslb_dns_limit.argtypes = [pointer, pointer]
    library.gslb_dns_limited.restype = None
    library.gslb_dns_limited.argtypes = [pointer, pointer]
    library.gslb_dns_sample.restype = None
    library.gslb_dns_sample.argtypes = [pointer, number, number]
    library.gslb_dns_told.restype = number
    library.gslb_dns_told.argtypes = [pointer, pointer, number, pointer]
    library.gslb_dns_charge.restype = number
    library.gslb_dns_charge.argtypes = [pointer, pointer, ctypes.c_char_p, number, long]
    library.gslb_dns_answer.restype = number
    library.gslb_dns_answer.argtypes = [pointer, ctypes.c_char_p, number, ctypes.c_char_p, long, pointer]
    library.gslb_dns_drain.restype = None
    library.gslb_dns_drain.argtypes = [pointer, ctypes.c_int, pointer, pointer]
    library.gslb_dns_serve.restype = None
    library.gslb_dns_serve.argtypes = [pointer, ctypes.c_int, pointer, number, pointer, long, number, pointer, pointer]
    return library


class _PyBuffer(ctypes.Structure):
    """Py_buffer of the stable ABI (PEP 3118)."""

    _fields_ = [
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    ]


class _Held:
    """Read-only memory whose address C is given, held until `release`."""

    def __init__(self, memory: bytes | memoryview) -> None:
        self._buffer = _PyBuffer()
        self._is_held = False
        ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(memory), ctypes.byref(self._buffer), 0)
        self._is_held = True
        self.address: int = self._buffer.buf or 0

    def release(self) -> None:
        """Let the memory go."""
        if self._is_held:
            self._is_held = False
            ctypes.pythonapi.PyBuffer_Release(ctypes.byref(self._buffer))

    def __del__(self) -> None:
        self.release()
