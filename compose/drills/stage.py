"""Where a drill plays: the lab, its clients at work, and a notebook.  IO.

`with Stage(wired, folder) as stage:` sets clients to work; a drill then does what it does with `stage.wired`, and says so.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from compose.clients import Outcome
from compose.commands import STATE
from compose.drills.promises import nobody_fails
from compose.drills.result import Audience, Death, Expected, Mark, Shift, Story
from compose.score import read
from compose.topology import DNS, ZONE, Machine, Topology
from compose.wired import PYTHON, Wired

EVERY_S = 0.1
LEAD_S = 2.0  # before anything is done, so that one sees what is usual
TAIL_S = 4.0  # more than a page may take
STOP_S = 60.0
LAST_S = 8.0  # for requests that are under way
SHIFTED_S = 3.0  # until a router does as it was told


@dataclass(frozen=True, slots=True)
class Drill:
    """A script: what is done when.  `play` leaves the lab as it found it."""

    name: str
    title: str
    promise: str
    play: Callable[[Stage], None]
    kept: Callable[[Story, Topology], list[str]] = nobody_fails  # what of the promise was not kept


@dataclass
class Stage:
    """A lab with clients at work."""

    wired: Wired
    folder: Path
    every_s: float = EVERY_S
    marks: list[Mark] = field(default_factory=list)
    expected: list[Expected] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    shifted: list[Shift] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._working: dict[Audience, subprocess.Popen[bytes]] = {}
        self._sources: dict[Audience, Sequence[str]] = {}
        began = now()
        for region in self.wired.topology.regions:
            self.expected.append(Expected(began, began, region.name, frozenset({region.nearest})))

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        for region in self.wired.topology.regions:
            resolver = self.wired.resolver(region.name).address
            self._ask(Audience(region.name, "web"), resolver, f"www.{ZONE}", "--every", str(self.every_s))
            self._ask(Audience(region.name, "anycast"), resolver, f"any.{ZONE}", "--path", "/slow", "--every", "0.2")
            self._ask(Audience(region.name, "dns"), DNS, f"www.{ZONE}", "--path", "", "--every", str(self.every_s))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave(*self._working)

    def come(self, region: str, crowd: str, sources: Sequence[str], per_s: float) -> Audience:
        """More users, each with an address of its own, who ask the nameservers themselves."""
        host = self.wired.hosts[f"client-{region}"]
        for source in sources:
            host.run("ip", "address", "replace", f"{source}/24", "dev", "eth0")
        audience = Audience(region, "web", crowd)
        self._sources[audience] = sources
        self._ask(audience, DNS, f"www.{ZONE}", "--every", f"{1 / per_s:.4f}", "--sources", *sources)
        return audience

    def leave(self, *audiences: Audience) -> None:
        """Audiences go, with their addresses, as soon as they have told what they waited for."""
        for audience in audiences:
            if self._working[audience].poll() is None:
                self.wired.hosts[f"client-{audience.region}"].kill(self._working[audience], signal.SIGTERM)
        for audience in audiences:
            host, process = self.wired.hosts[f"client-{audience.region}"], self._working[audience]
            try:
                process.wait(LAST_S)
            except subprocess.TimeoutExpired:
                host.kill(process)
                process.wait()
            for source in self._sources.pop(audience, ()):
                host.run("ip", "address", "del", f"{source}/24", "dev", "eth0")

    @contextlib.contextmanager
    def shifts(self, settle_s: float = SHIFTED_S) -> Iterator[None]:
        """Around what moves routes: open flows by anycast may end by it, until so long afterwards."""
        began = now()
        yield
        self.shifted.append(Shift(began, now() + settle_s))

    def say(self, what: str) -> None:
        """Note what happens now."""
        self.marks.append(Mark(now(), what))
        print(f"  {what}", flush=True)

    def expect(self, region: str, *sites: str, settle_s: float = 0.0) -> None:
        """From now on these sites should serve a region, any where none is named; the ones of before may, for so long."""
        self.expected.append(Expected(now(), now() + settle_s, region, frozenset(sites)))

    def wait(self, seconds: float) -> None:
        """Let clients go on."""
        time.sleep(max(0.0, seconds))

    def until(self, condition: Callable[[], bool], what: str, within_s: float = 60.0) -> float:
        """Wait for something, note it, and return how long it took."""
        began = time.monotonic()
        self.wired.until(condition, lambda: what, within_s)
        self.say(what)
        return time.monotonic() - began

    def machine(self, name: str) -> Machine:
        """A machine by its name."""
        return self.wired.topology.by_name[name]

    def at(self, place: str) -> list[Machine]:
        """All machines of a place."""
        return [machine for machine in self.wired.topology.machines if machine.place == place]

    def end(self, machine: str) -> None:
        """Kill a machine's daemons, with their workers, and leave the machine."""
        for process in self.wired.daemons[machine]:
            self.wired.hosts[machine].kill(process)
        for process in self.wired.daemons[machine]:
            process.wait()

    def part(self, node: str, part: str) -> list[int]:
        """The processes of a part of a node, as its machine counts them."""
        told = self.wired.status(node)
        if part in ("supervisor", "controller"):
            return [int(told[part]["pid"])]
        if part == "worker":
            return [int(one["pid"]) for one in told["workers"] if one["alive"] and one["kind"] == "udp"]
        exabgp = int(told["announcing"]["speaker"]["pid"])
        if part == "exabgp":
            return [exabgp]
        return [int(one) for one in self.wired.hosts[node].run("ps", "-o", "pid=", "--ppid", str(exabgp)).split()]

    def changes(self, node: str, since: float) -> list[dict[str, Any]]:
        """What a node noted of changes in its audit log since then."""
        told = self.wired.hosts[node].run("sh", "-c", f"cat {STATE}/*/{node}/audit.jsonl").splitlines()
        found: list[dict[str, Any]] = [json.loads(line) for line in told]
        return [one for one in found if datetime.fromisoformat(one["time"]).timestamp() >= since]

    def stop(self, node: str) -> None:
        """Stop a node in order: its routes leave first."""
        self.strike(node, self.part(node, "supervisor"), signal.SIGTERM)
        for process in self.wired.daemons[node]:
            process.wait(STOP_S)

    def config(self, text: str) -> str:
        """Have every node's file say this, and return what it said."""
        path = self.wired.folder / "gslb" / "gslb.yaml"
        before = path.read_text()
        new = path.with_suffix(".new")
        new.write_text(text)
        new.replace(path)
        return before

    def strike(self, node: str, pids: Iterable[int], number: int = signal.SIGKILL) -> None:
        """Signal processes of a machine, all at once."""
        self.wired.hosts[node].run("kill", f"-{int(number)}", *(str(pid) for pid in pids))

    def heard(self, audience: Audience) -> list[Outcome]:
        """What an audience has told until now."""
        with self._lines(audience).open() as lines:
            return read(lines)

    def story(self, drill: Drill) -> Story:
        """All that was noted and told; after the end."""
        heard = {audience: self.heard(audience) for audience in self._working}
        return Story(
            drill.name, drill.title, drill.promise, self.marks, self.expected, self.deaths, heard, self.shifted, self.facts
        )  # fmt: skip

    def _lines(self, audience: Audience) -> Path:
        return self.folder / f"{audience.name.replace(' ', '-')}.jsonl"

    def _ask(self, audience: Audience, resolver: str, name: str, *words: str) -> None:
        host = self.wired.hosts[f"client-{audience.region}"]
        with self._lines(audience).open("wb") as lines, (self.folder / "clients.log").open("ab") as log:
            self._working[audience] = host.start(
                sys.executable, "-m", "compose.clients", resolver, name, *words, output=lines, errors=log, env=PYTHON
            )


def now() -> float:
    """The system's clock, by which clients on other machines note their times."""
    return time.time()  # noqa: TID251


def play(wired: Wired, drill: Drill, folder: Path) -> Story:
    """Play a drill, as soon as the lab is well."""
    wired.well()
    with Stage(wired, folder / drill.name) as stage:
        stage.wait(LEAD_S)
        drill.play(stage)
        stage.wait(TAIL_S)
    return stage.story(drill)
