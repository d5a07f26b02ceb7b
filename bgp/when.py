"""Whether one prefix is announced from this node: off, announced or drain, and why.  Pure.

Rule 1: the cause of leaving is here: the node's own executors, the pool behind the prefix, an operator.  What is known of
other sites can only keep a route; where too little is known it stays, de-preferred (drain).
Rule 2: what may be wrong at every site at once (old knowledge, an operator's drain) de-prefers and never withdraws.
Rule 3: a route is withdrawn only while `min_sites` other sites are known to announce it in full, and under a lease, so
one at a time.  The lease is kept until nobody's knowledge can be older than the withdrawal: whoever has it next knows.
With `min_sites: 0` nothing has to remain: there is no guard and no lease.
Rule 4: a route that failed comes back late, and later each time (RFC 4786 section 4.4.2, RFC 7196): but where fewer than
`min_sites` others announce, a healthy site comes back as drain as soon as it has risen.

Sites are counted, not nodes: another node of our own site keeps the site.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from bgp.routes import State

HOUR_S = 3600.0


class Operator(StrEnum):
    """What an operator said of this node's site."""

    NONE = "none"
    UP = "up"  # announced whatever the checks say
    DRAIN = "drain"
    DOWN = "down"  # drain, wait, then withdrawn as far as the guard allows
    FORCED_DOWN = "forced down"  # the same without the guard


class Why(StrEnum):
    """What made the state: the first of these that holds."""

    OPERATOR_UP = "an operator says up"
    OPERATOR_DOWN = "an operator says down"
    DNS = "no executor of DNS answers"
    POOLS = "its pool has too few healthy backends, or no tables"
    UNKNOWN = "not checked yet: left as it was"
    RISING = "healthy, but not yet for long enough"
    HELD = "healthy again, held back after a failure"
    OPERATOR_DRAIN = "an operator says drain"
    OLD = "what this node knows is old"
    HEALTHY = "healthy"


class Veto(StrEnum):
    """What keeps a route that has a reason to leave."""

    JUST_ANNOUNCED = "announced too short a time ago"
    DRAINING = "drain first"
    FEW_SITES = "too few other sites are known to announce it"
    NO_LEASE = "the lease to withdraw is not held"


@dataclass(frozen=True, slots=True)
class Timing:
    """All in seconds.  `fresh_s`: older knowledge of another site counts as none; `act_s`: a withdrawal is out by then.

    A lease must be renewed early enough that `fresh_s + act_s` of it are left most of the time.
    """

    rise_s: float = 30.0
    least_s: float = 30.0  # announced, before a withdrawal
    drain_s: float = 30.0  # before an operator's withdrawal
    hold_s: float = 30.0  # after the first failure; doubles with each, one doubling less for each hour announced
    longest_hold_s: float = 1800.0
    fresh_s: float = 10.0
    act_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Rule:
    """What the configuration says of the prefix: which facts must be good (`dns`, `pools`), and how many sites remain."""

    announce_when: tuple[str, ...]
    min_sites: int = 1
    timing: Timing = Timing()


@dataclass(frozen=True, slots=True)
class Local:
    """What is known here.  None: not checked yet."""

    dns: bool | None = None  # an executor of this node answers for the prefix
    pools: bool | None = None  # enough backends, and their tables are in the kernel
    operator: Operator = Operator.NONE
    old: bool = False  # nothing decided for so long that the plan may no longer be right


@dataclass(frozen=True, slots=True)
class Other:
    """Another node, and how the prefix stands there: in full only once ExaBGP has the route and a session is up.

    `age_s` bounds how long ago it was so there: with the time that its message may have taken.
    """

    node: str
    site: str
    state: State
    age_s: float


@dataclass(frozen=True, slots=True)
class Remote:
    """What is known of others, and for how long the lease to withdraw this prefix is still ours (0: it is not)."""

    others: tuple[Other, ...] = ()
    lease_left_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Past:
    """What the next decision needs of the last.  Times are of one monotonic clock; `adopted` begins a history."""

    state: State = State.OFF
    since: float = 0.0  # in this state
    present_since: float = 0.0  # the route is there in any form
    good_since: float | None = None
    failures: int = 0  # for the hold
    left: bool = False  # it is off because we withdrew it


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state with its reasons, what to remember, whether the lease is wanted, and when to ask again at the latest."""

    past: Past
    why: Why
    veto: Veto | None = None
    wants_lease: bool = False
    wake_at: float | None = None

    @property
    def state(self) -> State:
        """How the prefix is to stand."""
        return self.past.state


def adopted(state: State) -> Past:
    """The history of a prefix that was found so in ExaBGP's table; `off` where there is none."""
    return Past(state, since=-HOUR_S, present_since=-HOUR_S)


def decide(rule: Rule, local: Local, remote: Remote, past: Past, now: float) -> Verdict:
    """How the prefix is to stand now."""
    good = _is_good(rule, local)
    past = _remembered(rule, past, now, good=good)
    cause = _cause_to_leave(rule, local, good=good)
    if local.operator is Operator.UP:
        return _verdict(rule, past, State.ANNOUNCED, Why.OPERATOR_UP, now)
    if cause is not None and past.state is State.OFF:
        return _verdict(rule, past, State.OFF, cause, now)
    if cause is not None:
        veto = _veto(rule, local, remote, past, now)
        return _verdict(rule, past, State.DRAIN if veto else State.OFF, cause, now, veto)
    return _verdict(rule, past, *_wanted(rule, local, remote, past, now), now)


