"""The bus by a cluster of three NATS servers, some of which die, lose their disks, or come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import nats
import pytest

from gslb.bus import watch
from gslb.bus.bus import Away
from gslb.bus.nats import Nats
from tests.bus.cluster import Cluster, Server
from tests.bus.hearing import bus_at, running, until

pytestmark = pytest.mark.slow
T = TypeVar("T")


@pytest.fixture
def cluster(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Cluster]:
    tool("nats-server")
    with Cluster(tmp_path, 3) as cluster:
        yield cluster


def _server_of(cluster: Cluster, bus: Nats) -> Server:
    return next(server for server in cluster.servers if server.url == bus.standing.server)


async def _replicas(server: Server) -> int:
    async with await nats.connect(server.url) as client:
        try:
            info = await client.jetstream().stream_info("KV_gslb-example")
        except nats.errors.Error:
            return 0  # no leader now
        return info.config.num_replicas or 0


async def _soon(call: Callable[[], Awaitable[T]]) -> T:
    """Call until there is a leader again."""
    deadline = asyncio.get_running_loop().time() + 40
    while True:
        try:
            return await call()
        except Away:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.1)


def test_the_server_of_a_node_dies_and_it_goes_on_with_another(cluster: Cluster) -> None:
    async def main() -> None:
        left, right = bus_at(*cluster.urls), bus_at(*cluster.urls, node="iad1")
        async with running(left), running(right) as heard:
            await left.put("override.a", b"1")
            assert await _replicas(cluster.servers[0]) == 3
            dead = _server_of(cluster, left)
            dead.kill()
            await until(lambda: left.standing.connected and left.standing.server != dead.url)
            await _soon(lambda: left.put("override.a", b"2"))
            await until(lambda: heard.keys.get("override.a") == b"2")
            await until(lambda: left.publish("life", b"again") and b"again" in heard.bodies)
            dead.wipe()
            await asyncio.to_thread(dead.start)
            await asyncio.to_thread(cluster.ready)
            assert (await _soon(lambda: right.get("override.a"))).value == b"2"

    asyncio.run(main())


def test_without_a_majority_nodes_hear_one_another_and_keys_are_away(cluster: Cluster) -> None:
    async def main() -> None:
        left, right = bus_at(cluster.urls[0]), bus_at(cluster.urls[0], node="iad1")
        async with running(left) as ear, running(right) as heard:
            await left.put("override.a", b"1", 0)
            for server in cluster.servers[1:]:
                server.kill()
            with pytest.raises(Away):
                await left.put("override.a", b"2")
            assert left.publish("life", b"alive")
            await until(lambda: b"alive" in heard.bodies)
            await until(lambda: left.standing.keys_why)
            assert left.standing.connected
            assert ear.standings[-1].keys_why
            for server in cluster.servers[1:]:
                await asyncio.to_thread(server.start)
            await _soon(lambda: left.put("override.b", b"3"))
            await until(lambda: heard.keys.get("override.b") == b"3")
            await until(lambda: not left.standing.keys_why)

    asyncio.run(main())


def test_all_servers_die_and_come_back_with_what_they_had(cluster: Cluster) -> None:
    async def main() -> None:
        bus = bus_at(*cluster.urls)
        async with running(bus) as ear:
            await bus.put("override.a", b"1")
            await bus.store("bundle", bytes(1_000_000))
            for server in cluster.servers:
                server.kill()
            await until(lambda: not bus.standing.connected)
            assert bus.standing.why
            for server in cluster.servers:
                await asyncio.to_thread(server.start)
            lists = len(ear.lists)
            await until(lambda: len(ear.lists) > lists)
            assert ear.lists[-1] == {"override.a"}
            assert await _soon(lambda: bus.fetch("bundle")) == bytes(1_000_000)

    asyncio.run(main())


def test_a_bucket_made_while_a_server_is_dead_has_its_replicas_later(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LIST_S", 1.0)
    monkeypatch.setattr(watch, "CHECK_S", 0.5)

    async def main() -> None:
        cluster.servers[2].kill()
        bus = bus_at(*cluster.urls[:2])
        async with running(bus):
            await _soon(lambda: bus.put("override.a", b"1"))
            await asyncio.to_thread(cluster.servers[2].start)
            deadline = asyncio.get_running_loop().time() + 40
            while await _replicas(cluster.servers[0]) != 3:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.2)
            assert (await _soon(lambda: bus.get("override.a"))).value == b"1"

    asyncio.run(main())


def test_a_bucket_with_too_few_replicas_is_given_more(cluster: Cluster) -> None:
    async def main() -> None:
        async with await nats.connect(cluster.urls[0]) as client:
            await client.jetstream().create_key_value(bucket="gslb-example", replicas=1)
        assert await _replicas(cluster.servers[0]) == 1
        bus = bus_at(*cluster.urls)
        async with running(bus):
            deadline = asyncio.get_running_loop().time() + 40
            while await _replicas(cluster.servers[0]) != 3:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.1)
            await _soon(lambda: bus.put("override.a", b"1"))

    asyncio.run(main())


def test_a_cluster_of_two_has_keys_though_no_third_replica_can_be_had(
    tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool("nats-server")

    async def main(cluster: Cluster) -> None:
        left, right = bus_at(*cluster.urls), bus_at(*cluster.urls, node="iad1")
        async with running(left), running(right) as heard:
            await _soon(lambda: left.put("override.a", b"1", 0))
            await until(lambda: heard.keys.get("override.a") == b"1")
            assert not right.standing.keys_why

    with Cluster(tmp_path, 2) as cluster:
        asyncio.run(main(cluster))
