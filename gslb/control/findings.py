"""What a node's checks have found: reports of the checking process -> verdicts, readings of load, and figures.  No IO, no clock.

Rule 1: a verdict is never lost: what does not renew it leaves it as it was, and its age grows.
Rule 2: a check that the balancer must lead to its backend, and does not, is not made, and why is told: unknown is not down.
Rule 3: what is kept is bounded by the deployment: what a report says of anything else is dropped.
All times are of the monotonic clock, which this process and the checking process share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from gslb.control.checks import Checks, Owner, Ways, checks_of
from gslb.model.deployment import Deployment, PoolId, SiteId
from gslb.model.world import Verdict, Verdicts
from healthcheck.check import MARK
from healthcheck.messages import Detail, Found, Order, Outlier, Pulse, Report, Role, Work

KNOWN_S = 60.0  # what is known for longer is told until a round says otherwise, and that round then decides alone
KNOWN_INTERVALS = 10
TEXT_CHARACTERS = 300  # of a reason or warning


@dataclass(frozen=True, slots=True)
class Reading:
    """What a page of load said, and when."""

    value: float
    at: float


class Findings:
    """What is known of one deployment's targets and pages of load."""

    def __init__(self) -> None:
        self._checks = Checks((), {}, {}, {}, (), ())
        self._ways = Ways()
        self._model: tuple[Deployment, SiteId] | None = None
        self._serial = 0
        self._found: dict[str, Found] = {}
        self._outliers: dict[Owner, str] = {}
        self._details: dict[str, Detail] = {}
        self._readings: dict[PoolId, Reading] = {}
        self._unread: dict[PoolId, str] = {}  # pages that could not be had, and why
        self._pulse = Pulse()
        self._pulsed_at: float | None = None
        self._per_s = 0.0
        self._unjudged: set[str] = set()

    @property
    def unjudged(self) -> bool:
        """Whether there is a target that nothing is known of, though it can be asked."""
        return any(self._led(order) for order in self._checks.orders if order.check.id in self._unjudged)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to check."""
        return not self._checks.orders

    @property
    def blind_since(self) -> float | None:
        """Since when no reference target of this site answers."""
        return self._pulse.blind_since

    def want(self, deployment: Deployment, site: SiteId, known: Verdicts, now: float) -> None:
        """Know this deployment's targets from now on: by what was found so far, and else by `known`."""
        stood = self.verdicts(now)
        before, self._found = self._found, {}
        self._model = deployment, site
        self._checks = checks_of(deployment, site, self._ways.unbalanced)
        self._serial += 1
        outliers: dict[Owner, str] = {}
        for name, owners in self._checks.owners.items():
            verdicts = {owner: _of(stood, owner) or _of(known, owner) for owner in owners}
            outliers |= {owner: one.outlier for owner, one in verdicts.items() if one is not None and one.outlier}
            verdict = next((one for one in verdicts.values() if one is not None), None)
            if name in before:
                self._found[name] = before[name]
            elif verdict is not None:
                self._found[name] = Found(name, verdict.health, now - verdict.age_s, verdict.why)
        self._outliers = outliers
        self._details = {name: one for name, one in self._details.items() if name in self._checks.owners}
        pools = set(self._checks.loads.values())
        self._readings = {pool: one for pool, one in self._readings.items() if pool in pools}
        self._unread = {pool: why for pool, why in self._unread.items() if pool in pools}
        self._unjudged = self._checks.owners.keys() - self._found.keys()
        if not self._checks.references:
            self._pulse = replace(self._pulse, blind_since=None)

    def lead(self, ways: Ways, now: float) -> bool:
        """Check so from now on; whether there is other work."""
        before, self._ways = self._ways, ways
        if self._model is not None and ways.unbalanced != before.unbalanced:
            self.want(*self._model, {}, now)
            return True
        if not any(self._led(order) != _led(order, before) for order in self._checks.orders):
            return False
        self._serial += 1
        return True

    def work(self, now: float) -> Work:
        """What the checking process is to do; targets begin as they are known, where that is not long ago."""
        orders = tuple(self._known(order, now) for order in self._checks.orders if self._led(order))
        return Work(self._serial, orders, self._checks.peers)

    def take(self, report: Report, now: float) -> bool:
        """Learn from a report; whether a decision may come out otherwise."""
        if report.serial != self._serial:
            return False
        changed = False
        for found in report.found:
            if found.id in self._checks.owners:
                before = self._found.get(found.id)
                changed |= before is None or _matter(before) != _matter(found)
                self._found[found.id] = replace(found, why=found.why[:TEXT_CHARACTERS])
                self._unjudged.discard(found.id)
        for detail in report.details:
            if detail.id in self._checks.owners:
                self._details[detail.id] = replace(detail, warning=detail.warning[:TEXT_CHARACTERS])
        for reading in report.readings:
            self._read(reading.id, reading.value, reading.at, reading.why)
        if report.pulse is not None:
            changed |= self._beat(report.pulse, now)
        return changed

    def verdicts(self, now: float) -> Verdicts:
        """The verdict on each target that is known, by pool and address."""
        verdicts: dict[PoolId, dict[str, Verdict]] = {}
        for name, found in self._found.items():
            age_s = max(0.0, now - found.at)
            for owner in self._checks.owners[name]:
                pool, address = owner
                verdicts.setdefault(pool, {})[address] = Verdict(
                    found.health, age_s, found.why, found.settles_s, found.double, self._outliers.get(owner, "")
                )
        return verdicts

    def readings(self) -> Mapping[PoolId, Reading]:
        """The last reading of each page of load."""
        return dict(self._readings)

    def unread(self) -> Mapping[PoolId, str]:
        """The pages of load that could not be had last, and why."""
        return dict(self._unread)

    def state(self) -> dict[str, Any]:
        """Figures for people and metrics, as JSON values."""
        pulse, unled = self._pulse, self._unled()
        return {
            "checks": len(self._checks.orders),
            "checks_per_s": round(self._per_s, 1),
            "late": pulse.late,
            "skipped": pulse.skipped,
            "rounds": {monitor: list(counts) for monitor, counts in pulse.rounds.items()},
            "in_flight": pulse.in_flight,
            "references": {
                text: _reached(pulse.references.get(name)) for name, text in self._checks.references.items()
            },
            "pages": {pool: self._unread.get(pool, "") for pool in self._checks.loads.values()},
            "targets": [self._target(name, owners, unled.get(name)) for name, owners in self._checks.owners.items()],
        }

    def _target(self, name: str, owners: tuple[Owner, ...], unled: str | None) -> dict[str, Any]:
        detail = self._details.get(name)
        said = detail.warning if detail is not None else ""
        figures = [asdict(one) for one in detail.figures] if detail is not None else []
        whole = {key: value for key, value in figures[0].items() if key != "path"} if figures else {}
        return {
            "check": name,
            "address": owners[0][1],
            "pools": [pool for pool, _ in owners],
            "warning": said if unled is None else unled,
            **whole,
            "paths": figures[1:],
        }

    def _unled(self) -> Mapping[str, str]:
        """Why checks are not made, by id."""
        why = f"this node cannot ask as clients do: {self._ways.why}"[:TEXT_CHARACTERS]
        return {order.check.id: why for order in self._checks.orders if not self._led(order)}

    def _led(self, order: Order) -> bool:
        return _led(order, self._ways)

    def _known(self, order: Order, now: float) -> Order:
        found = self._found.get(order.check.id) if order.role is Role.TARGET else None
        if found is None or now - found.at > max(KNOWN_S, KNOWN_INTERVALS * order.interval_s):
            return order
        return replace(order, known=found.health, why=found.why)

    def _read(self, name: str, value: float | None, at: float, why: str) -> None:
        pool = self._checks.loads.get(name)
        if pool is None:
            return
        if value is None:
            self._unread[pool] = why[:TEXT_CHARACTERS]
        else:
            self._unread.pop(pool, None)
            self._readings[pool] = Reading(value, at)

    def _beat(self, pulse: Pulse, now: float) -> bool:
        blind_since = pulse.blind_since
        if self._pulse.blind_since is not None and pulse.references and "" not in pulse.references.values():
            blind_since = self._pulse.blind_since  # a checking process that was replaced meanwhile knows no better
        outliers: dict[Owner, str] = {}
        for one in pulse.outliers:
            owner = self._owner(one)
            if owner is not None:
                outliers[owner] = one.why[:TEXT_CHARACTERS]
        changed = outliers != self._outliers or blind_since != self._pulse.blind_since
        if self._pulsed_at is not None and now > self._pulsed_at and pulse.done >= self._pulse.done:
            self._per_s = (pulse.done - self._pulse.done) / (now - self._pulsed_at)
        self._outliers, self._pulsed_at = outliers, now
        self._pulse = replace(pulse, outliers=(), blind_since=blind_since)
        return changed

    def _owner(self, outlier: Outlier) -> Owner | None:
        """The target of a pool that stands out among that pool's."""
        if not 0 <= outlier.group < len(self._checks.groups):
            return None
        pool = self._checks.groups[outlier.group]
        return next((owner for owner in self._checks.owners.get(outlier.id, ()) if owner[0] == pool), None)


def _led(order: Order, ways: Ways) -> bool:
    """Whether a check reaches whom it is meant for."""
    mark = order.check.settings.get(MARK)
    return mark is None or mark in ways.marks


def _reached(failed: str | None) -> dict[str, Any]:
    """How a reference target stands; `answers` is None before its first check."""
    return {"answers": None if failed is None else not failed, "why": (failed or "")[:TEXT_CHARACTERS]}


def _of(verdicts: Verdicts, owner: Owner) -> Verdict | None:
    return verdicts.get(owner[0], {}).get(owner[1])


def _matter(found: Found) -> tuple[object, ...]:
    """What of a finding a decision depends on."""
    return found.health, found.settles_s, found.double
