"""Sampled queries of all executors, for those who listen.  IO: the workers' channels.

Rule 1: while nobody listens nothing is asked of anybody; who listens is known by what `listening` holds, and by nothing else.
Rule 2: all that waits is bounded, and what is lost is told.  A worker that is gone, or new, is found at the next look.
Rule 3: a worker tells as long as the line to it is open, so a controller that is dead is told nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from gslb.config.zonedraft import name_text
from gslb.config.zonefile import type_text
from gslb.control.events import Hub
from gslb.layout import DNS_EVENT_NAME, DnsEventFlags
from gslb.nameserver import channel
from gslb.nameserver.queryevent import RECORD_OCTETS, QueryEvent, read
from gslb.nameserver.wire import Rcode

DRIVER = "driver"
LOOK_S = 1.0
MOST_ONE_IN = 1_000_000
_WORKERS = "udp-*" + channel.SUFFIX
_EXECUTORS = ("native", "python")

log = logging.getLogger("gslb.node")


class Queries:
    """The sample of one node.  `changed` is called with the share that the driver is to tell of."""

    def __init__(self, run: Path, epoch: int, changed: Callable[[int], None]) -> None:
        """`run` is the folder of the workers' channels, `epoch` as for `Hub`."""
        self.hub = Hub(epoch)
        self.lost = 0  # never told, since nobody could take them; grows
        self._run = run
        self._changed = changed
        self._wanted: list[int] = []
        self._lines: dict[str, socket.socket] = {}
        self._asked: dict[str, int] = {}
        self._other = asyncio.Event()

    @property
    def one_in(self) -> int:
        """Of so many queries one is told of, which is the most that a listener wants; 0: nobody listens."""
        return min(self._wanted, default=0)

    @contextmanager
    def listening(self, one_in: int) -> Iterator[None]:
        """While somebody listens to one query in `one_in`."""
        self._wanted.append(one_in)
        self._tell()
        try:
            yield
        finally:
            self._wanted.remove(one_in)
            self._tell()

    def take(self, records: bytes, lost: int, executor: str) -> None:
        """Records that an executor told, one behind the other."""
        if not self._wanted:
            return
        self.lost += lost
        whole = len(records) // RECORD_OCTETS * RECORD_OCTETS
        for at in range(0, whole, RECORD_OCTETS):
            event = read(records[at : at + RECORD_OCTETS])
            self.hub.publish(event.at, {"executor": executor, "one_in": self.one_in, **as_json(event)})

    async def run(self, stop: asyncio.Event) -> None:
        """Have the workers tell, while somebody listens, until `stop`."""
        ending = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                self._other.clear()
                self._look()
                waiting = asyncio.ensure_future(self._other.wait())
                await asyncio.wait(
                    (waiting, ending),
                    timeout=LOOK_S if self._wanted else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                waiting.cancel()
        finally:
            ending.cancel()
            for name in list(self._lines):
                self._leave(name)

    def _tell(self) -> None:
        self._changed(self.one_in)
        self._other.set()

    def _look(self) -> None:
        """Have a line to each worker, and have it tell what is wanted now."""
        names = {path.name for path in self._run.glob(_WORKERS)} if self._wanted else set()
        for name in self._lines.keys() - names:
            self._leave(name)
        for name in names - self._lines.keys():
            with suppress(OSError):  # it ended, or does not accept now
                line = channel.connect(self._run, name, 0.0)
                self._lines[name] = line
                asyncio.get_running_loop().add_reader(line, self._hear, name)
        for name, line in list(self._lines.items()):
            if self._asked.get(name) == self.one_in:
                continue
            if channel.send(line, {"do": "sample", "one_in": self.one_in}):
                self._asked[name] = self.one_in
            else:
                self._leave(name)

    def _hear(self, name: str) -> None:
        received = channel.receive(self._lines[name])
        if received is None:
            self._leave(name)
            return
        message, _ = received
        try:
            lost, executor = message.get("lost"), message.get("executor")
            records = base64.b64decode(str(message.get("queries")), validate=True)
        except binascii.Error:
            log.warning("a worker tells of queries what cannot be read", extra={"worker": name})
            return
        if isinstance(lost, int) and executor in _EXECUTORS:
            self.take(records, lost, str(executor))

    def _leave(self, name: str) -> None:
        line = self._lines.pop(name)
        self._asked.pop(name, None)
        asyncio.get_running_loop().remove_reader(line)
        line.close()


def as_json(event: QueryEvent) -> Mapping[str, object]:
    """One query, as JSON values."""
    flags = event.flags
    cookie = "valid" if flags & DnsEventFlags.DNS_EVENT_COOKIE_VALID else "given"
    return {
        "client": event.client,
        "subnet": event.subnet,
        "scope": event.scope,
        "name": name_text(_whole_labels(event.name)),
        "cut": event.cut,
        "type": type_text(event.rtype),
        "rcode": _rcode(event.rcode),
        "address": event.address,
        "answered": not flags & DnsEventFlags.DNS_EVENT_DROPPED,
        "truncated": bool(flags & DnsEventFlags.DNS_EVENT_TRUNCATED),
        "do": bool(flags & DnsEventFlags.DNS_EVENT_DO),
        "cookie": cookie if flags & DnsEventFlags.DNS_EVENT_COOKIE else None,
    }


def _rcode(number: int) -> str:
    try:
        return Rcode(number).name
    except ValueError:
        return str(number)


def _whole_labels(name: bytes) -> bytes:
    """A wire name, ended behind the last label that is whole."""
    at = 0
    while at < len(name) and name[at] and at + 1 + name[at] <= min(len(name), DNS_EVENT_NAME):
        at += 1 + name[at]
    return name[:at] + b"\0"
