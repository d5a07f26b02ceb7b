"""An explanation for people: a line or a few for each step.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gslb.config.zonefile import owner_text, type_text
from gslb.decide.explain import Tried
from gslb.decide.targets import Target
from gslb.geo.describe import condition
from gslb.geo.rows import Row
from gslb.inspect.explanation import Burden, Decided, InForce, Report
from gslb.inspect.question import Record, Reply
from gslb.model.deployment import View
from gslb.model.history import Cause
from gslb.model.plan import Member, Mode, Serving
from gslb.model.world import Verdict

_WIDTH = 9  # of the step's name
_CAUSES = {
    Cause.LOAD: "it is fuller than its soft mark, or was and recovers",
    Cause.OUT: "it is out of the answers",
    Cause.RETURN: "it was out of the answers, and comes back gradually",
}
_MOVES = {
    Cause.LOAD: "the first usable pool sheds this client",
    Cause.OUT: "the first pool is out, and its clients are divided among those with room",
    Cause.RETURN: "the first usable pool takes its clients back little by little",
}
_UNUSUAL = {
    Mode.KEPT: "nothing else would be left",
    Mode.SERVE_ALL: "nothing is usable",
    Mode.LAST_GOOD: "nothing is usable",
}
_MODES = {
    Mode.NORMAL: "the first usable pool answers",
    Mode.KEPT: "nothing else would be left, so the last-site guard keeps what operators took out",
    Mode.SERVE_ALL: "all are down, so as if all were up",
    Mode.LAST_GOOD: "all are down, so the addresses that were answered when they were good",
    Mode.LAST_RESORT: "all are down, so the policy's addresses of last resort",
    Mode.NODATA: "no address: NODATA",
    Mode.SERVFAIL: "no answer: SERVFAIL",
}

_SERVING = {
    Serving.UP: "its balancer gives it new flows",
    Serving.DRAIN: "its balancer leaves it its flows, and gives it no new ones",
    Serving.DOWN: "its balancer gives it nothing",
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
    yield from _step("view", [*_view(decided)])
    yield from _step("pools", [*_pools(decided)] or ["no pool of the policy has this type"])
    yield from _step("choice", [*_choice(decided)])
    yield from _step("ttl", [*_ttl(decided)])


def _view(decided: Decided) -> Iterator[str]:
    """Whose word on health decided, where the policy asks for that of the client's continent."""
    policy, ranking = decided.decision.policy, decided.decision.ranking
    if policy.view is View.REGIONAL:
        whose = (
            f"clients of {ranking.continent}"
            if ranking.continent
            else "clients of no continent that has a site of ours"
        )
        yield f"regional, {whose}: decided by {decided.decision.sight}"


def _pools(decided: Decided) -> Iterator[str]:
    for number, tried in enumerate(decided.decision.tried, 1):
        km = decided.kilometres.get(tried.pool)
        far = "" if km is None else f", {km:,.0f} km"
        yield f"{number}. {tried.pool} at {tried.datacenter}{far} ({tried.place}): {_fate(tried, decided)}"
        for line in (*_standing(tried, decided), *_burden(decided.burdens[tried.pool], decided.now), *_reasons(tried)):
            yield f"     {line}"


def _fate(tried: Tried, decided: Decided) -> str:
    if any(member.pool == tried.pool for member in decided.members):
        mode = decided.given.choice.mode
        return f"answers ({mode}: {_UNUSUAL[mode]})" if mode in _UNUSUAL else "answers"
    if tried.chosen:
        return "would answer, and sheds this client"
    return "usable" if tried.left else "removed"


def _standing(tried: Tried, decided: Decided) -> Iterator[str]:
    """Its targets as they were checked, and what automatic decisions made of it."""
    servings = decided.servings.get(tried.pool, {})
    for target in tried.targets:
        told = [] if target.verdict is None else [_target(target, target.verdict, decided.now)]
        told += _served(target, servings.get(target.member.address))
        if told:
            yield "; ".join(told)
    if tried.share.healthy < tried.share.total:
        yield f"{tried.share.healthy} of {tried.share.total} of its weight is healthy"
    if tried.out is not None:
        held = ", held until an operator's word" if tried.out.held else ""
        yield f"out by automatic decision for {_age(tried.out.since, decided.now)}{held}"
    if tried.kept is not None:
        yield f"kept in the answers by {tried.kept.by} for {_age(tried.kept.since, decided.now)}"


