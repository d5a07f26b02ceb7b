"""What differs between two plans of one geography, for people: whose answers move, and where to.  Pure."""

from __future__ import annotations

from dataclasses import dataclass

from gslb.model.deployment import PolicyId, PoolId
from gslb.model.plan import Choice, Mode, Plan


@dataclass(frozen=True, slots=True, order=True)
class Side:
    """One end of a move: the pool that answers (None: no pool does), its addresses, and the mode."""

    pool: PoolId | None
    addresses: tuple[str, ...]
    mode: Mode


@dataclass(frozen=True, slots=True, order=True)
class Move:
    """Clients of a policy that were answered from one side, and the sides that answer them now."""

    policy: PolicyId
    rtype: int
    before: Side
    after: tuple[Side, ...]


def moves(before: Plan, after: Plan) -> tuple[Move, ...]:
    """The clients whose answers are not the same; both plans are of one deployment and geography."""
    found: dict[tuple[PolicyId, int, Side], dict[Side, None]] = {}
    for name, policy in after.policies.items():
        for rtype, indexes in policy.choices.items():
            earlier = before.policies[name].choices[rtype]
            for then, now in zip(earlier, indexes, strict=True):
                left, reached = _side(before.choices[then]), _side(after.choices[now])
                if left != reached:
                    found.setdefault((name, rtype, left), {})[reached] = None
    in_order = sorted(found.items(), key=lambda item: item[0][:2])
    return tuple(Move(*key, tuple(sides)) for key, sides in in_order)


def _side(choice: Choice) -> Side:
    pool = choice.members[0].pool if choice.members else None
    return Side(pool, tuple(member.address for member in choice.members), choice.mode)
