"""Messages between two processes of a node, framed by length, their types checked.  Pure.

Rule: a frame is at most MOST octets, and what it holds has its type checked, or it is Garbled: nothing is believed of a
sender that is out of its mind.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import msgspec

MOST = 32 << 20
_LENGTH = struct.Struct("!I")

Message = TypeVar("Message")


class Garbled(ValueError):
    """What came is no message; the text says what is wrong with it."""


def frame(message: object) -> bytes:
    """The octets of a message.  Raises Garbled for one beyond MOST."""
    body = msgspec.msgpack.encode(message)
    if len(body) > MOST:
        raise Garbled(f"a message of {len(body)} octets, at most {MOST} can be sent")
    return _LENGTH.pack(len(body)) + body


class Frames(Generic[Message]):
    """Messages of type `kind` from a stream of octets, in any pieces.  `judge` raises Garbled for values that cannot be."""

    def __init__(
        self, kind: type[Message], most: int = MOST, judge: Callable[[Message], None] = lambda _message: None
    ) -> None:
        self._decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(kind)
        self._most = most
        self._judge = judge
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete with `data`.  Raises Garbled, and then no further message can be had."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer)
            if size > self._most:
                raise Garbled(f"a message of {size} octets, expected at most {self._most}")
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield self._read(body)

    def _read(self, body: bytes) -> Message:
        try:
            message = self._decoder.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Garbled(f"no message: {error}") from error
        self._judge(message)
        return message
