"""The order of precedence, as a list.  Pure.

Rule 1: the first step that settles a candidate decides: it may be answered, or it is removed and the reason is kept.
Rule 2: what no step settles may be answered.
Rule 3: `decide` and `explain` run this same list; nothing else adds or removes a candidate.

    overridden      an operator's `up` puts in; `down`, and `drain` with force, take out
    last_site_kept  where nothing would be left after the steps below, what they would take is kept (gslb.decide.guard)
    drained         an operator's `drain` takes out
    voted_down      the monitors' quorum takes out

Passive L4 health and capacity come between `voted_down` and the order of the pools; nothing observes them yet.
"""

from __future__ import annotations

from collections.abc import Callable

from gslb.decide.candidates import Candidate
from gslb.decide.field import Field, Reason, Said, put_in, take_out
from gslb.decide.guard import last_site_kept

Step = Callable[[Field], Said]


def overridden(field: Field) -> Said:
    """An operator's word outranks everything; only a `drain` without force leaves the guard its say."""
    field, raised = put_in(field, "overridden", [c for c in field.open if c.forced_up], _operator)
    field, lowered = take_out(field, "overridden", [c for c in field.open if c.taken_down], _operator)
    return field, raised + lowered


def drained(field: Field) -> Said:
    """A drained site, pool or address is in no answer."""
    return take_out(field, "drained", [c for c in field.open if c.draining], _operator)


def voted_down(field: Field) -> Said:
    """An address that the quorum finds down is in no answer."""
    return take_out(field, "voted_down", [c for c in field.open if c.failing], _verdict)


STEPS: tuple[Step, ...] = (overridden, last_site_kept, drained, voted_down)  # DESIGN section 3, in order


def run(field: Field) -> Said:
    """All steps in order; what none of them settled is usable."""
    reasons: tuple[Reason, ...] = ()
    for step in STEPS:
        field, said = step(field)
        reasons += said
    return field.settle(usable=field.open), reasons


def _operator(candidate: Candidate) -> str:
    override = candidate.override
    assert override is not None  # only asked of candidates that an override settles
    return f"{override.state} {override.target} by {override.who}: {override.why}"


def _verdict(candidate: Candidate) -> str:
    verdict = candidate.verdict
    assert verdict is not None  # only asked of candidates that a verdict settles
    return f"its checks find it down{': ' + verdict.why if verdict.why else ''}"
