"""One thread's events: descriptors that become readable, signals, and moments.  IO.

Small on purpose: the supervisor forks, which an asyncio loop does not survive well.
"""

from __future__ import annotations

import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable
from types import FrameType

Callback = Callable[[], None]


class Reactor:
    """Calls back what was asked for, one turn at a time."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._moments: dict[object, tuple[float, Callback]] = {}
        self._signals: list[int] = []

    @property
    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def watch(self, source: int | socket.socket, callback: Callback) -> None:
        """Call back whenever `source` is readable."""
        self._selector.register(source, selectors.EVENT_READ, callback)

    def unwatch(self, source: int | socket.socket) -> None:
        """Call back for `source` no more."""
        self._selector.unregister(source)

    def after(self, name: object, delay_s: float, callback: Callback) -> None:
        """Call back once, in `delay_s`; a later word on `name` replaces an earlier one."""
        self._moments[name] = (self.now + delay_s, callback)

    def catch(self, numbers: Iterable[int], callback: Callable[[int], None]) -> None:
        """Call back for these signals, outside any signal handler."""
        bell, clapper = socket.socketpair(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._bell = bell, clapper
        signal.set_wakeup_fd(clapper.fileno(), warn_on_full_buffer=False)

        def heard() -> None:
            for number in bell.recv(64):
                callback(number)

        self.watch(bell, heard)
        for number in numbers:
            signal.signal(number, _wake)

    def turn(self) -> None:
        """Wait for the next events and call back."""
        soonest = min((at for at, _ in self._moments.values()), default=None)
        timeout = None if soonest is None else max(0.0, soonest - self.now)
        for key, _ in self._selector.select(timeout):
            if key.fd in self._selector.get_map():  # an earlier callback of this turn may have unwatched it
                key.data()
        due = [name for name, (at, _) in self._moments.items() if at <= self.now]
        for name in due:
            _, callback = self._moments.pop(name)
            callback()


def _wake(number: int, frame: FrameType | None) -> None:
    """The wakeup descriptor carries the number; the handler itself has nothing to do."""
