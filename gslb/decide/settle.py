"""What the steps leave of a policy and record type: which addresses may be answered, pool by pool.  Pure.

Rule: clients differ only in the order in which they try the pools that are left, so this is worked out once for all.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

from gslb.decide.candidates import Candidate
from gslb.decide.field import Field, Reason
from gslb.decide.guard import all_down
from gslb.decide.order import Reach, reach_of
from gslb.decide.situation import Situation
from gslb.decide.standing import Standing, standing_of
from gslb.decide.steps import run
from gslb.model.deployment import Policy, PolicyId, PoolId
from gslb.model.history import Keeper
from gslb.model.plan import Choice, Member, Mode, Plan

_GOOD = (Mode.NORMAL, Mode.KEPT, Mode.LAST_GOOD)  # members were healthy, or what operators left


@dataclass(frozen=True, slots=True)
class Settled:
    """Members by pool, or some that stand for all clients; and how the pools stand."""

    mode: Mode
    by_pool: Mapping[PoolId, tuple[Member, ...]]
    for_all: tuple[Member, ...]
    reach: Reach
    standing: Standing
    reasons: tuple[Reason, ...]

    @property
    def answering(self) -> bool:
        """Whether pools answer that the steps left, rather than what an all-down mode falls back to."""
        return bool(self.by_pool) and self.mode in (Mode.NORMAL, Mode.KEPT)


def settle(policy: Policy, rtype: int, situation: Situation, previous: Plan | None) -> Settled:
    """Run the steps over a policy's candidates of one record type; with nothing left, its all-down mode."""
    candidates = situation.candidates[rtype]
    reach = reach_of(situation.ruled[policy.name], policy.spill.to, candidates)
    if not reach.pools:
        return Settled(Mode.NODATA, {}, (), reach, Standing({}), ())
    before = tuple(_choices(previous, policy.name, rtype))
    everyone = tuple(chain.from_iterable(candidates[pool] for pool in sorted(reach.pools)))
    standing = standing_of(policy, rtype, reach.pools, situation, _pools(before))
    field, reasons = run(Field(policy, rtype, standing, everyone))
    mode, members = field.mode, tuple(c.member for c in field.usable)
    if not members:
        mode, members = all_down(field, _good(before, _slowed(previous, policy.name)))
    if mode is Mode.LAST_RESORT:
        return Settled(mode, {}, members, reach, standing, reasons)
    return Settled(mode, _by_pool(everyone, frozenset(members)), (), reach, standing, reasons)


def _choices(previous: Plan | None, policy: PolicyId, rtype: int) -> Iterable[Choice]:
    """What the previous plan answered for the policy, all rankings together: they may have changed since."""
    if previous is None or policy not in previous.policies:
        return ()
    indexes = set(previous.policies[policy].choices.get(rtype, ()))
    return (previous.choices[index] for index in sorted(indexes))


def _members(choice: Choice) -> Iterable[Member]:
    return chain(choice.members, *(part.members for part in choice.shed))


def _pools(before: Iterable[Choice]) -> frozenset[PoolId]:
    return frozenset(member.pool for choice in before for member in _members(choice) if member.pool is not None)


def _slowed(previous: Plan | None, policy: PolicyId) -> Container[PoolId]:
    """The pools that the previous plan answered only because too much would have left at once."""
    kept = previous.history.kept.get(policy, {}) if previous is not None else {}
    return {pool for pool, one in kept.items() if one.by is Keeper.VELOCITY}


def _good(before: Iterable[Choice], slowed: Container[PoolId]) -> frozenset[Member]:
    """The members that were answered while they were good, and not for want of velocity.

    Since a pool is usable for every client or for none (of one part: gslb.decide.parts), trying these members' pools in a client's
    order finds the one that this client was given.
    """
    members = (member for choice in before if choice.mode in _GOOD for member in _members(choice))
    return frozenset(member for member in members if member.pool not in slowed)


def _by_pool(everyone: Iterable[Candidate], left: frozenset[Member]) -> Mapping[PoolId, tuple[Member, ...]]:
    """The members left, as the operator ordered them, and not as steps settled them: so that an override which
    changes no answer changes no plan."""
    found: dict[PoolId, list[Member]] = {}
    for candidate in everyone:
        if candidate.member in left:
            found.setdefault(candidate.pool, []).append(candidate.member)
    return {pool: tuple(of_pool) for pool, of_pool in found.items()}
