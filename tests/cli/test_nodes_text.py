"""What `gslb status` says of the bus and of the nodes of a deployment."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from gslb.cli.nodes_text import bus_lines, nodes_table, route_lines, steered_by

NOW = 1_000_000.0
BUS = {
    "connected": True,
    "since": NOW - 300,
    "server": "tls://10.0.1.5:4222",
    "why": "",
    "refused": {},
    "alone": False,
    "keys_why": "",
}
LIFE = {
    "config": "33cb18ea4e0091a2",
    "config_version": 3,
    "other_config": False,
    "plan_version": 7,
    "plan": "5914eda26541",
    "balancers": "",
    "blind_s": None,
    "routes": {},
    "version": "0.1.0",
}
FRA = {"node": "fra1", "site": "fra", "this": True, "alive": True, "heard_s": 0.0, **LIFE}
IAD = {
    "node": "iad1",
    "site": "iad",
    "this": False,
    "alive": True,
    "heard_s": 0.4,
    "delay_s": 0.001,
    "skew_s": 0.1,
    "known": {"opinions": {"count": 2_000, "age_s": 3.0}},
    **LIFE,
}
SIN = {"node": "sin1", "site": "sin", "this": False, "alive": False, "heard_s": None, "known": {}}


def found(*nodes: dict[str, Any], bus: dict[str, Any] | None = None, **sharing: object) -> dict[str, Any]:
    """A report with these nodes."""
    known = {"at": NOW - 1, "bus": {**BUS, **(bus or {})}, "nodes": list(nodes), "refused": {}, **sharing}
    return {"now": NOW, "sharing": known}


def rows(*nodes: dict[str, Any]) -> list[list[str]]:
    """The table as it is printed: its head, and a row of cells for each node."""
    table = nodes_table(found(*nodes))
    assert table is not None
    sink = io.StringIO()
    Console(file=sink, width=300).print(table)
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in sink.getvalue().splitlines()]


def test_a_node_that_is_alone_says_nothing() -> None:
    report = {"now": NOW, "sharing": None}
    assert not [*bus_lines(report), *route_lines(report)]
    assert nodes_table(report) is None


@pytest.mark.parametrize(
    ("report", "lines"),
    [
        (found(), ["bus         tls://10.0.1.5:4222, connected for 5 min"]),
        (
            found(bus={"keys_why": "no majority"}),
            [
                "bus         tls://10.0.1.5:4222, connected for 5 min",
                "bus         its keys cannot be reached, so overrides and levels are not shared: no majority",
            ],
        ),
        (
            found(bus={"connected": False, "why": "refused"}),
            [
                "bus         gone since 1970-01-12 13:41:40 UTC (5 min); what other nodes say is as old: refused",
            ],
        ),
        (
            found(bus={"refused": {"oversized": 1, "future": 1}}, refused={"future": 2}, sheds={"refused": 0}),
            [
                "bus         tls://10.0.1.5:4222, connected for 5 min",
                "bus         refused since the start: future 3, oversized 1",
            ],
        ),
        (
            found(at=NOW - 130),
            [
                "nodes       as they were known 2 min ago: the controller does not tell any more",
                "bus         tls://10.0.1.5:4222, connected for 5 min",
            ],
        ),
    ],
    ids=["well", "no keys", "gone", "refused", "no controller"],
)
def test_the_bus(report: dict[str, Any], lines: list[str]) -> None:
    assert list(bus_lines(report)) == lines


def test_a_deployment_in_which_all_is_well() -> None:
    assert rows(FRA, IAD) == [
        ["node", "site", "state", "config", "plan", "opinions"],
        ["fra1", "fra", "this node", "version 3", "7 5914eda2", "-"],
        ["iad1", "iad", "alive", "version 3", "7 5914eda2", "3 s"],
    ]


def test_nodes_that_differ() -> None:
    other = {**IAD, "config": "47dd118f00", "config_version": 0, "other_config": True, "version": "0.2.0"}
    assert rows(FRA, other) == [
        ["node", "site", "state", "gslb", "config", "plan", "opinions"],
        ["fra1", "fra", "this node", "0.1.0", "version 3 (33cb18ea)", "7 5914eda2", "-"],
        ["iad1", "iad", "alive", "0.2.0", "another: own file (47dd118f)", "7 5914eda2", "3 s"],
    ]


@pytest.mark.parametrize(
    ("node", "column", "cell"),
    [
        (SIN, "state", "never heard"),
        ({**IAD, "alive": False, "heard_s": 400.0}, "state", "not heard for 7 min"),
        ({**IAD, "blind_s": 200.0}, "state", "alive, blind for 3 min"),
        ({**IAD, "stranger": True}, "state", "alive, not in the configuration"),
        ({**IAD, "skew_s": 61.7}, "clock", "61.7 s ahead"),
        ({**IAD, "skew_s": -1.2}, "clock", "1.2 s behind"),
        ({**IAD, "delay_s": 1.02}, "late", "1.02 s"),
        ({**IAD, "balancers": "aabbccddeeff"}, "balancer", "aabbccdd"),
        ({**IAD, "known": {"demand": {"count": 3, "age_s": 25.0}}}, "answers", "25 s"),
    ],
    ids=["never", "silent", "blind", "stranger", "ahead", "behind", "late", "balancer", "answers"],
)
def test_what_is_not_as_it_should_be(node: dict[str, Any], column: str, cell: str) -> None:
    table = nodes_table(found(FRA, node))
    assert table is not None
    (shown,) = (one for one in table.columns if one.header == column)
    assert list(shown.cells)[1] == cell


def test_routes_and_who_steers() -> None:
    announced = {**IAD, "routes": {"192.0.2.0/24": "announced", "2001:db8::/48": "drained"}}
    assert list(route_lines(found(FRA, announced, SIN))) == [
        "route       iad1: 192.0.2.0/24 announced",
        "route       iad1: 2001:db8::/48 drained",
    ]
    for connected, keys_why, otherwise in ((True, "", "not known"), (True, "no majority", "kept"), (False, "", "kept")):
        bus = {"connected": connected, "keys_why": keys_why}
        sharing = {"bus": bus, "sheds": {"writers": {"web-fra": "fra1", "web-iad": None}}}
        assert [steered_by(sharing, pool) for pool in ("web-fra", "web-iad", "other")] == ["fra1", otherwise, otherwise]
