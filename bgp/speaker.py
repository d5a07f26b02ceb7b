"""What is said to ExaBGP when, and what its answers mean.  Pure: lines and moments come in, lines and a wake-up time go out.

    away -> version -> sessions -> routes -> ready            (at each connection; a time-out leads back to away)

Rule 1: one command is outstanding: `done` and `error` do not say to which command they belong.
Rule 2: a new connection is fenced before anything is believed: an answer to an earlier connection's command may still come.
`version` is answered at once, `show neighbor json` after every route command before it; each has an answer like no other.
Rule 3: ExaBGP's own table is the truth: it is read at each connection and then every `AUDIT_S`, and only differences are said.
Rule 4: what the bridge says without us never brings back what is off: a prefix leaves its block before it is withdrawn,
and enters it after it was announced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from bgp.adjrib import route_of
from bgp.commands import ROUTES, SESSIONS, VERSION, Command, Teardown, line_of
from bgp.heard import Dropped, Hello, Refused, SessionSaid, bridge_said, event_said, plain, sessions_said
from bgp.routes import Announce, Change, Route, Withdraw, changes, normal
from gslb.model.deployment import Address, Network

ANSWER_S = 2.0  # ExaBGP answers within 3 ms; it is hung, or busy beyond hope
RELOADED_S = 0.3  # ExaBGP reads a new configuration in its next round
AUDIT_S = 5.0  # between readings of ExaBGP's table, which are also how its hanging is noticed
BEATS = 5  # heartbeats within the time after which the bridge acts
CLOSING = "closing connection"  # what ExaBGP says after the reason, or where it knows none
LOWEST_VERSION = (5, 0, 13)  # before it a router could write lines of its own into what we read


class Stage(StrEnum):
    """How far a connection has come."""

    AWAY = "away"
    VERSION = "version"
    SESSIONS = "sessions"
    ROUTES = "routes"
    READY = "ready"
    UNUSABLE = "unusable"  # an ExaBGP that is too old


@dataclass(frozen=True, slots=True)
class Ready:
    """The connection is fenced and ExaBGP's table is known."""

    version: str


