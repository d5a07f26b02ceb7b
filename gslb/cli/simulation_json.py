"""A what-if as JSON values.  Pure.  Names of fields are stable; null stands for what is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gslb.cli.verdict import verdict, worst_loss
from gslb.cli.whatif import Losses, WhatIf
from gslb.decide.rest import Settled
from gslb.decide.simulate import Change, PolicyOutcome, PoolOutcome, PoolSide

if TYPE_CHECKING:
    from gslb.geo.reach import Distance


def as_json(found: WhatIf) -> dict[str, object]:
    """All of a comparison."""
    simulation = found.simulation
    return {
        "without": list(found.asked.sites),
        "new_configuration": found.asked.new is not None,
        "weights": found.weights,
        "settles": {"before": _settled(simulation.before), "after": _settled(simulation.after)},
        "pools": [_pool(pool) for pool in simulation.pools],
        "policies": [_policy(found, policy) for policy in simulation.policies],
        "only_before": list(simulation.only_before),
        "only_after": list(simulation.only_after),
        "notes": list(found.notes),
        "verdict": verdict(found),
    }


def losses_as_json(found: Losses) -> dict[str, object]:
    """The loss of each site."""
    return {
        "weights": found.weights,
        "sites": [
            {
                "site": site.site,
                "moved": site.moved,
                "added_km": site.added_km,
                "worst": site.worst,
                "share": site.share,
                "unknown": list(site.unknown),
                "over_soft": list(site.over_soft),
                "over_hard": list(site.over_hard),
                "already_over": list(site.already_over),
                "unanswered": site.unanswered,
            }
            for site in found.sites
        ],
        "notes": list(found.notes),
        "verdict": worst_loss(found),
    }


def _settled(settled: Settled) -> dict[str, object]:
    return {"calm": settled.calm, "seconds": settled.seconds}


def _pool(pool: PoolOutcome) -> dict[str, object]:
    return {
        "pool": pool.pool,
        "site": pool.site,
        "answers": _change(pool.answers),
        "before": _side(pool.before),
        "after": _side(pool.after),
        "brought_over": pool.brought.value or None,
    }


def _side(side: PoolSide | None) -> dict[str, object] | None:
    if side is None:
        return None
    return {
        "load": side.carried.share,
        "amount": side.carried.amount,
        "unit": side.carried.unit,
        "soft": side.marks.soft if side.marks else None,
        "hard": side.marks.hard if side.marks else None,
        "over": side.over.value or None,
        "waiting": side.waiting,
        "shed": {"level": side.shed.level, "cause": side.shed.cause} if side.shed else None,
    }


def _policy(found: WhatIf, policy: PolicyOutcome) -> dict[str, object]:
    before, after = found.distances.get(policy.policy, (None, None))
    return {
        "policy": policy.policy,
        "answers": {str(name): _change(change) for name, change in policy.answers.items()},
        "moved": policy.moved,
        "networks": policy.networks or None,
        "moved_networks": policy.moved_networks if policy.networks else None,
        "mean_km": _change(policy.km) if policy.km else None,
        "distance": {"before": _distance(before), "after": _distance(after)},
    }


def _distance(distance: Distance | None) -> dict[str, float] | None:
    if distance is None:
        return None
    return {"mean_km": distance.mean_km, "p90_km": distance.p90_km, "known": distance.known}


def _change(change: Change) -> dict[str, float]:
    return {"before": change.before, "after": change.after}
