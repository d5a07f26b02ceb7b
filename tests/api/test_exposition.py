"""The metrics: their values, their names by Prometheus's conventions, and the documents that name them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.api.desk import FakeDesk
from tests.api.figures import know_everything
from tests.api.served import Served

DOCS = Path(__file__).parents[2] / "docs"
UNITS = ("_seconds", "_bytes", "_ratio", "_total", "_info")
COUNTS = {  # gauges of things that have no unit
    "gslb_bgp_exabgp_ready",
    "gslb_bgp_lease_held",
    "gslb_bgp_route_acknowledged",
    "gslb_bgp_route_in_router",
    "gslb_bgp_route_kept",
    "gslb_bgp_route_on_lo",
    "gslb_bgp_route_other_sites",
    "gslb_bgp_route_state",
    "gslb_bgp_session_routes",
    "gslb_bgp_session_up",
    "gslb_blind",
    "gslb_bus_connected",
    "gslb_bus_keys",
    "gslb_configuration_refusals",
    "gslb_configuration_version",
    "gslb_dns_image_left_out",
    "gslb_dns_workers",
    "gslb_drain_safe",
    "gslb_lb_attach_mode",
    "gslb_lb_backend_active_connections",
    "gslb_lb_backend_active_connections_error",
    "gslb_lb_moving_slots",
    "gslb_lb_refused",
    "gslb_lb_slots",
    "gslb_lb_unreachable",
    "gslb_lb_vip_active_connections",
    "gslb_lb_vip_active_connections_error",
    "gslb_node_alive",
    "gslb_node_blind",
    "gslb_node_other_configuration",
    "gslb_node_strangers",
    "gslb_override_active",
    "gslb_override_waiting",
    "gslb_plan_version",
    "gslb_pool_ejected",
    "gslb_pool_load_stale",
    "gslb_pool_out",
    "gslb_pool_steered",
    "gslb_pool_up",
    "gslb_problems",
    "gslb_site_loss_over_hard",
    "gslb_target_outlier",
    "gslb_target_up",
}


@pytest.fixture
def exposition(desk: FakeDesk, api: Served) -> str:
    """One scrape of a node that knows something of everything."""
    know_everything(desk)
    got = api.get("/metrics")
    assert (got.status, got.headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    return got.body.decode()


def samples(text: str) -> dict[str, float]:
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def names(text: str) -> dict[str, str]:
    """Name -> type, of every family."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))


