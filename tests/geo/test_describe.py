"""The words for what a table says of an address."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from gslb.geo.build import build_table
from gslb.geo.describe import Ranked, condition, view
from gslb.geo.table import LocationTable
from gslb.model.deployment import TYPE_A, TYPE_AAAA, PoolId, SiteId, View
from tests.geo.places import places_of
from tests.geo.test_build import LOCATIONS
from tests.geo.worlds import V4_ONLY, deployment, policy, pool, rule

MODEL = deployment(
    [policy("web", rule("web-fra", "web-iad", nearest=True)), policy("api", rule("web-iad"))],
    [pool("web-fra"), pool("web-iad", V4_ONLY)],
)
TABLE = LocationTable.from_buffer(build_table(MODEL, places_of([(ip_network("203.0.113.0/24"), LOCATIONS[1])])))


def test_an_address_with_a_place() -> None:
    shown = view(MODEL, TABLE, ip_address("203.0.113.9"), (38.95, -77.45))
    assert (shown.location_class, shown.classes, shown.scope, shown.embedded) == (1, 2, 24, False)
    assert shown.network == ip_network("203.0.113.0/24")
    web, api = shown.policies
    iad = Ranked(PoolId("web-iad"), SiteId("iad"), 0.0)
    assert (web.policy, web.rule, web.condition) == ("web", 0, "every client: nearest")
    assert web.orders[TYPE_A][0] == iad
    assert [each.pool for each in web.orders[TYPE_AAAA]] == ["web-fra"]
    assert (api.condition, api.orders) == ("every client: as written", {TYPE_A: (iad,), TYPE_AAAA: ()})


def test_whose_sites_say_what_is_up() -> None:
    model = replace(MODEL, policies={n: replace(one, view=View.REGIONAL) for n, one in MODEL.policies.items()})
    table = LocationTable.from_buffer(build_table(model, places_of([(ip_network("203.0.113.0/24"), LOCATIONS[1])])))
    seen = [view(model, table, ip_address(client), None).policies for client in ("203.0.113.9", "192.0.2.1")]
    assert [[each.continent for each in policies] for policies in seen] == [["NA", "NA"], ["", ""]]


def test_an_address_without_a_place() -> None:
    shown = view(MODEL, TABLE, ip_address("2002:c000:201::1"), None)
    assert (shown.location_class, shown.embedded) == (0, True)
    assert [each.km for each in shown.policies[0].orders[TYPE_A]] == [None, None]


def test_conditions() -> None:
    asked = rule("web-fra", subnets=(ip_network("10.0.0.0/8"),), asns=(64500,), geos=("EU", "NA-US"))
    assert condition(asked) == "10.0.0.0/8, AS64500, EU, NA-US: as written"