@dataclass(frozen=True, slots=True)
class Applied:
    """ExaBGP has what was wanted; its acknowledgement took this long."""

    ack_s: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """ExaBGP answered `error` to this line."""

    line: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is of no more use: close it and wait for the next."""

    reason: str


Event = Ready | Applied | Rejected | Lost | Hello | Dropped | Refused | SessionSaid


@dataclass(slots=True)
class Counts:
    """What happened since the start, for metrics."""

    commands: int = 0
    errors: int = 0
    timeouts: int = 0
    dropped: int = 0
    slowest_ack_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """The outstanding line, and when its answer was last waited for anew."""

    line: str
    at: float
    command: Command | None = None


class Speaker:
    """One ExaBGP as we know it: sessions, routes, and what is still to be said."""

    def __init__(self, after_s: float) -> None:
        """`after_s`: how long the bridge waits for a word of ours before it says what was prepared; 0: for ever."""
        self.stage = Stage.AWAY
        self.version = ""
        self.sessions: dict[Address, SessionSaid] = {}
        self.table: dict[tuple[Address, Network], Route] = {}
        self.counts = Counts()
        self._after_s = after_s
        self._wanted: tuple[Route, ...] | None = None
        self._prepared: tuple[Change, ...] = ()
        self._block: tuple[str, ...] | None = None  # None: what the bridge has is not known
        self._fenced = False
        self._queue: deque[Command] | None = None  # None: to be found anew
        self._teardowns: deque[Teardown] = deque()
        self._rejected: set[str] = set()
        self._reading: dict[tuple[Address, Network], Route] = {}
        self._answered = False
        self._asked: _Asked | None = None
        self._beat_at = self._audit_at = 0.0
        self._out: list[str] = []

    # What the controller wants.

    def want(self, routes: Iterable[Route], prepared: Iterable[Change] = ()) -> None:
        """From now on these routes and no others; `prepared` is what the bridge says when the controller is gone."""
        self._wanted = tuple(map(normal, routes))
        self._prepared = tuple(prepared)
        self._queue = None
        self._rejected.clear()

    def teardown(self, neighbor: Address) -> None:
        """End this session with Cease, once everything else is said."""
        self._teardowns.append(Teardown(neighbor))

    def reloaded(self, neighbors: Iterable[Address], after_s: float, now: float) -> None:
        """ExaBGP was told to read a configuration with these sessions; `after_s` as at the start.  Its table is read soon."""
        known = frozenset(neighbors)
        self._after_s = after_s
        self.sessions = {address: said for address, said in self.sessions.items() if address in known}
        self.table = {key: route for key, route in self.table.items() if key[0] in known}
        self._queue = self._block = None
        self._audit_at = min(self._audit_at, now + RELOADED_S)

    @property
    def ready(self) -> bool:
        """Whether ExaBGP can be asked, and its table is known."""
        return self._fenced and self.stage in (Stage.READY, Stage.ROUTES)

    @property
    def settled(self) -> bool:
        """Whether ExaBGP has what is wanted and nothing is on its way."""
        return (
            self.stage is Stage.READY
            and self._asked is None
            and self._queue is not None
            and not (self._teardowns or self._queue or self._rejected)
        )

    # What happens.

    def connected(self, now: float) -> None:
        """The bridge has come."""
        self.disconnected()
        self.stage = Stage.VERSION
        self._ask(VERSION, now)

    def disconnected(self) -> None:
        """The bridge is gone; ExaBGP and its routes may well be there."""
        self.stage = Stage.AWAY
        self._asked = self._block = self._queue = None
        self._fenced = False
        self._out.clear()

    def receive(self, line: str, now: float) -> list[Event]:
        """One line from the bridge, without its end."""
        if line.startswith("#"):
            return self._from_bridge(line)
        if line.startswith("{"):
            said = event_said(line)
            return self._session(said) if said else []
        if self._asked is None:
            return []  # an answer that nobody waits for any more
        self._asked = (
            replace(self._asked, at=now)
            if self.stage is Stage.ROUTES and line not in ("done", "error")
            else self._asked
        )
        return self._answer(line, now)

    def tick(self, now: float) -> list[Event]:
        """The time: time-outs, heartbeats, audits, and the next command."""
        if self.stage in (Stage.AWAY, Stage.UNUSABLE):
            return []
        if self._asked and now >= self._asked.at + ANSWER_S:
            self.counts.timeouts += 1
            line = self._asked.line
            self.disconnected()
            return [Lost(f"ExaBGP did not answer {line!r} within {ANSWER_S:g} s")]
        if self.stage is Stage.READY:
            self._next(now)
        if self._after_s and now >= self._beat_at:
            self._beat_at = now + self._after_s / BEATS
            self._out.append("#hb")
        return []

    def to_send(self) -> list[str]:
        """The lines for the bridge, without their ends; they are given once."""
        lines, self._out = self._out, []
        return lines

    def wake_at(self) -> float | None:
        """When `tick` is due at the latest; None while nobody is there."""
        if self.stage in (Stage.AWAY, Stage.UNUSABLE):
            return None
        moments = [self._beat_at] if self._after_s else []
        moments.append(self._asked.at + ANSWER_S if self._asked else self._audit_at)
        return min(moments)

    # Answers.

    def _answer(self, line: str, now: float) -> list[Event]:
        assert self._asked
        match self.stage:
            case Stage.VERSION:
                return self._fence_version(line, now)
            case Stage.SESSIONS:
                return self._fence_sessions(line, now)
            case Stage.ROUTES:
                return self._read_route(line, now)
            case Stage.READY:
                return self._acknowledged(line, now)
            case Stage.AWAY | Stage.UNUSABLE:
                return []

    def _fence_version(self, line: str, now: float) -> list[Event]:
        if line.startswith("exabgp "):
            self.version = plain(line.removeprefix("exabgp "))
            self._answered = True
        elif line == "done" and self._answered:
            if _numbers(self.version) < LOWEST_VERSION:
                self.stage, self._asked = Stage.UNUSABLE, None
                return [Lost(f"ExaBGP {self.version} - expected {'.'.join(map(str, LOWEST_VERSION))} or later")]
            self.stage = Stage.SESSIONS
            self._ask(SESSIONS, now)
        return []

    def _fence_sessions(self, line: str, now: float) -> list[Event]:
        if line.startswith("["):
            self._answered = True
            return [event for said in sessions_said(line) for event in self._session(said)]
        if line == "done" and self._answered:
            self._read(now)
        return []

    def _read_route(self, line: str, now: float) -> list[Event]:
        if line == "error":
            return self._useless(f"ExaBGP answered error to {ROUTES!r}")
        if line != "done":
            try:
                route = normal(route_of(line))
            except ValueError as error:
                return self._useless(str(error))
            self._reading[route.neighbor, route.prefix] = route
            return []
        assert self._asked
        first, self._fenced = not self._fenced, True
        self.stage, self._asked, self._audit_at = Stage.READY, None, now + AUDIT_S
        self.table, self._queue = self._reading, None
        if first:
            self._arm()
            self._out.append("#fenced")
        self._next(now)
        return [Ready(self.version)] if first else []

    def _acknowledged(self, line: str, now: float) -> list[Event]:
        asked = self._asked
        assert asked
        if line not in ("done", "error"):
            return []  # "shutdown in progress" and the like
        self._asked = None
        ack_s = now - asked.at
        self.counts.slowest_ack_s = max(self.counts.slowest_ack_s, ack_s)
        events: list[Event] = []
        if line == "error":
            self.counts.errors += 1
            self._rejected.add(asked.line)
            events.append(Rejected(asked.line))
        elif isinstance(asked.command, Announce):
            route = asked.command.route
            self.table[route.neighbor, route.prefix] = route
        elif isinstance(asked.command, Withdraw):
            self.table.pop((asked.command.neighbor, asked.command.prefix), None)
        self._next(now)
        if self.settled:
            events.append(Applied(ack_s))
        return events

    def _from_bridge(self, line: str) -> list[Event]:
        said = bridge_said(line)
        if isinstance(said, Dropped):
            self.counts.dropped += said.events
            return [said, *self._useless(f"{said.events} events were dropped")]  # what sessions are is asked anew
        return [said] if said else []

    def _session(self, said: SessionSaid) -> list[Event]:
        before = self.sessions.get(said.neighbor)
        known = before.reason if before and before.up == said.up else None
        if known is not None and (said.reason in ("", known) or (known and said.reason == CLOSING)):
            return []
        self.sessions[said.neighbor] = said
        return [said]

    def _useless(self, reason: str) -> list[Event]:
        self.disconnected()
        return [Lost(reason)]

    # Commands.

    def _ask(self, line: str, now: float, command: Command | None = None) -> None:
        self._answered = False
        self._asked = _Asked(line, now, command)
        self._out.append(line)

    def _read(self, now: float) -> None:
        self.stage, self._reading = Stage.ROUTES, {}
        self._ask(ROUTES, now)

    def _next(self, now: float) -> None:
        """Say the next command, if none is outstanding."""
        if self._asked:
            return
        if self._queue is None and self._wanted is not None:
            self._queue = deque(changes(self.table.values(), self._wanted))
            self._arm()
        queue = self._queue or self._teardowns
        while queue:
            command = queue.popleft()
            line = line_of(command)
            if line not in self._rejected:
                self.counts.commands += 1
                self._ask(line, now, command)
                return
        self._arm()
        if now >= self._audit_at:
            self._rejected.clear()
            self._read(now)

    def _arm(self) -> None:
        """Prepare what the bridge says without us, for what ExaBGP has and is to keep; before the first wish nothing changes."""
        if self._wanted is None:
            return
        kept = {(route.neighbor, route.prefix) for route in self._wanted} & self.table.keys()
        block = tuple(line_of(change) for change in self._prepared if _key(change) in kept)
        if block != self._block:
            self._block = block
            self._out += [f"#deadman {self._after_s:g}", *(f"#do {line}" for line in block), "#armed"]


def _key(change: Change) -> tuple[Address, Network]:
    route = change.route if isinstance(change, Announce) else change
    return route.neighbor, route.prefix


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(text) if text.isdigit() else 0 for text in version.split("-")[0].split("."))
