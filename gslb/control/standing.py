"""How each pool and policy stands: what is true, what operators force, what the plan makes of both.  Pure, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gslb.control.changes import pool_state
from gslb.control.observed import Observed
from gslb.decide.candidates import pool_target, site_target
from gslb.decide.levels import marks_of
from gslb.decide.marks import over
from gslb.model.deployment import TYPE_A, TYPE_AAAA, Deployment, PolicyId, Pool, PoolId
from gslb.model.plan import Plan
from gslb.model.world import Override, Verdict

Report = dict[str, Any]
_NAMES = {TYPE_A: "A", TYPE_AAAA: "AAAA"}


@dataclass(frozen=True, slots=True)
class _View:
    """What pools are looked at with.  `passed`: seconds since it was observed."""

    plan: Plan | None
    seen: Observed
    ruling: Mapping[str, Override]
    answered: frozenset[PoolId | None]
    now: float
    passed: float


def pools(
    deployment: Deployment, plan: Plan | None, seen: Observed, overrides: Iterable[Override], now: float
) -> list[Report]:
    """Every pool of the deployment, in the order of the file."""
    ruling = {one.target: one for one in overrides if one.holds_at(now)}
    view = _View(plan, seen, ruling, _answered(plan), now, max(0.0, now - seen.at))
    return [_pool(pool, view) for pool in deployment.pools.values()]


def policies(deployment: Deployment, plan: Plan | None) -> list[Report]:
    """What holds for each policy's answers now, by the record types that it can answer."""
    if plan is None:
        return []
    return [
        {
            "name": name,
            "ttl": policy.ttl,
            "modes": {
                _NAMES[rtype]: sorted({plan.choices[index].mode.value for index in by_ranking})
                for rtype, by_ranking in policy.choices.items()
                if _can_answer(deployment, name, rtype)
            },
        }
        for name, policy in plan.policies.items()
    ]


def _can_answer(deployment: Deployment, name: PolicyId, rtype: int) -> bool:
    policy = deployment.policies.get(name)
    pools = (*policy.pools, *policy.spill.to) if policy is not None else ()
    return any(deployment.pools[pool].answers_of(rtype) for pool in pools)


def _answered(plan: Plan | None) -> frozenset[PoolId | None]:
    if plan is None:
        return frozenset()
    whole = (member.pool for choice in plan.choices for member in choice.members)
    parts = (member.pool for choice in plan.choices for part in choice.shed for member in part.members)
    return frozenset((*whole, *parts))


def _pool(pool: Pool, view: _View) -> Report:
    override = view.ruling.get(pool_target(pool.name)) or view.ruling.get(site_target(pool.datacenter))
    verdicts = view.seen.verdicts.get(pool.name, {})
    servings = _servings(pool.name, view.plan)
    return {
        "name": pool.name,
        "site": pool.datacenter,
        "true_state": pool_state(verdicts.values()),
        "checked": bool(verdicts),
        "override": override.state.value if override is not None else None,
        "answered": pool.name in view.answered,
        "targets": [
            _target(pool.name, address, verdict, view, servings.get(address)) for address, verdict in verdicts.items()
        ],
        "load": _load(pool, view),
        "shed": _shed(pool.name, view),
        "out": _out(pool.name, view),
        "kept": _kept(pool.name, view.plan),
        "regional": _regional(pool, view),
    }


def _regional(pool: Pool, view: _View) -> Report:
    """How the pool looks from the continents whose sites find it otherwise: its state, and the targets that differ."""
    found = {}
    for continent, verdicts in sorted(view.seen.regional.items()):
        own = verdicts.get(pool.name)
        if own:
            together = {**view.seen.verdicts.get(pool.name, {}), **own}
            found[continent] = {
                "true_state": pool_state(together.values()),
                "targets": [
                    {
                        "address": address,
                        "health": verdict.health.value,
                        "age_s": round(verdict.age_s + view.passed, 1),
                        "why": verdict.why,
                    }
                    for address, verdict in own.items()
                ],
            }
    return found


def _target(pool: PoolId, address: str, verdict: Verdict, view: _View, serving: str | None) -> Report:
    ejection = view.plan.history.ejected.get(f"{pool}/{address}") if view.plan is not None else None
    left_s = ejection.until - view.now if ejection is not None else 0.0
    override = view.ruling.get(f"answer/{pool}/{address}") or view.ruling.get(f"backend/{pool}/{address}")
    return {
        "address": address,
        "health": verdict.health.value,
        "age_s": round(verdict.age_s + view.passed, 1),
        "why": verdict.why,
        "settles_s": verdict.settles_s,
        "outlier": verdict.outlier,
        "ejected_s": round(left_s, 1) if left_s > 0 else None,
        "override": override.state.value if override is not None else None,
        "serving": serving,
    }


def _servings(pool: PoolId, plan: Plan | None) -> Mapping[str, str]:
    """What the balancer does with each backend."""
    table = plan.balancers.get(pool) if plan is not None else None
    return {one.address: one.serving.value for one in table.backends} if table is not None else {}


def _load(pool: Pool, view: _View) -> Report | None:
    load = view.seen.loads.get(pool.name)
    if pool.capacity is None:
        return None
    marks = marks_of(pool.capacity)
    return {
        "share": round(load.share, 4) if load is not None else None,
        "age_s": round(load.age_s + view.passed, 1) if load is not None else None,
        "stale": load is not None and load.stale,
        "soft": round(marks.soft, 4),
        "auto": pool.capacity.soft is None,
        "hard": marks.hard,
        "over": over(marks, load.share).value if load is not None else "",
    }


def _shed(pool: PoolId, view: _View) -> Report | None:
    shed = view.plan.history.sheds.get(pool) if view.plan is not None else None
    if shed is None:
        return None
    return {
        "level": round(shed.level, 4),
        "cause": shed.cause.value,
        "stepped_s": round(max(0.0, view.now - shed.stepped_at), 1),
        "to": sorted({moved.receiver for moved in shed.moved}),
    }


def _out(pool: PoolId, view: _View) -> Report | None:
    """Since when, and of which policies, or of which continents' clients of theirs."""
    plan = view.plan
    outs = {name: of[pool] for name, of in plan.history.out.items() if pool in of} if plan is not None else {}
    if not outs:
        return None
    since = min(out.since for out in outs.values())
    return {
        "for_s": round(max(0.0, view.now - since), 1),
        "held": any(out.held for out in outs.values()),
        "of": sorted(outs),
    }


def _kept(pool: PoolId, plan: Plan | None) -> list[str]:
    """What keeps the pool in the answers though its health speaks against it."""
    if plan is None:
        return []
    return sorted({of[pool].by.value for of in plan.history.kept.values() if pool in of})
