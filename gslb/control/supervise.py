"""The supervisor of `gslb run`: owns the sockets and the processes, and does nothing else.  IO.

    supervisor ── controller         reads, decides, publishes (gslb.control.node)
               ├─ udp 0..n-1         one a core, each with its own socket an address (gslb.nameserver.worker)
               ├─ tcp                (gslb.nameserver.tcp)
               └─ balancer           where a pool of the site is balanced, or DNS answered in the driver
                                     (gslb.control.balancerchild)

Rule 1: it stays small: what needs a parser or a library beyond the nameserver's happens in the controller.
Rule 2: whoever dies is replaced, a worker on the same sockets; a crash loop slows down and never gives up.
Rule 3: told to stop, it ends everything that it made: the controller first where routes lead here (`gslb.control.farewell`),
addresses that it put on `lo` last.  Killed, it leaves the workers serving: the next run takes their
sockets, starts its own workers on them, and only then lets the old ones finish (`gslb.control.orphans`).
Rule 4: rights that the configuration has no use for are dropped once it is known, and do not come back with a reload.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import resource
import signal
import socket
from functools import partial
from ipaddress import ip_network

from gslb.control import addresses, orphans, privilege, remembered, wanted
from gslb.control.balancerchild import BalancerChild, Post
from gslb.control.children import Child, Restarts, bury, fork
from gslb.control.crew import Crew, clear_away, worker_count
from gslb.control.farewell import Farewell, end_speaker
from gslb.control.following import Following
from gslb.control.listening import Listening
from gslb.control.lock import AlreadyRunning, Lock
from gslb.control.loopback import Loopback
from gslb.control.orphans import Orphan
from gslb.control.reactor import Reactor
from gslb.control.start import Start
from gslb.control.store import StateError, Store
from gslb.control.wanted import Wanted
from gslb.model.deployment import Attach
from gslb.nameserver import channel
from gslb.nameserver.generation import Current
from gslb.nameserver.scoreboard import RETIRED
from gslb.nameserver.sockets import CannotListen, Endpoint

LOOK_S = 3.0  # between two looks at the node's addresses
STOP_WITHIN_S = 5.0  # then what has not ended is killed
GAVE_UP = (
    "this run gave up the rights that XDP needs, since nothing was to run there when it started; "
    "restart gslb: systemctl restart gslb"
)
NO_RIGHTS = (
    "this process has not all of CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; "
    "run gslb as root, or give its unit these rights: packaging/gslb-balancer.conf"
)
READING_S = 1.0  # a controller in the midst of reading is not waited for: what it writes, it writes whole

log = logging.getLogger("gslb.supervisor")


class CannotStart(Exception):
    """One line for people on why this run cannot start."""


def supervise(start: Start) -> int:
    """Serve until SIGINT or SIGTERM; the exit status.  Raises CannotStart."""
    return Supervisor(start).run()


class Supervisor:
    """One run.  What it learns of the configuration it learns from the controller."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._reactor = Reactor()
        self._listening = Listening()
        self._restarts = Restarts()
        self._controller: Child | None = None
        self._wanted: Wanted | None = None
        self._confirmed = False  # the controller has read the configuration once
        self._resumed = False  # the last good generation is served, whatever the controller finds
        self._crew: Crew | None = None
        self._balancer: BalancerChild | None = None
        self._kept = {privilege.CAP_NET_BIND_SERVICE}  # of the rights that this run began with
        self._gave_up = False  # rights that a balancer would need
        self._lock: Lock | None = None
        self._store: Store | None = None
        self._orphans: set[Orphan] = set()
        self._following: Following | None = None
        self._farewell = Farewell(self._reactor, self._left)
        self._stopping = False
        self._status = 0
        self._why: str | None = None

    def run(self) -> int:
        """Run until stopped; the exit status.  Raises CannotStart."""
        _raise_descriptor_limit()
        self._reactor.catch((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), self._signalled)
        self._begin_controller()
        self._resume()
        while not self._done():
            self._reactor.turn()
            self._step_down()
        self._clear_up()
        if self._why is not None:
            raise CannotStart(self._why)
        return self._status

    def _resume(self) -> None:
        """Serve the last good generation at once where it is known how; the controller confirms or corrects it."""
        known = remembered.recall(self._start)
        if known is None:
            return
        try:
            self._open(known)
        except (CannotStart, CannotListen) as error:
            self._why = str(error)
            self._stop(1)
            return
        self._wanted = known
        self._balance(known)
        self._resumed = self._serves()

    def _serves(self) -> bool:
        """Whether there is a generation that an earlier run put in force: what it answers outlives a refused file."""
        assert self._store is not None
        current = Current(self._store.folder / "serving")
        number = current.number
        current.close()
        return number > 0

    # --- the controller ---

    def _begin_controller(self) -> None:
        if self._stopping:
            return
        first = not (self._confirmed or self._resumed)
        try:
            child = fork("controller", 0, partial(_control, self._start, first), (), self._reactor.now)
        except OSError as error:
            delay_s = self._restarts.delay_s(0.0)
            log.error("the controller cannot be started", extra={"why": error.strerror, "next_try_s": delay_s})
            self._reactor.after("controller", delay_s, self._begin_controller)
            return
        self._controller = child
        self._reactor.watch(child.notice, partial(self._controller_ended, child))
        self._reactor.watch(child.line, partial(self._controller_said, child))

    def _controller_ended(self, child: Child) -> None:
        self._reactor.unwatch(child.notice)
        self._reactor.unwatch(child.line)
        lived_s = self._reactor.now - child.born_s
        status = bury(child)
        self._controller = None
        if self._stopping:
            return
        if self._farewell.done(child, status):
            self._left()
            return
        if not (self._confirmed or self._resumed):  # it has said why
            self._stop(status or 1)
            return
        delay_s = self._restarts.delay_s(lived_s)
        log.warning("controller died and is replaced", extra={"pid": child.pid, "status": status, "wait_s": delay_s})
        self._reactor.after("controller", delay_s, self._begin_controller)

    def _controller_said(self, child: Child) -> None:
        received = channel.receive(child.line)
        match received and received[0]:
            case {"say": "wanted", "wanted": dict(orders)}:
                self._ordered(child, wanted.from_json(orders))
            case {"say": "addresses", "prefixes": list(prefixes)} if self._following is not None:
                self._following.ask(map(ip_network, prefixes))
                self._look()

    def _ordered(self, child: Child, asked: Wanted) -> None:
        try:
            if self._wanted is None:
                self._open(asked)
            else:
                self._change(asked)
        except (CannotStart, CannotListen) as error:
            channel.send(child.line, {"do": "cannot", "why": str(error)})
            if not (self._confirmed or self._resumed):
                self._why = str(error)
                self._stop(1)
            return
        self._wanted, self._confirmed = asked, True
        self._balance(asked)
        self._give_up(asked)
        remembered.remember(self._start, asked)
        listening = sorted({endpoint.label.rpartition("/")[0] for endpoint in self._listening.endpoints})
        channel.send(child.line, {"do": "go", "listening": listening, "driver": self._no_driver(asked)})
        child.serving = True
        self._farewell.tell(child)

    # --- what it asked for ---

    def _open(self, asked: Wanted) -> None:
        """Take the node's state folder and sockets, and start the workers.  Raises CannotStart, CannotListen."""
        store = Store(self._start.state, asked.deployment, asked.node)
        self._take(store, asked)
        found = orphans.find(store.folder / "run")
        self._listening.adopt(found.sockets)
        self._cover(asked)
        self._farewell.allow(asked.farewell_s)
        self._store = store
        self._crew = Crew(self._reactor, self._listening, store.folder, self._all_serving)
        self._following = Following(self._listening, self._crew, Loopback(store.folder), self._reactor, self._look)
        self._balancer = BalancerChild(self._reactor, Post(asked.deployment, asked.node, store.folder))
        for orphan in found.serving:
            self._orphans.add(orphan)
            self._reactor.watch(orphan.notice, partial(self._orphan_ended, orphan))
        privilege.keep_only({privilege.CAP_NET_BIND_SERVICE, privilege.CAP_NET_RAW, *privilege.BALANCER})
        gc.freeze()  # what is here now is shared with every child, and stays so
        self._crew.renew(asked)
        self._reactor.after("look", LOOK_S, self._look)

    def _take(self, store: Store, asked: Wanted) -> None:
        """Make the state folder ours.  Raises CannotStart."""
        run, serving = store.folder / "run", store.folder / "serving"
        try:
            store.create()
            self._lock = Lock(store.folder)
            run.mkdir(mode=0o700, exist_ok=True)
            serving.mkdir(mode=0o700, exist_ok=True)
            Current(serving, writable=True).close()
            (run / RETIRED).unlink(missing_ok=True)
        except AlreadyRunning as error:
            who = f"deployment {asked.deployment}, node {asked.node}"
            raise CannotStart(f"already running for {who} ({error})") from error
        except StateError as error:
            raise CannotStart(f"state folder {error}") from error
        except OSError as error:
            raise CannotStart(f"state folder {store.folder}: {error.strerror}") from error

    def _change(self, asked: Wanted) -> None:
        """Follow a changed configuration.  Raises CannotStart, CannotListen, and then nothing changed."""
        before, crew, following = self._wanted, self._crew, self._following
        assert before is not None
        assert crew is not None
        assert following is not None
        if (asked.deployment, asked.node) != (before.deployment, before.node):
            raise CannotStart("another deployment or node needs a new start")
        if asked == before:
            return
        new = self._cover(asked)
        self._farewell.allow(asked.farewell_s)
        if (asked.workers, asked.tcp_clients) != (before.workers, before.tcp_clients):
            crew.renew(asked)
        else:
            crew.listen(new)
        following.drop_surplus(asked)

    def _give_up(self, asked: Wanted) -> None:
        """Keep the rights that new processes need by this configuration, or by an earlier one of this run.

        Who turns the balancer off can turn it on again without a restart.
        """
        if asked.balances or self._drives(asked):
            self._kept |= privilege.BALANCER
        if asked.marks:
            self._kept.add(privilege.CAP_NET_RAW)
        if asked.vips or (self._following is not None and self._following.lends):
            self._kept.add(privilege.CAP_NET_ADMIN)
        self._gave_up = self._gave_up or (privilege.held() >= privilege.DRIVER and not self._kept >= privilege.DRIVER)
        privilege.keep_only(self._kept)

    def _balance(self, asked: Wanted) -> None:
        """Have a balancer, or none."""
        if self._balancer is None or self._stopping:
            return
        if asked.balances or self._drives(asked):
            self._balancer.keep(GAVE_UP if self._gave_up else "", balances=asked.balances)
        else:
            self._balancer.clear()

    def _drives(self, asked: Wanted) -> bool:
        """Whether DNS is worth a process that answers it in the driver: with `auto`, where it has the rights to."""
        if asked.driver is Attach.AUTO:
            return not self._gave_up and privilege.held() >= privilege.DRIVER
        return asked.driver is not Attach.OFF

    def _no_driver(self, asked: Wanted) -> str:
        """Why there is no such process; empty where there is one, or none is wanted."""
        if asked.balances or asked.driver is Attach.OFF or self._drives(asked):
            return ""
        return GAVE_UP if self._gave_up else NO_RIGHTS

    def _cover(self, asked: Wanted) -> frozenset[Endpoint]:
        return self._listening.cover(asked, worker_count(asked), addresses.present())

    def _look(self) -> None:
        """Follow the addresses of the node's interfaces, and tell the controller of those that it asked for."""
        self._reactor.after("look", LOOK_S, self._look)
        asked, following = self._wanted, self._following
        if asked is None or following is None or self._stopping:
            return
        following.look(asked)
        news = following.news(asked)
        if news is not None and self._controller is not None:
            channel.send(self._controller.line, {"do": "addresses", **news})

    # --- workers of an earlier run ---

    def _all_serving(self) -> None:
        for orphan in self._orphans:
            orphan.finish()

    def _orphan_ended(self, orphan: Orphan) -> None:
        self._reactor.unwatch(orphan.notice)
        orphan.forget()
        self._orphans.discard(orphan)
        if self._store is not None:
            clear_away(self._store.folder / "run", orphan.name)

    # --- the end ---

    def _signalled(self, number: int) -> None:
        if number == signal.SIGHUP:
            if self._controller is not None:
                channel.send(self._controller.line, {"do": "reload"})
        elif not self._farewell.within_s:
            self._stop(0)
        elif not self._stopping:
            self._farewell.begin(self._controller)

    def _left(self) -> None:
        """Routes have left, or their time is up."""
        self._kill_controller()
        self._stop(0)

    def _stop(self, status: int) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._farewell.under_way = False
        if self._store is not None:
            end_speaker(self._store.folder)
        self._status = status
        if self._controller is not None:
            channel.send(self._controller.line, {"do": "finish"})
        if self._crew is not None:
            self._crew.finish()
        for orphan in self._orphans:
            orphan.finish()
        self._reactor.after("kill controller", READING_S, self._kill_controller)
        self._reactor.after("kill", STOP_WITHIN_S, self._kill)

    def _step_down(self) -> None:
        """The balancer goes last, when nothing answers any more with the addresses that it balances."""
        if self._stopping and self._balancer is not None and not (self._children() or self._orphans):
            self._balancer.finish()

    def _kill_controller(self) -> None:
        if self._controller is not None:
            os.kill(self._controller.pid, signal.SIGKILL)

    def _kill(self) -> None:
        for child in self._children():
            os.kill(child.pid, signal.SIGKILL)
        for orphan in self._orphans:
            signal.pidfd_send_signal(orphan.notice, signal.SIGKILL)

    def _children(self) -> frozenset[Child]:
        crew = self._crew.living if self._crew is not None else frozenset()
        return crew | ({self._controller} if self._controller is not None else set())

    def _done(self) -> bool:
        balancing = self._balancer is not None and self._balancer.living
        return self._stopping and not (self._children() or self._orphans or balancing)

    def _clear_up(self) -> None:
        self._listening.close(self._listening.endpoints)
        if self._following is not None:
            self._following.clear()
        if self._store is not None:
            for path in (self._store.folder / "run").glob("*"):
                path.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()


def _control(start: Start, first: bool, line: socket.socket) -> int:  # noqa: FBT001  # bound by partial
    privilege.keep_only({privilege.CAP_NET_RAW, privilege.CAP_NET_BIND_SERVICE})  # until it has read who needs them
    node = importlib.import_module("gslb.control.node")  # heavy: only this child loads it
    status: int = node.run(start, line, first=first)
    return status


def _raise_descriptor_limit() -> None:
    """TCP clients and wildcard addresses need more descriptors than the usual soft limit of 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
