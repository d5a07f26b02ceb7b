"""All results of checks -> verdicts, statistics, outliers, readings, and what of them is to be told.  Pure.

Rule 1: a verdict that changes, or how long it stands, is told at once; everything else once a second, for what was checked.
Rule 2: what could not be told yet is told in its latest form: nothing queues.
Rule 3: a target that this node could not ask keeps its verdict, which ages; why stands in its warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gslb.model.world import Health
from healthcheck.check import Sample
from healthcheck.messages import Detail, Figures, Found, Order, Outlier, Pulse, Reading, Report, Role, Work
from healthcheck.outlier import Peer, outliers
from healthcheck.reference import Sight, Turn
from healthcheck.statistics import Statistics
from healthcheck.verdict import Round, Standing, round_of

MOST_PATHS = 32  # that statistics are kept of, a target


@dataclass(slots=True)
class _Target:
    standing: Standing
    ended: float | None = None  # the last round that counted
    whole: Statistics = field(default_factory=Statistics)
    paths: dict[str, Statistics] = field(default_factory=dict)
    warning: str = ""
    told: object = None  # what was told at once last


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new Work starts and ends, by ids of checks."""

    started: tuple[Order, ...]
    ended: tuple[str, ...]


class Judge:
    """The targets, references and load pages of one Work.  Times are monotonic seconds."""

    def __init__(self) -> None:
        self._serial = 0
        self._done = 0
        self._rounds: dict[str, tuple[int, int]] = {}
        self.orders: dict[str, Order] = {}
        self.sight = Sight(())
        self._targets: dict[str, _Target] = {}
        self._groups: tuple[tuple[str, ...], ...] = ()
        self._outliers: list[dict[str, str]] = []
        self._waiting: set[str] = set()  # whose fall waits for this site's sight
        self._urgent: set[str] = set()
        self._checked: set[str] = set()
        self._readings: dict[str, Reading] = {}

    @property
    def urgent(self) -> bool:
        """Whether something is to be told at once."""
        return bool(self._urgent)

    def want(self, work: Work) -> Changes:
        """Judge this work from now on; what is the same in it goes on as it stands."""
        wanted = {order.check.id: order for order in work.orders}
        same_sight = _references(self.orders.values()) == _references(wanted.values())
        ended = tuple(
            name
            for name, order in self.orders.items()
            if not _goes_on(order, wanted.get(name)) or (order.role is Role.REFERENCE and not same_sight)
        )
        for name in ended:
            for kept in (self._targets, self._readings):
                kept.pop(name, None)
            for names in (self._waiting, self._urgent, self._checked):
                names.discard(name)
            del self.orders[name]
        started = tuple(order for name, order in wanted.items() if name not in self.orders)
        self.orders = wanted
        for order in started:
            if order.role is Role.TARGET:
                standing = Standing(order.fall, order.rise, order.interval_s, order.known, order.why)
                self._targets[order.check.id] = _Target(standing)
        if not same_sight:
            self.sight = Sight(order.check.id for order in wanted.values() if order.role is Role.REFERENCE)
        self._regroup(work.groups)
        monitors = {name.partition("/")[0] for name in self._targets}
        self._rounds = {name: counts for name, counts in self._rounds.items() if name in monitors}
        self._serial = work.serial
        self._urgent.update(name for name, one in self._targets.items() if one.ended is not None)
        return Changes(started, ended)

    def took(self, name: str, samples: Sequence[Sample], began: float, ended: float) -> None:
        """The samples of the check `name`, begun at `began`."""
        order = self.orders.get(name)
        if order is None:
            return
        self._done += 1
        if order.role is Role.TARGET:
            self._took_target(name, samples, began, ended)
        elif order.role is Role.REFERENCE:
            self._took_reference(name, round_of(samples), ended)
        else:
            sample = samples[0] if samples else Sample(ok=False, latency_s=0.0, why="the check gave no result")
            value = sample.value if sample.ok else None
            self._readings[name] = Reading(name, ended, value, sample.why)

    def at_once(self) -> Report:
        """What is urgent; then nothing is."""
        found = self._found(self._urgent)
        self._urgent = set()
        return Report(self._serial, found=found)

    def pulse(self, *, late: int, skipped: int, in_flight: int) -> Report:
        """Everything that was checked since the last pulse, and how the engine is."""
        self._compare()
        checked, self._checked = self._checked, set()
        readings, self._readings = tuple(self._readings.values()), {}
        found = self._found(checked | self._urgent)
        self._urgent = set()
        pulse = Pulse(
            checks=len(self.orders),
            done=self._done,
            rounds=dict(self._rounds),
            late=late,
            skipped=skipped,
            in_flight=in_flight,
            blind_since=self.sight.blind_since,
            references=self.sight.references,
            outliers=tuple(
                Outlier(group, name, why)
                for group, standing_out in enumerate(self._outliers)
                for name, why in standing_out.items()
            ),
        )
        details = tuple(_detail(name, self._targets[name]) for name in checked)
        return Report(self._serial, found, details, readings, pulse)

    # --- results ---

    def _took_target(self, name: str, samples: Sequence[Sample], began: float, ended: float) -> None:
        target = self._targets[name]
        self._checked.add(name)
        unasked = next((sample.why for sample in samples if sample.moot), None)
        if unasked is not None:
            target.warning = unasked
            return
        result = round_of(samples)
        monitor = name.partition("/")[0]
        passed, failed = self._rounds.get(monitor, (0, 0))
        self._rounds[monitor] = (passed + 1, failed) if result.ok else (passed, failed + 1)
        target.whole.add(max((sample.latency_s for sample in samples), default=0.0), ok=result.ok)
        if len(samples) > 1:
            _add_paths(target.paths, samples)
        target.warning = "; ".join(dict.fromkeys(sample.warning for sample in samples if sample.warning))
        if not self.sight.counts(began):
            return
        target.ended = ended
        standing = target.standing
        standing.took(result, began, self.sight.seen_at)
        if not result.ok and standing.health is not Health.DOWN:
            self.sight.doubted(began)
        self._look(name, target)

    def _took_reference(self, name: str, result: Round, now: float) -> None:
        turn = self.sight.took(name, "" if result.ok else result.why or "failed", now)
        if turn is Turn.BLINDED:
            for one, target in self._targets.items():
                target.standing.blinded()
                self._look(one, target)
        elif turn is Turn.SAW:
            for one in sorted(self._waiting):
                self._targets[one].standing.saw(self.sight.seen_at)
                self._look(one, self._targets[one])

    def _look(self, name: str, target: _Target) -> None:
        """After a target's standing may have changed."""
        standing = target.standing
        if standing.awaits_sight is not None:
            self._waiting.add(name)
        else:
            self._waiting.discard(name)
        stands = (standing.health, standing.settles_s, standing.double)
        if stands != target.told:
            target.told = stands
            self._urgent.add(name)

    # --- what is told ---

    def _found(self, names: set[str]) -> tuple[Found, ...]:
        found = []
        for name in sorted(names):
            target = self._targets[name]
            standing = target.standing
            if standing.health is not None and target.ended is not None:
                found.append(
                    Found(name, standing.health, target.ended, standing.why, standing.settles_s, standing.double)
                )
        return tuple(found)

    def _regroup(self, groups: tuple[tuple[str, ...], ...]) -> None:
        before = dict(zip(self._groups, self._outliers, strict=True))
        self._groups = groups
        self._outliers = [
            {name: why for name, why in before.get(group, {}).items() if name in self._targets} for group in groups
        ]

    def _compare(self) -> None:
        """Find outliers anew in the groups of which a member was checked."""
        for index, group in enumerate(self._groups):
            if self._checked.isdisjoint(group):
                continue
            peers = {name: _peer(self._targets[name]) for name in group if self._is_up(name)}
            self._outliers[index] = outliers(peers, self._outliers[index])

    def _is_up(self, name: str) -> bool:
        target = self._targets.get(name)
        return target is not None and target.standing.health is Health.UP


