"""An explanation for people: a line or a few for each step.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gslb.config.zonefile import owner_text, type_text
from gslb.decide.explain import Explanation, Tried
from gslb.geo.describe import condition
from gslb.geo.rows import Row
from gslb.inspect.explanation import Decided, InForce, Report
from gslb.inspect.question import Record, Reply
from gslb.model.plan import Mode

_WIDTH = 9  # of the step's name
_MODES = {
    Mode.NORMAL: "the first usable pool answers",
    Mode.KEPT: "nothing else would be left, so the last-site guard keeps what operators took out",
    Mode.SERVE_ALL: "all are down, so as if all were up",
    Mode.LAST_GOOD: "all are down, so the addresses that were answered when they were good",
    Mode.LAST_RESORT: "all are down, so the policy's addresses of last resort",
    Mode.NODATA: "no address: NODATA",
    Mode.SERVFAIL: "no answer: SERVFAIL",
}


def text_lines(told: Report) -> Iterator[str]:
    """The whole explanation."""
    asked = told.asked
    whose = f"client subnet {asked.client}, told by {asked.resolver}" if asked.client else f"resolver {asked.resolver}"
    yield f"{owner_text(asked.name)} {type_text(asked.rtype)} for {whose}"
    yield from _step("zone", [told.record.zone or "none of ours holds this name"])
    yield from _step("record", _record(told.record, told.decided))
    if told.decided is not None:
        yield from _dynamic(told.decided)
    yield from _step("answer", _reply(told.reply))
    if told.decided is not None:
        yield from _step("plan", _plan(told.plan))
    yield from _step("note", told.notes)


def _step(name: str, told: list[str] | tuple[str, ...]) -> Iterator[str]:
    for number, line in enumerate(told):
        yield f"{'' if number else name:{_WIDTH}} {line}"


def _record(record: Record, decided: Decided | None) -> list[str]:
    if decided is None:
        same = ": the same for every client" if record.kind in ("static", "no data", "no such name") else ""
        first = f"{record.kind}{same}"
    else:
        first = f"{record.kind}: {record.owner} is bound to policy {decided.decision.policy.name}"
    wildcard = [f"there is no such name; wildcard {record.wildcard} stands for it"] if record.wildcard else []
    return [first, *wildcard, *record.records]


def _dynamic(decided: Decided) -> Iterator[str]:
    located, decision = decided.located, decided.decision
    yield from _step("place", [*map(_row, decided.place.rows)] or ["no database row"])
    embedded = ", looked up by the IPv4 address inside" if located.embedded else ""
    yield from _step(
        "class",
        [
            f"{located.location_class} of {located.classes}, /{located.scope} ({located.network}){embedded}",
            f"geography {located.digest}",
        ],
    )
    matched = "" if decided.rule.catches_all else f"{decided.matched}; "
    number = f"{decision.ranking.rule + 1} of {len(decision.policy.rules)}"
    yield from _step("rule", [f"{number}: {matched}{condition(decided.rule)}"])
    yield from _step("pools", [*_pools(decided)] or ["no pool of the policy has this type"])
    yield from _step("choice", [*_choice(decided)])
    yield from _step("ttl", [f"{decided.ttl} s: the least of record {decided.record_ttl} and policy {decision.ttl}"])


def _pools(decided: Decided) -> Iterator[str]:
    for number, tried in enumerate(decided.decision.tried, 1):
        km = decided.kilometres.get(tried.pool)
        far = "" if km is None else f", {km:,.0f} km"
        yield f"{number}. {tried.pool} at {tried.datacenter}{far} ({tried.place}): {_fate(tried)}"
        for reason in tried.reasons:
            yield f"     {reason.member.address} {'kept' if reason.usable else 'removed'} by {reason.step}: {reason.why}"


def _fate(tried: Tried) -> str:
    if tried.chosen:
        return "answers"
    return "usable" if tried.left else "removed"


def _choice(decided: Decided) -> Iterator[str]:
    decision, slot = decided.decision, decided.slot
    yield f"{decision.mode}: {_MODES[decision.mode]}"
    if decision.members:
        yield f"{_members(decision)}: {min(decision.count, len(decision.members))} of {len(decision.members)} in a reply"
    if slot is not None:
        yield f"all of {slot.network} has slot {slot.slot} of {slot.slots}, so the scope is not shorter"
    elif len(decision.members) > decision.count and decision.policy.sticky is None:
        yield "not sticky: each query's id picks the slot"


def _members(decision: Explanation) -> str:
    return ", ".join(f"{member.address} weight {member.weight}" for member in decision.members)


def _reply(reply: Reply | None) -> list[str]:
    if reply is None:
        return ["hangs on the secret"]
    scope = "" if reply.scope is None else f", scope /{reply.scope}"
    return [f"{reply.rcode}{scope}", *reply.records]


def _plan(plan: InForce) -> list[str]:
    now = f"version {plan.version}, digest {plan.digest}"
    if plan.served is None:
        return [now, "nothing is served with this state folder"]
    if plan.same:
        return [now, f"in force: generation {plan.generation} serves it"]
    version, digest = plan.served
    return [now, f"NOT in force: generation {plan.generation} serves version {version}, digest {digest}"]


def _row(row: Row) -> str:
    place = row.location
    names = [row.city, "-".join(filter(None, (place.continent, place.country, place.subdivision)))]
    if place.coordinates is not None:
        names.append("({:.4f}, {:.4f})".format(*place.coordinates))
    if place.asn:
        names.append(f"AS{place.asn}")
    return f"{row.database.name}: {row.network} is {' '.join(filter(None, names)) or 'of no known place'}"
