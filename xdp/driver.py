"""What the balancer's process does, DNS in the driver too: what the controller wants is put in force, and what is in force is told.

No sockets and no clock here: `now` is the monotonic time in seconds, and the kernel is behind `Parts`.

Rule 1: tables are filled before an interface is attached; nothing is taken away because something new failed.
        So an interface that is not wanted any more stays attached until all that are wanted are, and until any is.
Rule 2: what cannot be had is a sentence in `state`, and is tried again every RETRY_S (SOON_S: what another has) and at each new Want.
Rule 3: `close` leaves all in force; only `remove` takes it away.
Rule 4: an interface is attached as the balancer wants it, and as DNS wants it where no balancer does.
Rule 5: what somebody else took out of bpffs is put in force anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from gslb.model.deployment import Attach
from xdp.messages import Attached, Block, DnsState, DnsWant, Interface, Pulse, State, TableState, Want
from xdp.preflight import Refused, Taken

RETRY_S = 10.0
SOON_S = 1.0  # where another has it, who may end at any moment

log = logging.getLogger("gslb.balancer")


class Plane(Protocol):
    """Programs, maps and links: `xdp.loader.DataPlane`."""

    @property
    def adopted(self) -> bool:
        """Whether it was in force already, by an earlier process."""

    @property
    def pinned(self) -> bool:
        """Whether what this process opened still lies in bpffs."""

    def attach(self, interface: str, how: Attach, asked: str) -> Interface:
        """Attach an interface, or bring the newest program to it; `asked`: which key says `how`."""

    def detach(self, interface: str) -> None:
        """Take the program from an interface."""

    def attached(self) -> tuple[Interface, ...]:
        """The interfaces that have the program now."""

    def attach_probe(self, interface: str) -> None:
        """Send what leaves by `interface` with a probe's mark to the backend that the mark names."""

    def take_over(self) -> None:
        """Drop what an earlier layout left in force, now that the tables are filled and the interfaces attached."""

    def remove(self) -> None:
        """Take all of it out of the kernel."""

    def close(self) -> None:
        """Let go of it; it stays in force."""


class Filler(Protocol):
    """Fills the maps: `xdp.tables.Tables`."""

    @property
    def version(self) -> int:
        """Of the plan whose tables are in force; 0: none."""

    @property
    def marks(self) -> Collection[int]:
        """The marks in force, each of which names a backend."""

    @property
    def refused(self) -> str:
        """Why nothing can be balanced here; empty where it can."""

    def want(self, want: Want) -> Mapping[str, TableState]:
        """Put these tables in force.  Raises Refused, ValueError, OSError, and then what was in force stays."""

    def tick(self, now: float) -> Mapping[str, TableState] | None:
        """Age slots, and follow next hops; how the tables stand then."""


class Reader(Protocol):
    """Reads the counters: `xdp.counters.Counters`."""

    def read(self) -> Pulse:
        """All counters, and the handshakes since the last call.  Raises OSError."""


class Answering(Protocol):
    """Has DNS answered in the driver: `xdp.answers.Answers`."""

    @property
    def version(self) -> int:
        """Of the plan that is answered from; 0: none."""

    def want(self, want: DnsWant | None, now: float) -> DnsState | None:
        """Answer this from now on, or try again what failed; how it stands then."""

    def tick(self, now: float) -> DnsState | None:
        """Once a second: what time brings; how it stands then.  None: nothing is wanted."""

    def blocks(self) -> tuple[Block, ...]:
        """What was counted.  Raises OSError."""

    def queries(self) -> tuple[bytes, int]:
        """The sample of queries since the last call, and how many are missing in it.  Raises OSError."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The kernel's side of a node."""

    plane: Plane
    tables: Filler
    counters: Reader
    dns: Answering


