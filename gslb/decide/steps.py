"""The order of precedence, as a list.  Pure.

Rule 1: the first step that settles a candidate decides: it may be answered, or it is removed and the reason is kept.
Rule 2: what no step settles may be answered.
Rule 3: `decide` and `explain` run this same list; nothing else adds or removes a candidate.

    overridden        an operator's `up` puts in; `down`, and `drain` with force, take out
    last_site_kept    where nothing would be left after the steps below, what they would take is kept (gslb.decide.guard)
    drained           an operator's `drain` takes out
    spread            a pool below `panic` is put in whole where no other pool has room (gslb.decide.panic)
    slowed            a pool that would be too much to leave at once is kept whole (gslb.decide.velocity)
    held              a pool that was out and comes back by hand only stays out
    voted_down        the monitors' quorum takes out; so does a balancer that cannot balance the pool here
    passively_failed  an outlier, by checks or by what the balancer sees, is out while it is ejected (gslb.decide.ejection)
    failed_over       what is left of a pool below `panic` is out where another pool has room

Capacity comes after these, and before the order of the pools: a pool that sheds is still usable.
"""

from __future__ import annotations

from collections.abc import Callable

from gslb.decide.candidates import Candidate
from gslb.decide.field import Field, Reason, Said, put_in, take_out
from gslb.decide.guard import last_site_kept
from gslb.model.deployment import PoolId

_HELD = "healthy again, but held out until an operator's `up` (return: manual)"

Step = Callable[[Field], Said]


def overridden(field: Field) -> Said:
    """An operator's word outranks everything; only a `drain` without force leaves the guard its say."""
    field, raised = put_in(field, "overridden", [c for c in field.open if c.forced_up], _operator)
    field, lowered = take_out(field, "overridden", [c for c in field.open if c.taken_down], _operator)
    return field, raised + lowered


def drained(field: Field) -> Said:
    """A drained site, pool or address is in no answer."""
    return take_out(field, "drained", [c for c in field.open if c.draining], _operator)


def spread(field: Field) -> Said:
    """A pool in panic that nobody can relieve is answered whole, also what fails."""

    def why(candidate: Candidate) -> str:
        return f"{_in_panic(field, candidate.pool)}, and no other pool has room: all of it is answered"

    return put_in(field, "spread", _of(field, field.standing.spread), why)


def slowed(field: Field) -> Said:
    """A pool is kept whole when too much would leave at once."""
    why = (
        f"its health speaks against it, but more than {field.policy.velocity:.0%} of the capacity "
        "would leave within 60 s (velocity)"
    )
    return put_in(field, "slowed", _of(field, field.standing.kept), lambda _: why)


def held(field: Field) -> Said:
    """A pool with `return: manual` that was out stays out."""
    return take_out(field, "held", _of(field, field.standing.held), lambda _: _HELD)


def voted_down(field: Field) -> Said:
    """An address that the quorum finds down is in no answer."""
    return take_out(field, "voted_down", [c for c in field.open if c.failing], _verdict)


def passively_failed(field: Field) -> Said:
    """An address that stands out among its peers is in no answer."""
    return take_out(field, "passively_failed", [c for c in field.open if c.ejection is not None], _outlier)


def failed_over(field: Field) -> Said:
    """The last healthy addresses of a pool in panic are not run over."""

    def why(candidate: Candidate) -> str:
        return f"{_in_panic(field, candidate.pool)}: another pool has room"

    return take_out(field, "failed_over", _of(field, field.standing.over), why)


STEPS: tuple[Step, ...] = (  # DESIGN section 3, in order
    overridden,
    last_site_kept,
    drained,
    spread,
    slowed,
    held,
    voted_down,
    passively_failed,
    failed_over,
)


def run(field: Field) -> Said:
    """All steps in order; what none of them settled is usable."""
    reasons: tuple[Reason, ...] = ()
    for step in STEPS:
        field, said = step(field)
        reasons += said
    return field.settle(usable=field.open), reasons


def _of(field: Field, pools: frozenset[PoolId]) -> list[Candidate]:
    return [c for c in field.open if c.pool in pools]


def _operator(candidate: Candidate) -> str:
    override = candidate.override
    assert override is not None  # only asked of candidates that an override settles
    return f"{override.state} {override.target} by {override.who}: {override.why}"


def _verdict(candidate: Candidate) -> str:
    if candidate.starved:
        return candidate.starved
    verdict = candidate.verdict
    assert verdict is not None  # only asked of candidates that a verdict settles
    whose = f"down as seen from {verdict.seen_from}" if verdict.seen_from else "its checks find it down"
    return f"{whose}{': ' + verdict.why if verdict.why else ''}"


def _outlier(candidate: Candidate) -> str:
    ejection = candidate.ejection
    assert ejection is not None  # only asked of candidates that an ejection settles
    return f"ejected (time {ejection.times}) as an outlier: {ejection.why}"


def _in_panic(field: Field, pool: PoolId) -> str:
    share = field.standing.shares[pool]
    return f"{share.healthy} of {share.total} of its weight is healthy, below panic {field.policy.panic:.0%}"
