"""What becomes of each pool of a policy and record type, before its addresses are settled one by one.  Pure.

Rule 1: a pool is FINE, in PANIC (gslb.decide.panic), DOWN (none of its answers is healthy), or TAKEN (operators took all of
it out).  What an operator forces up is FINE.
Rule 2: DOWN pools, and those in PANIC while another has room, leave the answers; velocity (gslb.decide.velocity) may keep
some of them.  Where no pool is left, nothing is kept back: that is the policy's `on_all_down`.
Rule 3: a pool that is out by automatic decision and healthy again comes back as its `return` says; `manual` holds it out
until an operator's `up` covers it or one of its answers.
Rule 4: only what the last plan answered can be kept in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from gslb.decide.candidates import Candidate, Candidates
from gslb.decide.panic import SPREAD_S, Share, State
from gslb.decide.situation import Condition, Situation
from gslb.decide.velocity import WINDOW_S, Leaver, Spent, kept_back, parts_of
from gslb.model.deployment import Policy, PoolId, Return, SiteId
from gslb.model.history import Cause, Keeper

Pools = frozenset[PoolId]
_HARDLY_BACK = 0.99  # the level of shedding from which a pool that comes back does so in earnest


@dataclass(frozen=True, slots=True)
class Standing:
    """The pools of a policy and record type, by what becomes of them.

    `over`: in panic, and another pool has room.  `spread`: in panic, and none has.  `kept`: they would leave, and velocity
    keeps them.  `held`: healthy, and out until an operator's word.  `out`: out by automatic decisions, those held among
    them.  `returned`: they were out, are healthy, and come back gradually.
    """

    shares: Mapping[PoolId, Share]
    over: Pools = frozenset()
    spread: Pools = frozenset()
    kept: Pools = frozenset()
    held: Pools = frozenset()
    out: Pools = frozenset()
    returned: Pools = frozenset()


@dataclass(frozen=True, slots=True)
class _Ground:
    """What a standing is worked out from: the states of the pools, and which of them were out before."""

    policy: Policy
    situation: Situation
    candidates: Candidates
    states: Mapping[PoolId, State]
    were_out: Pools

    def condition(self, pool: PoolId) -> Condition:
        return self.situation.conditions[pool]

    def site(self, pool: PoolId) -> SiteId:
        return self.condition(pool).pool.datacenter

    def in_state(self, state: State) -> Pools:
        return frozenset(pool for pool, found in self.states.items() if found is state)


def standing_of(
    policy: Policy, rtype: int, pools: Collection[PoolId], situation: Situation, answered: Pools
) -> Standing:
    """The standing of these pools of the policy; `answered` are those that the previous plan answered."""
    grades = {pool: situation.conditions[pool].grades[rtype] for pool in pools}
    shares = {pool: grade.share for pool, grade in grades.items()}
    states = {pool: grade.under(policy.panic) for pool, grade in grades.items()}
    outs = situation.history.out.get(policy.name, {})
    were_out = frozenset(pool for pool in pools if pool in outs and rtype in outs[pool].types)
    if not were_out and all(state is State.FINE for state in states.values()):
        return Standing(shares)
    ground = _Ground(policy, situation, situation.candidates[rtype], states, were_out)
    held = frozenset(pool for pool in were_out if _is_held(ground, pool))
    over = _failed_over(ground, held)
    going = ground.in_state(State.DOWN) | over
    kept = _kept(ground, going, (going & were_out) | held, answered)
    taken = frozenset(pool for pool in were_out if _is_taken_out(ground, pool))
    out = (going - kept) | held | taken
    return Standing(
        shares,
        over=over - kept,
        spread=ground.in_state(State.PANIC) - over - kept,
        kept=kept,
        held=held,
        out=out,
        returned=frozenset(pool for pool in were_out - out if _is_gradual(ground, pool)),
    )


def _is_held(ground: _Ground, pool: PoolId) -> bool:
    """Whether a pool that was out is healthy and waits for an operator."""
    condition = ground.condition(pool)
    if condition.pool.return_ is not Return.MANUAL or condition.asked_up:
        return False
    state = ground.states[pool]
    return state is State.FINE or (state is State.TAKEN and not _fails(ground.candidates[pool]))


def _is_taken_out(ground: _Ground, pool: PoolId) -> bool:
    """Whether a pool that was out is still failing under an operator's `drain` or `down`."""
    return ground.states[pool] is State.TAKEN and _fails(ground.candidates[pool])


