"""The servers of the tests themselves: they start, end, lose their disks, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bus.cluster import Cluster, Place
from tests.namespaces import World


def test_one_server_starts_again_after_it_was_killed_and_wiped(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("nats-server")
    with Cluster(tmp_path) as cluster:
        (server,) = cluster.servers
        assert server.is_well()
        server.pause()
        server.kill()
        assert not server.runs
        server.wipe()
        server.start()
        cluster.ready()
        process = server.process
    assert process is not None
    assert process.poll() is not None


@pytest.mark.slow
@pytest.mark.root
def test_three_servers_in_namespaces_find_a_leader(tmp_path: Path, netns: World, tool: Callable[[str], str]) -> None:
    tool("nats-server")
    middle = netns.namespace("bus")
    places = []
    for number in (1, 2, 3):
        host = netns.namespace(f"s{number}")
        netns.join(middle, host, f"10.9.{number}.1/24", f"10.9.{number}.2/24")
        host.add_route("0.0.0.0/0", f"10.9.{number}.1")
        places.append(Place(f"10.9.{number}.2", host))
    middle.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    with Cluster(tmp_path, places=places) as cluster:
        leaders = {server.ask("/jsz")[1]["meta_cluster"]["leader"] for server in cluster.servers}
        assert len(leaders) == 1
