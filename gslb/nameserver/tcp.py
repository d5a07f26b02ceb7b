"""The TCP worker: one process, all connections on one asyncio loop.  IO; the protocol itself is `stream`.

Rule 1: no client can make another wait: a turn answers at most TURN queries of a connection, a client that does not
read is not read from, and each deadline of `stream.Patience` ends in a closed connection.
Rule 2: a client network (an IPv4 address, an IPv6 /64) has at most a tenth of `limits.tcp_clients` connections, but
`SHARE_MIN`.  When all are taken, a new client takes the place of the connection that has been idle longest.
Rule 3: what a connection may hold is bounded: READ_MAX octets read ahead, one unfinished message, WRITE_MAX octets
and one reply not yet sent.
Standards: RFC 7766 (sections 6.2.1.1 pipelining, 6.2.3 idle, 6.2.4 closing), RFC 9210.
"""
# typing.override arrives with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections import Counter as Multiset
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address

from gslb.nameserver import channel
from gslb.nameserver.demand import SUFFIX as DEMAND_SUFFIX
from gslb.nameserver.demand import DemandPage
from gslb.nameserver.failure import Failures
from gslb.nameserver.follower import Follower, Maker
from gslb.nameserver.orders import obey
from gslb.nameserver.scoreboard import SUFFIX as BOARD_SUFFIX
from gslb.nameserver.scoreboard import Kind, Scoreboard, Tally
from gslb.nameserver.sockets import BACKLOG, Endpoint, endpoint_of
from gslb.nameserver.stream import Patience, Session, frame
from gslb.nameserver.worker import FIRST_WAIT_S, IDLE_WAIT_S, SHOW_S, Post

TURN = 64  # queries
READ_MAX = 16 << 10  # octets a read
WRITE_MAX = 64 << 10  # octets
SHARE_MIN = 4  # connections of a client network, however small the limit
LEAVE_WITHIN_S = 10.0  # a worker told to finish has closed its connections by then
LEAVE_IDLE_S = 1.0  # and the idle ones by then: a query already on its way is still answered
PATIENCE = Patience()

log = logging.getLogger("gslb.worker")