def _references(orders: Iterable[Order]) -> list[Order]:
    return [order for order in orders if order.role is Role.REFERENCE]


def _goes_on(before: Order, after: Order | None) -> bool:
    """Whether an order is the same but for what was known at its start."""
    if after is None:
        return False
    return (before.check, before.role, before.interval_s, before.fall, before.rise) == (
        after.check,
        after.role,
        after.interval_s,
        after.fall,
        after.rise,
    )


def _add_paths(paths: dict[str, Statistics], samples: Sequence[Sample]) -> None:
    for sample in samples[:MOST_PATHS]:
        if sample.path not in paths:
            if len(paths) >= MOST_PATHS:
                continue
            paths[sample.path] = Statistics()
        paths[sample.path].add(sample.latency_s, ok=sample.ok)


def _peer(target: _Target) -> Peer:
    whole = target.whole
    return Peer(whole.median_s(), whole.passed, whole.errors, whole.results)


def _detail(name: str, target: _Target) -> Detail:
    paths: Mapping[str, Statistics] = {"": target.whole, **target.paths}
    return Detail(name, tuple(_figures(path, one) for path, one in paths.items()), target.warning)


def _figures(path: str, one: Statistics) -> Figures:
    return Figures(path, one.latency_s, one.quantile_s(0.5), one.quantile_s(0.99), one.errors)
