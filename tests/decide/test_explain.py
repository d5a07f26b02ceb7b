"""`explain` says what `decide` did, for every client of random worlds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gslb.decide.decide import decide
from gslb.decide.explain import Place, explain
from gslb.decide.order import fits
from gslb.model.deployment import DYNAMIC_TYPES, TYPE_A, TYPE_AAAA, Deployment, PolicyId, PoolId
from gslb.model.location import Geography, Ranking
from gslb.model.plan import Mode
from gslb.model.world import Forced, World
from tests.decide.worlds import (
    CLOUD,
    FRA,
    IAD,
    NEAREST,
    NOW,
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
    for name, policy in plan.policies.items():
        for rtype in DYNAMIC_TYPES:
            for index, choice_index in enumerate(policy.choices[rtype]):
                choice = plan.choices[choice_index]
                told = explain(model, places, world, previous, (name, index, rtype))
                assert (told.mode, told.members, told.count, told.ttl) == (
                    choice.mode,
                    choice.members,
                    choice.count,
                    policy.ttl,
                )
                chosen = [tried for tried in told.tried if tried.chosen]
                assert [tried.left for tried in chosen] == ([choice.members] if told.mode in SERVED else [])


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
