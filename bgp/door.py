"""The unix socket to which ExaBGP's bridge comes: moments and bytes for the `Speaker`, and what it wants to say.  IO.

Rule 1: one bridge at a time, and the newest is it: an earlier one is dead, or belongs to an ExaBGP that is.
Rule 2: only processes of the given users are heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from bgp.routes import Change, Route
from bgp.speaker import Event, Lost, Speaker, Stage
from gslb.model.deployment import Address

LONGEST_LINE = 1 << 20  # bytes: `show neighbor json` has all sessions on one line
PAUSE_S = 0.001  # a time-out that is due now is due a moment later, never in a loop
_PEER = struct.Struct("3i")  # SO_PEERCRED: process, user, group


class Door:
    """`tell` is called with every event, and with the process id of each bridge as it comes (`met`)."""

    def __init__(
        self,
        speaker: Speaker,
        path: Path,
        users: Iterable[int],
        tell: Callable[[Event], None],
        met: Callable[[int, int], None],
    ) -> None:
        self.speaker = speaker
        self._path = path
        self._users = frozenset(users)
        self._tell = tell
        self._met = met
        self._server: asyncio.Server | None = None
        self._bridge: _Bridge | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._settled = asyncio.Event()

    async def open(self, group: int | None) -> None:
        """Listen; processes of `group` may come as well.  Raises OSError."""
        self._path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.bind(str(self._path))
            self._path.chmod(0o660)
            if group is not None:
                os.chown(self._path, -1, group)
            self._server = await loop.create_unix_server(lambda: _Bridge(self), sock=made)
        except OSError:
            made.close()
            raise

    def close(self) -> None:
        """Hear nobody any more.  The socket's name goes, and ExaBGP's routes stay."""
        if self._timer:
            self._timer.cancel()
        if self._server:
            self._server.close()
            self._path.unlink(missing_ok=True)
        self._drop()

    def want(self, routes: Iterable[Route], prepared: Iterable[Change] = ()) -> None:
        """See `Speaker.want`; what can be said now is said now."""
        self.speaker.want(routes, prepared)
        self._settled.clear()
        self._turn([])

    def teardown(self, neighbor: Address) -> None:
        """See `Speaker.teardown`."""
        self.speaker.teardown(neighbor)
        self._settled.clear()
        self._turn([])

    def reloaded(self, neighbors: Iterable[Address], after_s: float) -> None:
        """See `Speaker.reloaded`."""
        self.speaker.reloaded(neighbors, after_s, asyncio.get_running_loop().time())
        self._settled.clear()
        self._turn([])

    async def settle(self, within_s: float) -> bool:
        """Whether ExaBGP has all that is wanted, waiting for it if need be."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), within_s)
        return self.speaker.settled

    def _turn(self, events: list[Event]) -> None:
        """Tell, let time pass, write, and sleep until something is due."""
        now = asyncio.get_running_loop().time()
        events = events + self.speaker.tick(now)
        lines = self.speaker.to_send()
        if self._bridge and lines:
            self._bridge.write("".join(f"{line}\n" for line in lines).encode("ascii"))
        if any(isinstance(event, Lost) for event in events) and self.speaker.stage is not Stage.UNUSABLE:
            self._drop()
        if self.speaker.settled:
            self._settled.set()
        self._set_timer(now)
        for event in events:
            self._tell(event)

    def _set_timer(self, now: float) -> None:
        if self._timer:
            self._timer.cancel()
        due = self.speaker.wake_at()
        loop = asyncio.get_running_loop()
        self._timer = None if due is None else loop.call_at(max(due, now + PAUSE_S), self._turn, [])

    def _drop(self) -> None:
        bridge, self._bridge = self._bridge, None
        if bridge:
            bridge.abort()
        self.speaker.disconnected()

    # What bridges do.

    def admits(self, user: int) -> bool:
        """Whether processes of this user are heard."""
        return user in self._users

    def came(self, bridge: _Bridge, process: int, user: int) -> None:
        """A bridge has come; the one before it is left."""
        self._drop()
        self._bridge = bridge
        self._met(process, user)
        self.speaker.connected(asyncio.get_running_loop().time())
        self._turn([])

    def heard(self, bridge: _Bridge, lines: list[str]) -> None:
        """Lines of a bridge, if it is the one."""
        if bridge is self._bridge:
            now = asyncio.get_running_loop().time()
            self._turn([event for line in lines for event in self.speaker.receive(line, now)])

    def went(self, bridge: _Bridge) -> None:
        """A bridge's connection has ended."""
        if bridge is self._bridge:
            self._bridge = None
            self.speaker.disconnected()
            self._turn([])


class _Bridge(asyncio.Protocol):
    """One connection."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # type: ignore[explicit-override]  # 3.12 has it
        assert isinstance(transport, asyncio.Transport)
        peer = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        process, user, _ = _PEER.unpack(peer)
        if not self._door.admits(user):
            transport.abort()
            return
        self._transport = transport
        self._door.came(self, process, user)

    def data_received(self, data: bytes) -> None:  # type: ignore[explicit-override]
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            self.abort()
            return
        self._door.heard(self, [line.decode("ascii", "replace") for line in lines])

    def connection_lost(self, _: Exception | None) -> None:  # type: ignore[explicit-override]
        self._door.went(self)

    def write(self, data: bytes) -> None:
        """Send, or keep until it can be sent."""
        if self._transport:
            self._transport.write(data)

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport:
            self._transport.abort()