def on_controller_loss(policy: str, state: State) -> State:
    """How a prefix that stands so is to stand when the controller has been away too long (`drain`, `withdraw`, `hold`)."""
    if state is State.OFF or policy == "hold":
        return state
    return State.OFF if policy == "withdraw" else State.DRAIN


def sites_announcing(rule: Rule, remote: Remote) -> frozenset[str]:
    """The sites that are freshly known to announce in full, without this node."""
    return frozenset(
        other.site for other in remote.others if other.state is State.ANNOUNCED and other.age_s <= rule.timing.fresh_s
    )


def _is_good(rule: Rule, local: Local) -> bool | None:
    facts = {"dns": local.dns, "pools": local.pools}
    needed = [facts[name] for name in rule.announce_when]
    if False in needed:
        return False
    return None if None in needed else True


def _cause_to_leave(rule: Rule, local: Local, *, good: bool | None) -> Why | None:
    if local.operator in (Operator.DOWN, Operator.FORCED_DOWN):
        return Why.OPERATOR_DOWN
    if good is not False:
        return None
    return Why.DNS if "dns" in rule.announce_when and local.dns is False else Why.POOLS


def _veto(rule: Rule, local: Local, remote: Remote, past: Past, now: float) -> Veto | None:
    timing = rule.timing
    by_operator = local.operator in (Operator.DOWN, Operator.FORCED_DOWN)
    if not by_operator and now < past.present_since + timing.least_s:
        return Veto.JUST_ANNOUNCED
    if by_operator and (past.state is not State.DRAIN or now < past.since + timing.drain_s):
        return Veto.DRAINING
    if local.operator is Operator.FORCED_DOWN or rule.min_sites == 0:
        return None
    if len(sites_announcing(rule, remote)) < rule.min_sites:
        return Veto.FEW_SITES
    return Veto.NO_LEASE if remote.lease_left_s < timing.fresh_s + timing.act_s else None


def _wanted(rule: Rule, local: Local, remote: Remote, past: Past, now: float) -> tuple[State, Why]:
    """How a prefix stands that has no reason to leave."""
    held = past.good_since is None or now < past.good_since + _hold_s(rule.timing, past)
    if past.state is State.OFF and (why := _stays_off(rule, remote, past, now, held=held)):
        return State.OFF, why
    if local.operator is Operator.DRAIN:
        return State.DRAIN, Why.OPERATOR_DRAIN
    if local.old:
        return State.DRAIN, Why.OLD
    if past.good_since is None:
        return past.state, Why.UNKNOWN
    if held and past.state is not State.ANNOUNCED:
        return State.DRAIN, Why.HELD
    return State.ANNOUNCED, Why.HEALTHY


def _stays_off(rule: Rule, remote: Remote, past: Past, now: float, *, held: bool) -> Why | None:
    if past.good_since is None:
        return Why.UNKNOWN
    if now < past.good_since + rule.timing.rise_s:
        return Why.RISING
    enough = len(sites_announcing(rule, remote)) >= max(1, rule.min_sites)
    return Why.HELD if held and enough else None


def _remembered(rule: Rule, past: Past, now: float, *, good: bool | None) -> Past:
    if good:
        return past if past.good_since is not None else replace(past, good_since=now)
    failures = past.failures
    if good is False and past.state is State.ANNOUNCED:
        forgiven = int((now - past.since) // HOUR_S)
        most = int(rule.timing.longest_hold_s / rule.timing.hold_s).bit_length() + 1
        failures = min(max(0, failures - forgiven) + 1, most)
    return replace(past, good_since=None, failures=failures)


def _hold_s(timing: Timing, past: Past) -> float:
    if past.failures == 0:
        return 0.0
    return float(min(timing.longest_hold_s, timing.hold_s * 2 ** (past.failures - 1)))


def _verdict(rule: Rule, past: Past, state: State, why: Why, now: float, veto: Veto | None = None) -> Verdict:
    timing = rule.timing
    if state is not past.state:
        present = past.present_since if past.state is not State.OFF else now
        past = replace(past, state=state, since=now, present_since=present, left=state is State.OFF)
    settled = past.since + timing.fresh_s + timing.act_s
    settling = past.left and rule.min_sites > 0 and now < settled
    moments = [settled] if settling else []
    if veto is Veto.JUST_ANNOUNCED:
        moments.append(past.present_since + timing.least_s)
    if veto is Veto.DRAINING:
        moments.append(past.since + timing.drain_s)
    if past.good_since is not None:
        moments += [past.good_since + timing.rise_s, past.good_since + _hold_s(timing, past)]
    wake_at = min((moment for moment in moments if moment > now), default=None)
    return Verdict(past, why, veto, settling or veto is Veto.NO_LEASE, wake_at)
