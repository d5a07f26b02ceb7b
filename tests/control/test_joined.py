"""Loads, demand and round trips of several nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gslb.bus.messages import SharedLoad
from gslb.bus.peers import Asked, Carried
from gslb.control.joined import Home, JoinedLoads, joined_demand, joined_heavy, joined_rtts, told_loads
from gslb.model.deployment import LoadSource, NodeId, PolicyId, PoolId, SiteId
from gslb.model.world import Load, Rtt
from tests.control.make import DEPLOYMENT, FRA, IAD, POOLS

POOL = PoolId("web-fra")
NOW = 1000.0


def home(kind: str, *living: str, site: SiteId = FRA) -> Home:
    pool = replace(POOLS[POOL], load=LoadSource(kind))
    return Home(replace(DEPLOYMENT, pools={**POOLS, POOL: pool}), site, {NodeId(one) for one in living})


def told(share: float, node: str = "fra2", *, age_s: float = 0.0, part: bool = True, site: str = "fra") -> Carried:
    return Carried(SiteId(site), NodeId(node), SharedLoad(share, age_s, part))


def join(
    at: Home, own: Load | None, others: Sequence[Carried], loads: JoinedLoads | None = None, now: float = NOW
) -> Load | None:
    mine: Mapping[PoolId, Load] = {} if own is None else {POOL: own}
    found = (loads or JoinedLoads()).join(at, mine, {POOL: others}, now).get(POOL)
    return None if found is None else replace(found, share=round(found.share, 6))


def test_what_balancers_count_is_summed_over_the_nodes_of_the_site() -> None:
    at = home("balancer", "fra2", "iad1")
    found = join(at, Load(0.3, 1.0), [told(0.4, age_s=2.0), told(0.9, "iad1", site="iad"), told(0.5, "fra3")])
    assert found == Load(0.7, 2.0)


def test_a_site_afar_sums_what_it_is_told() -> None:
    at = home("balancer", "fra1", "fra2", site=IAD)
    assert join(at, None, [told(0.3, "fra1"), told(0.4)]) == Load(0.7)


def test_when_nobody_tells_it_any_more_the_last_stays_and_becomes_stale() -> None:
    loads, at = JoinedLoads(), home("balancer", "fra2")
    assert join(at, Load(0.3), [told(0.4)], loads) == Load(0.7)
    found = join(at, Load(0.3), [told(0.4, age_s=20.0)], loads, NOW + 20)
    assert found == Load(0.7, 20.0, stale=True)
    assert join(home("balancer"), Load(0.35), [told(0.4, age_s=30.0)], loads, NOW + 30) == Load(0.35)


def test_another_load_is_the_freshest() -> None:
    at = home("push")
    others = [told(0.5, "iad1", age_s=3.0, part=False), told(0.6, "sin1", age_s=1.0, part=False)]
    loads = JoinedLoads()
    assert join(at, Load(0.4, 2.0), others, loads) == Load(0.6, 1.0)
    assert join(at, Load(0.4, 7.0), [], loads, NOW + 5) == Load(0.6, 6.0)


def test_what_is_told_of_loads() -> None:
    at = home("balancer")
    own = {POOL: Load(0.3, 1.0), PoolId("web-iad"): Load(0.4), PoolId("gone"): Load(0.1)}
    assert told_loads(at.deployment, own) == {POOL: SharedLoad(0.3, 1.0, part=True)}
    assert told_loads(at.deployment, {POOL: Load(0.3, 60.0, stale=True)}) == {}


def test_demand_is_summed() -> None:
    policy = PolicyId("web")
    others = [
        Asked(IAD, NodeId("iad1"), {policy: {1: (2.0, 3.0), 28: (1.0, 0.0)}}, ("192.0.2.1",), 1.0),
        Asked(IAD, NodeId("iad2"), {policy: {1: (5.0,)}}, ("192.0.2.2", "192.0.2.1"), 1.0),
    ]
    assert joined_demand({policy: {1: (1.0, 1.0)}}, others) == {policy: {1: (3.0, 4.0), 28: (1.0, 0.0)}}
    assert joined_demand({}, others[:1]) == others[0].demand
    assert joined_heavy(("198.51.100.1",), others) == ("192.0.2.1", "192.0.2.2", "198.51.100.1")


def test_round_trips_are_those_of_the_own_site() -> None:
    where, iad = (4, 7), PoolId("web-iad")
    own = {POOL: {where: Rtt(0.010, 0.020, 100)}, iad: {where: Rtt(9.0, 9.0, 1)}}
    others = {
        FRA: {POOL: {where: Rtt(0.030, 0.040, 300), (6, 1): Rtt(0.5, 0.6, 2)}},
        IAD: {iad: {where: Rtt(0.1, 0.2, 5)}, POOL: {where: Rtt(9.0, 9.0, 9)}},
    }
    found = joined_rtts(home("push").deployment, FRA, own, others)
    joined = found[POOL][where]
    assert (round(joined.p50_s, 6), round(joined.p90_s, 6), joined.count) == (0.025, 0.035, 400)
    assert found[POOL][6, 1] == Rtt(0.5, 0.6, 2)
    assert found[iad] == {where: Rtt(0.1, 0.2, 5)}
