"""The UDP worker: one process, one loop, its own socket for each address.  IO.

Rule 1: nothing that arrives on a socket, lies in the serving folder, or befalls the supervisor or the controller ends the loop; only
`finish` does.  Rule 2: the generation is looked at once a turn, before the turn's queries, so a reply is made from
one generation.  Rule 3: a query that was received is answered before the loop ends.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gslb.nameserver import channel
from gslb.nameserver.core import Core
from gslb.nameserver.demand import SUFFIX as DEMAND_SUFFIX
from gslb.nameserver.demand import DemandPage
from gslb.nameserver.failure import Failures
from gslb.nameserver.follower import Follower, Maker
from gslb.nameserver.native import Client, Turn
from gslb.nameserver.orders import obey
from gslb.nameserver.overlimit import OverLimit
from gslb.nameserver.sample import PER_S, Sample
from gslb.nameserver.scoreboard import SUFFIX as BOARD_SUFFIX
from gslb.nameserver.scoreboard import Kind, Scoreboard, Tally
from gslb.nameserver.sockets import Endpoint, endpoint_of

BATCH = 64  # datagrams a socket a turn, so that one busy address does not starve the others
DATAGRAM_MAX = 4096  # octets of a query that are looked at
SHOW_S = 0.2  # how old the shown counts of a busy worker may be
IDLE_WAIT_S = 1.0
FIRST_WAIT_S = 0.02  # while there is no generation yet
_HERE = "127.0.0.1"
_HERE_MAPPED = bytes(10) + b"\xff\xff\x7f\0\0\1"

log = logging.getLogger("gslb.worker")


@dataclass(frozen=True, slots=True)
class Post:
    """Where a worker stands: which folders it uses and which of its kind it is."""

    deployment: str
    serving: Path  # the generations
    run: Path  # scoreboards and unix sockets of the node's workers
    slot: int


class Worker:
    """A UDP worker over `sockets`, obeying its supervisor at the other end of `line`."""

    def __init__(
        self,
        post: Post,
        make: Maker,
        line: socket.socket | None,
        sockets: Sequence[socket.socket],
        core: Core | None = None,
    ) -> None:
        """Without a `core` the reference answers all.  Raises OSError, UnusableGeneration."""
        name = f"udp-{os.getpid()}"
        self._board = Scoreboard(post.run / (name + BOARD_SUFFIX), Kind.UDP, post.slot)
        self._demand = DemandPage(post.run / (name + DEMAND_SUFFIX))
        self._core = core if core is not None else Core(None)
        self._follower = Follower(post.serving, post.deployment, make, self._board, images=core is not None)
        self._failures = Failures()
        self._over_limit = OverLimit(log)
        self._sample = Sample()
        self._answer: Callable[[bytes, str], bytes | None] | None = None
        self._finished = False
        self._sockets: dict[int, socket.socket] = {}
        self._lines: dict[int, socket.socket] = {}
        self._handlers: dict[int, Callable[[], None]] = {}
        self._epoll = select.epoll()
        self._door = channel.listen(post.run, name + channel.SUFFIX)
        self._watch(self._door, self._admit)
        self._line = line
        if line is not None:
            self._take_line(line)
        for sock in sockets:
            self.serve(sock)

    def run(self) -> None:
        """Serve until told to finish."""
        self._catch_termination()
        follower = self._follower
        word = follower.word
        poll = self._epoll.poll
        handlers = self._handlers
        show_at, wait = 0.0, FIRST_WAIT_S
        while not self._finished:
            busy, native = False, self._core.native
            if native is not None:
                turn = native.serve(self._epoll.fileno(), tuple(self._sockets), word, follower.seen, wait)
                self._take(turn)
                busy, wait = turn.received > 0, 0.0
            ready = poll(wait)
            busy = busy or bool(ready)
            if word[1] != follower.seen:
                self._follow()
            for descriptor, _ in ready:
                handler = handlers.get(descriptor)
                if handler is not None:
                    handler()
            now = time.monotonic()
            if now >= show_at or not busy:
                self._show(now)
                word = follower.word
                show_at = now + SHOW_S
            wait = FIRST_WAIT_S if self._answer is None else SHOW_S if busy else IDLE_WAIT_S
        self._close()

    def held(self) -> Sequence[socket.socket]:
        """The sockets it serves."""
        return list(self._sockets.values())

    def serve(self, sock: socket.socket) -> None:
        """Serve one more socket.  Before the first generation its queries wait in it."""
        self._sockets[sock.fileno()] = sock
        if self._answer is not None:
            self._watch(sock, partial(self._turn, sock))

    def leave(self, endpoints: frozenset[Endpoint]) -> None:
        """Close the sockets of `endpoints`."""
        for descriptor, sock in list(self._sockets.items()):
            if endpoint_of(sock) in endpoints:
                del self._sockets[descriptor]
                self._unwatch(sock)
                sock.close()

    def finish(self) -> None:
        """End the loop after this turn."""
        self._finished = True

    def _turn(self, sock: socket.socket) -> None:
        """Answer what waits in one socket, within bounds."""
        native = self._core.native
        if native is None:
            self._drain(sock.recvfrom, sock.sendto)
        else:
            self._take(native.drain(sock.fileno()))

    def _take(self, turn: Turn) -> None:
        """Do the rest of a turn of the native executor."""
        tallies = self._board.tallies
        tallies[Tally.SEND_FAILED] += turn.send_failed
        tallies[Tally.RECEIVE_FAILED] += turn.receive_failed
        for descriptor, query, client in turn.passed:
            self._reply(query, client, self._sockets[descriptor].sendto)

    def _drain(self, receive: Callable[..., tuple[bytes, Client]], send: Callable[..., int]) -> None:
        """Answer what waits in one socket, up to BATCH datagrams, by the reference."""
        reply = self._reply
        for _ in range(BATCH):
            try:
                query, client = receive(DATAGRAM_MAX)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier reply is reported here
                self._board.tallies[Tally.RECEIVE_FAILED] += 1
                return
            reply(query, client, send)

    def _reply(self, query: bytes, client: Client, send: Callable[..., int]) -> None:
        """Answer one datagram by the reference."""
        reply = self._answered(query, client[0])
        if reply is not None:
            try:
                send(reply, client)
            except OSError:  # a full queue, a firewall, a client that is gone: the client asks again
                self._board.tallies[Tally.SEND_FAILED] += 1

    def _answered(self, query: bytes, client: str) -> bytes | None:
        """What the reference replies."""
        answer = self._answer
        assert answer is not None
        try:
            return answer(query, client)
        except Exception as error:  # noqa: BLE001  # rule 1
            self._board.tallies[Tally.RESPONDER_FAILED] += 1
            return self._failures.reply(query, error, time.monotonic())

    def _follow(self) -> None:
        self._core.settle()
        self._sample.say(self._core.native)
        if not self._follower.follow(time.monotonic()):
            return
        self._core.follow(self._follower)
        self._board.answering(self._core.executor)
        answers = self._follower.answers
        assert answers is not None
        first = self._answer is None
        self._tell()
        gc.freeze()  # the tables live until the next generation: collections need not look at them
        log.debug("serving", extra={"pid": os.getpid(), "generation": self._follower.seen})
        if first:
            for sock in list(self._sockets.values()):
                self.serve(sock)
            if self._line is not None:
                channel.send(self._line, {"say": "serving"})

    def _tell(self) -> None:
        """Have the executors tell of their queries what is asked for."""
        answers, sample = self._follower.answers, self._sample
        if answers is not None:
            self._answer = sample.around(answers.udp, answers.counts)
        if self._core.native is not None:
            self._core.native.sample(sample.one_in, PER_S)

    def _listen(self, line: socket.socket, one_in: int) -> None:
        self._sample.listen(line, one_in)
        self._tell()

    def _asked(self, query: bytes) -> Mapping[str, object]:
        """What a client on this machine would be replied: nothing where that is over a limit."""
        native, reply = self._core.native, None
        if self._answer is not None and native is not None:
            reply = native.answer(query, _HERE_MAPPED, time.time_ns() // 1_000_000_000)
        if self._answer is not None and reply is None:
            reply = self._answered(query, _HERE)
        return {"serving": self._answer is not None, "reply": (reply or b"").hex()}

    def _show(self, now: float) -> None:
        answers, core = self._follower.answers, self._core
        core.settle()
        self._board.show(answers.counts if answers is not None else (), core.ups, core.qtypes)
        if answers is not None:
            self._demand.show(answers.given, now)
            self._over_limit.look(answers.counts, core.limited or answers.limited, now)
        self._sample.say(core.native)
        self._follower.look_around(now)

    def _admit(self) -> None:
        try:
            line, _ = self._door.accept()
        except OSError:
            return
        self._take_line(line)

    def _take_line(self, line: socket.socket) -> None:
        self._lines[line.fileno()] = line
        self._watch(line, partial(self._obey, line))

    def _obey(self, line: socket.socket) -> None:
        if obey(self, line, self._listen, self._asked):
            return
        self._sample.gone(line)
        self._tell()
        del self._lines[line.fileno()]
        self._unwatch(line)
        line.close()
        if line is self._line and not self._finished:
            self._line = None
            log.warning("the supervisor is gone; serving on", extra={"pid": os.getpid()})

    def _watch(self, source: socket.socket, handler: Callable[[], None]) -> None:
        if source.fileno() not in self._handlers:
            self._epoll.register(source.fileno(), select.EPOLLIN)
        self._handlers[source.fileno()] = handler

    def _unwatch(self, source: socket.socket) -> None:
        if self._handlers.pop(source.fileno(), None) is not None:
            self._epoll.unregister(source.fileno())

    def _catch_termination(self) -> None:
        """SIGTERM ends the loop; SIGINT and SIGHUP of a terminal are for the supervisor."""
        bell, clapper = socket.socketpair(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._watch(bell, partial(_swallow, bell))
        self._bell = (bell, clapper)
        signal.set_wakeup_fd(clapper.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: self.finish())
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)

    def _close(self) -> None:
        if self._answer is not None:
            for sock in self._sockets.values():
                self._turn(sock)
        self._show(time.monotonic())
        answers = self._follower.answers
        self._demand.close(answers.given if answers is not None else None)
        signal.set_wakeup_fd(-1)
        self._door.close()
        for source in (*self._sockets.values(), *self._lines.values(), *self._bell):
            source.close()
        self._epoll.close()
        self._follower.close()
        self._board.close()


def _swallow(bell: socket.socket) -> None:
    bell.recv(64)
