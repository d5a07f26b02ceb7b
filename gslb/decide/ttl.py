"""How long an answer may be kept.  Pure; the one place that knows.

While everything is steady an answer may be kept for the policy's `ttl.max`.  From the first check that contradicts a verdict,
for the time that the remaining checks need before the answer could change; while a pool is kept that should leave
(gslb.decide.velocity), for `ttl.min`, which is also the least.  (gdnsd calls this predictive TTL.)
A record's own `ttl` is an upper bound that the executors apply, since records share policies.

Rule: only what could change an answer counts: not what an operator forces or has taken out, not what is ejected, not a
pool that comes back by hand only, and not a backend among so many that the pool stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil

from gslb.decide.panic import Share, share_of
from gslb.decide.situation import Condition, Situation
from gslb.decide.standing import Standing
from gslb.model.deployment import Balance, Policy, PoolId, Return


def ttl_of(policy: Policy, situation: Situation, standings: Mapping[int, Standing]) -> int:
    """Seconds that answers of the policy may be cached; `standings` by record type."""
    if any(standing.kept for standing in standings.values()):
        return policy.ttl_min
    soonest = min(
        (
            _settles_s(situation.conditions[pool], policy.panic)
            for pool in (*situation.ruled[policy.name], *policy.spill.to)
            if situation.conditions[pool].unsettled and not _stays_out(situation.conditions[pool], standings.values())
        ),
        default=float(policy.ttl_max),
    )
    return policy.ttl_max if soonest >= policy.ttl_max else max(policy.ttl_min, ceil(soonest))


def answered_ttl(record: int, policy: int) -> int:
    """Seconds in the answer for a record of TTL `record` bound to a policy that allows `policy`."""
    return min(record, policy)


def _settles_s(condition: Condition, panic: float) -> float:
    """The time before the pool's part of the answers could change; infinite where it could not."""
    balance = condition.pool.balance
    if condition.backends and balance is not None and not _in_question(condition, balance, panic):
        return float("inf")
    return min(one.verdict.settles_s or 0.0 for one in condition.unsettled if one.verdict is not None)


def _in_question(condition: Condition, balance: Balance, panic: float) -> bool:
    """Whether the backends whose verdicts may change could change what becomes of the pool."""
    if all(one.override is not None for answers in condition.answers.values() for one in answers):
        return False
    share = share_of(condition.backends)
    serving = sum(one.serves for one in condition.backends)
    falling = [one.member.weight for one in condition.unsettled if one.serves]
    rising = [one.member.weight for one in condition.unsettled if not one.serves]

    def grade(count: int, weight: int) -> tuple[bool, bool]:
        return count < balance.min_healthy, Share(share.healthy + weight, share.total).below(panic)

    now = grade(serving, 0)
    return grade(serving - len(falling), -sum(falling)) != now or grade(serving + len(rising), sum(rising)) != now


def _stays_out(condition: Condition, standings: Iterable[Standing]) -> bool:
    """Whether the pool is out of every record type's answers until an operator's word."""
    name: PoolId = condition.pool.name
    by_hand = condition.pool.return_ is Return.MANUAL and not condition.asked_up
    return by_hand and all(name in standing.out for standing in standings if name in standing.shares)
