"""The first part of an orderly end where routes lead here: the controller takes them away while all else answers on.  IO.

Rule 1: it has the time that it asked for in its standing orders, and no more.
An ExaBGP that still lives then is killed, so that no route leads where nothing answers.
Rule 2: one that has not yet found what runs here is told when it has: otherwise it would leave that behind.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gslb.control.children import Child
from gslb.control.reactor import Reactor
from gslb.nameserver import channel

FOLDER = "bgp"  # in the node's state folder: what ExaBGP needs, and says
HURRIED_S = 5.0  # from the second signal on: to withdraw, and to end the sessions

log = logging.getLogger("gslb.supervisor")


class Farewell:
    """`over` is called when the time is up; that the controller has ended is seen by who keeps it."""

    def __init__(self, reactor: Reactor, over: Callable[[], None]) -> None:
        self._reactor = reactor
        self._over = over
        self._told: Child | None = None
        self._hurried = False
        self.under_way = False
        self.within_s = 0.0  # 0: no route has led here in this run

    def allow(self, within_s: float) -> None:
        """Standing orders of now; routes of earlier ones may be on their way out."""
        self.within_s = max(self.within_s, within_s)

    def begin(self, child: Child | None) -> None:
        """Begin; a second time: have it done without waiting for routers and clients to move."""
        if not self.under_way:
            self.under_way = True
            self._reactor.after("farewell", self.within_s, self._late)
            log.info("stopping: routes leave first; a second signal hurries", extra={"within_s": self.within_s})
        elif not self._hurried:
            self._hurried = True
            self._reactor.after("farewell", HURRIED_S, self._late)
        self.tell(child)

    def tell(self, child: Child | None) -> None:
        """Tell a controller, once it has its orders."""
        if not self.under_way or child is None or not child.serving:
            return
        if self._told is not child:
            self._told = child
            channel.send(child.line, {"do": "finish"})
        if self._hurried:
            channel.send(child.line, {"do": "hurry"})

    def done(self, child: Child, status: int) -> bool:
        """Whether a controller that ended with this status has done it; one that died is replaced, for as long as there is time."""
        return self._told is child and status == 0

    def _late(self) -> None:
        if self.under_way:
            log.error("not all routes were taken away in time: the controller is killed")
            self._over()


def end_speaker(folder: Path) -> None:
    """Kill the ExaBGP of the node with this state folder, if one lives: routers drop what it announced."""
    if not (folder / FOLDER).exists():
        return
    pid: int | None = importlib.import_module("bgp.launch").running(folder / FOLDER)
    if pid is not None:
        log.error("ExaBGP still runs and is killed", extra={"pid": pid})
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