def test_values(exposition: str) -> None:
    found = samples(exposition)
    expected = {
        'gslb_dns_answers_total{"pool": "web-fra", "site": "fra", "type": "A"}': 10,
        'gslb_dns_answers_total{"pool": "last_resort", "site": "last_resort", "type": "A"}': 2,
        'gslb_dns_answers_total{"pool": "gone", "site": "", "type": "A"}': 1,
        'gslb_dns_queries_total{"path": "fast", "transport": "udp"}': 1,
        'gslb_dns_responses_total{"kind": "nodata", "rcode": "NOERROR"}': 5,
        'gslb_dns_workers{"kind": "udp"}': 1,
        'gslb_dns_workers{"kind": "tcp"}': 0,
        'gslb_pool_up{"pool": "web-fra", "site": "fra"}': 1,
        'gslb_pool_up{"pool": "web-iad", "site": "iad"}': 0,
        'gslb_target_up{"pool": "web-fra", "target": "192.0.2.11"}': 0,
        'gslb_target_age_seconds{"pool": "web-fra", "target": "192.0.2.10"}': 1.5,
        'gslb_target_outlier{"pool": "web-fra", "target": "192.0.2.11"}': 1,
        'gslb_check_latency_seconds{"pool": "web-fra", "quantile": "0.99", "target": "192.0.2.10"}': 0.2,
        'gslb_checks_total{"monitor": "web", "result": "failed"}': 1,
        'gslb_pool_load_ratio{"pool": "web-cloud", "site": "cloud"}': 0.42,
        'gslb_pool_load_stale{"pool": "web-cloud", "site": "cloud"}': 1,
        'gslb_pool_soft_ratio{"pool": "web-cloud", "site": "cloud"}': 0.8,
        'gslb_pool_hard_ratio{"pool": "web-cloud", "site": "cloud"}': 0.9,
        'gslb_pool_shed_ratio{"pool": "web-fra", "site": "fra"}': 0.25,
        'gslb_pool_shed_ratio{"pool": "web-iad", "site": "iad"}': 0,
        'gslb_pool_out{"pool": "web-iad", "site": "iad"}': 1,
        'gslb_pool_ejected{"pool": "web-fra", "site": "fra"}': 1,
        'gslb_override_active{"state": "drain", "target": "site/iad"}': 1,
        "gslb_plan_version{}": 7,
        "gslb_plan_age_seconds{}": 3.5,
        'gslb_policy_ttl_seconds{"policy": "web"}': 30,
        'gslb_problems{"what": "geography"}': 1,
        'gslb_site_loss_over_hard{"site": "fra"}': 1,
        'gslb_site_loss_load_ratio{"site": "fra"}': 1.04,
        "gslb_blind{}": 0,
        "gslb_lb_refused{}": 0,
        'gslb_lb_attach_mode{"interface": "eth0", "mode": "generic"}': 1,
        'gslb_lb_unreachable{"backend": "10.1.0.12", "pool": "web-fra"}': 1,
        'gslb_lb_moving_slots{"pool": "web-fra"}': 12,
        'gslb_lb_vip_bytes_total{"pool": "web-fra", "vip": "192.0.2.10 tcp/80"}': 600,
        'gslb_lb_backend_handshakes_total{"backend": "10.1.0.11", "pool": "web-fra"}': 2,
        'gslb_lb_vip_active_connections{"pool": "web-fra", "vip": "192.0.2.10 tcp/80"}': 1200,
        'gslb_lb_vip_active_connections_error{"pool": "web-fra", "vip": "192.0.2.10 tcp/80"}': 60,
        'gslb_lb_backend_active_connections{"backend": "10.1.0.11", "pool": "web-fra"}': 1100,
        'gslb_lb_events_total{"event": "no_room"}': 3,
        'gslb_lb_client_rtt_seconds_bucket{"family": "ipv4", "le": "0.005", "pool": "web-fra"}': 2,
        'gslb_lb_client_rtt_seconds_bucket{"family": "ipv4", "le": "+Inf", "pool": "web-fra"}': 4,
        'gslb_lb_client_rtt_seconds_count{"family": "ipv4", "pool": "web-fra"}': 4,
        'gslb_lb_client_rtt_seconds_sum{"family": "ipv4", "pool": "web-fra"}': 2.5,
        'gslb_lb_retransmit_ratio{"backend": "10.1.0.11", "pool": "web-fra"}': 0.25,
        "gslb_bus_connected{}": 1,
        "gslb_bus_keys{}": 0,
        'gslb_bus_messages_total{"direction": "heard", "kind": "life"}': 5,
        'gslb_bus_bytes_total{"direction": "told", "kind": "loads"}': 60,
        'gslb_bus_refused_total{"cause": "subject", "what": "message"}': 1,
        'gslb_bus_refused_total{"cause": "future", "what": "message"}': 2,
        'gslb_bus_refused_total{"cause": "malformed", "what": "override"}': 1,
        'gslb_bus_refused_total{"cause": "config.current", "what": "configuration"}': 1,
        'gslb_bus_refused_total{"cause": "malformed", "what": "shed"}': 3,
        'gslb_node_alive{"node": "iad1", "site": "iad"}': 0,
        'gslb_node_alive{"node": "iad2", "site": "iad"}': 0,
        'gslb_node_heard_seconds{"node": "iad1", "site": "iad"}': 30.5,
        'gslb_node_skew_seconds{"node": "iad1", "site": "iad"}': -2.5,
        'gslb_node_delay_seconds{"node": "iad1", "site": "iad"}': 0.25,
        'gslb_node_other_configuration{"node": "iad1", "site": "iad"}': 1,
        'gslb_node_blind{"node": "iad1", "site": "iad"}': 1,
        'gslb_node_knowledge_age_seconds{"kind": "opinions", "node": "iad1", "site": "iad"}': 32,
        "gslb_node_strangers{}": 1,
        "gslb_override_waiting{}": 4,
        "gslb_override_conflicts_total{}": 2,
        'gslb_configuration_version{"which": "published"}': 3,
        'gslb_configuration_version{"which": "in_force"}': 2,
        "gslb_configuration_refusals{}": 1,
        'gslb_pool_steered{"pool": "web-fra", "site": "fra"}': 1,
        'gslb_pool_steered{"pool": "web-iad", "site": "iad"}': 0,
        'gslb_drain_safe{"site": "fra"}': 1,
        "gslb_bgp_exabgp_ready{}": 1,
        "gslb_bgp_commands_total{}": 12,
        "gslb_bgp_command_errors_total{}": 1,
        "gslb_bgp_command_timeouts_total{}": 2,
        "gslb_bgp_events_dropped_total{}": 3,
        "gslb_bgp_exabgp_restarts_total{}": 4,
        "gslb_bgp_acknowledge_seconds{}": 0.025,
        'gslb_bgp_transitions_total{"prefix": "192.0.2.0/24", "state": "drain"}': 2,
        'gslb_bgp_session_up{"neighbor": "10.0.0.1"}': 1,
        'gslb_bgp_session_up{"neighbor": "10.0.0.2"}': 0,
        'gslb_bgp_session_routes{"neighbor": "10.0.0.1"}': 1,
        'gslb_bgp_route_state{"prefix": "192.0.2.0/24", "state": "drain"}': 1,
        'gslb_bgp_route_state{"prefix": "192.0.2.0/24", "state": "announced"}': 0,
        'gslb_bgp_route_acknowledged{"prefix": "192.0.2.0/24"}': 1,
        'gslb_bgp_route_on_lo{"prefix": "192.0.2.0/24"}': 1,
        'gslb_bgp_route_kept{"prefix": "192.0.2.0/24"}': 1,
        'gslb_bgp_route_other_sites{"prefix": "192.0.2.0/24"}': 1,
        'gslb_bgp_lease_held{"prefix": "192.0.2.0/24"}': 0,
        'gslb_bgp_route_in_router{"neighbor": "10.0.0.1", "prefix": "192.0.2.0/24"}': 1,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert 'gslb_node_alive{"node": "lab", "site": "iad"}' not in found  # a stranger may have any name
    assert 'gslb_override_active{"state": "drain", "target": "site/fra"}' not in found


def test_before_anything_is_known_there_is_an_exposition(desk: FakeDesk, api: Served) -> None:
    desk.model = desk.plan = None
    desk.told = {**desk.told, "generation": None, "workers": []}
    found = samples(api.get("/metrics").body.decode())
    assert found['gslb_dns_workers{"kind": "udp"}'] == 0
    assert not any(name.startswith(("gslb_pool", "gslb_plan")) for name in found)


def test_names_follow_the_conventions(exposition: str) -> None:
    found = names(exposition)
    assert found, exposition
    for name, kind in found.items():
        assert re.fullmatch(r"gslb_[a-z]+(_[a-z]+)*", name), name
        assert name.endswith("_total") == (kind == "counter"), name
        assert kind in ("counter", "gauge", "histogram"), name
        assert name.endswith(UNITS) or name in COUNTS, f"{name} has no unit"
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", exposition, re.M))
    assert helps.keys() == found.keys()
    assert all(text.endswith(".") for text in helps.values())
    assert found.keys() >= COUNTS


def test_every_metric_is_documented_with_its_labels(exposition: str) -> None:
    documented = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(r"^\| `(gslb_\w+)` \| \w+ \| (.*?) \|", (DOCS / "metrics.md").read_text(), re.M)
    }
    exposed: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            exposed[sample.name] = set(sample.labels)
    assert documented == exposed


