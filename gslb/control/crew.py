"""The workers of a run: started on the supervisor's sockets, replaced when they die, renewed when their number changes.  IO."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from gslb.control import privilege
from gslb.control.children import Body, Child, Restarts, bury, fork
from gslb.control.listening import Listening
from gslb.control.reactor import Reactor
from gslb.control.wanted import Wanted
from gslb.nameserver import buckets, channel, demand, orders, scoreboard
from gslb.nameserver.core import Core
from gslb.nameserver.generation import Current, UnusableGeneration
from gslb.nameserver.responders import ResponderMaker
from gslb.nameserver.sockets import Endpoint
from gslb.nameserver.tcp import TcpWorker
from gslb.nameserver.worker import Post, Worker
from xdp.build import LIBRARY, OBJECTS

UDP, TCP = "udp", "tcp"

log = logging.getLogger("gslb.supervisor")


class Crew:
    """One UDP worker a slot, and one TCP worker.  `on_serving` is called when all of them serve."""

    def __init__(self, reactor: Reactor, listening: Listening, folder: Path, on_serving: Callable[[], None]) -> None:
        self._reactor = reactor
        self._listening = listening
        self._folder = folder
        self._run = folder / "run"
        self._on_serving = on_serving
        self._members: dict[tuple[str, int], Child] = {}
        self._leaving: set[Child] = set()
        self._restarts: dict[tuple[str, int], Restarts] = {}
        self._stopping = False
        self.size = 0  # UDP workers
        self._wanted: Wanted | None = None

    @property
    def living(self) -> frozenset[Child]:
        """Every process of the crew."""
        return frozenset(self._members.values()) | self._leaving

    def renew(self, wanted: Wanted) -> None:
        """A worker for each slot that `wanted` asks for; those of before leave when all of the new serve."""
        self._wanted = wanted
        self._leaving |= set(self._members.values())
        self._members.clear()
        self._restarts.clear()
        self.size = worker_count(wanted)
        for slot in range(self.size):
            self._begin(UDP, slot)
        self._begin(TCP, 0)

    def listen(self, endpoints: Iterable[Endpoint]) -> None:
        """Have the workers serve the sockets of new `endpoints` too."""
        endpoints = tuple(endpoints)
        for (kind, slot), child in self._members.items():
            sockets = self._sockets(kind, slot, endpoints)
            if sockets:
                orders.hand_over(child.line, sockets)

    def leave(self, endpoints: Iterable[Endpoint]) -> None:
        """Have all workers close their sockets of `endpoints`."""
        endpoints = tuple(endpoints)
        for child in self.living:
            orders.take_back(child.line, endpoints)

    def finish(self) -> None:
        """Tell all to answer what is under way and end; nobody is replaced any more."""
        self._stopping = True
        for child in self.living:
            channel.send(child.line, {"do": "finish"})

    def _begin(self, kind: str, slot: int) -> None:
        if self._stopping or (kind, slot) in self._members:
            return
        self._have_current()
        sockets = self._sockets(kind, slot)
        body = self._body(kind, slot, sockets)
        try:
            child = fork(kind, slot, body, [sock.fileno() for sock in sockets], self._reactor.now)
        except OSError as error:
            delay_s = self._restarts.setdefault((kind, slot), Restarts()).delay_s(0.0)
            fields = {"worker": f"{kind}-{slot}", "why": error.strerror, "next_try_s": delay_s}
            log.error("a worker cannot be started", extra=fields)
            self._reactor.after((kind, slot), delay_s, partial(self._begin, kind, slot))
            return
        self._members[kind, slot] = child
        self._reactor.watch(child.notice, partial(self._ended, child))
        self._reactor.watch(child.line, partial(self._heard, child))

    def _have_current(self) -> None:
        """A worker cannot start where `current` was removed or cut short, and the controller may have nothing to publish."""
        try:
            Current(self._folder / "serving", writable=True).close()
        except (OSError, UnusableGeneration) as error:
            log.error("the file that tells workers the generation cannot be written", extra={"why": str(error)})

    def _body(self, kind: str, slot: int, sockets: Sequence[socket.socket]) -> Body:
        wanted = self._wanted
        assert wanted is not None
        post = Post(wanted.deployment, self._folder / "serving", self._run, slot)
        limit = wanted.tcp_clients
        return partial(_serve_udp, post, sockets) if kind == UDP else partial(_serve_tcp, post, sockets, limit)

    def _heard(self, child: Child) -> None:
        received = channel.receive(child.line)
        if received is not None and received[0].get("say") == "serving":
            child.serving = True
            if len(self._members) == self.size + 1 and all(member.serving for member in self._members.values()):
                for old in self._leaving:
                    channel.send(old.line, {"do": "finish"})
                self._on_serving()

    def _ended(self, child: Child) -> None:
        self._reactor.unwatch(child.notice)
        self._reactor.unwatch(child.line)
        lived_s = self._reactor.now - child.born_s
        status = bury(child)
        clear_away(self._run, f"{child.kind}-{child.pid}")
        key = child.kind, child.slot
        if self._members.get(key) is not child:
            self._leaving.discard(child)
            return
        del self._members[key]
        if self._stopping:
            return
        restarts = self._restarts.setdefault(key, Restarts())
        delay_s = restarts.delay_s(lived_s)
        fields = {
            "worker": f"{child.kind}-{child.slot}",
            "pid": child.pid,
            "status": status,
            "lived_s": round(lived_s, 1),
        }
        if delay_s:
            log.error("worker keeps dying", extra={**fields, "deaths": restarts.quick_deaths, "next_try_s": delay_s})
        else:
            log.warning("worker died and is replaced", extra=fields)
        self._reactor.after(key, delay_s, partial(self._begin, *key))

    def _sockets(self, kind: str, slot: int, among: Iterable[Endpoint] | None = None) -> Sequence[socket.socket]:
        listening = self._listening
        return listening.of_slot(slot, self.size, among) if kind == UDP else listening.of_tcp(among)


def worker_count(wanted: Wanted) -> int:
    """How many UDP workers: as configured, else one a core that this process may use."""
    return wanted.workers or len(os.sched_getaffinity(0))


def clear_away(run: Path, name: str) -> None:
    """Remove what a dead worker left, but for its counts."""
    scoreboard.retire(run, run / (name + scoreboard.SUFFIX))
    demand.retire(run, run / (name + demand.SUFFIX))
    (run / (name + channel.SUFFIX)).unlink(missing_ok=True)


def _serve_udp(post: Post, sockets: Sequence[socket.socket], line: socket.socket) -> int:
    privilege.keep_only()
    limited = buckets.shared(post.run)
    core = Core(OBJECTS / LIBRARY, limited)
    Worker(post, ResponderMaker(post.deployment, limited), line, sockets, core).run()
    return 0


def _serve_tcp(post: Post, sockets: Sequence[socket.socket], limit: int, line: socket.socket) -> int:
    privilege.keep_only()
    TcpWorker(post, ResponderMaker(post.deployment), line, limit).run(sockets)
    return 0
