"""How long an answer may be kept: what could change it, and what could not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gslb.decide.decide import decide
from gslb.decide.ttl import answered_ttl
from gslb.model.deployment import Backend, Balance, Deployment, Forward, Policy, Pool, PoolId, Return, Rule
from gslb.model.history import Ejection, History, Out
from gslb.model.plan import Plan
from gslb.model.world import Forced, Health, Override, Verdict, World
from tests.decide.sequences import moments, services
from tests.decide.worlds import FRA, IAD, NEAREST, NOW, WEB, deployment, geographies, geography, override, pool

POOLS = (pool("web-fra", "192.0.2.1", "192.0.2.11"), pool("web-iad", "192.0.2.2"))
POLICY = Policy(WEB, rules=(Rule((FRA, IAD)),), ttl_max=60, ttl_min=5)
UP, DOWN = Health.UP, Health.DOWN


def ttl(
    verdicts: dict[str, Verdict],
    *overrides: Override,
    history: History | None = None,
    pools: tuple[Pool, ...] = POOLS,
) -> int:
    """The TTL when these are the verdicts on addresses of web-fra."""
    model = deployment(POLICY, pools=pools)
    places = geography(model, web=[[FRA, IAD]])
    before = decide(model, places, World(NOW - 100), None)
    if history is not None:
        before = replace(before, history=history)
    world = World(NOW, verdicts={FRA: verdicts}, overrides=overrides)
    return decide(model, places, world, before).policies[WEB].ttl


@pytest.mark.parametrize(
    ("settles_s", "want"),
    [(None, 60), (99.0, 60), (60.0, 60), (10.0, 10), (9.2, 10), (3.0, 5), (0.0, 5)],
)
@pytest.mark.parametrize("health", [UP, DOWN])
def test_the_time_that_the_remaining_checks_need(health: Health, settles_s: float | None, want: int) -> None:
    assert ttl({"192.0.2.1": Verdict(health, settles_s=settles_s)}) == want


def test_the_soonest_counts() -> None:
    assert ttl({"192.0.2.1": Verdict(UP, settles_s=20.0), "192.0.2.11": Verdict(DOWN, settles_s=12.0)}) == 12


SOON = {"192.0.2.1": Verdict(UP, settles_s=10.0)}


@pytest.mark.parametrize(
    "forcing",
    [
        override("pool/web-fra", Forced.UP),
        override("site/fra", Forced.DRAIN),
        override("answer/web-fra/192.0.2.1", Forced.DOWN),
    ],
    ids=["up", "drained", "down"],
)
def test_what_an_operator_rules_does_not_count(forcing: Override) -> None:
    assert ttl(SOON, forcing) == 60


def test_an_address_beside_one_that_is_forced_counts() -> None:
    assert ttl(SOON, override("answer/web-fra/192.0.2.11", Forced.DOWN)) == 10


def test_what_is_ejected_does_not_count() -> None:
    assert ttl(SOON, history=History(ejected={"web-fra/192.0.2.1": Ejection(NOW + 9, 1, "slow")})) == 60


def test_a_pool_that_comes_back_by_hand_does_not_count_while_it_is_out() -> None:
    rising = {"192.0.2.1": Verdict(DOWN, settles_s=10.0), "192.0.2.11": Verdict(DOWN)}
    out = History(out={WEB: {FRA: Out(NOW - 50)}})
    by_hand = tuple(replace(one, return_=Return.MANUAL) for one in POOLS)
    assert ttl(rising, history=out) == 10
    assert ttl(rising, history=out, pools=by_hand) == 60
    assert ttl(SOON, pools=by_hand) == 10


def test_pools_that_the_policy_does_not_use_do_not_count() -> None:
    model = deployment(POLICY, pools=(*POOLS, pool("web-sin", "192.0.2.3")))
    world = World(NOW, verdicts={PoolId("web-sin"): {"192.0.2.3": Verdict(UP, settles_s=10.0)}})
    assert decide(model, geography(model, web=[[FRA, IAD]]), world, None).policies[WEB].ttl == 60


def test_spill_targets_count() -> None:
    model = deployment(NEAREST)
    world = World(NOW, verdicts={PoolId("web-cloud"): {"192.0.2.4": Verdict(UP, settles_s=10.0)}})
    assert decide(model, geography(model, web=[[FRA, IAD]]), world, None).policies[WEB].ttl == 10


def balanced(min_healthy: int) -> tuple[Pool, ...]:
    backends = tuple(Backend(one.address) for one in pool("x", *(f"10.1.0.{n}" for n in range(1, 5))).answers)
    return replace(POOLS[0], balance=Balance((), Forward.L2, backends, min_healthy)), POOLS[1]


@pytest.mark.parametrize(
    ("verdicts", "min_healthy", "want"),
    [
        pytest.param({1: (UP, 10.0)}, 1, 60, id="one of four would change nothing"),
        pytest.param({1: (UP, 10.0)}, 4, 10, id="but all are needed"),
        pytest.param({1: (UP, 10.0), 2: (DOWN, None), 3: (DOWN, None)}, 1, 10, id="it would be panic"),
        pytest.param({1: (UP, 10.0), 2: (UP, 7.0), 3: (UP, 30.0)}, 1, 7, id="together they would"),
        pytest.param({1: (DOWN, 10.0)}, 4, 10, id="enough would be back"),
        pytest.param({1: (DOWN, 10.0), 2: (DOWN, None)}, 4, 60, id="not enough would be back"),
    ],
)
def test_backends_count_where_they_could_change_the_pool(
    verdicts: dict[int, tuple[Health, float | None]], min_healthy: int, want: int
) -> None:
    given_ = {f"10.1.0.{n}": Verdict(health, settles_s=settles_s) for n, (health, settles_s) in verdicts.items()}
    assert ttl(given_, pools=balanced(min_healthy)) == want
    assert ttl(given_, override("pool/web-fra", Forced.UP), pools=balanced(min_healthy)) == 60


def test_a_record_may_ask_for_less() -> None:
    assert (answered_ttl(30, 60), answered_ttl(60, 10)) == (30, 10)


@settings(max_examples=40)
@given(services(), st.data())
def test_always_within_its_bounds(model: Deployment, data: st.DataObject) -> None:
    places = data.draw(geographies(model))
    plan: Plan | None = None
    for world in data.draw(moments(model)):
        plan = decide(model, places, world, plan)
        unsettled = any(v.settles_s is not None for found in world.verdicts.values() for v in found.values())
        for name, policy in model.policies.items():
            assert policy.ttl_min <= plan.policies[name].ttl <= policy.ttl_max
            slowed = any(kept.by == "velocity" for kept in plan.history.kept.get(name, {}).values())
            assert unsettled or slowed or plan.policies[name].ttl == policy.ttl_max
