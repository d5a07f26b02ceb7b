"""Deciding and handing out: the model in force, the world, the last plan, the executor.  IO; the time is an argument.

Rule 1: a new model is taken when its first plan is in force, and else the old one stays.
Rule 2: a plan is stored before it is published, so a restart never gives its version again.
Rule 3: a plan's version is 1 + the highest of stored and executed (also in a balancer that outlived its node's files); content that is in force keeps its version.
Rule 4: answers follow verdicts on a full disk too: room for some plans is kept (gslb.control.reserve).
Rule 5: history alone is stored, without waiting for the disk, and not published.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gslb import __version__
from gslb.bus.access import Access
from gslb.control.executor import Content, Executor
from gslb.control.facts import Facts
from gslb.control.geography import Located
from gslb.control.observed import Observed
from gslb.control.reserve import Reserve, is_full
from gslb.control.store import PLAN, StateError, Store
from gslb.control.targets import targets
from gslb.control.tasks import Defects
from gslb.decide.decide import decide
from gslb.geo.table import LocationTable
from gslb.model.deployment import Deployment, Node, PoolId
from gslb.model.location import Geography
from gslb.model.plan import Plan
from gslb.model.world import GivenShed, Override, World
from gslb.model.zone import Zone
from gslb.nameserver.cookies import keys_of
from gslb.nameserver.generation import Manifest
from gslb.nameserver.limit import limit_of
from gslb.nameserver.protection import Protection

_NO_ROOM = "the disk of the state folder is full: make room, or answers will soon not follow verdicts"

log = logging.getLogger("gslb.node")


@dataclass(frozen=True, slots=True)
class Model:
    """What decisions are made from: a configuration, its zones, and its location table; and the access to the bus."""

    deployment: Deployment
    node: Node
    zones: tuple[Zone, ...]
    located: Located
    geography: Geography
    secret: bytes
    access: Access | None = None

    def content(self, now: float) -> Content:
        """For executors; the keys of cookies are those of the day."""
        limits = self.deployment.limits
        limit = limit_of(self.secret, limits.responses_per_s, limits.slip, limits.exempt, dry_run=limits.dry_run)
        protection = Protection(keys_of(self.secret, now), limit)
        return Content(self.located.path, self.zones, nsid_of(self.deployment, self.node), self.secret, protection)


class Planner:
    """Keeps the plan in force true to the model, to what is observed, and to the overrides."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        facts: Facts,
        seen: Callable[[float], Observed] = Observed,
        reported: Callable[[], int] = lambda: 0,
        given: Callable[[float], Mapping[PoolId, GivenShed]] = lambda _: {},
    ) -> None:
        """`seen` tells what is observed at a moment, `reported` the highest version that a data plane reports, `given` what other
        nodes say that pools shed.
        """
        self._seen = seen
        self._reported = reported
        self._given = given
        self._store = store
        self._executor = executor
        self._facts = facts
        self._model: Model | None = None
        self._digested: tuple[Plan, str] | None = None
        self._overrides: tuple[Override, ...] = ()
        self._unknown: tuple[str, ...] = ()
        self._overrides_note: str | None = None
        self._defects = Defects()
        self._reserve = Reserve(store.folder)
        read = store.load_plan()
        if read.note is not None:
            log.warning("stored plan not taken", extra={"why": read.note})
        self._previous = read.plan
        self._stored = read.note is None  # and in force, as far as this run knows

    @property
    def model(self) -> Model | None:
        """The model in force."""
        return self._model

    @property
    def last(self) -> Plan | None:
        """The plan in force, also from before this run."""
        return self._previous

    @property
    def identity(self) -> tuple[int, str] | None:
        """Version and digest of the plan in force."""
        return None if self._previous is None else (self._previous.version, self._digest(self._previous))

    @property
    def overrides(self) -> tuple[Override, ...]:
        """The overrides as they were last read, also those that expired."""
        return self._overrides

    @property
    def overrides_note(self) -> str | None:
        """What is wrong with the overrides file, and what is gone by instead."""
        return self._overrides_note

    @property
    def in_force(self) -> bool:
        """Whether executors have a plan, of this run or of one before."""
        return self._executor.in_force is not None

    def read_overrides(self) -> None:
        """Take the overrides as they are stored; unreadable ones leave those that we have."""
        read = self._store.load_overrides()
        self._overrides_note = read.note
        self._facts.problem("overrides", (read.note,) if read.note is not None else ())
        if read.overrides is not None:
            self._overrides = read.overrides
            self._tell_unknown()

    def _tell_unknown(self) -> None:
        """Say once of which targets that do not exist there are overrides."""
        known = frozenset[str]() if self._model is None else targets(self._model.deployment)
        unknown = tuple(one.target for one in self._overrides if known and one.target not in known)
        if unknown and unknown != self._unknown:
            log.warning("overrides of no such target", extra={"overrides": len(unknown), "first": unknown[0]})
        self._unknown = unknown

    def next_expiry(self, now: float) -> float | None:
        """When the next override ends, in seconds since the epoch."""
        return min((one.until for one in self._overrides if one.until is not None and one.until > now), default=None)

    def adopt(self, model: Model, now: float) -> bool:
        """Put `model` in force; False when that failed (see the facts) and the old one stays."""
        before, self._model = self._model, model
        if self.plan(now):
            self._tell_unknown()
            return True
        self._model = before
        return False

    def plan(self, now: float) -> bool:
        """Decide, store and publish; False when that failed, and then what was in force stays."""
        if self._model is None:
            return True
        model = self._model
        try:
            plan = self._numbered(decide(model.deployment, model.geography, self.world(model, now), self._previous))
        except Exception as error:  # noqa: BLE001  # a defect of ours: what is in force is still good
            return self._stay("the plan could not be decided", error)
        try:
            published = self._hand_out(plan, model.content(now))
        except Exception as error:  # noqa: BLE001  # as above
            return self._stay("the plan could not be put in force", error, OSError, ValueError, StateError)
        self._previous, self._stored = plan, True
        self._facts.problem("plan", ())
        self._facts.problem("disk", () if self._reserve.keep(_size(self._store.folder / PLAN)) else (_NO_ROOM,))
        if published is not None:
            fields = {"version": plan.version, "digest": plan.digest, "generation": published.generation}
            log.info("plan in force", extra=fields)
            self._facts.say(plan={**fields, "since": now})
        return True

    def world(self, model: Model, now: float) -> World:
        """What a decision of this moment goes by."""
        world = self._seen(now).world(now, self._overrides, model.located.digest)
        return replace(world, given=self._given(now))

    def serving_table(self, folder: Path) -> tuple[Located, Geography] | None:
        """The location table of the generation in force; None where there is none that can be read."""
        executed = self._executor.in_force
        if executed is None:
            return None
        located = Located(folder / executed.geography.name, executed.geography.digest, ("the last good table",), ())
        try:
            return located, geography_of(located)
        except (OSError, ValueError):
            return None

    def _hand_out(self, plan: Plan, content: Content) -> Manifest | None:
        """Store and publish; on a full disk in the room that was kept for it."""
        try:
            self._save(plan)
            return self._executor.apply(plan, content)
        except (OSError, StateError) as error:
            if not is_full(error) or not self._reserve.spend():
                raise
            log.warning("the disk is full: a plan is written into the room that was kept for it")
            self._save(plan)
            return self._executor.apply(plan, content)

    def _stay(self, what: str, error: Exception, *expected: type[Exception]) -> bool:
        """Say that what was in force stays, and why; an error that was not expected is told with its traceback.  False."""
        text = str(error)
        if not isinstance(error, expected):
            self._defects.tell("decisions", error)
            text = f"a defect: {type(error).__name__}: {error}"
        self._facts.problem("plan", (f"{what}: {text}",))
        return False

    def _save(self, plan: Plan) -> None:
        """Store the plan, unless it is the one that is stored.  Raises StateError."""
        if plan is self._previous and self._stored:
            return
        refined = self._stored and self._previous is not None and plan.version == self._previous.version
        self._stored = False
        self._store.save_plan(plan, refined=refined)

    def _digest(self, plan: Plan) -> str:
        """The plan's digest; of content that only changed its history it is known."""
        known = self._digested
        same = known is not None and replace(known[0], version=plan.version, history=plan.history) == plan
        digest = known[1] if known is not None and same else plan.digest
        self._digested = plan, digest
        return digest

    def _numbered(self, plan: Plan) -> Plan:
        """The plan with a version that no executor has seen with other content."""
        executed, reported = self._executor.in_force, self._reported()
        if plan.version < reported:
            return replace(plan, version=max(reported, executed.plan_version if executed is not None else 0) + 1)
        if executed is None or plan.version > executed.plan_version:
            return plan
        if self._digest(plan) == executed.plan_digest:
            return plan if plan.version == executed.plan_version else replace(plan, version=executed.plan_version)
        return replace(plan, version=executed.plan_version + 1)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def geography_of(located: Located) -> Geography:
    """What `decide` needs of a location table.  Raises OSError, ValueError."""
    with located.path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return LocationTable.from_buffer(memoryview(mapped)).geography()


def nsid_of(deployment: Deployment, node: Node) -> bytes | None:
    """What the nameserver calls itself (RFC 5001): a text of the operator's, or the site or node with our version."""
    named = {"site": node.site, "node": node.name}
    text = deployment.dns.nsid
    return None if text is None else (f"{named[text]} gslb-{__version__}" if text in named else text).encode()
