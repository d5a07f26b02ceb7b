"""Metrics for Prometheus, made at each scrape from what the controller knows.

Rule: a label takes values of the configuration only, so nothing that clients send makes a series.
Standard: Prometheus text exposition 0.0.4; names by its conventions (base units, `_total` for counters).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from aiohttp import web
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from gslb.api.balancermetrics import balancer_metrics
from gslb.api.busmetrics import bus_metrics
from gslb.api.nodemetrics import dns_metrics, node_metrics
from gslb.api.poolmetrics import pool_metrics
from gslb.api.routemetrics import route_metrics
from gslb.control.desk import Desk
from gslb.control.report import Report
from gslb.model.history import History


class Exposition(Collector):
    """All metrics of one node."""

    def __init__(self, desk: Desk, report: Callable[[], Report]) -> None:
        self._desk = desk
        self._report = report
        self._registry = CollectorRegistry()
        self._registry.register(self)

    async def metrics(self, _: web.Request) -> web.Response:
        """One scrape."""
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def describe(self) -> Iterator[Metric]:
        """Nothing: no other collector shares the registry, so no name can be taken."""
        return iter(())

    def collect(self) -> Iterator[Metric]:  # type: ignore[explicit-override]
        """Every family."""
        desk, report, figures = self._desk, self._report(), self._desk.figures()
        model = desk.model.deployment if desk.model is not None else None
        yield from node_metrics(report, figures, desk.plan, model)
        yield from dns_metrics(report, figures, model)
        yield from balancer_metrics(figures)
        yield from bus_metrics(report, model)
        yield from route_metrics(report)
        if model is not None:
            history = desk.plan.history if desk.plan is not None else History()
            yield from pool_metrics(model, desk.world(), history, figures)
