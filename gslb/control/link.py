"""The controller's end of the channel to its supervisor.  IO.

controller: {"say": "wanted", "wanted": {...}}     supervisor: {"do": "go", "listening": [...], "driver": ...}
                                                   {"do": "cannot", "why": ...}
                                                   {"do": "reload"} | {"do": "finish"}
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

from gslb.control.wanted import Wanted
from gslb.nameserver import channel

log = logging.getLogger("gslb.node")


@dataclass(frozen=True, slots=True)
class Granted:
    """What the supervisor does.  `listening`: where it listens; `no_driver`: why it keeps no process for DNS in the driver."""

    listening: tuple[str, ...]
    no_driver: str = ""


class Declined(Exception):
    """The supervisor cannot do what is wanted; the message is for people."""


class Link:
    """Asks, and hears what it did not ask for: a wish to reload, and the end."""

    def __init__(self, line: socket.socket, reload: Callable[[], None], finish: Callable[[], None]) -> None:
        """Must be made inside the loop.  `finish` is also called when the supervisor is gone."""
        self._line = line
        self._reload = reload
        self._finish = finish
        self._loop = asyncio.get_running_loop()
        self._reply: asyncio.Future[Granted] | None = None
        self._loop.add_reader(line, self._heard)

    async def ask(self, wanted: Wanted) -> Granted:
        """Have the supervisor listen and keep processes as `wanted` says.  Raises Declined."""
        self._reply = self._loop.create_future()
        channel.send(self._line, {"say": "wanted", "wanted": wanted.to_json()})
        return await self._reply

    def close(self) -> None:
        """Listen no more."""
        self._loop.remove_reader(self._line)

    def _heard(self) -> None:
        received = channel.receive(self._line)
        if received is None:
            self.close()
            self._settle(Declined("the supervisor is gone"))
            self._finish()
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
            case "finish":
                self._settle(Declined("stopping"))
                self._finish()
            case other:
                log.warning("unknown order", extra={"order": other})

    def _settle(self, result: Granted | Declined) -> None:
        if self._reply is None or self._reply.done():
            return
        if isinstance(result, Declined):
            self._reply.set_exception(result)
        else:
            self._reply.set_result(result)