def expressions() -> list[tuple[str, str]]:
    dashboard = json.loads((DOCS / "grafana.json").read_text())
    found = [
        (f"grafana: {panel['title']}", target["expr"])
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]
    found += [
        (f"grafana: {variable['name']}", variable["query"]["query"])
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    rules = yaml.safe_load((DOCS / "alerts.yaml").read_text())
    found += [(f"alert: {rule['alert']}", rule["expr"]) for group in rules["groups"] for rule in group["rules"]]
    return found


def test_dashboard_and_alerts_name_metrics_that_exist(exposition: str) -> None:
    exposed = {
        sample.name: set(sample.labels) | {"instance", "job"}
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }
    found = expressions()
    assert len(found) > 20
    for where, expression in found:
        used = re.findall(r"\b(gslb_\w+)(?:\{([^}]*)\})?", expression)
        assert used, where
        for name, matchers in used:
            assert name in exposed, f"{where}: {name}"
            assert set(re.findall(r"(\w+)\s*=~?", matchers)) <= exposed[name], f"{where}: {matchers}"
        grouped = {label.strip() for by in re.findall(r"\bby \(([^)]*)\)", expression) for label in by.split(",")}
        assert grouped <= set().union(*(exposed[name] for name, _ in used)), where


def test_alerts_say_what_to_do() -> None:
    rules = yaml.safe_load((DOCS / "alerts.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
            assert rule["annotations"].keys() == {"summary", "action"}, rule["alert"]
    assert len({rule["alert"] for group in rules["groups"] for rule in group["rules"]}) == sum(
        len(group["rules"]) for group in rules["groups"]
    )