class Driver:
    """One balancer.  `begin` opens its parts, or raises Refused or OSError."""

    def __init__(self, begin: Callable[[], Parts]) -> None:
        self._begin = begin
        self._parts: Parts | None = None
        self._want: Want | None = None
        self._filled = False  # the tables are as wanted
        self._interfaces: dict[str, Interface] = {}
        self._how: dict[str, Attach] = {}
        self._probed: set[str] = set()
        self._taken_over = False
        self._retry_at = 0.0
        self._problems: dict[str, str] = {}
        self.state = State(serial=0, version=0, refused="")

    def want(self, want: Want, now: float) -> None:
        """Do this from now on."""
        self._want = want
        self._filled = False
        self._look(now)

    def tick(self, now: float) -> None:
        """Once a second: what ages, and what is to be tried again."""
        if self._parts is not None and not self._parts.plane.pinned:
            self._begin_anew(now)
        if self._parts is not None and self._filled:
            try:
                tables = self._parts.tables.tick(now)
            except OSError as error:
                self._problems["ageing"] = f"next hops and slots are not followed now: {error}"
            else:
                self._problems.pop("ageing", None)
                if tables is not None:
                    self.state = replace(self.state, tables=dict(tables))
            self._tell()
        if now >= self._retry_at:
            self._look(now)
        elif self._parts is not None:
            self.state = replace(self.state, dns=self._parts.dns.tick(now))

    def pulse(self) -> Pulse | None:
        """All counters; None where there are none."""
        if self._parts is None:
            return None
        try:
            queries, lost = self._parts.dns.queries()
            dns = self._parts.dns.blocks()
            return replace(self._parts.counters.read(), dns=dns, queries=queries, queries_lost=lost)
        except OSError as error:
            self._problems["counters"] = f"counters cannot be read: {error}"
            self._tell()
            return None

    def remove(self) -> None:
        """Take all out of the kernel, also what an earlier process left.  Raises OSError, Refused."""
        if self._parts is None:
            self._parts = self._begin()
        self._parts.plane.remove()
        self.close()

    def close(self) -> None:
        """Let go; what is in force stays."""
        if self._parts is not None:
            self._parts.plane.close()
            self._parts = None

    def _begin_anew(self, now: float) -> None:
        """Nothing that is known of the kernel holds any more."""
        log.error("what was pinned in bpffs is gone: another program or person removed it; it is put in force anew")
        self.close()
        self._filled = self._taken_over = False
        self._interfaces.clear()
        self._probed.clear()
        self._problems.clear()
        self._retry_at = now

    def _look(self, now: float) -> None:
        """Open what is not open, and bring in force what is not."""
        self._retry_at = now + RETRY_S
        serial = self._want.serial if self._want is not None else 0
        if self._parts is None:
            try:
                self._parts = self._begin()
            except (Refused, OSError) as error:
                dns = DnsState(refused=str(error)) if self._want is not None and self._want.dns is not None else None
                self.state = State(serial=serial, version=self.state.version, refused=str(error), dns=dns)
                if isinstance(error, Taken):
                    self._retry_at = now + SOON_S
                return
            adopted, version = self._parts.plane.adopted, max(self._parts.tables.version, self._parts.dns.version)
            self.state = replace(self.state, refused=self._parts.tables.refused, adopted=adopted, version=version)
        if self._want is not None:
            self._fill(self._parts, self._want)
            # before any interface is attached, and before what an older layout answers is dropped
            self.state = replace(self.state, dns=self._parts.dns.want(self._want.dns, now))
            self._attach(self._parts.plane, self._want)
            if any(one.taken for one in self._interfaces.values()):
                self._retry_at = now + SOON_S
        self._tell()

    def _fill(self, parts: Parts, want: Want) -> None:
        if self._filled:
            return
        try:
            tables = parts.tables.want(want)
        except Refused:
            self.state = replace(self.state, serial=want.serial, refused=parts.tables.refused)
            return
        except (ValueError, OSError) as error:
            self._problems["tables"] = f"the tables stay as they were: {error}"
            self.state = replace(self.state, serial=want.serial)
            return
        self._problems.pop("tables", None)
        self._filled = True
        refused = parts.tables.refused
        self.state = replace(self.state, serial=want.serial, version=want.version, tables=dict(tables), refused=refused)

    def _attach(self, plane: Plane, want: Want) -> None:
        """Attach what is wanted and is not attached so; detach the others.  Not before the tables were filled once."""
        if not self.state.version and not plane.adopted:
            return
        there = {one.name for one in plane.attached()}
        wanted = _interfaces(want)
        for name, (how, asked) in wanted.items():
            known = self._interfaces.get(name)
            if known is None or known.attached is Attached.NOT or name not in there or self._how.get(name) is not how:
                self._interfaces[name] = _attached(plane, name, how, asked)
                self._probed.discard(name)  # it may be another interface of that name
            self._how[name] = how
        if wanted and all(self._interfaces[name].attached is not Attached.NOT for name in wanted):
            for name in (there | self._interfaces.keys()) - wanted.keys():
                self._detach(plane, name)
        else:
            kept = {one.name: one for one in plane.attached() if one.name not in wanted}
            self._interfaces = {name: self._interfaces[name] for name in wanted} | kept
        for name in want.interfaces:
            if want.probes and name not in self._probed and self._interfaces[name].attached is not Attached.NOT:
                self._probe(plane, name)
        if self._filled and not self._taken_over:
            self._try("takeover", "what an earlier version left is not removed", plane.take_over)
            self._taken_over = "takeover" not in self._problems

    def _detach(self, plane: Plane, name: str) -> None:
        self._interfaces.pop(name, None)
        self._probed.discard(name)
        self._try(f"detach {name}", f"{name} cannot be detached", lambda: plane.detach(name))

    def _probe(self, plane: Plane, name: str) -> None:
        part = f"probe {name}"
        self._try(part, f"checks to VIPs cannot leave by {name}", lambda: plane.attach_probe(name))
        if part not in self._problems:
            self._probed.add(name)

    def _try(self, part: str, failure: str, attempt: Callable[[], None]) -> None:
        """Attempt; its failure is a problem, until an attempt at this part succeeds."""
        try:
            attempt()
        except (Refused, OSError) as error:
            self._problems[part] = f"{failure}: {error}"
        else:
            self._problems.pop(part, None)

    def _tell(self) -> None:
        self.state = replace(
            self.state,
            interfaces=tuple(self._interfaces.values()),
            problems=tuple(self._problems.values()),
            probes=self._probes(),
        )

    def _probes(self) -> tuple[int, ...]:
        """The marks by which a backend is reached; none while one of the interfaces lets them pass as they are."""
        if self._parts is None or self._want is None or not self._probed.issuperset(self._want.interfaces):
            return ()
        return tuple(sorted(self._parts.tables.marks)) if self._probed else ()


def _interfaces(want: Want) -> Mapping[str, tuple[Attach, str]]:
    """The interfaces that are wanted, and how; beside it the key that says so."""
    dns = dict.fromkeys(want.dns.interfaces, (want.dns.attach, "dns.xdp")) if want.dns is not None else {}
    return dns | dict.fromkeys(want.interfaces, (want.attach, "balancer.attach"))


def _attached(plane: Plane, name: str, how: Attach, asked: str) -> Interface:
    try:
        return plane.attach(name, how, asked)
    except Refused as error:
        return Interface(name, Attached.NOT, error.why, error.mend)
    except OSError as error:
        return Interface(name, Attached.NOT, str(error))
