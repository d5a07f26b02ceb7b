"""The outcome of a what-if in one line.  Pure."""

from __future__ import annotations

from gslb.cli.whatif import Asked, Losses, WhatIf
from gslb.decide.marks import Over
from gslb.decide.simulate import PoolOutcome
from gslb.decide.siteloss import SiteLoss


def verdict(found: WhatIf) -> str:
    """Who would become too full; else who would be the fullest; else what is not known.  And who is too full as it is."""
    sides = [(pool, pool.after) for pool in found.simulation.pools if pool.after is not None]
    loaded = [(pool, side, side.carried.share) for pool, side in sides if side.carried.share is not None]
    exceeding = [(share, pool) for pool, _, share in loaded if pool.brought is not Over.NONE]
    already = [(share, pool) for pool, side, share in loaded if side.over is not pool.brought]
    moved = max((policy.moved for policy in found.simulation.policies), default=0.0)
    if exceeding:
        said = "; ".join(_over(pool, share) for share, pool in sorted(exceeding, key=lambda each: -each[0]))
    elif not moved:
        said = "nobody moves"
    else:
        unknown = [pool.pool for pool, side in sides if side.carried.share is None and pool.answers.after > 0]
        parts = [f"up to {moved:.0%} of a policy's answers move"]
        serving = [(share, pool.pool) for pool, _, share in loaded if pool.answers.after > 0]
        if serving:
            share, name = max(serving)
            parts.append(f"{name} would be the fullest, at {share:.0%} of its capacity")
        if unknown:
            parts.append(f"whether {', '.join(unknown)} can carry it is not known: no capacity, or no load measured")
        said = "; ".join(parts)
    before = ", ".join(f"{pool.pool} at {share:.0%}" for share, pool in sorted(already, key=lambda each: -each[0]))
    return f"{_if(found.asked)}: {said}" + (f"; already over a mark: {before}" if before else "")


def worst_loss(found: Losses) -> str:
    """Which site must not fail now."""
    hard = [site for site in found.sites if site.over_hard]
    already = tuple(dict.fromkeys(pool for site in found.sites for pool in site.already_over))
    return _of_losses(found, hard) + (f"; already over a mark: {', '.join(already)}" if already else "")


def _of_losses(found: Losses, hard: list[SiteLoss]) -> str:
    if hard:
        worst = max(hard, key=lambda site: site.share or 0.0)
        return (
            f"if {worst.site} fails: {worst.worst} would be at {worst.share or 0.0:.0%} of its capacity (over hard)"
            f"; {len(hard)} of {len(found.sites)} sites must not fail now"
        )
    unknown = tuple(dict.fromkeys(pool for site in found.sites for pool in site.unknown))
    if unknown:
        return f"whether {', '.join(unknown)} could carry more is not known: no capacity, or no load measured"
    return "whichever one site fails, it brings no pool over its hard mark"


def _if(asked: Asked) -> str:
    parts = [f"if {', '.join(asked.sites)} fail{'' if asked.sites[1:] else 's'}"] if asked.sites else []
    return " ".join([*parts, "with the new configuration"] if asked.new is not None else parts)


def _over(pool: PoolOutcome, share: float) -> str:
    assert pool.after is not None  # only asked of pools that exceed a mark
    return f"{pool.pool} would be at {share:.0%} of its capacity (over {pool.after.over})"
