"""`explain` says what `decide` did, for every client of random worlds."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gslb.decide.decide import decide
from gslb.decide.explain import Place, explain
from gslb.decide.order import fits
from gslb.model.deployment import DYNAMIC_TYPES, TYPE_A, TYPE_AAAA, Deployment, PolicyId, PoolId, Return
from gslb.model.history import Out
from gslb.model.location import Geography, Ranking
from gslb.model.plan import Mode
from gslb.model.world import Forced, Health, Verdict, World
from tests.decide.worlds import (
    CLOUD,
    FRA,
    IAD,
    NEAREST,
    NOW,
    POOLS,
    SIN,
    WEB,
    deployment,
    down,
    geographies,
    geography,
    models,
    override,
    worlds,
)

MODEL = deployment(NEAREST)
PLACES = geography(MODEL, web=[[FRA, IAD], [SIN, IAD]])


@given(models(), st.data())
def test_agrees_with_decide(model: Deployment, data: st.DataObject) -> None:
    places, world = data.draw(geographies(model)), data.draw(worlds(model))
    previous = decide(model, places, data.draw(worlds(model)), None)
    plan = decide(model, places, world, previous)
    shed = {(one.policy, one.rtype, one.ranking) for shed in plan.history.sheds.values() for one in shed.moved}
    for name, policy in plan.policies.items():
        for rtype in DYNAMIC_TYPES:
            for index, choice_index in enumerate(policy.choices[rtype]):
                choice = plan.choices[choice_index]
                told = explain(model, places, world, previous, (name, index, rtype))
                assert (told.mode, told.count, told.ttl) == (choice.mode, choice.count, policy.ttl)
                if (name, rtype, index) not in shed:
                    assert told.members == choice.members
                chosen = [tried for tried in told.tried if tried.chosen]
                assert [tried.left for tried in chosen] == ([told.members] if told.mode in SERVED else [])
                for tried in told.tried:
                    assert tried.out == plan.history.out.get(name, {}).get(tried.pool)
                    assert tried.kept == plan.history.kept.get(name, {}).get(tried.pool)


SERVED = (Mode.NORMAL, Mode.KEPT, Mode.SERVE_ALL, Mode.LAST_GOOD)


def test_the_way_of_one_client() -> None:
    world = World(NOW, verdicts=down(FRA), overrides=(override("pool/web-iad", Forced.DRAIN),))
    told = explain(MODEL, PLACES, world, None, (WEB, 0, TYPE_A))
    assert [(tried.pool, tried.place, bool(tried.left), tried.chosen) for tried in told.tried] == [
        (FRA, Place.RANKED, False, False),
        (IAD, Place.RANKED, False, False),
        (SIN, Place.WRITTEN, True, True),
        (CLOUD, Place.SPILL, True, False),
    ]
    assert [reason.step for tried in told.tried for reason in tried.reasons] == ["voted_down", "drained"]
    assert [member.address for member in told.members] == ["192.0.2.3"]


def test_only_pools_of_the_type_are_tried() -> None:
    told = explain(MODEL, PLACES, World(NOW), None, (WEB, 1, TYPE_AAAA))
    assert [tried.pool for tried in told.tried] == [IAD, FRA, CLOUD]


def test_a_geography_of_another_configuration_does_not_fit() -> None:
    assert fits(MODEL, PLACES)
    assert not fits(MODEL, Geography("x", 1, {}))
    assert not fits(MODEL, Geography("x", 1, {WEB: ()}))
    assert not fits(MODEL, Geography("x", 1, {WEB: (Ranking(1, (FRA,), ()),)}))
    assert not fits(MODEL, Geography("x", 1, {WEB: (Ranking(0, (PoolId("gone"),), ()),)}))
    assert not fits(MODEL, Geography("x", 1, {**PLACES.rankings, PolicyId("gone"): ()}))


def test_what_is_known_of_a_pool() -> None:
    verdict = Verdict(Health.DOWN, age_s=3.0, why="timeout", settles_s=10.0)
    world = World(NOW, verdicts={FRA: {"192.0.2.1": verdict}})
    fra, *_, cloud = explain(MODEL, PLACES, world, None, (WEB, 0, TYPE_A)).tried
    assert [(target.member.address, target.verdict) for target in fra.targets] == [
        ("192.0.2.1", verdict),
        ("2001:db8:1::1", None),
    ]
    assert (fra.share.healthy, fra.share.total) == (0, 1)
    assert fra.out == Out(NOW, types=(TYPE_A,))
    assert (cloud.out, cloud.kept) == (None, None)


def test_a_plan_of_another_deployment_says_nothing_of_this_one() -> None:
    by_hand = deployment(NEAREST, pools=[replace(one, return_=Return.MANUAL) for one in POOLS])
    own = decide(by_hand, PLACES, World(NOW, verdicts=down(FRA)), None)
    for previous, left in ((own, False), (replace(own, deployment="other"), True)):
        told = explain(by_hand, PLACES, World(NOW + 99), previous, (WEB, 0, TYPE_A))
        assert bool(told.tried[0].left) is left
