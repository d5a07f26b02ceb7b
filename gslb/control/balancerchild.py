"""The balancer's process as the supervisor keeps it: forked with few rights, replaced when it dies, told to finish.  IO.

Rule 1: it holds the rights of `privilege.BALANCER` that the supervisor held, and no other.
Rule 2: the socket that controllers connect to is the supervisor's, so who connects while the process is replaced only waits.
Rule 3: told to finish, it takes the balancer out of the kernel.  It is told so when the run ends, or when nothing is to be
balanced any more; however else it ends, the kernel goes on forwarding.
Rule 4: one that has said that it is alive and then says nothing for long hangs: it is killed, and replaced like one that died.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gslb.control import privilege
from gslb.control.children import Child, Restarts, bury, fork
from gslb.control.lock import Lock
from gslb.control.reactor import Reactor
from gslb.nameserver import channel

DOOR = "balancer.door"  # in the run folder
LOCK = "balancer.lock"
SILENCE_S = 30.0  # it says every second that it is alive; a step of its work may take some
TICKS = 10  # parts of a silence: a supervisor that stood still itself does not take that for one
STOP_WITHIN_S = 5.0  # then it is killed, and what it has not removed stays in the kernel

log = logging.getLogger("gslb.supervisor")


@dataclass(frozen=True, slots=True)
class Post:
    """Whose balancer it is.  `folder`: the node's state folder."""

    deployment: str
    node: str
    folder: Path


class BalancerChild:
    """At most one process."""

    def __init__(self, reactor: Reactor, post: Post) -> None:
        self._reactor = reactor
        self._post = post
        self._restarts = Restarts()
        self._door: socket.socket | None = None
        self._child: Child | None = None
        self._wanted = False
        self._unable = ""
        self._balances = True
        self._quiet: int | None = None  # parts of a silence that have passed; None before its first word
        self._looked = False  # for what an earlier run left

    @property
    def living(self) -> frozenset[Child]:
        """The process, while there is one."""
        return frozenset({self._child}) if self._child is not None else frozenset()

    def keep(self, unable: str = "", *, balances: bool = True) -> None:
        """Have one from now on; `unable`: why it cannot do anything, in words for people.

        Without `balances` it has DNS answered in the driver, and the balancer's programs are not loaded.
        """
        self._wanted, self._unable, self._balances = True, unable, balances
        self._begin()

    def finish(self) -> None:
        """Have it take the balancer out of the kernel, and no longer have one."""
        if not self._wanted:
            return
        self._begin()  # one that died has left all in force
        self._wanted = False
        if self._child is not None:
            channel.send(self._child.line, {"do": "finish"})
            self._reactor.after("kill balancer", STOP_WITHIN_S, partial(self._kill, self._child))

    def clear(self) -> None:
        """Have none, nor anything that an earlier run left in the kernel."""
        if not self._wanted and not self._looked:
            self._wanted = _left(self._post)
        self._looked = True
        self.finish()

    def _begin(self) -> None:
        if self._child is not None or not self._wanted:
            return
        try:
            if self._door is None:
                self._door = channel.listen(self._post.folder / "run", DOOR, socket.SOCK_STREAM)
                (self._post.folder / "run" / DOOR).chmod(0o600)
            body = partial(_balance, self._post, self._unable, self._balances, self._door)
            child = fork("balancer", 0, body, (self._door.fileno(),), self._reactor.now)
        except OSError as error:
            delay_s = self._restarts.delay_s(0.0)
            log.error("the balancer cannot be started", extra={"why": str(error), "next_try_s": delay_s})
            self._reactor.after("balancer", delay_s, self._begin)
            return
        self._child, self._quiet = child, None
        self._reactor.watch(child.notice, partial(self._ended, child))
        self._reactor.watch(child.line, partial(self._said, child))
        self._reactor.after("hear balancer", SILENCE_S / TICKS, self._listen)

    def _said(self, child: Child) -> None:
        if channel.receive(child.line) is not None:
            self._quiet = 0

    def _listen(self) -> None:
        """One part more of a silence has passed."""
        child = self._child
        if child is None:
            return
        self._reactor.after("hear balancer", SILENCE_S / TICKS, self._listen)
        if self._quiet is None:
            return
        self._quiet += 1
        if self._quiet > TICKS:
            log.error("the balancer's process hangs and is killed", extra={"pid": child.pid, "silent_s": SILENCE_S})
            os.kill(child.pid, signal.SIGKILL)

    def _ended(self, child: Child) -> None:
        self._reactor.unwatch(child.notice)
        self._reactor.unwatch(child.line)
        lived_s = self._reactor.now - child.born_s
        status = bury(child)
        self._child = None
        if not self._wanted:
            if status:
                log.error("the balancer's programs were not removed: %s on", self._goes_on, extra={"status": status})
            if self._door is not None:
                self._door.close()
                self._door = None
            return
        delay_s = self._restarts.delay_s(lived_s)
        fields = {"pid": child.pid, "status": status, "wait_s": delay_s}
        log.warning("the balancer's process died and is replaced; %s meanwhile", self._goes_on, extra=fields)
        self._reactor.after("balancer", delay_s, self._begin)

    @property
    def _goes_on(self) -> str:
        return "packets are forwarded" if self._balances else "DNS is answered in the driver"

    def _kill(self, child: Child) -> None:
        if self._child is child and not self._wanted:
            os.kill(child.pid, signal.SIGKILL)


def _left(post: Post) -> bool:
    """Whether there are pins of this node's balancer."""
    try:
        folder: Path = importlib.import_module("xdp.pins").folder(post.deployment, post.node)
        return folder.exists()
    except OSError:  # not ours to look at
        return False


def _balance(post: Post, unable: str, balances: bool, door: socket.socket, line: socket.socket) -> int:  # noqa: FBT001  # bound by partial
    privilege.keep_only(privilege.BALANCER)
    lock = Lock(post.folder, LOCK, wait=True)  # the process of a killed run ends soon
    parts, process = (importlib.import_module(f"xdp.{name}") for name in ("parts", "process"))  # heavy: only here
    alive = partial(channel.send, line, {"say": "alive"})
    alive()
    opened = partial(parts.opened, post.deployment, post.node, balances=balances)
    begin = partial(parts.refusing, unable) if unable else opened
    status: int = process.run(begin, door, line, _order(line), alive)
    lock.release()
    return status


def _order(line: socket.socket) -> Callable[[], bool | None]:
    """What the line says: to finish, that the supervisor is gone (False), or nothing of importance (None)."""

    def heard() -> bool | None:
        received = channel.receive(line)
        if received is None:
            return False
        return True if received[0].get("do") == "finish" else None

    return heard
