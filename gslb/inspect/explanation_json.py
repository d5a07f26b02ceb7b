"""An explanation for programs.  Pure."""

from __future__ import annotations

from dataclasses import asdict

from gslb.config.zonefile import owner_text, type_text
from gslb.decide.explain import Tried
from gslb.decide.field import Reason
from gslb.decide.targets import Target
from gslb.geo.describe import condition
from gslb.geo.rows import Row
from gslb.inspect.explanation import Decided, InForce, Report, Slot
from gslb.inspect.question import Record, Reply
from gslb.inspect.shedding import Going
from gslb.model.history import Shed
from gslb.model.plan import Member, Serving


def as_json(told: Report) -> dict[str, object]:
    """The whole explanation, in values that JSON has."""
    asked = told.asked
    return {
        "name": owner_text(asked.name),
        "type": type_text(asked.rtype),
        "client": None if asked.client is None else str(asked.client),
        "resolver": str(asked.resolver),
        "record": _record(told.record),
        "decision": None if told.decided is None else _decided(told.decided),
        "answer": None if told.reply is None else _reply(told.reply),
        "plan": _plan(told.plan),
        "notes": list(told.notes),
    }


def _record(record: Record) -> dict[str, object]:
    return {
        "kind": record.kind,
        "zone": record.zone,
        "owner": record.owner,
        "wildcard": record.wildcard,
        "records": list(record.records),
    }


def _decided(decided: Decided) -> dict[str, object]:
    located, decision = decided.located, decided.decision
    moved = decided.moved
    return {
        "databases": [_row(row) for row in decided.place.rows],
        "class": located.location_class,
        "classes": located.classes,
        "scope": located.scope,
        "network": str(located.network),
        "looked_up_as_ipv4": located.embedded,
        "geography": located.digest,
        "policy": decision.policy.name,
        "rule": decision.ranking.rule,
        "condition": condition(decided.rule),
        "matched": decided.matched,
        "view": {
            "view": decision.policy.view.value,
            "continent": decision.ranking.continent or None,
            "decided_by": decision.sight.value,
        },
        "pools": [_tried(tried, decided) for tried in decision.tried],
        "mode": decided.given.choice.mode.value,
        "members": [_member(member) for member in decided.members],
        "answers": decision.count,
        "slot": None if decided.slot is None else _slot(decided.slot),
        "shed": [_going(going) for going in decided.given.goings],
        "moved_by": None if moved is None else _going(moved),
        "heavy": decided.heavy,
        "ttl": {
            "record": decided.record_ttl,
            "policy": decision.ttl,
            "policy_max": decision.policy.ttl_max,
            "answered": decided.ttl,
        },
    }


def _tried(tried: Tried, decided: Decided) -> dict[str, object]:
    km, burden = decided.kilometres.get(tried.pool), decided.burdens[tried.pool]
    servings = decided.servings.get(tried.pool, {})
    return {
        "pool": tried.pool,
        "datacenter": tried.datacenter,
        "km": None if km is None else round(km, 1),
        "place": tried.place.value,
        "left": [member.address for member in tried.left],
        "first": tried.chosen,
        "chosen": any(member.pool == tried.pool for member in decided.members),
        "reasons": [_reason(reason) for reason in tried.reasons],
        "targets": [_target(target, decided.now, servings.get(target.member.address)) for target in tried.targets],
        "healthy": {"weight": tried.share.healthy, "of": tried.share.total},
        "load": None if burden.load is None else asdict(burden.load),
        "marks": None if burden.marks is None else asdict(burden.marks),
        "shed": None if burden.shed is None else _shed(burden.shed, decided.now),
        "given": None
        if burden.given is None
        else {"by": burden.given.node, "age_s": age(burden.given.as_of, decided.now) if burden.given.node else None},
        "out": None if tried.out is None else {"for_s": age(tried.out.since, decided.now), "held": tried.out.held},
        "kept": None
        if tried.kept is None
        else {"for_s": age(tried.kept.since, decided.now), "by": tried.kept.by.value},
    }


def _target(target: Target, now: float, serving: Serving | None) -> dict[str, object]:
    verdict, ejection = target.verdict, target.ejection
    return {
        "address": target.member.address,
        "health": None if verdict is None else verdict.health.value,
        "age_s": None if verdict is None else round(verdict.age_s, 1),
        "why": "" if verdict is None else verdict.why,
        "seen_from": None if verdict is None else verdict.seen_from or None,
        "settles_s": None if verdict is None else verdict.settles_s,
        "outlier": "" if verdict is None else verdict.outlier,
        "ejected": None if ejection is None else {"for_s": age(now, ejection.until), "why": ejection.why},
        "override": None if target.override is None else target.override.state.value,
        "serving": None if serving is None else serving.value,
    }


def _shed(shed: Shed, now: float) -> dict[str, object]:
    return {"cause": shed.cause.value, "level": shed.level, "stepped_s": age(shed.stepped_at, now)}


def _going(going: Going) -> dict[str, object]:
    return {**asdict(going), "cause": going.cause.value}


def age(since: float, now: float) -> float:
    """Seconds from one moment to the other."""
    return round(max(0.0, now - since), 1)


def _reason(reason: Reason) -> dict[str, object]:
    return {"step": reason.step, "address": reason.member.address, "usable": reason.usable, "why": reason.why}


def _member(member: Member) -> dict[str, object]:
    return {"address": member.address, "weight": member.weight, "pool": member.pool}


def _slot(slot: Slot) -> dict[str, object]:
    return {"network": str(slot.network), "slot": slot.slot, "slots": slot.slots}


def _reply(reply: Reply) -> dict[str, object]:
    return {"rcode": reply.rcode, "records": list(reply.records), "scope": reply.scope}


def _plan(plan: InForce) -> dict[str, object]:
    def pair(found: tuple[int, str] | None) -> dict[str, object] | None:
        return None if found is None else {"version": found[0], "digest": found[1]}

    return {
        "version": plan.version,
        "digest": plan.digest,
        "stored": pair(plan.stored),
        "generation": plan.generation,
        "served": pair(plan.served),
        "in_force": plan.same,
    }


def _row(row: Row) -> dict[str, object]:
    return {
        "file": str(row.database),
        "network": str(row.network),
        **row.location._asdict(),
        "city": row.city,
    }
