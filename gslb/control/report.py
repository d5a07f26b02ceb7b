"""What a node is doing, for `gslb status`: by its state folder, or by what its controller knows.  IO, read only.

What is read is as the processes left it: a page says when it was written, a fact since when it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gslb import __version__
from gslb.control import anycastfile, balancerchild, balancerfile, facts, imaging, lock, standing
from gslb.control.observed import Observed
from gslb.control.sharedfile import read_seen, read_sharing
from gslb.control.store import Store
from gslb.control.targets import targets
from gslb.dnslayout import DnsQtype, DnsUp
from gslb.model.deployment import Deployment
from gslb.model.plan import Plan
from gslb.model.world import Override
from gslb.nameserver import channel, counters, scoreboard
from gslb.nameserver.counters import Counter
from gslb.nameserver.generation import Current, UnusableGeneration, read_manifest
from gslb.nameserver.scoreboard import Kind, Page, Tally

Report = dict[str, Any]

_REACH_S = 1.0  # a living worker is reached at once


@dataclass(frozen=True, slots=True)
class Known:
    """What the node itself knows, and a command reads from its state folder."""

    seen: Observed
    plan: Plan | None
    overrides: tuple[Override, ...]


def report(store: Store, deployment: Deployment | None, now: float, known: Known | None = None) -> Report:
    """The whole report; without a `deployment` (its configuration is refused now) there are no pools in it.

    `known` is given by the node; without it, it is what the node has kept on disk.

    Raises PermissionError where the folder may not be read: nothing can be said of the node then.
    """
    told = facts.read(store.folder)
    checks = store.read_figures()
    pages = _pages(store.folder / "run")
    counts, tallies = _sums(pages)
    passed_up, types = _sums_in_c(pages)
    itself = known is not None  # the node asks
    known = known if known is not None else _stored(store, now)
    seen, plan, overrides = known.seen, known.plan, known.overrides
    controller = _controller(store.folder, told, now)
    return {
        "version": __version__,
        "deployment": store.deployment,
        "node": store.folder.name,
        "site": told.get("site"),
        "now": now,
        "supervisor": {"pid": lock.holder(store.folder)},
        "controller": controller,
        "listening": told.get("listening", []),
        "generation": _generation(store, told, now),
        "geography": told.get("geography"),
        "workers": [_worker(store.folder / "run", page) for page in pages if page.kind is not Kind.RETIRED],
        "queries": counters.queries(counts),
        "counters": {counter.name.lower(): counts[counter] for counter in Counter}
        | {tally.name.lower(): tallies[tally] for tally in Tally},
        "passed_up": passed_up,
        "types": types,
        "overrides": _overrides(overrides, deployment, now),
        "agreement": told.get(facts.AGREEMENT),
        "rollout": told.get(facts.ROLLOUT),
        "announcing": anycastfile.read_state(store.folder / "run"),
        "draining": told.get(facts.DRAINING),
        "problems": told.get("problems", {}),
        "warnings": told.get("warnings", []),
        "observed_s": round(max(0.0, now - seen.at), 1) if seen.verdicts or seen.loads else None,
        "blind_since": seen.blind_since,
        "pools": standing.pools(deployment, plan, seen, overrides, now) if deployment is not None else [],
        "policies": standing.policies(deployment, plan) if deployment is not None else [],
        "checks": checks,
        **_driven(store.folder, checks if itself or _answers(controller) else {}),
        "unbalanced": dict(seen.unbalanced),
        "sharing": None if itself else read_sharing(store, now),
    }


def _driven(folder: Path, checks: Mapping[str, Any]) -> Report:
    """What the balancer said of itself last, and what its counts tell; None where nothing is balanced.  So of DNS in the driver, with
    the process that drives it; None where none lives.
    """
    told = balancerfile.read(folder / "run") or {}
    balancer, driver = told.get("balancer"), told.get("driver")
    return {
        "balancer": None if balancer is None else {**balancer, "passive": checks.get("passive", {})},
        "driver": None if driver is None else {**driver, "pid": lock.holder(folder, balancerchild.LOCK)},
    }


def _stored(store: Store, now: float) -> Known:
    overrides = store.load_overrides().overrides or ()
    return Known(read_seen(store).seen or Observed(now), store.read_plan().plan, overrides)


def _controller(folder: Path, told: Mapping[str, Any], now: float) -> Report:
    """`silent_s`: for how long it has given no sign of life; None where it goes on, or there is none."""
    pid = lock.holder(folder, lock.CONTROLLER)
    silent_s = lock.silent_s(folder, lock.CONTROLLER, now) if pid is not None else None
    since = told.get("since") if pid == told.get("pid") else None
    return {"pid": pid, "since": since, "config": told.get("config"), "silent_s": silent_s}


def _answers(controller: Report) -> bool:
    return controller["pid"] is not None and controller["silent_s"] is None


def _generation(store: Store, told: Mapping[str, Any], now: float) -> Report | None:
    serving = store.folder / "serving"
    try:
        current = Current(serving)
        try:
            manifest = read_manifest(serving, current.number, store.deployment)
        finally:
            current.close()
        since = (serving / manifest.plan.name).stat().st_mtime
    except (OSError, UnusableGeneration):
        return None
    return {
        "number": manifest.generation,
        "plan_version": manifest.plan_version,
        "plan_digest": manifest.plan_digest,
        "plan_age_s": round(max(0.0, now - since), 1),
        "configuration": told.get("loaded", {}).get("digest"),
        "image": imaging.told(serving, manifest.image),
    }


def _pages(run: Path) -> list[Page]:
    try:
        paths = sorted(run.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = (scoreboard.read(path) for path in paths if path.name.endswith(scoreboard.SUFFIX))
    return sorted((page for page in found if page is not None), key=lambda page: (page.kind, page.slot, page.pid))


def _sums(pages: Iterable[Page]) -> tuple[list[int], list[int]]:
    counts, tallies = [0] * len(Counter), [0] * len(Tally)
    for page in pages:
        for index, value in enumerate(page.counts[: len(counts)]):
            counts[index] += value
        for index, value in enumerate(page.tallies):
            tallies[index] += value
    return counts, tallies


def _sums_in_c(pages: Iterable[Page]) -> tuple[dict[str, int], dict[str, int]]:
    """What executors in C handed on, by reason, and answered, by type."""
    ups = {
        one: one.name.removeprefix("DNS_UP_").lower() for one in DnsUp if one not in (DnsUp.DNS_UP_NONE, DnsUp.DNS_UPS)
    }
    types = {one: one.name.removeprefix("DNS_QTYPE_") for one in DnsQtype}
    pages = tuple(pages)
    return (
        {name: sum(page.ups[number] for page in pages) for number, name in ups.items()},
        {name: sum(page.qtypes[number] for page in pages) for number, name in types.items()},
    )


def _worker(run: Path, page: Page) -> Report:
    kind = page.kind.name.lower()
    counts = [*page.counts, *[0] * (len(Counter) - len(page.counts))]
    answers = sum(counts[outcome] for outcome in counters.OUTCOMES if outcome not in counters.SILENT)
    lived_s = max(0.001, page.seen_s - page.started_s)
    return {
        "kind": kind,
        "slot": page.slot,
        "pid": page.pid,
        # What is in the driver answers with every process dead.
        "alive": page.kind is Kind.XDP or _alive(run, f"{kind}-{page.pid}{channel.SUFFIX}"),
        "since": page.started_s,
        "seen": page.seen_s,
        "generation": page.generation,
        "plan_version": page.plan_version,
        "queries": counters.queries(counts),
        # That of the driver begins with what nobody counted for a while, which says nothing of how much it is a second.
        "answers_per_s": None if page.kind is Kind.XDP else round(answers / lived_s, 1),
        "executor": page.executor.name.lower(),
    }


def _alive(run: Path, name: str) -> bool:
    """Whether the worker's unix socket has a listener: a process id alone may be another's by now."""
    try:
        channel.connect(run, name, _REACH_S).close()
    except OSError:
        return False
    return True


def _overrides(overrides: Iterable[Override], deployment: Deployment | None, now: float) -> list[Report]:
    """`known` is whether there is such a target; None where the deployment is not known."""
    known = None if deployment is None else targets(deployment)
    return [
        asdict(one) | {"holds": one.holds_at(now), "known": None if known is None else one.target in known}
        for one in overrides
    ]
