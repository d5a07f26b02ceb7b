"""Metrics of the bus and of all nodes of the deployment, as this node knows them.  Pure.

Rule: the configuration names the nodes that get a series; of strangers there is only a count, for a name on the bus may be anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import Metric

from gslb.api.metric import counter, gauge
from gslb.control.report import Report
from gslb.model.deployment import Deployment, PoolId

_NODE = ("site", "node")
_KIND = ("direction", "kind")


def bus_metrics(report: Report, model: Deployment | None) -> Iterator[Metric]:
    """The bus and the other nodes; nothing where there is no bus by configuration."""
    sharing = report.get("sharing")
    if not sharing:
        return
    yield from _bus(sharing)
    yield from _refused(report, sharing)
    yield from _nodes([one for one in sharing["nodes"] if not one.get("stranger")])
    strangers = sum(one["alive"] for one in sharing["nodes"] if one.get("stranger"))
    what = "Nodes that are heard and that the configuration does not name."
    yield gauge("gslb_node_strangers", what, (), [((), strangers)])
    yield from _words(report)
    writers = sharing.get("sheds", {}).get("writers", {})
    pools = model.pools if model is not None else {}
    rows = [
        ((pools[pool].datacenter, pool), float(writer == report["node"]))
        for pool, writer in ((PoolId(pool), writer) for pool, writer in writers.items())
        if pool in pools
    ]
    what = "1 while this node says what the pool sheds; of all nodes one should."
    yield gauge("gslb_pool_steered", what, ("site", "pool"), rows)


def _bus(sharing: Mapping[str, Any]) -> Iterator[Metric]:
    bus, traffic = sharing["bus"], sharing["traffic"]
    what = "1 while the bus is connected."
    yield gauge("gslb_bus_connected", what, (), [((), float(bus["connected"]))])
    what = "1 while keys of the bus (overrides, shed levels, leases, the configuration) can be read and written."
    yield gauge("gslb_bus_keys", what, (), [((), float(bus["connected"] and not bus["keys_why"]))])
    counts = [((way, kind), one) for way, by_kind in traffic.items() for kind, one in by_kind.items()]
    rows = [(labels, one["messages"]) for labels, one in counts]
    yield counter("gslb_bus_messages_total", "Messages on the bus, by way and kind.", _KIND, rows)
    rows = [(labels, one["octets"]) for labels, one in counts]
    yield counter("gslb_bus_bytes_total", "Octets of these messages.", _KIND, rows)


def _refused(report: Report, sharing: Mapping[str, Any]) -> Iterator[Metric]:
    found = {
        "message": {**(sharing["bus"]["refused"] or {}), **sharing["refused"]},
        "override": (report.get("agreement") or {}).get("refused", {}),
        "configuration": (report.get("rollout") or {}).get("malformed", {}),
        "shed": {"malformed": sharing.get("sheds", {}).get("refused", 0)},
    }
    rows = [((what, cause), count) for what, causes in found.items() for cause, count in causes.items()]
    told = "Things from the bus that were refused, by cause."
    yield counter("gslb_bus_refused_total", told, ("what", "cause"), rows)


def _nodes(nodes: list[Mapping[str, Any]]) -> Iterator[Metric]:
    others = [((one["site"], one["node"]), one) for one in nodes if not one["this"]]
    heard = [(labels, one) for labels, one in others if one["heard_s"] is not None]
    rows = [(labels, float(one["alive"])) for labels, one in others]
    yield gauge("gslb_node_alive", "1 while another node gives signs of life.", _NODE, rows)
    rows = [(labels, one["heard_s"]) for labels, one in heard]
    yield gauge("gslb_node_heard_seconds", "Time since another node's last sign of life.", _NODE, rows)
    rows = [(labels, one["skew_s"]) for labels, one in heard]
    yield gauge("gslb_node_skew_seconds", "By how much another node's clock is ahead of this one's.", _NODE, rows)
    rows = [(labels, one["delay_s"]) for labels, one in heard]
    what = "How much longer than its quickest another node's last message took."
    yield gauge("gslb_node_delay_seconds", what, _NODE, rows)
    told = [(labels, one) for labels, one in heard if one.get("config")]
    rows = [(labels, float(one["other_config"])) for labels, one in told]
    yield gauge("gslb_node_other_configuration", "1 while another node runs another configuration.", _NODE, rows)
    rows = [(labels, float(one["blind_s"] is not None)) for labels, one in told]
    what = "1 while another node reaches none of its reference targets."
    yield gauge("gslb_node_blind", what, _NODE, rows)
    ages = [((*labels, kind), heap["age_s"]) for labels, one in heard for kind, heap in one.get("known", {}).items()]
    what = "Age of the newest that is known from another node, by kind."
    yield gauge("gslb_node_knowledge_age_seconds", what, (*_NODE, "kind"), ages)


def _words(report: Report) -> Iterator[Metric]:
    agreement, rollout = report.get("agreement") or {}, report.get("rollout") or {}
    rows = [((), agreement.get("waiting", 0))]
    yield gauge("gslb_override_waiting", "Overrides that other nodes do not know yet.", (), rows)
    rows = [((), agreement.get("lost", 0))]
    what = "Words of operators that lost against a later one whose writer did not know them."
    yield counter("gslb_override_conflicts_total", what, (), rows)
    published = (rollout.get("published") or {}).get("version", 0)
    versions = [(("published",), published), (("in_force",), rollout.get("in_force", 0))]
    what = "Version of the configuration on the bus, and in force here; 0 is a node's own file."
    yield gauge("gslb_configuration_version", what, ("which",), versions)
    refusals = rollout.get("refused", {}).values()
    rows = [((), sum(one["version"] == published for one in refusals))]
    yield gauge("gslb_configuration_refusals", "Nodes that refuse the published version.", (), rows)
