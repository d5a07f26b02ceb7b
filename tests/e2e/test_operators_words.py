"""Overrides and configurations of three sites over a real bus: with it, without it, and when it comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.bus.cluster import installed
from tests.e2e.lifecycle import wait_until
from tests.e2e.sites import CONFIG, FRA, IAD, SIN, Node, Sites
from tests.namespaces import World

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(installed() is None, reason="needs nats-server"),
]


@pytest.fixture
def sites(netns: World, tmp_path: Path) -> Sites:
    return Sites(netns, tmp_path)


@pytest.fixture
def nodes(sites: Sites) -> Iterator[tuple[Node, Node, Node]]:
    with sites.running() as running:
        yield running


def waiting(node: Node) -> bool:
    """Whether the node knows of no bus."""
    return "bus" in node.problems()


def others(node: Node) -> set[str]:
    """The nodes that run another configuration, as a node knows."""
    told = json.loads(node.command("status", "--json").stdout)["sharing"] or {"nodes": []}
    return {one["node"] for one in told["nodes"] if one.get("other_config")}


def on_each(nodes: Iterable[Node], condition: Callable[[Node], bool], what: str, within_s: float = 30) -> None:
    """Until `condition` holds on each node."""
    for node in nodes:
        wait_until(partial(condition, node), f"{node.site}: {what}; it said: {node.said()}", within_s)


def test_a_drain_goes_everywhere_and_what_was_said_without_the_bus_is_merged(
    sites: Sites, nodes: tuple[Node, Node, Node]
) -> None:
    fra, iad, sin = nodes
    assert fra.command("drain", "pool/web-fra", "--why", "CHG-1").returncode == 0
    on_each(nodes, lambda node: node.addresses() == [IAD], "goes by it")
    assert all(node.overrides() == {"pool/web-fra": ("drain", "fra")} for node in nodes)
    assert "drain by" in iad.command("status").stdout
    assert " on fra, until ended: CHG-1" in iad.command("status").stdout

    bus = sites.cluster.servers[0]
    bus.kill()
    on_each(nodes, waiting, "knows that the bus is gone")
    began = time.monotonic()
    assert fra.command("drain", "pool/web-iad", "--why", "CHG-2").returncode == 0
    wait_until(lambda: fra.addresses() == [SIN], "it acts without the bus")
    assert time.monotonic() - began < 5
    assert sin.command("up", "pool/web-iad", "--why", "CHG-3").returncode == 0
    assert iad.command("auto", "pool/web-fra").returncode == 0
    wait_until(lambda: iad.addresses() == [FRA], "an end acts without the bus")

    bus.wipe()  # the bucket is lost as well
    bus.start()
    sites.cluster.ready()
    on_each(nodes, lambda node: node.overrides() == {"pool/web-iad": ("up", "sin")}, "the last word counts", 40)
    on_each(nodes, lambda node: node.addresses() == [FRA], "goes by what all know")
    (lost,) = fra.audited("conflict")
    assert (lost["subject"], lost["before"]["node"], lost["after"]["node"]) == ("pool/web-iad", "fra", "sin")
    ended = [one for one in sin.audited("override") if one["after"] is None]
    assert [(one["subject"], one["before"]["state"]) for one in ended] == [("pool/web-fra", "drain")]


def test_a_configuration_is_applied_to_all_and_back_and_a_node_may_go_its_own_way(
    sites: Sites, nodes: tuple[Node, Node, Node], tmp_path: Path
) -> None:
    fra, iad, sin = nodes
    written = fra.config.read_text()
    new = tmp_path / "new" / "new.yaml"
    (new.parent / "zones").mkdir(parents=True)
    (new.parent / "zones" / "example.com.yaml").write_text((fra.folder / "zones" / "example.com.yaml").read_text())
    new.write_text(written.replace("max: 60", "max: 40"))

    asked = fra.command("apply", str(new))
    assert asked.returncode == 1
    assert asked.stdout.endswith("nothing was published\n"), asked.stderr
    done = fra.command("apply", str(new), "--why", "shorter", "--yes")
    assert done.returncode == 0, done.stderr
    assert "version 1 is published" in done.stdout
    assert "node fra goes by it now" in done.stdout
    on_each(nodes, lambda node: node.ttl() == 40, "runs it")
    assert iad.stop() == 0
    iad.start()
    assert iad.ttl() == 40

    sin.config.write_text(written.replace("max: 60", "max: 50"))
    wait_until(lambda: sin.ttl() == 50, "a file that was edited last counts")
    wait_until(lambda: others(fra) == {"sin"}, "that is known everywhere")

    back = iad.command("apply", "--back", "--yes")
    assert back.returncode == 0, back.stderr
    on_each(nodes, lambda node: node.ttl() == 60, "went back")

    new.write_text(
        written.replace("web-sin: {datacenter: sin, ", "web-sin: {datacenter: ams, ").replace("sin: {at", "ams: {at")
    )
    refused = fra.command("apply", str(new), "--yes")
    assert refused.returncode == 0, refused.stderr
    wait_until(lambda: "version of the configuration" in sin.problems(), "sin refuses it")
    wait_until(lambda: "sin" in (fra.fact("rollout") or {})["refused"], "all know that")
    assert sin.ttl() == 60
    assert sin.addresses() == [FRA]

    bad = tmp_path / "bad.yaml"
    bad.write_text(CONFIG.replace("max: 60", "max: sixty"))
    assert "sixty" in fra.command("apply", str(bad), "--yes").stderr
    sites.cluster.servers[0].kill()
    wait_until(lambda: waiting(fra), "the bus is gone")
    without = fra.command("apply", str(new), "--yes")
    assert without.returncode == 1
    assert "the bus cannot be reached" in without.stderr