def _served(target: Target, serving: Serving | None) -> Iterator[str]:
    """What the balancer does with a backend, where that is not plain from its checks."""
    word = target.override
    if serving is None or (serving is Serving.UP and word is None and not target.failing):
        return
    name = target.member.address if target.verdict is None else ""
    asked = "" if word is None else f" ({word.state} by {word.who}: {word.why})"
    if serving is Serving.UP and word is None:
        asked = " all the same: too few others serve"
    yield f"{name} {_SERVING[serving]}{asked}".lstrip()


def _target(target: Target, verdict: Verdict, now: float) -> str:
    whose = f" as seen from {verdict.seen_from}" if verdict.seen_from else ""
    line = f"{target.member.address} {verdict.health}{whose}, checked {verdict.age_s:.1f} s ago"
    if verdict.why:
        line += f": {verdict.why}"
    if verdict.settles_s is not None:
        line += f"; its checks disagree, it could change in {verdict.settles_s:.1f} s"
    if verdict.outlier:
        line += f"; an outlier: {verdict.outlier}"
    if target.ejection is not None:
        line += f"; ejected for {_age(now, target.ejection.until)} more: {target.ejection.why}"
    return line


def _burden(burden: Burden, now: float) -> Iterator[str]:
    """Its load, and what it sheds."""
    marks = "" if burden.marks is None else f", soft {burden.marks.soft:.0%}, hard {burden.marks.hard:.0%}"
    if burden.load is not None:
        stale = ", stale" if burden.load.stale else ""
        yield f"load {burden.load.share:.1%} of its capacity, {burden.load.age_s:.0f} s ago{stale}{marks}"
    if burden.shed is not None:
        shed = burden.shed
        yield f"sheds {shed.level:.1%} of its demand ({shed.cause}), last step {_age(shed.stepped_at, now)} ago"
    if burden.given is not None:
        heard = f"{burden.given.node}, heard {_age(burden.given.as_of, now)} ago"
        yield f"what it sheds is said by {heard if burden.given.node else 'another node, of which nothing was heard yet'}"


def _reasons(tried: Tried) -> Iterator[str]:
    for reason in tried.reasons:
        yield f"{reason.member.address} {'kept' if reason.usable else 'removed'} by {reason.step}: {reason.why}"


def _choice(decided: Decided) -> Iterator[str]:
    decision, slot, choice = decided.decision, decided.slot, decided.given.choice
    yield f"{choice.mode}: {_MODES[choice.mode] if decided.moved is None else _MOVES[decided.moved.cause]}"
    for going in decided.given.goings:
        part = (
            "all of this class"
            if going.whole
            else f"slots {going.first} to {going.first + going.slots - 1} of this class"
        )
        yield f"{going.pool} sheds {part} to {going.receiver} ({going.cause})"
    if decided.members:
        number = len(decided.members)
        yield f"{_members(decided.members)}: {min(decision.count, number)} of {number} in a reply"
    if slot is not None:
        yield f"all of {slot.network} has slot {slot.slot} of {slot.slots}, so the scope is not shorter"
    elif decided.given.by_slot and decision.policy.sticky is None:
        yield "not sticky: each query's id picks the slot"
    yield from _moved(decided)


def _moved(decided: Decided) -> Iterator[str]:
    """Why this very client is answered by another pool than its first."""
    if decided.heavy:
        yield "this resolver alone asks more than a step of what is shed: its slot changes with each TTL"
    elif decided.moved is not None:
        yield f"this client goes from {decided.moved.pool} to {decided.moved.receiver}: {_CAUSES[decided.moved.cause]}"


def _ttl(decided: Decided) -> Iterator[str]:
    policy, ttl = decided.decision.policy, decided.decision.ttl
    yield f"{decided.ttl} s: the least of record {decided.record_ttl} and policy {ttl}"
    if ttl < policy.ttl_max:
        yield f"the policy's TTL is shortened from {policy.ttl_max}, since an answer may change soon"


def _age(since: float, now: float) -> str:
    return f"{max(0.0, now - since):.0f} s"


def _members(members: Iterable[Member]) -> str:
    return ", ".join(f"{member.address} weight {member.weight}" for member in members)


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
