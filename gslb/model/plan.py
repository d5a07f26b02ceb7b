"""The plan: what `decide` says and all that executors consume.  Pure.

Rule 1: a plan is immutable and equal inputs give equal bytes (`to_bytes` is canonical JSON).
Rule 2: `digest` covers what executors consume, and neither version nor history, so that the same content is not
published twice; `to_bytes` also holds a check of everything.
Rule 3: executors derive tables from members and weights; they never decide again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from gslb.model.deployment import Forward, PolicyId, PoolId, SiteId
from gslb.model.history import History
from gslb.model.unreadable import defect, shown

FORMAT = 3  # of the serialised plan; another number is refused


class PlanUnreadable(ValueError):
    """The bytes are no plan of this format, or their digest does not match."""


class Mode(StrEnum):
    """Why a choice holds what it holds."""

    NORMAL = "normal"
    KEPT = "kept"  # the last-site guard kept what would have left
    SERVE_ALL = "serve_all"
    LAST_GOOD = "last_good"
    LAST_RESORT = "last_resort"
    NODATA = "nodata"
    SERVFAIL = "servfail"


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """One address that may be answered; `pool` is None for an address of last resort."""

    address: str
    weight: int
    pool: PoolId | None


@dataclass(frozen=True, slots=True)
class Part:
    """Client networks that a pool sheds: the next `slots` of CHOICE_SLOTS are answered with these members instead."""

    slots: int
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """What one (policy, ranking, type) answers: `count` of the `members`, by consistent hash where there are more.

    No members: NODATA, or SERVFAIL when the mode says so.  `shed` parts take slots from 0 on, one after the other; the
    slots that are left are answered with `members`.
    """

    mode: Mode
    members: tuple[Member, ...]
    count: int
    shed: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyPlan:
    """One policy: `choices[rtype][ranking]` is an index into `Plan.choices`.  `ttl` in seconds.

    `sticky4` and `sticky6` are prefix lengths; None: not sticky.
    """

    ttl: int
    sticky4: int | None
    sticky6: int | None
    choices: Mapping[int, tuple[int, ...]]


class Serving(StrEnum):
    """What a balancer does with one backend."""

    UP = "up"
    DRAIN = "drain"  # it keeps its flows and is given no new ones
    DOWN = "down"  # its flows move at once


@dataclass(frozen=True, slots=True, order=True)
class Vip:
    """What a balancer takes: a prefix (mostly one address), an IP protocol number, a port (0: any)."""

    prefix: str
    protocol: int
    port: int


@dataclass(frozen=True, slots=True, order=True)
class BackendPlan:
    """One backend of a pool; `weight` is relative, `server` its id in QUIC connection ids."""

    address: str
    weight: int
    forward: Forward
    serving: Serving = Serving.UP
    server: int | None = None


@dataclass(frozen=True, slots=True)
class BalancerTable:
    """What the balancers of `site` do with one pool's addresses."""

    site: SiteId
    vips: tuple[Vip, ...]
    backends: tuple[BackendPlan, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole result of one decision.  `geography` is the digest of the location table it was made for.

    `heavy` are resolvers without client subnets whose slot in a choice that sheds changes with each TTL, since each of them
    alone asks more than a step.
    """

    deployment: str
    version: int
    geography: str
    policies: Mapping[PolicyId, PolicyPlan]
    choices: tuple[Choice, ...]
    heavy: tuple[str, ...] = ()
    history: History = field(default_factory=History)
    balancers: Mapping[PoolId, BalancerTable] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A 32-hex-digit BLAKE2b of what executors consume."""
        return _digest(_content(self))

    def to_bytes(self) -> bytes:
        """Canonical JSON: keys sorted, no spaces, ASCII."""
        body = {"version": self.version, "plan": _content(self), "history": self.history.to_json()}
        return _dump({"format": FORMAT, "check": _digest(body), **body})


def from_bytes(data: bytes) -> Plan:
    """Read what `Plan.to_bytes` wrote.  Raises PlanUnreadable."""
    try:
        raw = json.loads(data)
        if not isinstance(raw, dict):
            raise PlanUnreadable("not a plan: not a mapping")
        if raw["format"] != FORMAT:
            raise PlanUnreadable(f"plan format {shown(raw['format'])}, expected {FORMAT}")
        content = raw["plan"]
        body = {"version": raw["version"], "plan": content, "history": raw["history"]}
        if _digest(body) != raw["check"]:
            raise PlanUnreadable("the plan's check does not match its content")
        return Plan(
            deployment=content["deployment"],
            version=int(raw["version"]),
            geography=content["geography"],
            policies={PolicyId(name): _policy(body) for name, body in content["policies"].items()},
            choices=tuple(_choice(body) for body in content["choices"]),
            heavy=tuple(str(address) for address in content["heavy"]),
            balancers={PoolId(name): _balancer(body) for name, body in content["balancers"].items()},
            history=History.from_json(raw["history"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, PlanUnreadable):
            raise
        raise PlanUnreadable(f"not a plan: {defect(error)}") from error


def _content(plan: Plan) -> dict[str, object]:
    return {
        "deployment": plan.deployment,
        "geography": plan.geography,
        "policies": {
            name: {
                "ttl": policy.ttl,
                "sticky": [policy.sticky4, policy.sticky6],
                "choices": {str(rtype): list(indexes) for rtype, indexes in policy.choices.items()},
            }
            for name, policy in plan.policies.items()
        },
        "choices": [
            {
                "mode": choice.mode,
                "count": choice.count,
                "members": _members_json(choice.members),
                "shed": [[part.slots, _members_json(part.members)] for part in choice.shed],
            }
            for choice in plan.choices
        ],
        "heavy": list(plan.heavy),
        "balancers": {name: _balancer_json(table) for name, table in plan.balancers.items()},
    }


def _balancer_json(table: BalancerTable) -> dict[str, object]:
    return {
        "site": table.site,
        "vips": [[vip.prefix, vip.protocol, vip.port] for vip in table.vips],
        "backends": [[one.address, one.weight, one.forward, one.serving, one.server] for one in table.backends],
    }


def _members_json(members: tuple[Member, ...]) -> list[list[object]]:
    return [[member.address, member.weight, member.pool] for member in members]


def _dump(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _digest(content: object) -> str:
    return blake2b(_dump(content), digest_size=16).hexdigest()


def _policy(body: Mapping[str, Any]) -> PolicyPlan:
    sticky4, sticky6 = body["sticky"]
    choices = {int(rtype): tuple(int(index) for index in indexes) for rtype, indexes in body["choices"].items()}
    return PolicyPlan(ttl=int(body["ttl"]), sticky4=sticky4, sticky6=sticky6, choices=choices)


def _choice(body: Mapping[str, Any]) -> Choice:
    shed = tuple(Part(int(slots), _members(members)) for slots, members in body["shed"])
    return Choice(mode=Mode(body["mode"]), members=_members(body["members"]), count=int(body["count"]), shed=shed)


def _balancer(body: Mapping[str, Any]) -> BalancerTable:
    return BalancerTable(
        site=SiteId(body["site"]),
        vips=tuple(Vip(str(prefix), int(protocol), int(port)) for prefix, protocol, port in body["vips"]),
        backends=tuple(
            BackendPlan(str(address), int(weight), Forward(forward), Serving(serving), server)
            for address, weight, forward, serving, server in body["backends"]
        ),
    )


def _members(raw: Sequence[Any]) -> tuple[Member, ...]:
    return tuple(Member(address, int(weight), pool) for address, weight, pool in raw)
