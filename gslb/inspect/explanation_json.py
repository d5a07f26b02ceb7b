"""An explanation for programs.  Pure."""

from __future__ import annotations

from gslb.config.zonefile import owner_text, type_text
from gslb.decide.explain import Tried
from gslb.decide.field import Reason
from gslb.geo.describe import condition
from gslb.geo.rows import Row
from gslb.inspect.explanation import Decided, InForce, Report, Slot
from gslb.inspect.question import Record, Reply
from gslb.model.plan import Member


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
        "pools": [_tried(tried, decided.kilometres.get(tried.pool)) for tried in decision.tried],
        "mode": decision.mode.value,
        "members": [_member(member) for member in decision.members],
        "answers": decision.count,
        "slot": None if decided.slot is None else _slot(decided.slot),
        "ttl": {"record": decided.record_ttl, "policy": decision.ttl, "answered": decided.ttl},
    }


def _tried(tried: Tried, km: float | None) -> dict[str, object]:
    return {
        "pool": tried.pool,
        "datacenter": tried.datacenter,
        "km": None if km is None else round(km, 1),
        "place": tried.place.value,
        "left": [member.address for member in tried.left],
        "chosen": tried.chosen,
        "reasons": [_reason(reason) for reason in tried.reasons],
    }


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
