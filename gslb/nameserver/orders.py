"""What a supervisor may ask of a worker, whichever way it asks.  IO on channels only.

    {"do": "serve"} + descriptors              take these sockets too
    {"do": "leave", "endpoints": [...]}        close the sockets of these endpoints
    {"do": "give"}                             say {"pid", "more"} + descriptors of all sockets, and serve on
    {"do": "sample", "one_in": 100}            tell of queries on this line (`gslb.nameserver.sample`)
    {"do": "ask", "query": hex}                answer that, as a client's, on this line: {"serving", "reply"}
    {"do": "finish"}                           answer what is under way, and exit

A worker whose supervisor is gone serves on; the next supervisor asks it to give and then to finish.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from gslb.nameserver import channel
from gslb.nameserver.sockets import Endpoint

log = logging.getLogger("gslb.worker")


class Obedient(Protocol):
    """A worker as its orders see it."""

    def held(self) -> Sequence[socket.socket]:
        """The sockets it serves."""

    def serve(self, sock: socket.socket) -> None:
        """Serve one more socket, which is now its own."""

    def leave(self, endpoints: frozenset[Endpoint]) -> None:
        """Close the sockets of `endpoints`."""

    def finish(self) -> None:
        """Exit when what is under way is answered."""


def obey(
    worker: Obedient,
    line: socket.socket,
    sample: Callable[[socket.socket, int], None] | None = None,
    ask: Callable[[bytes], Mapping[str, object]] | None = None,
) -> bool:
    """Carry out the next order from `line`; False when its other end is gone.

    `sample` and `ask` are of workers that tell of queries and answer them here.
    """
    received = channel.receive(line)
    if received is None:
        return False
    message, descriptors = received
    for descriptor in descriptors:
        worker.serve(socket.socket(fileno=descriptor))
    match message.get("do"):
        case "serve":
            pass
        case "leave":
            worker.leave(_endpoints(message.get("endpoints")))
        case "give":
            _give(worker.held(), line)
        case "sample" if sample is not None and isinstance(one_in := message.get("one_in"), int):
            sample(line, one_in)
        case "ask" if ask is not None:
            channel.send(line, ask(_octets(message.get("query"))))
        case "finish":
            worker.finish()
        case other:
            log.warning("unknown order", extra={"order": other})
    return True


def ask_to_give(line: socket.socket) -> tuple[int, list[socket.socket]] | None:
    """The process id and the sockets of the worker behind `line`; None when it does not answer in time."""
    if not channel.send(line, {"do": "give"}):
        return None
    sockets: list[socket.socket] = []
    while (received := channel.receive(line)) is not None:
        message, descriptors = received
        sockets.extend(socket.socket(fileno=descriptor) for descriptor in descriptors)
        if not message.get("more"):
            pid = message.get("pid")
            return (pid if isinstance(pid, int) else 0), sockets
    for sock in sockets:
        sock.close()
    return None


def hand_over(line: socket.socket, sockets: Sequence[socket.socket]) -> bool:
    """Have the worker behind `line` serve `sockets` too; False when it is gone."""
    return all(channel.send(line, {"do": "serve"}, part) for part in _parts(sockets))


def take_back(line: socket.socket, endpoints: Iterable[Endpoint]) -> bool:
    """Have the worker behind `line` close its sockets of `endpoints`; False when it is gone."""
    listed = [endpoint.to_json() for endpoint in endpoints]
    step = channel.DESCRIPTORS_MAX
    parts = (listed[at : at + step] for at in range(0, len(listed), step))
    return all(channel.send(line, {"do": "leave", "endpoints": part}) for part in parts)


def _give(sockets: Sequence[socket.socket], line: socket.socket) -> None:
    for part in _parts(sockets):
        channel.send(line, {"pid": os.getpid(), "more": True}, part)
    channel.send(line, {"pid": os.getpid(), "more": False})


def _parts(sockets: Sequence[socket.socket]) -> Iterable[list[int]]:
    step = channel.DESCRIPTORS_MAX
    return ([sock.fileno() for sock in sockets[at : at + step]] for at in range(0, len(sockets), step))


def _endpoints(listed: object) -> frozenset[Endpoint]:
    return frozenset(Endpoint(*fields) for fields in listed) if isinstance(listed, list) else frozenset()


def _octets(text: object) -> bytes:
    try:
        return bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return b""
