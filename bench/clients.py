"""Clients of a simulated service: resolvers that keep answers, and what they bring to each pool.  Pure.

Each ranking's clients sit behind many resolvers.  A resolver asks again when its answer has expired: most after one TTL, the
others, who ignore it, after `stubborn_s`.  Resolvers are spread evenly over their periods, so in each step the next of a
ring of cohorts asks anew.  What clients bring is shared by the slots of the choice that their cohort was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gslb.model.choice import CHOICE_SLOTS
from gslb.model.deployment import TYPE_A, PolicyId, PoolId
from gslb.model.plan import Choice, Plan

Shares = Mapping[PoolId, float]


@dataclass
class Ring:
    """Resolvers that keep an answer for `cohorts` steps, by ranking; all start with the same answers."""

    cohorts: int
    asked: list[list[Shares]] = field(default_factory=list)
    turn: int = 0

    def step(self, now: Sequence[Shares]) -> None:
        """The next cohort asks; the first time, all of them do."""
        if not self.asked:
            self.asked = [list(now)] * self.cohorts
        self.asked[self.turn] = list(now)
        self.turn = (self.turn + 1) % self.cohorts

    def shares(self, ranking: int) -> dict[PoolId, float]:
        """Where the clients of a ranking are, all cohorts together."""
        found: dict[PoolId, float] = {}
        for cohort in self.asked:
            for pool, share in cohort[ranking].items():
                found[pool] = found.get(pool, 0.0) + share / self.cohorts
        return found


class Clients:
    """All clients of one policy, who ask for A."""

    def __init__(
        self, policy: PolicyId, *, ttl_s: int, step_s: int, stubborn: float = 0.2, stubborn_s: int = 600
    ) -> None:
        """`stubborn` is the share of clients whose resolvers keep answers for `stubborn_s` seconds, whatever the TTL."""
        self._policy = policy
        self._stubborn = stubborn
        self._prompt_ring, self._stubborn_ring = Ring(max(1, ttl_s // step_s)), Ring(max(1, stubborn_s // step_s))

    def step(self, plan: Plan) -> None:
        """A step passes, with this plan in force."""
        given = [shares_of(plan.choices[index]) for index in plan.policies[self._policy].choices[TYPE_A]]
        self._prompt_ring.step(given)
        self._stubborn_ring.step(given)

    def bring(self, demand: Sequence[float]) -> dict[PoolId, float]:
        """What each pool is brought when the clients of each ranking ask for `demand`."""
        found: dict[PoolId, float] = {}
        for ranking, asked in enumerate(demand):
            rings = (self._prompt_ring, 1 - self._stubborn), (self._stubborn_ring, self._stubborn)
            for ring, part in rings:
                for pool, share in ring.shares(ranking).items():
                    found[pool] = found.get(pool, 0.0) + asked * part * share
        return found


def shares_of(choice: Choice) -> Shares:
    """The share of a choice's clients that each pool is given."""
    found: dict[PoolId, float] = {}
    left = CHOICE_SLOTS
    for part in choice.shed:
        pool = part.members[0].pool
        assert pool is not None  # only pools receive
        found[pool] = found.get(pool, 0.0) + part.slots / CHOICE_SLOTS
        left -= part.slots
    home = choice.members[0].pool if choice.members else None
    if home is not None and left:
        found[home] = found.get(home, 0.0) + left / CHOICE_SLOTS
    return found
