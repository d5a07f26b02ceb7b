"""The slow and obvious twin of `decide`: one client, one type, plain loops over a table of standings.

A standing says how far an address is from being answered; the best standing present answers, as far as the policy
allows.  Nothing here is shared with `gslb.decide`.
"""

from __future__ import annotations

from collections.abc import Callable

from gslb.model.deployment import AllDown, Answer, Deployment, Policy, Pool, PoolId
from gslb.model.location import Ranking
from gslb.model.plan import Member, Mode, Plan
from gslb.model.world import Forced, Health, Override, World

USABLE, DRAINING, FAILING, FAILING_DRAINING, TAKEN, FAILING_TAKEN, FORCED_OUT = range(7)


def expected(
    model: Deployment, world: World, previous: Plan | None, policy: Policy, asked: tuple[Ranking, int]
) -> tuple[Mode, tuple[Member, ...]]:
    """The mode and the members that a client of this (ranking, record type) must be given."""
    ranking, rtype = asked
    pools = [model.pools[name] for name in pools_in_order(model, policy, ranking, rtype)]
    standing = {(pool.name, answer): standing_of(pool, answer, world) for pool in pools for answer in live(pool, rtype)}
    if not standing:
        return Mode.NODATA, ()
    mode, allowed = allowed_standings(policy, rtype, set(standing.values()))
    if mode is Mode.LAST_RESORT:
        return mode, tuple(
            Member(str(address), 1, None) for address in policy.last_resort if is_of(rtype, address.version)
        )
    if mode is Mode.LAST_GOOD:
        good = answered_before(previous, policy, rtype)
        found = first(
            pools, rtype, lambda pool, answer: standing[pool, answer] in allowed and (pool, str(answer.address)) in good
        )
        if found:
            return mode, found
        mode = Mode.SERVE_ALL
    return mode, first(pools, rtype, lambda pool, answer: standing[pool, answer] in allowed)


def allowed_standings(policy: Policy, rtype: int, present: set[int]) -> tuple[Mode, set[int]]:
    """Which standings are answered when these are present."""
    resort = any(is_of(rtype, address.version) for address in policy.last_resort)
    failing = {FAILING} if FAILING in present else {FAILING_DRAINING} & present
    on_all_down = policy.on_all_down
    table = [
        (USABLE in present, Mode.NORMAL, {USABLE}),
        (on_all_down is AllDown.NODATA, Mode.NODATA, set()),
        (on_all_down is AllDown.SERVFAIL, Mode.SERVFAIL, set()),
        (DRAINING in present, Mode.KEPT, {DRAINING}),
        (bool(failing) and on_all_down is AllDown.LAST_GOOD, Mode.LAST_GOOD, failing),
        (resort and on_all_down is AllDown.LAST_RESORT, Mode.LAST_RESORT, set()),
        (bool(failing), Mode.SERVE_ALL, failing),
        (TAKEN in present, Mode.KEPT, {TAKEN}),
        (FAILING_TAKEN in present, Mode.KEPT, {FAILING_TAKEN}),
        (True, Mode.NODATA, set()),
    ]
    return next((mode, allowed) for holds, mode, allowed in table if holds)


def standing_of(pool: Pool, answer: Answer, world: World) -> int:
    """How far one address is from being answered."""
    ruling = ruling_override(pool, answer, world)
    verdict = world.verdicts.get(pool.name, {}).get(str(answer.address))
    failing = verdict is not None and verdict.health is Health.DOWN
    if ruling is None:
        return FAILING if failing else USABLE
    if ruling.state is Forced.UP:
        return USABLE
    if ruling.force:
        return FORCED_OUT
    if ruling.state is Forced.DRAIN:
        return FAILING_DRAINING if failing else DRAINING
    return FAILING_TAKEN if failing else TAKEN


def ruling_override(pool: Pool, answer: Answer, world: World) -> Override | None:
    """The override that rules an address: the most specific, then the newest, then the greatest by content."""
    for target in (f"answer/{pool.name}/{answer.address}", f"pool/{pool.name}", f"site/{pool.datacenter}"):
        in_force = [o for o in world.overrides if o.target == target and (o.until is None or world.now < o.until)]
        if in_force:
            return max(in_force, key=lambda o: (o.since, o.state.value, o.who, o.why, o.until or 1e99, o.force))
    return None


def pools_in_order(model: Deployment, policy: Policy, ranking: Ranking, rtype: int) -> list[PoolId]:
    """The pools that have the type, as this client tries them."""
    rule = policy.rules[ranking.rule]
    own = [*(ranking.pools4 if rtype == 1 else ranking.pools6), *rule.pools]
    others = [name for other in policy.rules for name in other.pools]
    spill = list(policy.spill.to)
    has_own = any(live(model.pools[name], rtype) for name in rule.pools)
    found: list[PoolId] = []
    for name in own + spill + others if has_own else others + spill:
        if live(model.pools[name], rtype) and name not in found:
            found.append(name)
    return found


def answered_before(previous: Plan | None, policy: Policy, rtype: int) -> set[tuple[str, str]]:
    """The (pool, address) pairs that the previous plan answered while they were healthy."""
    if previous is None or policy.name not in previous.policies:
        return set()
    return {
        (str(member.pool), member.address)
        for index in previous.policies[policy.name].choices[rtype]
        if previous.choices[index].mode in (Mode.NORMAL, Mode.KEPT, Mode.LAST_GOOD)
        for member in previous.choices[index].members
    }


def live(pool: Pool, rtype: int) -> list[Answer]:
    """The pool's addresses of the type that have a weight."""
    return [answer for answer in pool.answers if is_of(rtype, answer.address.version) and answer.weight > 0]


def is_of(rtype: int, version: int) -> bool:
    """Whether an address of this IP version belongs in a record of this type."""
    return (rtype, version) in ((1, 4), (28, 6))


def first(pools: list[Pool], rtype: int, allows: Callable[[PoolId, Answer], bool]) -> tuple[Member, ...]:
    """The allowed members of the first pool that has any."""
    for pool in pools:
        members = tuple(
            Member(str(answer.address), answer.weight, pool.name)
            for answer in live(pool, rtype)
            if allows(pool.name, answer)
        )
        if members:
            return members
    return ()
