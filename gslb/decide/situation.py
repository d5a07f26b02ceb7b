"""Everything that is known of the pools at one moment, before any policy looks at it.  Pure.

Rule 1: the work here is per pool and policy, never per ranking.
Rule 2: what the history says of pools and policies that are gone, or of the future (the clock went back), is mended here
and nowhere else; so a history never grows beyond the configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gslb.decide.candidates import Candidate, Candidates, answers_of, backends_of, starved
from gslb.decide.ejection import Ejected, in_force, remembered
from gslb.decide.levels import marks_of
from gslb.decide.outliers import Ruled, ejections_of, is_target, lost_lately
from gslb.decide.panic import Grade, grade_of
from gslb.decide.routes import pools_of
from gslb.decide.targets import Ruling, Target, ruling_of
from gslb.model.deployment import DYNAMIC_TYPES, Deployment, PolicyId, Pool, PoolId
from gslb.model.history import History, policy_of
from gslb.model.world import Load, World


@dataclass(frozen=True, slots=True)
class Condition:
    """One pool: its targets and its room, whatever the policy.

    `behind` are the backends, where anything is said of them; `backends` are the same where they are what is checked, and none where the
    answers are.  `grades` is by record type.  `doubly`: the evidence against it is double.  `asked_up`: an operator's `up` covers it
    or one of its answers.  A pool whose load is not known has room.  `lately` is the share of
    its targets whose ejection began within the window of velocity; `unsettled` are those whose verdict may change soon, and
    that neither an operator nor an ejection rules.
    """

    pool: Pool
    behind: tuple[Target, ...]
    backends: tuple[Target, ...]
    answers: Mapping[int, tuple[Candidate, ...]]
    grades: Mapping[int, Grade]
    doubly: bool
    asked_up: bool
    below_soft: bool
    below_hard: bool
    lately: float
    unsettled: tuple[Target, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is checked: the backends, or the answers."""
        return self.backends or tuple(one for candidates in self.answers.values() for one in candidates)


@dataclass(frozen=True, slots=True)
class Situation:
    """All pools at `now`, and the history as far as it holds, with the ejections of now.

    `ruled` holds the pools that each policy's rules name.
    """

    now: float
    ruled: Ruled
    conditions: Mapping[PoolId, Condition]
    candidates: Mapping[int, Candidates]
    history: History


def situation_of(model: Deployment, world: World, before: History) -> Situation:
    """What a decision goes by; `before` is the history of the previous plan."""
    ruling = ruling_of(world)
    ruled = {name: pools_of(policy) for name, policy in model.policies.items()}
    history = _still_holding(model, ruled, before, world.now)
    ejected = ejections_of(model, world, ruling, ruled, history)
    active, lost = in_force(ejected, world.now), lost_lately(model, ejected, world.now)
    conditions = {
        name: _condition(pool, world, ruling, active, lost.get(name, 0.0)) for name, pool in model.pools.items()
    }
    return Situation(world.now, ruled, conditions, _candidates(conditions), replace(history, ejected=ejected))


def seen_from(continent: str, model: Deployment, world: World, situation: Situation) -> Situation:
    """What a decision goes by for clients of one continent: pools are as its own sites say where these say something else."""
    ruling, ejected = ruling_of(world), situation.history.ejected
    active, lost = in_force(ejected, world.now), lost_lately(model, ejected, world.now)
    conditions = dict(situation.conditions)
    for name, found in world.regional.get(continent, {}).items():
        if name in conditions and found:
            own = {address: replace(verdict, seen_from=continent) for address, verdict in found.items()}
            seen = replace(world, verdicts={name: {**world.verdicts.get(name, {}), **own}})
            conditions[name] = _condition(model.pools[name], seen, ruling, active, lost.get(name, 0.0))
    return replace(situation, conditions=conditions, candidates=_candidates(conditions))


def _candidates(conditions: Mapping[PoolId, Condition]) -> Mapping[int, Candidates]:
    return {
        rtype: {name: one.answers[rtype] for name, one in conditions.items() if rtype in one.answers}
        for rtype in DYNAMIC_TYPES
    }


def _condition(pool: Pool, world: World, ruling: Ruling, active: Ejected, lately: float) -> Condition:
    verdicts = world.verdicts.get(pool.name, {})
    behind = backends_of(pool, ruling, verdicts, active)
    unbalanced = world.unbalanced.get(pool.name, "") if pool.balance is not None else ""
    starving = starved(pool, behind, unbalanced)
    cut_off = bool(unbalanced and starving)  # by what this node knows, so nothing that a check says could change it
    backends = behind if cut_off or not unbalanced else ()  # the answers are then served without the balancer
    answers = answers_of(pool, ruling, verdicts, active, starving)
    candidates = tuple(one for of_type in answers.values() for one in of_type)
    below_soft, below_hard = _room(pool, world.loads.get(pool.name))
    return Condition(
        pool=pool,
        behind=behind,
        backends=backends,
        answers=answers,
        grades={rtype: grade_of(of_type, backends) for rtype, of_type in answers.items()},
        doubly=cut_off or _doubly(backends) or _doubly(candidates),
        asked_up=any(one.forced_up for one in candidates),
        below_soft=below_soft,
        below_hard=below_hard,
        lately=lately,
        unsettled=tuple(one for one in backends or candidates if not cut_off and _is_unsettled(one)),
    )


def _is_unsettled(target: Target) -> bool:
    free = target.override is None and target.ejection is None
    return free and target.verdict is not None and target.verdict.settles_s is not None


def _room(pool: Pool, load: Load | None) -> tuple[bool, bool]:
    if pool.capacity is None or load is None:
        return True, True
    marks = marks_of(pool.capacity)
    return load.share < marks.soft, load.share < marks.hard


def _doubly(targets: Iterable[Target]) -> bool:
    """Whether several independent checks agree on each target that fails.

    That all targets of a pool fail is no second witness: one monitor checks them all, and may be what is wrong.
    """
    failing = [one.verdict for one in targets if one.failing and one.verdict is not None]
    return bool(failing) and all(verdict.double for verdict in failing)


def _still_holding(model: Deployment, ruled: Ruled, before: History, now: float) -> History:
    def used(name: PolicyId, pool: PoolId) -> bool:
        policy = policy_of(name)
        return policy in ruled and (pool in ruled[policy] or pool in model.policies[policy].spill.to)

    out = {
        policy: {pool: replace(one, since=min(one.since, now)) for pool, one in pools.items() if used(policy, pool)}
        for policy, pools in before.out.items()
    }
    kept = {
        policy: {pool: replace(one, since=min(one.since, now)) for pool, one in pools.items() if used(policy, pool)}
        for policy, pools in before.kept.items()
    }
    known = {key: one for key, one in before.ejected.items() if is_target(model, key)}
    return replace(before, out=out, kept=kept, ejected=remembered(known, now))
