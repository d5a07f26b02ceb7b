"""One address, up from Asia and down from Europe: places, table, decision and answers together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

import dns.edns

from gslb.decide.decide import decide
from gslb.geo.build import build_table
from gslb.geo.table import LocationTable
from gslb.model.deployment import Answer, Deployment, PoolId, View
from gslb.model.world import Health, Verdict, Verdicts, World
from gslb.nameserver.answer import Responder
from tests.geo.places import places_of
from tests.geo.test_build import LOCATIONS
from tests.geo.worlds import deployment, policy, pool, rule, site
from tests.nameserver.make import ask, bound, ecs, opt, query, tables, zone

ZONE = zone(
    "example.com", "@ 3600 SOA ns1 h 1 2 3 4 60\n@ 300 NS ns1\nns1 300 A 198.18.0.53\n", bound("www.example.com")
)
FRA, SIN = PoolId("web-fra"), PoolId("web-sin")
EUROPE, ASIA = "203.0.113.0/24", "198.51.100.0/24"
PLACES = places_of([(ip_network(EUROPE), LOCATIONS[0]), (ip_network(ASIA), LOCATIONS[2])])
DOWN: Verdicts = {FRA: {"192.0.2.10": Verdict(Health.DOWN, why="refused")}}
UP: Verdicts = {FRA: {"192.0.2.10": Verdict(Health.UP)}}


def service(view: View) -> Deployment:
    """Everybody is sent to Frankfurt first."""
    pools = [
        replace(pool(name), answers=(Answer(ip_address(address)),))
        for name, address in ((FRA, "192.0.2.10"), (SIN, "192.0.2.20"))
    ]
    web = replace(policy("web", rule(FRA, SIN)), view=view)
    return deployment([web], pools, [site("fra"), site("sin")])


def answers(view: View, verdicts: Verdicts, regional: Mapping[str, Verdicts]) -> list[tuple[str, int]]:
    """What a European, an Asian and an American network are answered, and for which scope."""
    model = service(view)
    table = LocationTable.from_buffer(build_table(model, PLACES))
    made = decide(model, table.geography(), World(1000.0, verdicts=verdicts, regional=regional), None)
    responder = Responder(tables([ZONE], made, table))
    found = []
    for client in (EUROPE, ASIA, "192.0.2.0/24"):
        reply = ask(responder, query("www.example.com", "A", opt(ecs(client))))
        (option,) = (one for one in reply.options if isinstance(one, dns.edns.ECSOption))
        found.append((str(reply.answer[0][0]), option.scopelen))
    return found


def test_each_continent_is_answered_what_its_sites_can_reach() -> None:
    (europe, in_europe), (asia, in_asia), (america, _) = answers(View.REGIONAL, DOWN, {"AS": UP})
    assert (europe, asia, america) == ("192.0.2.20", "192.0.2.10", "192.0.2.20")
    assert (in_europe, in_asia) == (24, 24)
    assert [one for one, _ in answers(View.REGIONAL, {}, {"EU": DOWN})] == ["192.0.2.20", "192.0.2.10", "192.0.2.10"]


def test_all_are_answered_alike_where_nothing_differs_or_nobody_asks_for_it() -> None:
    assert {one for one, _ in answers(View.REGIONAL, DOWN, {})} == {"192.0.2.20"}
    assert answers(View.GLOBAL, DOWN, {"AS": UP}) == [("192.0.2.20", 0)] * 3
