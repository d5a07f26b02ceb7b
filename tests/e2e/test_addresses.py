"""`0.0.0.0` and `[::]` stand for every address of the node: replies leave from the address asked (RFC 2181 section 4.1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.lifecycle import wait_until
from tests.e2e.probes.wire import Target, query
from tests.e2e.program import acceptance
from tests.namespaces import Namespace, World

pytestmark = pytest.mark.root

FIRST, SECOND, LATER = "198.18.7.1", "198.18.7.53", "198.18.7.99"
LINK6, SIX = "2001:db8:7::1", "2001:db8:8::53"
NOTICED_S = 20.0  # the node looks at its addresses every few seconds


def answers(client: Namespace, address: str) -> bool:
    """Both transports answer at `address`; a connected socket takes replies from the address asked only."""
    target = Target(address, 53)

    def ask() -> bool:
        try:
            return bool(target.ask("host", "A").section("answer") and target.tcp(query("host", "A")).section("answer"))
        except OSError:
            return False

    return client.call(ask)


@pytest.fixture
def node(netns: World) -> tuple[Namespace, Namespace]:
    """A host with addresses on its link and on its loopback, and a client beside it."""
    host, client = netns.namespace("node"), netns.namespace("client")
    here, there = netns.join(host, client, f"{FIRST}/24", "198.18.7.2/24")
    host.add_address("lo", f"{SECOND}/32")
    host.add_address("lo", f"{SIX}/128")
    host.add_address(here, f"{LINK6}/64")
    client.add_address(there, "2001:db8:7::2/64")
    client.add_route(f"{SIX}/128", LINK6)
    return host, client


def test_every_address_of_the_node(node: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """Those of the start at once, one that comes later soon, one that comes back again."""
    host, client = node
    with acceptance(tmp_path, Target(FIRST, 53), host, workers=1, listen='["0.0.0.0:53", "[::]:53"]'):
        for address in (FIRST, SECOND, LINK6, SIX):
            assert answers(client, address), address
        assert answers(host, "127.0.0.1")
        assert not answers(client, LATER)
        host.add_address("lo", f"{LATER}/32")
        wait_until(lambda: answers(client, LATER), "an answer at the new address", NOTICED_S)
        host.run("ip", "addr", "del", f"{SECOND}/32", "dev", "lo")
        host.add_address("lo", f"{SECOND}/32")
        wait_until(lambda: answers(client, SECOND), "an answer at the address that came back", NOTICED_S)
        assert answers(client, FIRST)
