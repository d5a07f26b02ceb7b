"""What a node checks: monitors, reference targets and pages of load of a deployment -> orders, and whose each is.  Pure.

Rule 1: one check a (monitor, address), however many pools it serves.
Rule 2: on a node of a balanced pool's own site its backends are the targets, elsewhere its answers: backends are not
reachable from afar.  Where that node does not balance it and it is served all the same, its answers are the servers.
Rule 3: a check that goes the way of clients asks the pool's answer, and the mark of its packets names the backend: what
the checking process sends and what the balancer's process forwards are told from the same list, `marked`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import ip_address
from itertools import chain
from urllib.parse import urlsplit

from gslb.model.deployment import (
    Address,
    Backend,
    Balance,
    Deployment,
    Forward,
    LoadSource,
    Monitor,
    MonitorId,
    Pool,
    PoolId,
    SiteId,
    Via,
    WithoutBalancer,
)
from healthcheck.check import MARK, Check
from healthcheck.messages import Order, Role
from healthcheck.outlier import PEERS
from healthcheck.reference import INTERVAL_S
from xdp.messages import Probe

PAGE = "url"  # LoadSource.kind of a page
LOAD_INTERVAL_S, LOAD_TIMEOUT_S = 5.0, 2.0
REFERENCE_TIMEOUT_S = 2.0
REACHED = tuple(
    range(200, 500)
)  # a status by which a reference shows that it was reached, whatever it thinks of the request
MARKS, MARK_BITS = 0x67000000, 24  # of packets that probe a backend by way of a VIP: "g", and who is meant

Owner = tuple[PoolId, str]


@dataclass(frozen=True, slots=True)
class Checks:
    """The orders without their serial, and the way back: `owners[id]` are the (pool, address) that a check speaks for.

    `groups` are pools whose targets are compared with each other, `peers` their checks in the same order.
    """

    orders: tuple[Order, ...]
    owners: Mapping[str, tuple[Owner, ...]]
    loads: Mapping[str, PoolId]
    references: Mapping[str, str]
    groups: tuple[PoolId, ...]
    peers: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Ways:
    """What this node's balancer means for checks: it leads packets of `marks` to their backend, and those of others not, for the
    reason `why`; `unbalanced` are pools of the node's site that it does not balance.
    """

    marks: frozenset[int] = frozenset()
    why: str = "the balancer has not said yet that it leads them"
    unbalanced: frozenset[PoolId] = field(default_factory=frozenset)


def checks_of(deployment: Deployment, site: SiteId, unbalanced: Collection[PoolId] = ()) -> Checks:
    """Everything that a node of `site` checks, which does not balance the pools `unbalanced`."""
    monitors = deployment.monitors or {}
    marks = marked(deployment, site)
    orders: dict[str, Order] = {}
    owners: dict[str, tuple[Owner, ...]] = {}
    members: dict[PoolId, tuple[str, ...]] = {}
    for pool in deployment.pools.values():
        monitor = monitors.get(pool.monitor) if pool.monitor is not None else None
        if monitor is None:
            continue
        ids = []
        for address in targets_of(pool, site, unbalanced):
            mark = marks.get((pool.name, address))
            order = _target(monitor, address) if mark is None else _through(monitor, pool, address, mark)
            orders[order.check.id] = order
            owners[order.check.id] = (*owners.get(order.check.id, ()), (pool.name, address))
            ids.append(order.check.id)
        members[pool.name] = tuple(ids)
    compared = {pool: ids for pool, ids in members.items() if len(ids) > PEERS}
    references = {f"reference {text}": text for text in deployment.reference}
    pages = {f"load {pool.name}": pool for pool in deployment.pools.values() if pool.load and pool.load.kind == PAGE}
    return Checks(
        orders=(
            *(_reference(name, text) for name, text in references.items()),
            *(_page(name, pool.load) for name, pool in pages.items() if pool.load is not None),
            *orders.values(),
        ),
        owners=owners,
        loads={name: pool.name for name, pool in pages.items()},
        references=references,
        groups=tuple(compared),
        peers=tuple(compared.values()),
    )


def targets_of(pool: Pool, site: SiteId, unbalanced: Collection[PoolId] = ()) -> tuple[str, ...]:
    """The addresses that a node of `site` checks for `pool`."""
    if pool.balance is not None and pool.datacenter == site and not _alone(pool, pool.balance, unbalanced):
        return tuple(dict.fromkeys(str(backend.address) for backend in pool.balance.backends))
    return tuple(dict.fromkeys(str(answer.address) for answer in pool.answers))


def _alone(pool: Pool, balance: Balance, unbalanced: Collection[PoolId]) -> bool:
    """Whether the pool is served without the balancer."""
    return pool.name in unbalanced and balance.without_balancer is WithoutBalancer.SERVE


def probes_of(deployment: Deployment, site: SiteId) -> tuple[Probe, ...]:
    """Which marks a balancer of `site` sends to which backends."""
    return tuple(Probe(mark, pool, backend) for (pool, backend), mark in marked(deployment, site).items())


def marked(deployment: Deployment, site: SiteId) -> dict[Owner, int]:
    """The backends of `site` that are asked by way of their VIP, and the mark of each: made of their names, so that it
    stays when others come and go.
    """
    monitors = deployment.monitors or {}
    owners = chain.from_iterable(
        ((pool.name, str(backend.address)) for backend in pool.balance.backends)
        for pool in deployment.pools.values()
        if pool.balance is not None and pool.datacenter == site and _via(monitors, pool) is Via.VIP
    )
    marks: dict[Owner, int] = {}
    taken: set[int] = set()
    for pool_name, address in sorted(set(owners)):
        digest = blake2b(f"{pool_name} {address}".encode(), digest_size=4, person=b"gslb mark").digest()
        number = int.from_bytes(digest, "big") % (1 << MARK_BITS)
        while number in taken:
            number = (number + 1) % (1 << MARK_BITS)
        taken.add(number)
        marks[pool_name, address] = MARKS + number
    return marks


def _via(monitors: Mapping[MonitorId, Monitor], pool: Pool) -> Via | None:
    monitor = monitors.get(pool.monitor) if pool.monitor is not None else None
    return None if monitor is None else monitor.via


def _through(monitor: Monitor, pool: Pool, address: str, mark: int) -> Order:
    """The check of one backend by way of the pool's answer."""
    assert pool.balance is not None
    backend = next(one for one in pool.balance.backends if str(one.address) == address)
    settings = {**(monitor.settings or {}), MARK: mark}
    return _order(monitor, f"{monitor.name}/{pool.name}/{address}", str(_asked(pool, backend)), settings)


