"""The bus and all nodes of a deployment as one node knows them, as JSON values for people.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from hashlib import blake2b
from typing import Any

from gslb.bus.bus import Standing
from gslb.bus.messages import Life
from gslb.bus.peers import Living
from gslb.model.deployment import Deployment, NodeId, SiteId
from xdp.messages import State


def sharing(
    deployment: Deployment,
    standing: Standing,
    lives: Mapping[NodeId, Living],
    this: tuple[NodeId, SiteId, Life],
    refused: Mapping[str, int],
) -> dict[str, Any]:
    """`this` is the node that knows it; `heard_s` of a node that was never heard is None."""
    name, site, own = this
    itself = {"node": name, "site": site, "this": True, "alive": True, "heard_s": 0.0} | _life(own, own)
    others = [
        _node(one.name, one.site, lives.get(one.name), own) for one in deployment.nodes.values() if one.name != name
    ]
    strangers = [
        _node(one.node, one.site, one, own) | {"stranger": True}
        for one in lives.values()
        if one.node not in deployment.nodes
    ]
    return {"bus": asdict(standing), "nodes": [itself, *others, *strangers], "refused": dict(refused)}


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
        "skew_s": round(living.skew_s, 1),
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
