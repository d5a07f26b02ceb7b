"""The bus and all nodes as JSON values, and what went over it."""

from __future__ import annotations

import json
from dataclasses import replace

from gslb.bus.bus import Standing
from gslb.bus.messages import Kind, Life
from gslb.bus.peer import Heap
from gslb.bus.peers import Living
from gslb.control.sharing import aged, sharing
from gslb.control.traffic import Direction, Traffic
from gslb.model.deployment import Node, NodeId
from tests.control.make import DEPLOYMENT, FRA, IAD, NODE

OTHER, STRANGER, SILENT = NodeId("iad1"), NodeId("lab"), NodeId("iad2")
LIFE = Life("c1", 0, 1, "p", "g", "", None, {}, "0.1", 10.0)
MODEL = replace(DEPLOYMENT, nodes={NODE.name: NODE, OTHER: Node(OTHER, IAD), SILENT: Node(SILENT, IAD)})
BUS = Standing(connected=True, since=1.0, server="nats://192.0.2.1:4222", refused={})


def found() -> dict[str, object]:
    """One other node lives, one was never heard, one is a stranger."""
    life = replace(LIFE, config="c2", blind_s=3.0)
    living = Living(IAD, OTHER, 1, life, 1.26, alive=True, delay_s=0.01, skew_s=-0.01, refused={})
    lives = {OTHER: living, STRANGER: replace(living, node=STRANGER)}
    this = NODE.name, FRA, LIFE
    return {"at": 100.0, **sharing(MODEL, BUS, lives, this, {OTHER: {Kind.OPINIONS: Heap(12, 2.04)}})}


def test_all_nodes_and_how_old_it_is_what_is_known() -> None:
    nodes = {one["node"]: one for one in json.loads(json.dumps(found()))["nodes"]}
    assert list(nodes) == [NODE.name, OTHER, SILENT, STRANGER]
    assert (nodes[OTHER]["heard_s"], str(nodes[OTHER]["skew_s"]), nodes[OTHER]["other_config"]) == (1.3, "0.0", True)
    assert nodes[OTHER]["known"] == {"opinions": {"count": 12, "age_s": 2.0}}
    assert (nodes[SILENT]["heard_s"], nodes[SILENT]["known"]) == (None, {})
    assert [one.get("stranger", False) for one in nodes.values()] == [False, False, False, True]


def test_what_was_written_is_older_when_it_is_read() -> None:
    nodes = {one["node"]: one for one in aged(found(), 160.0)["nodes"]}
    assert (nodes[OTHER]["heard_s"], nodes[OTHER]["blind_s"], nodes[OTHER]["up_s"]) == (61.3, 63.0, 70.0)
    assert nodes[OTHER]["known"]["opinions"] == {"count": 12, "age_s": 62.0}
    assert nodes[SILENT]["heard_s"] is None
    assert nodes[NODE.name]["heard_s"] == 0.0
    assert aged(found(), 40.0) == aged(found(), 100.0)  # a clock that was set back makes nothing younger


def test_kinds_that_there_are_not_have_no_count_of_their_own() -> None:
    traffic = Traffic()
    for kind in ("life", "life", "gossip", "x" * 1000):
        traffic.count(Direction.HEARD, kind, 10)
    traffic.count(Direction.TOLD, "loads", 7)
    assert traffic.state() == {
        "heard": {"life": {"messages": 2, "octets": 20}, "other": {"messages": 2, "octets": 20}},
        "told": {"loads": {"messages": 1, "octets": 7}},
    }
