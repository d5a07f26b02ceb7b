"""Everything that is known of the pools at one moment, before any policy looks at it.  Pure.

Rule 1: the work here is per pool and policy, never per ranking.
Rule 2: what the history says of pools and policies that are gone, or of the future (the clock went back), is mended here
and nowhere else; so a history never grows beyond the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from gslb.decide.candidates import Candidate, Candidates, answers_of, backends_of, starved
from gslb.decide.ejection import Ejected, Peers, began, eject, in_force, remembered
from gslb.decide.levels import marks_of
from gslb.decide.targets import Ruling, Target, ruling_of
from gslb.decide.velocity import WINDOW_S, fits, parts_of
from gslb.model.deployment import DYNAMIC_TYPES, Deployment, Policy, PolicyId, Pool, PoolId
from gslb.model.history import History
from gslb.model.world import Load, Verdict, World


@dataclass(frozen=True, slots=True)
class Condition:
    """One pool: its targets and its room, whatever the policy.

    `backends` is empty where the answers are the targets.  `doubly`: the evidence against it is double.  `asked_up`: an
    operator's `up` covers it or one of its answers.  A pool whose load is not known has room.  `lately` is the share of
    its targets whose ejection began within the window of velocity; `unsettled` are those whose verdict may change soon, and
    that neither an operator nor an ejection rules.
    """

    pool: Pool
    backends: tuple[Target, ...]
    answers: Mapping[int, tuple[Candidate, ...]]
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
    """All pools at `now`, and the history as far as it holds, with the ejections of now."""

    now: float
    conditions: Mapping[PoolId, Condition]
    candidates: Mapping[int, Candidates]
    history: History


def situation_of(model: Deployment, world: World, before: History) -> Situation:
    """What a decision goes by; `before` is the history of the previous plan."""
    ruling = ruling_of(world)
    history = _still_holding(model, before, world.now)
    ejected = _ejected(model, world, ruling, history)
    active, lost = in_force(ejected, world.now), lost_lately(model, ejected, world.now)
    conditions = {
        name: _condition(pool, world, ruling, active, lost.get(name, 0.0)) for name, pool in model.pools.items()
    }
    candidates = {
        rtype: {name: one.answers[rtype] for name, one in conditions.items() if rtype in one.answers}
        for rtype in DYNAMIC_TYPES
    }
    return Situation(world.now, conditions, candidates, replace(history, ejected=ejected))


def _condition(pool: Pool, world: World, ruling: Ruling, active: Ejected, lately: float) -> Condition:
    verdicts = world.verdicts.get(pool.name, {})
    backends = backends_of(pool, ruling, verdicts, active)
    answers = answers_of(pool, ruling, verdicts, active, starved(pool, backends))
    candidates = tuple(one for of_type in answers.values() for one in of_type)
    below_soft, below_hard = _room(pool, world.loads.get(pool.name))
    return Condition(
        pool=pool,
        backends=backends,
        answers=answers,
        doubly=_doubly(backends or candidates),
        asked_up=any(one.forced_up for one in candidates),
        below_soft=below_soft,
        below_hard=below_hard,
        lately=lately,
        unsettled=tuple(one for one in backends or candidates if _is_unsettled(one)),
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
    """Whether several independent checks agree: on each target that fails, or all of several targets fail."""
    of = tuple(targets)
    failing = [one.verdict for one in of if one.failing and one.verdict is not None]
    if not failing:
        return False
    return all(verdict.double for verdict in failing) or (len(of) > 1 and len(failing) == len(of))


def lost_lately(model: Deployment, ejected: Ejected, now: float) -> Mapping[PoolId, float]:
    """The share of each pool's targets that ejections within the window of velocity took."""
    lost: dict[PoolId, float] = {}
    for key, ejection in in_force(ejected, now).items():
        if now - began(ejection) < WINDOW_S:
            name, _, address = key.partition("/")
            pool = PoolId(name)
            lost[pool] = lost.get(pool, 0.0) + _weight_share(model.pools[pool], address)
    return lost


def _weight_share(pool: Pool, address: str) -> float:
    """The part of its peers' weight that one target has."""
    backends = {str(one.address): one.weight for one in pool.balance.backends} if pool.balance else {}
    answers = {str(one.address): one.weight for one in pool.answers if (":" in str(one.address)) == (":" in address)}
    peers = backends if address in backends else answers
    return peers.get(address, 0) / max(sum(peers.values()), 1)


def _ejected(model: Deployment, world: World, ruling: Ruling, history: History) -> Ejected:
    standing_out = {
        pool
        for pool, verdicts in world.verdicts.items()
        if pool in model.pools and any(verdict.outlier for verdict in verdicts.values())
    }
    known = {PoolId(key.partition("/")[0]) for key in history.ejected}
    if not standing_out and not known:
        return history.ejected
    groups = [
        peers
        for name in sorted(standing_out | known)
        for peers in _peers(model, model.pools[name], world.verdicts.get(name, {}), ruling)
    ]
    return eject(groups, history.ejected, world.now, _may_lose(model, history, world.now))


def _peers(model: Deployment, pool: Pool, verdicts: Mapping[str, Verdict], ruling: Ruling) -> Iterable[Peers]:
    panic = max((policy.panic for policy in model.policies.values() if pool.name in reached(policy)), default=1.0)
    backends = backends_of(pool, ruling, verdicts, {})
    if backends:
        return (Peers(pool.name, backends, panic),)
    return tuple(Peers(pool.name, one, panic) for one in answers_of(pool, ruling, verdicts, {}, "").values())


def reached(policy: Policy) -> tuple[PoolId, ...]:
    """Every pool that the policy may answer."""
    return (*policy.pools, *policy.spill.to)


def _may_lose(model: Deployment, history: History, now: float) -> Callable[[PoolId, float, Ejected], bool]:
    """Whether every policy may lose this share of a pool, beside what left it within the window."""

    def may_lose(pool: PoolId, share: float, ejected: Ejected) -> bool:
        lost = dict(lost_lately(model, ejected, now))
        lost[pool] = lost.get(pool, 0.0) + share
        return all(
            fits(
                sum(part * _gone(history, policy.name, name, lost, now) for name, part in parts.items()),
                policy.velocity,
            )
            for policy in model.policies.values()
            if pool in policy.pools
            for parts in (parts_of(model.pools[name] for name in policy.pools),)
        )

    return may_lose


def _gone(history: History, policy: PolicyId, pool: PoolId, lost: Mapping[PoolId, float], now: float) -> float:
    """The share of a pool that left a policy within the window."""
    out = history.out.get(policy, {}).get(pool)
    return 1.0 if out is not None and now - out.since < WINDOW_S else lost.get(pool, 0.0)


def _still_holding(model: Deployment, before: History, now: float) -> History:
    policies = {name: frozenset(reached(policy)) for name, policy in model.policies.items()}
    out = {
        policy: {
            pool: replace(one, since=min(one.since, now)) for pool, one in pools.items() if pool in policies[policy]
        }
        for policy, pools in before.out.items()
        if policy in policies
    }
    kept = {
        policy: {
            pool: replace(one, since=min(one.since, now)) for pool, one in pools.items() if pool in policies[policy]
        }
        for policy, pools in before.kept.items()
        if policy in policies
    }
    known = {key: one for key, one in before.ejected.items() if _is_target(model, key)}
    return replace(before, out=out, kept=kept, ejected=remembered(known, now))


def _is_target(model: Deployment, key: str) -> bool:
    name, _, address = key.partition("/")
    pool = model.pools.get(PoolId(name))
    return pool is not None and _weight_share(pool, address) > 0
