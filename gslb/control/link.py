"""The controller's end of the channel to its supervisor.  IO.

controller: {"say": "wanted", "wanted": {...}}     supervisor: {"do": "go", "listening": [...], "driver": ...}
                                                   {"do": "cannot", "why": ...}
            {"say": "addresses", "prefixes": [...]}            {"do": "addresses", "present": [...], "listened": [...], "problem": ...}
                                                   {"do": "reload"} | {"do": "finish"} | {"do": "hurry"}
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from gslb.control.wanted import Wanted
from gslb.model.deployment import Network
from gslb.nameserver import channel

log = logging.getLogger("gslb.node")


@dataclass(frozen=True, slots=True)
class Granted:
    """What the supervisor does.  `listening`: where it listens; `no_driver`: why it keeps no process for DNS in the driver."""

    listening: tuple[str, ...]
    no_driver: str = ""


@dataclass(frozen=True, slots=True)
class Lent:
    """What became of the prefixes whose addresses were asked for, as text.  `present`: this node has them.

    `listened`: and DNS listens there.  `problem`: what is wrong and what to do, for people; empty where all is well.
    """

    present: frozenset[str] = frozenset()
    listened: frozenset[str] = frozenset()
    problem: str = ""


class End(Enum):
    """How the controller is to end."""

    ORDERLY = auto()  # take away the routes that lead here, then end
    HURRIED = auto()  # without waiting for anybody to follow them
    ALONE = auto()  # the supervisor is gone: leave what lives without us


class Declined(Exception):
    """The supervisor cannot do what is wanted; the message is for people."""


class Link:
    """Asks, and hears what it did not ask for: a wish to reload, the end, and what becomes of addresses."""

    def __init__(
        self,
        line: socket.socket,
        reload: Callable[[], None],
        finish: Callable[[End], None],
        lent: Callable[[Lent], None],
    ) -> None:
        """Must be made inside the loop."""
        self._line = line
        self._reload = reload
        self._finish = finish
        self._lent = lent
        self._loop = asyncio.get_running_loop()
        self._reply: asyncio.Future[Granted] | None = None
        self._loop.add_reader(line, self._heard)

    async def ask(self, wanted: Wanted) -> Granted:
        """Have the supervisor listen and keep processes as `wanted` says.  Raises Declined."""
        self._reply = self._loop.create_future()
        channel.send(self._line, {"say": "wanted", "wanted": wanted.to_json()})
        return await self._reply

    def lend(self, prefixes: Iterable[Network]) -> None:
        """Have this node hold the addresses of exactly these prefixes, and listen there; `lent` is told, now and at each change."""
        channel.send(self._line, {"say": "addresses", "prefixes": [str(one) for one in prefixes]})

    def close(self) -> None:
        """Listen no more."""
        self._loop.remove_reader(self._line)

    def _heard(self) -> None:
        received = channel.receive(self._line)
        if received is None:
            self.close()
            self._settle(Declined("the supervisor is gone"))
            self._finish(End.ALONE)
            return
        message = received[0]
        match message.get("do"):
            case "go":
                listening = message.get("listening")
                where = tuple(listening) if isinstance(listening, list) else ()
                self._settle(Granted(where, str(message.get("driver", ""))))
            case "cannot":
                self._settle(Declined(str(message.get("why"))))
            case "reload":
                self._reload()
            case "addresses":
                self._lent(_lent(message))
            case "finish":
                self._settle(Declined("stopping"))
                self._finish(End.ORDERLY)
            case "hurry":
                self._finish(End.HURRIED)
            case other:
                log.warning("unknown order", extra={"order": other})

    def _settle(self, result: Granted | Declined) -> None:
        if self._reply is None or self._reply.done():
            return
        if isinstance(result, Declined):
            self._reply.set_exception(result)
        else:
            self._reply.set_result(result)


def _lent(message: Mapping[str, object]) -> Lent:
    present, listened = (message.get(name) for name in ("present", "listened"))
    return Lent(
        frozenset(present if isinstance(present, list) else ()),
        frozenset(listened if isinstance(listened, list) else ()),
        str(message.get("problem", "")),
    )
