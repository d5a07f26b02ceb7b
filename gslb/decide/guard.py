"""The last-site guard, and what is answered when nothing is usable.  Pure.

Invariant: no automatic action leaves a service with no answer, unless its policy says `nodata` or `servfail`.

`last_site_kept` runs before the steps that it guards and looks ahead at what they would take.  In order:

1. Something stays: nothing to do.
2. Healthy candidates that automatic decisions hold out or ejected are kept.
3. The policy allows an empty answer: nothing more to do.
4. Draining candidates that are healthy are kept: a drain waits for somewhere to go.
5. Otherwise what is left is failing, and the policy's `on_all_down` answers (`all_down` below).
6. Nothing is left because operators took everything down: what was not forced down is kept, the healthy part of it
   where there is one.  (`gslb down` refuses such an override; two that were made at once can still add up to it.)

`all_down` treats a pool that operators took down as gone.  Of the rest, those not draining come first:

    serve_all    as if all were up: each client is given its first pool
    last_good    as `serve_all`, among the addresses that the previous plan answered while they were good
    last_resort  the policy's addresses of last resort
    nodata       an empty answer
    servfail     no answer

`last_good` without such an address, and `last_resort` without an address of the record type, fall back to `serve_all`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from gslb.decide.candidates import Candidate
from gslb.decide.field import Field, Said, put_in
from gslb.model.deployment import AllDown, PolicyId
from gslb.model.plan import Member, Mode, Plan

MAY_BE_EMPTY = (AllDown.NODATA, AllDown.SERVFAIL)

_HARM = {  # how far an answer is from what the policy wants
    Mode.NORMAL: 0,
    Mode.KEPT: 1,
    Mode.LAST_GOOD: 2,
    Mode.LAST_RESORT: 2,
    Mode.SERVE_ALL: 2,
    Mode.NODATA: 3,
    Mode.SERVFAIL: 3,
}


def last_site_kept(field: Field) -> Said:
    """Keep what the later steps would take where nothing else would be left."""
    healthy = [c for c in field.open if not c.failing]
    undrained = [c for c in healthy if not c.draining]
    if field.usable or any(c.ejection is None and c.pool not in field.standing.held for c in undrained):
        return field, ()
    if undrained:
        return _keep(field, undrained, "healthy, and nothing else is left")
    if field.policy.on_all_down in MAY_BE_EMPTY:
        return field, ()
    if healthy:
        return _keep(field, healthy, "a drain waits until something else can answer")
    if field.open or field.last_resort:
        return field, ()
    unforced = [c for c in field.removed if c.override is not None and not c.override.force]
    return _keep(
        field,
        [c for c in unforced if not c.failing] or unforced,
        "overrides without force would leave no answer",
    )


def all_down(field: Field, good: Collection[Member]) -> tuple[Mode, tuple[Member, ...]]:
    """What is answered when every candidate was removed; `good` are the members that the previous plan vouches for."""
    mode = field.policy.on_all_down
    if mode in MAY_BE_EMPTY:
        return Mode(mode), ()
    if field.last_resort:
        return Mode.LAST_RESORT, tuple(Member(str(address), 1, None) for address in field.last_resort)
    failing = [c for c in field.removed if not c.taken_down]
    served = tuple(c.member for c in failing if not c.draining) or tuple(c.member for c in failing)
    if not served:
        return Mode.NODATA, ()
    if mode is AllDown.LAST_GOOD:
        known = {(member.pool, member.address) for member in good}
        still = tuple(member for member in served if (member.pool, member.address) in known)
        if still:
            return Mode.LAST_GOOD, still
    return Mode.SERVE_ALL, served


def harmed(before: Plan, after: Plan) -> tuple[tuple[PolicyId, int, Mode], ...]:
    """The (policy, record type) whose answers are further from what is wanted in `after`, with their worst new mode."""
    found = []
    for name, policy in after.policies.items():
        for rtype, indexes in policy.choices.items():
            now = _worst(after, indexes)
            earlier = before.policies.get(name)
            then = _worst(before, earlier.choices[rtype]) if earlier is not None else Mode.NORMAL
            if _HARM[now] > _HARM[then]:
                found.append((name, rtype, now))
    return tuple(sorted(found))


def _keep(field: Field, kept: list[Candidate], why: str) -> Said:
    field, reasons = put_in(field, "last_site_kept", kept, lambda _: why)
    return (replace(field, mode=Mode.KEPT) if reasons else field), reasons


def _worst(plan: Plan, indexes: tuple[int, ...]) -> Mode:
    return max((plan.choices[index].mode for index in set(indexes)), key=_HARM.__getitem__, default=Mode.NORMAL)
