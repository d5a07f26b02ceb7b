"""What the balancer of a node is to do, and what the state that it reports means.  Pure.

Rule 1: a pool that this node cannot balance has a reason in `unbalanced`, in words for people.
Rule 2: where nothing is known yet, nothing is taken for broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from gslb.control.checks import Ways, probes_of
from gslb.model.deployment import Attach, Deployment, Node, PoolId, SiteId
from gslb.model.plan import BalancerTable, Plan
from xdp.messages import Attached, Interface, Probe, State, Want

KEY_OCTETS = 16
MOST_LINES = 20  # of problems of one kind
NO_INTERFACE = "no interface to balance on: this node has no default route; name them in nodes.NODE.interfaces"


@dataclass(frozen=True, slots=True)
class Orders:
    """What a node's balancer is to do, but for the tables.  `pools`: the balanced ones of its site."""

    deployment: str
    site: SiteId
    pools: tuple[PoolId, ...]
    attach: Attach
    key: str
    source4: str
    source6: str
    flow_idle_s: float
    named: tuple[str, ...]  # interfaces; none: that of the default route
    probes: tuple[Probe, ...]


def orders_of(deployment: Deployment, node: Node, secret: bytes) -> Orders:
    """What `deployment` asks of the balancer of `node`."""
    balancer = deployment.balancer
    return Orders(
        deployment=deployment.name,
        site=node.site,
        pools=tuple(
            pool.name for pool in deployment.pools.values() if pool.datacenter == node.site and pool.balance is not None
        ),
        attach=balancer.attach,
        key=flow_key(secret),
        source4=str(balancer.source4),
        source6=str(balancer.source6),
        flow_idle_s=balancer.flow_idle_s,
        named=node.interfaces,
        probes=probes_of(deployment, node.site),
    )


def flow_key(secret: bytes) -> str:
    """The key of the flow hash, in hex: the same on every balancer that shares the deployment's secret."""
    return blake2b(secret, digest_size=KEY_OCTETS, person=b"gslb flow").hexdigest()


def tables_of(orders: Orders, plan: Plan) -> Mapping[PoolId, BalancerTable]:
    """The tables of the plan that are for this site."""
    return {pool: table for pool, table in plan.balancers.items() if table.site == orders.site}


def want_of(
    orders: Orders, interfaces: tuple[str, ...], tables: Mapping[PoolId, BalancerTable], version: int, serial: int
) -> Want:
    """The whole wanted state."""
    return Want(
        serial=serial,
        deployment=orders.deployment,
        version=version,
        interfaces=interfaces,
        attach=orders.attach,
        key=orders.key,
        source4=orders.source4,
        source6=orders.source6,
        flow_idle_s=orders.flow_idle_s,
        tables={str(pool): table for pool, table in tables.items()},
        probes=orders.probes,
    )


def unbalanced(orders: Orders, want: Want | None, state: State) -> Mapping[PoolId, str]:
    """Which pools are not balanced, and why, by what the process says of itself."""
    why = _whole(orders, want, state)
    if why:
        return dict.fromkeys(orders.pools, why)
    if want is None or state.serial < want.serial:
        return {}
    text = "; ".join(state.problems) or "it was not put in force"
    return {pool: f"it has no table in the balancer: {text}" for pool in orders.pools if _lacks(pool, want, state)}


def unled(orders: Orders, want: Want | None, state: State) -> str:
    """Why packets of checks are not led to the backends that their marks name, where they are not."""
    return _whole(orders, want, state) or "; ".join(state.problems) or Ways().why


def _whole(orders: Orders, want: Want | None, state: State) -> str:
    """Why nothing is balanced; empty where something is."""
    if orders.attach is Attach.OFF:
        return "balancer.attach is off"
    if state.refused:
        return state.refused
    if want is not None and not want.interfaces:
        return NO_INTERFACE
    return "; ".join(_interface(one) for one in _own(want, state) if one.attached is Attached.NOT)


def _own(want: Want | None, state: State) -> Iterator[Interface]:
    """The interfaces that packets to balance come in by, without those that only DNS is answered on."""
    return (one for one in state.interfaces if want is None or one.name in want.interfaces)


def _lacks(pool: PoolId, want: Want, state: State) -> bool:
    return pool in want.tables and pool not in state.tables


def problems(orders: Orders, want: Want | None, state: State) -> tuple[str, ...]:
    """What people should mend, one line each."""
    if state.refused:
        return (f"this node does not balance: {state.refused}",)
    lines = [*state.problems]
    if want is not None and not want.interfaces:
        lines.append(NO_INTERFACE)
    lines += [_interface(one) for one in _own(want, state) if _worse(orders, one)]
    backends = [
        f"{pool} {backend}: {why}"
        for pool, table in state.tables.items()
        for backend, why in (*table.unreachable.items(), *table.narrow.items())
    ]
    return (*lines[:MOST_LINES], *_folded(backends))


def _worse(orders: Orders, one: Interface) -> bool:
    """Whether it is attached in a lesser way than was asked for, or something is to be mended."""
    return one.attached is Attached.NOT or (
        one.attached is Attached.GENERIC and (orders.attach is not Attach.GENERIC or bool(one.mend))
    )


def _interface(one: Interface) -> str:
    what = "is not attached" if one.attached is Attached.NOT else "runs in generic mode, which is slower"
    mend = f"; to mend it: {one.mend}" if one.mend else ""
    return f"{one.name} {what}: {one.why}{mend}" if one.why else f"{one.name} {what}{mend}"


def _folded(lines: list[str]) -> Iterator[str]:
    yield from lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        yield f"... and {len(lines) - MOST_LINES:,} more"


def state_json(state: State) -> dict[str, Any]:
    """JSON values for `gslb status` and the API; of DNS `indriver.state_json` tells."""
    found = asdict(state)
    del found["dns"], found["probes"]  # the latter are numbers that say nothing to people
    return found
