"""Messages between a supervisor and its workers: JSON with descriptors, over SOCK_SEQPACKET.  IO.

The same messages travel on the socket pair that a worker was born with and on its unix socket in the state folder, by
which a later supervisor finds it.
"""

from __future__ import annotations

import json
import os
import socket
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

MESSAGE_MAX = 128 << 10  # octets
DESCRIPTORS_MAX = 250  # the kernel takes 253 a message
SUFFIX = ".sock"


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a channel."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, message: Mapping[str, object], descriptors: Sequence[int] = ()) -> bool:
    """Send, and never wait; False when the other end is gone or does not read.

    Not by `socket.send_fds`: it forgets its flags before Python 3.12.
    """
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
    try:
        channel.sendmsg([json.dumps(message).encode()], rights, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
    except OSError:
        return False
    return True


def receive(channel: socket.socket) -> tuple[dict[str, object], list[int]] | None:
    """The next message and its descriptors, which are the caller's; None when the other end is gone or talks nonsense."""
    try:
        data, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_MAX, DESCRIPTORS_MAX)
    except OSError:
        return None
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        for descriptor in descriptors:
            os.close(descriptor)
        return None
    return message, descriptors


def listen(folder: Path, name: str, kind: socket.SocketKind = socket.SOCK_SEQPACKET) -> socket.socket:
    """A unix socket `folder/name`, however long that path is.  Raises OSError."""
    door = socket.socket(socket.AF_UNIX, kind)
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        (folder / name).unlink(missing_ok=True)
        door.bind(f"/proc/self/fd/{handle}/{name}")  # a socket's path holds 107 octets only
        door.listen(4)
    except OSError:
        door.close()
        raise
    finally:
        os.close(handle)
    return door


def connect(
    folder: Path, name: str, timeout_s: float, kind: socket.SocketKind = socket.SOCK_SEQPACKET
) -> socket.socket:
    """A channel to whoever listens at `folder/name`.  Raises OSError."""
    channel = socket.socket(socket.AF_UNIX, kind)
    channel.settimeout(timeout_s)
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        channel.connect(f"/proc/self/fd/{handle}/{name}")
    except OSError:
        channel.close()
        raise
    finally:
        os.close(handle)
    return channel
