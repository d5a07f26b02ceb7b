"""The node's sockets, which belong to the supervisor: what waits in them outlives any worker.  IO.

Each endpoint has one UDP socket a worker, or more where a former run had more workers: a socket is closed only with
its endpoint, since closing it earlier would lose what waits in it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence

from gslb.control import addresses
from gslb.control.addresses import Present
from gslb.control.wanted import Wanted
from gslb.nameserver import sockets
from gslb.nameserver.sockets import CannotListen, Endpoint, endpoint_of


class Listening:
    """All sockets, by endpoint."""

    def __init__(self) -> None:
        self._held: dict[Endpoint, list[socket.socket]] = {}

    @property
    def endpoints(self) -> frozenset[Endpoint]:
        """Where we listen."""
        return frozenset(self._held)

    def adopt(self, given: Iterable[socket.socket]) -> None:
        """Take over sockets of an earlier run; a socket that two processes gave is one socket."""
        known = {os.fstat(sock.fileno()).st_ino for group in self._held.values() for sock in group}
        for sock in given:
            inode = os.fstat(sock.fileno()).st_ino
            if inode in known:
                sock.close()
                continue
            known.add(inode)
            self._held.setdefault(endpoint_of(sock), []).append(sock)

    def cover(self, wanted: Wanted, workers: int, here: frozenset[Present]) -> frozenset[Endpoint]:
        """Listen everywhere that `wanted` says; the endpoints that are new.  Raises CannotListen, and then nothing changed."""
        if missing := addresses.absent(wanted, here):
            raise CannotListen(
                f"cannot listen on {missing[0]}: no interface of this node has that address, and no anycast prefix "
                "of the configuration holds it (those may come later)"
            )
        endpoints = addresses.endpoints(wanted, here)
        if not endpoints:
            raise CannotListen("cannot listen: this node has none of the addresses of dns.listen")
        opened: list[tuple[Endpoint, list[socket.socket]]] = []
        try:
            for endpoint in sorted(endpoints):
                opened.append((endpoint, self._open(endpoint, workers)))  # noqa: PERF401  # undone below on failure
        except CannotListen:
            for _, group in opened:
                _close(group)
            raise
        new = endpoints - self._held.keys()
        for endpoint, group in opened:
            self._held.setdefault(endpoint, []).extend(group)
        return new

    def extend(self, endpoint: Endpoint, workers: int) -> None:
        """Listen on one more endpoint.  Raises CannotListen."""
        self._held[endpoint] = self._open(endpoint, workers)

    def close(self, endpoints: Iterable[Endpoint]) -> None:
        """Stop listening there."""
        for endpoint in endpoints:
            _close(self._held.pop(endpoint, []))

    def of_slot(self, slot: int, slots: int, among: Iterable[Endpoint] | None = None) -> Sequence[socket.socket]:
        """The UDP sockets of worker `slot` of `slots`, dealt out in turn."""
        groups = (self._held[endpoint] for endpoint in self._chosen("udp", among))
        return [sock for group in groups for place, sock in enumerate(group) if place % slots == slot]

    def of_tcp(self, among: Iterable[Endpoint] | None = None) -> Sequence[socket.socket]:
        """The listening TCP sockets."""
        return [sock for endpoint in self._chosen("tcp", among) for sock in self._held[endpoint]]

    def _open(self, endpoint: Endpoint, workers: int) -> list[socket.socket]:
        count = workers if endpoint.transport == "udp" else 1
        held = self._held.get(endpoint)
        if held is None:
            return sockets.bind(endpoint, count)
        return sockets.share(endpoint, max(0, count - len(held)))

    def _chosen(self, transport: str, among: Iterable[Endpoint] | None) -> list[Endpoint]:
        chosen = self._held.keys() if among is None else self._held.keys() & set(among)
        return sorted(endpoint for endpoint in chosen if endpoint.transport == transport)


def _close(group: Iterable[socket.socket]) -> None:
    for sock in group:
        sock.close()
