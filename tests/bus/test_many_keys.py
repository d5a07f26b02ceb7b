"""Buckets with more keys than a listing takes at once, by a real NATS server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
import pytest

from gslb.bus import watch
from tests.bus.cluster import Cluster, Server
from tests.bus.hearing import bus_at, running, until


@pytest.fixture
def server(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Server]:
    tool("nats-server")
    with Cluster(tmp_path) as cluster:
        yield cluster.servers[0]


async def _fill(url: str, keys: int) -> None:
    """Have so many keys in the bucket that are none of ours."""
    async with running(bus_at(url)):
        pass
    async with await nats.connect(url) as client:
        for number in range(1, keys):
            await client.publish(f"$KV.gslb-example.junk.{number}", b"x" * 100)
        await client.jetstream().publish("$KV.gslb-example.junk.0", b"x")  # its answer says that all before are kept


def test_more_keys_than_a_listing_takes_at_once_are_all_told(server: Server) -> None:
    async def main() -> None:
        await _fill(server.url, 9_000)
        bus = bus_at(server.url, node="iad1")
        async with running(bus) as heard:
            assert len(heard.lists[0]) == len(heard.keys) == 9_000
        assert not bus.standing.refused

    asyncio.run(main())


def test_a_listing_with_more_than_can_be_heard_is_not_tried_without_a_pause(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_MESSAGES", 50)

    async def main() -> None:
        await _fill(server.url, 2_000)
        bus = bus_at(server.url, node="iad1")
        async with running(bus, connected=False) as heard:
            await until(lambda: bus.standing.keys_why)
            await asyncio.sleep(1.5)
            assert "too many" in bus.standing.keys_why
            assert heard.standings[-1].keys_why
            assert not heard.lists
        assert (bus.standing.refused or {})["dropped"] < 3 * 2_000

    asyncio.run(main())