def share_of(limit: int) -> int:
    """How many of `limit` connections one client network may have."""
    return min(limit, max(SHARE_MIN, limit // 10))


class Connection(asyncio.BufferedProtocol):
    """One client's connection: drives a `Session`."""

    def __init__(self, worker: TcpWorker) -> None:
        self._worker = worker
        self._loop = worker.loop
        self._paused = False
        self._ended = False  # the client will send no more
        self._timer: asyncio.TimerHandle | None = None
        self._turn: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or close it at once when there is no room."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.client = str(peer[0]) if peer else ""
        self.network = _network(self.client)
        self._session = Session(self._worker.patience, self._loop.time())
        transport.set_write_buffer_limits(high=WRITE_MAX)
        if not self._worker.admit(self):
            transport.abort()
            return
        self._arm()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature
        """One buffer serves all connections: what was read is copied out before the next read."""
        return self._worker.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Octets arrived."""
        self._session.receive(self._worker.buffer[:nbytes], self._loop.time())
        if self._turn is None:
            self._answer()

    def eof_received(self) -> bool:
        """The client has asked all it wants: answer that, then close (RFC 7766 section 6.2.4)."""
        self._ended = True
        if self._turn is None and not self._paused:
            self._answer()
        return True

    def pause_writing(self) -> None:
        """The client does not read its replies: read no more of its queries."""
        self._paused = True
        self._session.stalled(self._loop.time())
        self._arm()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._paused = False
        self._session.flowing(self._loop.time())
        if self._turn is None and not self._transport.is_closing():
            self._turn = self._loop.call_soon(self._answer)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Forget the connection."""
        for handle in (self._timer, self._turn):
            if handle is not None:
                handle.cancel()
        self._worker.forget(self)

    @property
    def idle_since_s(self) -> float | None:
        """Since when nothing is under way; None while something is."""
        busy = self._turn is not None or self._paused or not self._session.idle
        return None if busy else self._session.active_s

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    def close(self) -> None:
        """Close when all that was answered is sent; the timer ends what a client does not take."""
        self._transport.close()

    def _answer(self) -> None:
        """Answer what has arrived, one turn of it."""
        self._turn = None
        now = self._loop.time()
        whole = self._answer_turn(now)
        if self._paused or not whole:
            self._transport.pause_reading()
            if not self._paused:
                self._turn = self._loop.call_soon(self._answer)
        elif self._ended:
            self.close()
        else:
            self._transport.resume_reading()
        if self._timer is not None and self._session.deadline() < self._timer.when():
            self._arm()

    def _answer_turn(self, now: float) -> bool:
        """Answer up to TURN queries; whether that was all."""
        answer = self._worker.turn()
        replies: list[bytes] = []
        size = 0
        query: bytes | None = b""
        for _ in range(TURN):
            query = self._session.next_query(now)
            if query is None:
                break
            reply = answer(query, self.client)
            if reply is not None:
                replies.append(frame(reply))
                size += len(reply)
            if size >= WRITE_MAX:
                break
        if replies:
            self._session.answered(now)
            self._transport.write(b"".join(replies))
        return query is None

    def _arm(self, at_s: float | None = None) -> None:
        """Wake at the session's deadline; one that has moved away is found out then, so a query costs no timer."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._session.deadline() if at_s is None else at_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        now = self._loop.time()
        if self._transport.is_closing() or self._paused:
            self._transport.abort()
        elif self._session.deadline() > now:
            self._arm()
            return
        else:
            self.close()
            self._arm(now + self._worker.patience.write_s)
        self._worker.board.tallies[Tally.TCP_TIMED_OUT] += 1


class TcpWorker:
    """All TCP service of a node, obeying its supervisor at the other end of `line`."""

    def __init__(
        self, post: Post, make: Maker, line: socket.socket | None, limit: int, patience: Patience = PATIENCE
    ) -> None:
        """`limit` is the most connections at a time.  Raises OSError, UnusableGeneration."""
        self._post = post
        self._name = f"tcp-{os.getpid()}"
        self.board = Scoreboard(post.run / (self._name + BOARD_SUFFIX), Kind.TCP, post.slot)
        self._demand = DemandPage(post.run / (self._name + DEMAND_SUFFIX))
        self._follower = Follower(post.serving, post.deployment, make, self.board)
        self._failures = Failures()
        self._line = line
        self._limit = limit
        self._sockets: dict[int, socket.socket] = {}
        self._servers: dict[int, asyncio.Server] = {}
        self._connections: set[Connection] = set()
        self._of_network: Multiset[str] = Multiset()
        self._tasks: set[asyncio.Task[None]] = set()
        self._show_timer: asyncio.TimerHandle | None = None
        self.patience = patience
        self.buffer = memoryview(bytearray(READ_MAX))

    def run(self, sockets: Sequence[socket.socket]) -> None:
        """Serve the listening `sockets` until told to finish."""
        with asyncio.Runner() as runner:
            runner.run(self._run(sockets))

    async def _run(self, sockets: Sequence[socket.socket]) -> None:
        self.loop = asyncio.get_running_loop()
        self._finishing = asyncio.Event()
        self.loop.add_signal_handler(signal.SIGTERM, self.finish)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        door = channel.listen(self._post.run, self._name + channel.SUFFIX)
        self.loop.add_reader(door, self._admit_line, door)
        if self._line is not None:
            self.loop.add_reader(self._line, self._obey, self._line)
        tick = self.loop.create_task(self._tick())
        for sock in sockets:
            self.serve(sock)
        await self._finishing.wait()
        await self._leave()
        tick.cancel()
        self.loop.remove_reader(door)
        door.close()
        self._write_page()
        answers = self._follower.answers
        self._demand.close(answers.given if answers is not None else None)
        self._follower.close()
        self.board.close()

    def held(self) -> Sequence[socket.socket]:
        """The sockets it serves."""
        return list(self._sockets.values())

    def serve(self, sock: socket.socket) -> None:
        """Serve one more socket.  Before the first generation its clients wait in it."""
        self._sockets[sock.fileno()] = sock
        if self._follower.answers is not None:
            task = self.loop.create_task(self._listen(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def leave(self, endpoints: frozenset[Endpoint]) -> None:
        """Close the sockets of `endpoints`; their connections go on."""
        for descriptor, sock in list(self._sockets.items()):
            if endpoint_of(sock) in endpoints:
                del self._sockets[descriptor]
                server = self._servers.pop(descriptor, None)
                if server is not None:
                    server.close()
                sock.close()

    def finish(self) -> None:
        """Exit when the connections have been answered."""
        self._finishing.set()

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for `connection`; it is counted then."""
        room = self._of_network[connection.network] < share_of(self._limit)
        if room and len(self._connections) >= self._limit:
            room = self._make_room()
        if not room:
            self.board.tallies[Tally.TCP_OVER_LIMIT] += 1
            return False
        self.board.tallies[Tally.TCP_ACCEPTED] += 1
        self._connections.add(connection)
        self._of_network[connection.network] += 1
        return True

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        if connection in self._connections:
            self._connections.discard(connection)
            self._of_network[connection.network] -= 1
            if not self._of_network[connection.network]:
                del self._of_network[connection.network]

    def turn(self) -> Callable[[bytes, str], bytes | None]:
        """What answers this turn's queries, of the newest generation."""
        follower = self._follower
        if follower.word[1] != follower.seen:
            self._look()
        if self._show_timer is None:
            self._show_timer = self.loop.call_later(SHOW_S, self._show)
        return self._reply

    def _reply(self, query: bytes, client: str) -> bytes | None:
        answers = self._follower.answers
        assert answers is not None  # no socket is listened on before
        try:
            return answers.tcp(query, client)
        except Exception as error:  # noqa: BLE001  # a defect of ours must not end the worker
            self.board.tallies[Tally.RESPONDER_FAILED] += 1
            return self._failures.reply(query, error, self.loop.time())

    def _make_room(self) -> bool:
        idle = [(since, id(one), one) for one in self._connections if (since := one.idle_since_s) is not None]
        if not idle:
            return False
        oldest = min(idle)[2]
        oldest.close()
        self.forget(oldest)
        return True

    async def _listen(self, sock: socket.socket) -> None:
        server = await self.loop.create_server(lambda: Connection(self), sock=sock, backlog=BACKLOG)
        if sock.fileno() in self._sockets:
            self._servers[sock.fileno()] = server
        else:
            server.close()

    def _look(self) -> None:
        if not self._follower.follow(self.loop.time()):
            return
        gc.freeze()  # the tables live until the next generation: collections need not look at them
        if not self._servers and not self._tasks:
            for sock in list(self._sockets.values()):
                self.serve(sock)
            if self._line is not None:
                channel.send(self._line, {"say": "serving"})

    async def _tick(self) -> None:
        while True:
            if self._follower.word[1] != self._follower.seen:
                self._look()
            self._follower.look_around(self.loop.time())
            self._write_page()
            await asyncio.sleep(FIRST_WAIT_S if self._follower.answers is None else IDLE_WAIT_S)

    def _show(self) -> None:
        self._show_timer = None
        self._write_page()

    def _write_page(self) -> None:
        answers = self._follower.answers
        self.board.show(answers.counts if answers is not None else ())
        if answers is not None:
            self._demand.show(answers.given, self.loop.time())

    async def _leave(self) -> None:
        """Stop listening; let what is under way be answered; close the rest."""
        for server in self._servers.values():
            server.close()
        give_up_s = self.loop.time() + LEAVE_WITHIN_S
        while self._connections and (now := self.loop.time()) < give_up_s:
            for connection in list(self._connections):
                since = connection.idle_since_s
                if since is not None and now - since >= LEAVE_IDLE_S:
                    connection.close()
            await asyncio.sleep(0.05)
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)

    def _admit_line(self, door: socket.socket) -> None:
        try:
            line, _ = door.accept()
        except OSError:
            return
        self.loop.add_reader(line, self._obey, line)

    def _obey(self, line: socket.socket) -> None:
        if obey(self, line):
            return
        self.loop.remove_reader(line)
        line.close()
        if line is self._line:
            self._line = None
            if not self._finishing.is_set():
                log.warning("the supervisor is gone; serving on", extra={"pid": os.getpid()})


def _network(client: str) -> str:
    """What counts as one client: an IPv4 address, an IPv6 /64."""
    if ":" not in client:
        return client
    return IPv6Address(client).packed[:8].hex()
