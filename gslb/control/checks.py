"""What a node checks: monitors, reference targets and pages of load of a deployment -> orders, and whose each is.  Pure.

Rule 1: one check a (monitor, address), however many pools it serves.
Rule 2: on a node of a balanced pool's own site its backends are the targets, elsewhere its answers: backends are not
reachable from afar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from gslb.model.deployment import Deployment, LoadSource, Monitor, Pool, PoolId, SiteId
from healthcheck.check import Check
from healthcheck.messages import Order, Role
from healthcheck.outlier import PEERS
from healthcheck.reference import INTERVAL_S

PAGE = "url"  # LoadSource.kind of a page
LOAD_INTERVAL_S, LOAD_TIMEOUT_S = 5.0, 2.0
REFERENCE_TIMEOUT_S = 2.0
REACHED = tuple(
    range(200, 500)
)  # a status by which a reference shows that it was reached, whatever it thinks of the request

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


def checks_of(deployment: Deployment, site: SiteId) -> Checks:
    """Everything that a node of `site` checks."""
    monitors = deployment.monitors or {}
    orders: dict[str, Order] = {}
    owners: dict[str, tuple[Owner, ...]] = {}
    members: dict[PoolId, tuple[str, ...]] = {}
    for pool in deployment.pools.values():
        monitor = monitors.get(pool.monitor) if pool.monitor is not None else None
        if monitor is None:
            continue
        ids = []
        for address in targets_of(pool, site):
            order = _target(monitor, address)
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


def targets_of(pool: Pool, site: SiteId) -> tuple[str, ...]:
    """The addresses that a node of `site` checks for `pool`."""
    if pool.balance is not None and pool.datacenter == site:
        return tuple(dict.fromkeys(str(backend.address) for backend in pool.balance.backends))
    return tuple(dict.fromkeys(str(answer.address) for answer in pool.answers))


def _target(monitor: Monitor, address: str) -> Order:
    check = Check(
        id=f"{monitor.name}/{address}",
        kind=monitor.kind,
        address=address,
        port=monitor.port,
        timeout_s=monitor.timeout_s,
        settings=monitor.settings or {},
    )
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
