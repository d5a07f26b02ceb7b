"""What docs/bus.md says of servers: permissions are enough and not too many, and a leaf node serves a site."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gslb.bus.bus import Away
from gslb.bus.nats import Nats
from tests.bus.cluster import Cluster
from tests.bus.hearing import bus_at, running, until
from tests.ports import free_port

PAGE = (Path(__file__).parents[2] / "docs/bus.md").read_text()


def test_the_permissions_of_the_page_are_enough_for_a_node_and_for_no_other_name(
    tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool("nats-server")
    (block,) = re.findall(r"^```\n(accounts .*?)^```", PAGE, re.S | re.M)
    extra = re.sub(r'password: "[^"]*"', "password: secret", block)

    async def main() -> None:
        with Cluster(tmp_path, extra=extra) as cluster:
            url = cluster.urls[0]
            bus = bus_at(url, user="fra1", password="secret")
            async with running(bus) as ear:
                await bus.put("override.a", b"1", 0)
                await until(lambda: ear.keys.get("override.a") == b"1")
                await bus.store("bundle", bytes(1_000_000))
                assert await bus.fetch("bundle") == bytes(1_000_000)
                assert bus.publish("life", b"")
                feigned = bus_at(url, node="fra2", user="fra1", password="secret")
                async with running(feigned):
                    assert feigned.publish("life", b"")
                    await until(lambda: (feigned.standing.refused or {}).get("permission"))
                assert not ear.messages
                assert bus.standing.refused == {}

    asyncio.run(main())


def test_nodes_at_a_leaf_share_keys_and_hear_one_another_when_it_is_cut_off(
    tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool("nats-server")
    port = free_port()
    accounts = "accounts { gslb-example { jetstream: enabled, users: [ {user: a, password: b} ] } }\n"
    hub = Cluster(tmp_path / "hub", extra=f'{accounts}leafnodes {{ listen: "127.0.0.1:{port}" }}\n')
    config = hub.servers[0].folder / "nats.conf"
    config.write_text(config.read_text().replace("jetstream {", "jetstream { domain: hub,"))
    remote = f'{{ urls: ["nats://a:b@127.0.0.1:{port}"], account: gslb-example }}'
    domain = "default_js_domain: { gslb-example: hub }\n"
    leaf = Cluster(
        tmp_path / "leaf",
        extra=f"{accounts.replace('jetstream: enabled, ', '')}{domain}leafnodes {{ remotes: [ {remote} ] }}\n",
    )
    config = leaf.servers[0].folder / "nats.conf"
    text = config.read_text().replace("server_name: n0", "server_name: leaf")
    config.write_text(re.sub(r"^jetstream .*\n", "", text, flags=re.M))

    def bus(cluster: Cluster, node: str) -> Nats:
        return bus_at(*cluster.urls, node=node, user="a", password="b")

    async def main() -> None:
        with hub, leaf:
            far, one, two = bus(hub, "fra1"), bus(leaf, "sin1"), bus(leaf, "sin2")
            async with running(far) as away, running(one) as near, running(two) as beside:
                await until(lambda: one.publish("life", b"1") and away.messages)
                await one.put("override.a", b"1", 0)
                await until(lambda: away.keys.get("override.a") == b"1" == beside.keys.get("override.a"))
                await far.put("override.a", b"2")
                await until(lambda: near.keys.get("override.a") == b"2")
                await one.store("bundle", bytes(300_000))
                assert await far.fetch("bundle") == bytes(300_000)
                hub.servers[0].kill()
                one.publish("life", b"cut off")
                await until(lambda: b"cut off" in beside.bodies)
                with pytest.raises(Away):
                    await one.put("override.a", b"3")
                assert one.standing.connected

    asyncio.run(main())


def test_a_node_that_may_not_read_keys_says_so(tmp_path: Path, tool: Callable[[str], str]) -> None:
    """It is connected, and its standing tells why it has no keys."""
    tool("nats-server")
    may = '{publish: "gslb.>", subscribe: ["gslb.>", "_INBOX.>"]}'
    extra = f"authorization {{ users: [ {{user: a, password: b, permissions: {may}}} ] }}\n"

    async def main() -> None:
        with Cluster(tmp_path, extra=extra) as cluster:
            bus = bus_at(cluster.urls[0], user="a", password="b")
            async with running(bus, connected=False):
                await until(lambda: bus.standing.keys_why)
                assert bus.standing.connected
                assert (bus.standing.refused or {}).get("permission")

    asyncio.run(main())
