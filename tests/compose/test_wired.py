"""The lab in network namespaces: users of each region are served by their nearest site.  What happens to them on bad days: test_drills."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compose.topology import ANYCAST, DNS, lab
from compose.wired import Wired, unavailable

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wired]:
    if why := unavailable():
        pytest.skip(why)
    with Wired(lab(), tmp_path_factory.mktemp("wired")) as made:
        made.well()
        yield made


def test_users_of_each_region_are_served_by_the_nearest_site(wired: Wired) -> None:
    for region in wired.topology.regions:
        outcome = wired.request(region.name)
        site = wired.topology.site(region.nearest)
        assert (outcome.failed, outcome.site, outcome.address) == ("", site.name, site.vip)


def test_the_service_by_anycast_answers_every_region(wired: Wired) -> None:
    for region in wired.topology.regions:
        outcome = wired.request(region.name, "any.example.com")
        assert (outcome.failed, outcome.address) == ("", ANYCAST)
        assert outcome.site in {"fra", "iad", "sin"}


def test_every_node_announces_to_its_router(wired: Wired) -> None:
    assert wired.routes("router-fra")[DNS] == 2  # of both nodes
    assert wired.routes("transit-a")[DNS] == 3  # of all sites


def test_nodes_use_the_server_of_the_bus_at_their_own_site(wired: Wired) -> None:
    for node in wired.topology.running("gslb"):
        server = wired.topology.by_name[f"nats-{node.place}"]
        assert wired.status(node.name)["sharing"]["bus"]["server"] == f"nats://{server.address}:4222"


def test_nodes_have_nothing_to_complain_of(wired: Wired) -> None:
    for node in wired.topology.running("gslb"):
        told = wired.gslb(node.name, "status")
        assert "blind" not in told
        assert "does not answer" not in told, told