def _asked(pool: Pool, backend: Backend) -> Address:
    """The first answer of a family that the backend is given: any in a tunnel, IPv4 rather; its own otherwise."""
    answers = [answer.address for answer in pool.answers]
    version = backend.address.version if backend.forward is Forward.L2 else 4
    return next((one for one in answers if one.version == version), answers[0])


def _target(monitor: Monitor, address: str) -> Order:
    return _order(monitor, f"{monitor.name}/{address}", address, monitor.settings or {})


def _order(monitor: Monitor, name: str, address: str, settings: Mapping[str, object]) -> Order:
    check = Check(name, monitor.kind, address, monitor.port, monitor.timeout_s, settings)
    return Order(check, Role.TARGET, monitor.interval_s, monitor.fall, monitor.rise)


def _page(name: str, source: LoadSource) -> Order:
    settings = {
        key: value for key, value in (("url", source.url), ("json", source.json), ("metric", source.metric)) if value
    }
    host = urlsplit(source.url or "").hostname or ""
    return Order(Check(name, "load", host, None, LOAD_TIMEOUT_S, settings), Role.LOAD, LOAD_INTERVAL_S)


def _reference(name: str, text: str) -> Order:
    return Order(_reached(name, text), Role.REFERENCE, INTERVAL_S)


def _reached(name: str, text: str) -> Check:
    """The check that shows whether a reference target is reachable."""
    if "://" in text:
        url = urlsplit(text)
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        settings = {"path": (path,), "expect": REACHED, "host": url.netloc, "verify": False}
        return Check(name, url.scheme, url.hostname or "", url.port, REFERENCE_TIMEOUT_S, settings)
    if _is_address(text):
        return Check(name, "icmp", text, None, REFERENCE_TIMEOUT_S)
    host, _, port = text.rpartition(":")
    return Check(name, "tcp", host.strip("[]"), int(port), REFERENCE_TIMEOUT_S)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
