"""What differs between two plans of one geography, for people: whose answers move and where to, and what becomes of backends.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from gslb.decide.candidates import backend_target
from gslb.model.deployment import PolicyId, PoolId, SiteId
from gslb.model.plan import Choice, Mode, Plan, Serving


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


@dataclass(frozen=True, slots=True, order=True)
class Turn:
    """What the balancers of `site` did with a backend and do now; `others` take new flows of its pool now."""

    pool: PoolId
    backend: str
    site: SiteId
    before: Serving
    after: Serving
    others: int


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


def turns(before: Plan, after: Plan, named: str = "") -> tuple[Turn, ...]:
    """The backends of both plans with which something else is done; also the one that is `named`, as an override names it."""
    found = []
    for pool, table in after.balancers.items():
        earlier = before.balancers.get(pool)
        known = {} if earlier is None else {one.address: one.serving for one in earlier.backends}
        takers = {one.address for one in table.backends if one.serving is Serving.UP}
        found += [
            Turn(pool, one.address, table.site, known[one.address], one.serving, len(takers - {one.address}))
            for one in table.backends
            if one.address in known
            and (known[one.address] is not one.serving or backend_target(pool, ip_address(one.address)) == named)
        ]
    return tuple(found)


def _side(choice: Choice) -> Side:
    pool = choice.members[0].pool if choice.members else None
    return Side(pool, tuple(member.address for member in choice.members), choice.mode)
