"""The bus and all nodes of a deployment as one node knows them, as JSON values for people.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

from gslb.bus.bus import Standing
from gslb.bus.messages import Kind, Life
from gslb.bus.peer import Heap
from gslb.bus.peers import Living
from gslb.model.deployment import Deployment, NodeId, SiteId
from healthcheck.quorum import Heard
from xdp.messages import State

_AGES = ("heard_s", "blind_s", "up_s")  # of a node


def sharing(
    deployment: Deployment,
    standing: Standing,
    others: Mapping[NodeId, Living],
    this: tuple[NodeId, SiteId, Life],
    heaps: Mapping[NodeId, Mapping[Kind, Heap]],
) -> dict[str, Any]:
    """`this` is the node that knows it; `heard_s` of a node that was never heard is None."""
    name, site, own = this
    itself = {"node": name, "site": site, "this": True, "alive": True, "heard_s": 0.0} | _life(own, own)
    named = [(one.name, one.site, others.get(one.name)) for one in deployment.nodes.values() if one.name != name]
    strangers = [(one.node, one.site, one) for one in others.values() if one.node not in deployment.nodes]
    nodes = [
        _node(*one, own) | {"known": _known(heaps.get(one[0], {})), "stranger": one[0] not in deployment.nodes}
        for one in (*named, *strangers)
    ]
    return {"bus": asdict(standing), "nodes": [itself, *nodes]}


def voice(one: Heard) -> dict[str, Any]:
    """What one node says of a target, as JSON values."""
    return {
        "site": one.site,
        "node": one.node,
        "health": one.verdict.health.value,
        "age_s": round(one.verdict.age_s, 1),
        "for_s": round(one.for_s, 1),
        "fresh": one.fresh,
        "why": one.verdict.why,
    }


def aged(found: Mapping[str, Any], now: float) -> dict[str, Any]:
    """What was known at a moment, as it is later: all of it is older by then."""
    passed = max(0.0, now - found["at"])
    return {**found, "nodes": [one if one["this"] else _aged(one, passed) for one in found["nodes"]]}


def _aged(one: Mapping[str, Any], passed: float) -> dict[str, Any]:
    known = {kind: {**heap, "age_s": round(heap["age_s"] + passed, 1)} for kind, heap in one["known"].items()}
    older = {name: round(one[name] + passed, 1) for name in _AGES if one.get(name) is not None}
    return {**one, **older, "known": known}


def _known(heaps: Mapping[Kind, Heap]) -> dict[str, Any]:
    """How much a node has told of each kind, and how old the newest of it is."""
    return {kind.value: {"count": heap.count, "age_s": round(heap.age_s, 1)} for kind, heap in heaps.items()}


def balancers_digest(state: State | None) -> str:
    """The same on balancers whose tables send every flow to the same backends; empty where nothing is balanced."""
    if state is None or not state.tables:
        return ""
    said = "".join(f"{pool} {table.digest}\n" for pool, table in sorted(state.tables.items()))
    return blake2b(said.encode(), digest_size=8).hexdigest()


def _node(name: NodeId, site: SiteId, living: Living | None, own: Life) -> dict[str, Any]:
    found: dict[str, Any] = {"node": name, "site": site, "this": False, "alive": False, "heard_s": None}
    if living is None:
        return found
    found |= {
        "alive": living.alive,
        "heard_s": round(living.age_s, 1),
        "delay_s": round(living.delay_s, 3),
        "skew_s": round(living.skew_s, 1) + 0.0,  # no -0.0
        "refused": dict(living.refused),
    }
    return found if living.life is None else found | _life(living.life, own)


def _life(life: Life, own: Life) -> dict[str, Any]:
    return {
        "config": life.config,
        "config_version": life.config_version,
        "other_config": bool(own.config) and life.config != own.config,
        "plan_version": life.plan_version,
        "plan": life.plan,
        "geography": life.geography,
        "balancers": life.balancers,
        "blind_s": None if life.blind_s is None else round(life.blind_s, 1),
        "routes": dict(life.routes),
        "version": life.version,
        "up_s": round(life.up_s, 1),
    }