def _is_gradual(ground: _Ground, pool: PoolId) -> bool:
    condition = ground.condition(pool)
    fine = ground.states[pool] is State.FINE and not condition.asked_up
    return fine and condition.pool.return_ is Return.GRADUAL


def _fails(candidates: Iterable[Candidate]) -> bool:
    return all(one.failing for one in candidates)


def _failed_over(ground: _Ground, held: Pools) -> Pools:
    """The pools in panic whose clients others are to take."""
    others = [ground.condition(pool) for pool in ground.in_state(State.FINE) - held]
    some_below_soft = any(one.below_soft for one in others)
    some_below_hard = any(one.below_hard for one in others)

    def leaves(pool: PoolId) -> bool:
        if pool in ground.were_out:
            return some_below_hard
        spread = ground.situation.history.kept.get(ground.policy.name, {}).get(pool)
        if spread is not None and spread.by is Keeper.PANIC and ground.situation.now - spread.since < SPREAD_S:
            return False
        return some_below_soft

    return frozenset(pool for pool in ground.in_state(State.PANIC) if leaves(pool))


def _kept(ground: _Ground, going: Pools, staying_out: Pools, answered: Pools) -> Pools:
    """The pools among `going` that velocity keeps; `staying_out` were out before and still are."""
    leaving = going - ground.were_out
    if not leaving or not (ground.in_state(State.FINE) or ground.in_state(State.PANIC)):
        return frozenset()
    parts = parts_of(
        ground.condition(pool).pool for pool in ground.situation.ruled[ground.policy.name] if pool in ground.states
    )
    left = {ground.site(pool) for pool in ground.states.keys() - going - staying_out}
    leavers = [
        Leaver(
            since=_waiting_since(ground, pool),
            pool=pool,
            site=ground.site(pool),
            part=parts[pool],
            answered=pool in answered,
            doubly=ground.condition(pool).doubly,
            site_dead=ground.site(pool) not in left,
        )
        for pool in leaving
        if pool in parts
    ]
    room = any(ground.condition(pool).below_soft for pool in ground.in_state(State.FINE) - staying_out)
    spent = _spent(ground, parts, going, staying_out)
    return kept_back(leavers, spent, ground.policy.velocity, ground.situation.now, room=room)


def _waiting_since(ground: _Ground, pool: PoolId) -> float:
    """Since when velocity has kept the pool; now, if it has not yet."""
    kept = ground.situation.history.kept.get(ground.policy.name, {}).get(pool)
    return kept.since if kept is not None and kept.by is Keeper.VELOCITY else ground.situation.now


def _spent(ground: _Ground, parts: Mapping[PoolId, float], going: Pools, staying_out: Pools) -> Spent:
    """What left within the window and is still out, or has hardly begun to come back; of other pools, what ejections took."""
    outs = ground.situation.history.out.get(ground.policy.name, {})
    counted = [
        pool
        for pool in sorted(staying_out)
        if pool in parts and ground.situation.now - outs[pool].since < WINDOW_S and not ground.condition(pool).doubly
    ]
    missing = sum(parts[pool] * _missing(ground, pool) for pool in sorted(parts.keys() - going - staying_out))
    return Spent(sum(parts[pool] for pool in counted) + missing, frozenset(map(ground.site, counted)))


def _missing(ground: _Ground, pool: PoolId) -> float:
    """The share of a pool that is not out, and yet has left within the window."""
    history, now = ground.situation.history, ground.situation.now
    if pool in ground.were_out and _is_gradual(ground, pool):
        return float(now - history.out[ground.policy.name][pool].since < WINDOW_S)
    shed = history.sheds.get(pool)
    back = shed is not None and shed.cause is Cause.RETURN and shed.level > _HARDLY_BACK
    return 1.0 if shed is not None and back and now - shed.stepped_at < WINDOW_S else ground.condition(pool).lately
