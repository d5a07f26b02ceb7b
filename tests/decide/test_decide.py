"""`decide` against its slow twin and its invariants over random worlds, and the cases that a reader should know."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.decide.decide import decide
from gslb.model.deployment import (
    DYNAMIC_TYPES,
    TYPE_A,
    TYPE_AAAA,
    AllDown,
    Deployment,
    Policy,
    PolicyId,
    PoolId,
    Return,
    Rule,
    Sticky,
)
from gslb.model.location import Geography
from gslb.model.plan import Choice, Mode, Plan, from_bytes
from gslb.model.world import Forced, Health, Verdict, World
from tests.decide import oracle
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
    pool,
    rank,
    shuffled,
    worlds,
)

STEADY = World(NOW)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Deployment, Geography, World, Plan | None]:
    """A deployment, its geography, a world, and perhaps the plan of an earlier world."""
    model = draw(models())
    previous = None
    if draw(st.booleans()):
        previous = decide(model, draw(geographies(model)), draw(worlds(model)), None)
    return model, draw(geographies(model)), draw(worlds(model)), previous


def choice_of(plan: Plan, policy: str = "web", ranking: int = 0, rtype: int = TYPE_A) -> Choice:
    return plan.choices[plan.policies[PolicyId(policy)].choices[rtype][ranking]]


def pools_answered(plan: Plan, ranking: int = 0, rtype: int = TYPE_A) -> list[str | None]:
    return [member.pool for member in choice_of(plan, ranking=ranking, rtype=rtype).members]


def plain(model: Deployment) -> Deployment:
    """The same where health counts by address alone: no panic, no velocity, and pools come back at once."""
    return replace(
        model,
        pools={name: replace(pool, return_=Return.AT_ONCE) for name, pool in model.pools.items()},
        policies={name: replace(policy, panic=0.0, velocity=1.0) for name, policy in model.policies.items()},
    )


@given(models().map(plain), st.data())
def test_equals_the_slow_twin(model: Deployment, data: st.DataObject) -> None:
    places, world = data.draw(geographies(model)), data.draw(worlds(model))
    earlier = data.draw(st.none() | worlds(model))
    previous = decide(model, data.draw(geographies(model)), earlier, None) if earlier is not None else None
    plan = decide(model, places, world, previous)
    for name, policy in model.policies.items():
        for rtype in DYNAMIC_TYPES:
            for index, ranking in enumerate(places.rankings[name]):
                choice = choice_of(plan, name, index, rtype)
                want = oracle.expected(model, world, previous, policy, (ranking, rtype))
                assert (choice.mode, choice.members) == want
                assert choice.count == policy.answers


@given(situations())
def test_same_inputs_same_bytes_in_any_order(situation: tuple[Deployment, Geography, World, Plan | None]) -> None:
    model, places, world, previous = situation
    plan = decide(model, places, world, previous)
    other_model, other_world = shuffled(model, world)
    assert plan.to_bytes() == decide(other_model, places, other_world, previous).to_bytes()
    assert from_bytes(plan.to_bytes()) == plan


@given(situations())
def test_never_empty_unless_the_policy_or_force_says_so(
    situation: tuple[Deployment, Geography, World, Plan | None],
) -> None:
    model, places, world, previous = situation
    unforced = replace(world, overrides=tuple(replace(o, force=False) for o in world.overrides))
    plan = decide(model, places, unforced, previous)
    for name, policy in model.policies.items():
        reachable = [model.pools[pool] for pool in (*policy.pools, *policy.spill.to)]
        for rtype in DYNAMIC_TYPES:
            if policy.on_all_down in (AllDown.NODATA, AllDown.SERVFAIL):
                continue
            has_type = any(oracle.live(pool, rtype) for pool in reachable)
            for index in plan.policies[name].choices[rtype]:
                assert bool(plan.choices[index].members) == has_type


@given(situations())
def test_an_empty_answer_is_empty_for_every_client(situation: tuple[Deployment, Geography, World, Plan | None]) -> None:
    """Negative answers carry scope 0, so they must hold for all (RFC 7871 section 7.2.1)."""
    plan = decide(*situation)
    for policy in plan.policies.values():
        for indexes in policy.choices.values():
            assert len({bool(plan.choices[index].members) for index in indexes}) == 1


@given(situations())
def test_what_operators_took_out_is_in_no_normal_answer(
    situation: tuple[Deployment, Geography, World, Plan | None],
) -> None:
    model, places, world, previous = situation
    plan = decide(model, places, world, previous)
    for choice in plan.choices:
        for member in choice.members if choice.mode is Mode.NORMAL else ():
            of_pool = model.pools[PoolId(str(member.pool))]
            answer = next(a for a in of_pool.answers if str(a.address) == member.address)
            ruling = oracle.ruling_override(of_pool, answer, world)
            assert ruling is None or ruling.state is Forced.UP


@given(situations())
def test_content_that_did_not_change_keeps_its_version(
    situation: tuple[Deployment, Geography, World, Plan | None],
) -> None:
    model, places, world, previous = situation
    plan = decide(model, places, world, previous)
    assert (plan.version == previous.version) == (plan.digest == previous.digest) if previous else plan.version == 1
    assert previous is None or plan.version in (previous.version, previous.version + 1)


@given(models().map(plain), st.data())
def test_last_good_is_what_the_client_had_though_rankings_move(model: Deployment, data: st.DataObject) -> None:
    model = replace(
        model,
        policies={name: replace(p, on_all_down=AllDown.LAST_GOOD) for name, p in model.policies.items()},
    )
    places = data.draw(geographies(model))
    moved = replace(
        places, digest="moved", rankings={name: tuple(reversed(rankings)) for name, rankings in places.rankings.items()}
    )
    partly = World(NOW, verdicts=data.draw(worlds(model)).verdicts)
    before = decide(model, places, partly, None)
    after = decide(model, moved, World(NOW, verdicts=down(*model.pools, of=tuple(model.pools.values()))), before)
    for name, rankings in places.rankings.items():
        for rtype in DYNAMIC_TYPES:
            for index in range(len(rankings)):
                had = choice_of(before, name, index, rtype)
                now = choice_of(after, name, len(rankings) - 1 - index, rtype)
                assert now.members == had.members
                assert (now.mode is Mode.LAST_GOOD) == (had.mode is Mode.NORMAL and bool(had.members))


MODEL = deployment(NEAREST)
PLACES = geography(MODEL, web=[[FRA, IAD, SIN], [SIN, IAD, FRA]])


def test_the_nearest_pool_answers() -> None:
    plan = decide(MODEL, PLACES, STEADY, None)
    assert pools_answered(plan, 0) == [FRA]
    assert pools_answered(plan, 1) == [SIN]
    assert plan.version == 1
    assert plan.geography == "geography"


def test_aaaa_goes_to_the_nearest_pool_that_has_one() -> None:
    plan = decide(MODEL, PLACES, STEADY, None)
    assert pools_answered(plan, 1, TYPE_AAAA) == [IAD]


def test_a_failed_pool_is_replaced_by_the_next_nearest() -> None:
    plan = decide(MODEL, PLACES, World(NOW, verdicts=down(FRA)), None)
    assert pools_answered(plan, 0) == [IAD]
    assert pools_answered(plan, 1) == [SIN]


def test_spill_targets_come_last_and_by_their_own_health() -> None:
    all_of_rule = World(NOW, verdicts=down(FRA, IAD, SIN))
    assert pools_answered(decide(MODEL, PLACES, all_of_rule, None)) == [CLOUD]
    everything = World(NOW, verdicts=down(FRA, IAD, SIN, CLOUD))
    plan = decide(MODEL, PLACES, everything, None)
    assert choice_of(plan).mode is Mode.SERVE_ALL
    assert pools_answered(plan) == [FRA]
    assert pools_answered(plan, 1) == [SIN]


def test_a_rule_whose_pools_fail_spills_before_it_turns_to_the_pools_of_other_rules() -> None:
    policy = replace(NEAREST, rules=(Rule((SIN,), geos=("AS",)), Rule((FRA, IAD))))
    model = deployment(policy)
    places = Geography(
        "geography", 2, {WEB: geography(model, web=[[FRA, IAD]]).rankings[WEB] + (rank(model, policy, 0, (SIN,)),)}
    )
    assert pools_answered(decide(model, places, World(NOW, verdicts=down(SIN)), None), 1) == [CLOUD]
    assert pools_answered(decide(model, places, World(NOW, verdicts=down(SIN, CLOUD)), None), 1) == [FRA]
    # No pool of the rule has AAAA: that is no overload, so the burst pool waits.
    assert pools_answered(decide(model, places, STEADY, None), 1, TYPE_AAAA) == [FRA]


def test_a_type_that_no_pool_has_is_nodata_whatever_the_mode() -> None:
    pools = [pool("web-fra", "192.0.2.1"), pool("web-iad", "192.0.2.2*0", "2001:db8::2*0")]
    for mode in AllDown:
        model = deployment(Policy(WEB, rules=(Rule((FRA, IAD)),), on_all_down=mode), pools=pools)
        plan = decide(model, geography(model, web=[[FRA, IAD]]), STEADY, None)
        assert choice_of(plan, rtype=TYPE_AAAA) == Choice(Mode.NODATA, (), 1)


@pytest.mark.parametrize(
    ("mode", "want"),
    [
        (AllDown.SERVE_ALL, (Mode.SERVE_ALL, ["192.0.2.1"])),
        (AllDown.LAST_GOOD, (Mode.LAST_GOOD, ["192.0.2.2"])),
        (AllDown.LAST_RESORT, (Mode.LAST_RESORT, ["203.0.113.9"])),
        (AllDown.NODATA, (Mode.NODATA, [])),
        (AllDown.SERVFAIL, (Mode.SERVFAIL, [])),
    ],
)
def test_modes_of_all_down(mode: AllDown, want: tuple[Mode, list[str]]) -> None:
    model = deployment(replace(NEAREST, on_all_down=mode, last_resort=(ip_address("203.0.113.9"),)))
    before = decide(model, PLACES, World(NOW, verdicts=down(FRA)), None)
    after = decide(model, PLACES, World(NOW, verdicts=down(FRA, IAD, SIN, CLOUD)), before)
    choice = choice_of(after)
    assert (choice.mode, [member.address for member in choice.members]) == want
    again = decide(model, PLACES, World(NOW + 9, verdicts=down(FRA, IAD, SIN, CLOUD)), after)
    assert again is after


def test_a_pool_without_a_verdict_is_up() -> None:
    world = World(NOW, verdicts={IAD: {"192.0.2.2": Verdict(Health.UP)}})
    assert decide(MODEL, PLACES, world, None) == decide(MODEL, PLACES, STEADY, None)


def test_weights_counts_and_stickiness_reach_the_plan() -> None:
    pools = [pool("web-fra", "192.0.2.1*3", "192.0.2.2", "192.0.2.3*0")]
    model = deployment(Policy(WEB, rules=(Rule((FRA,)),), answers=2, sticky=Sticky(20, 48), ttl_max=30), pools=pools)
    plan = decide(model, geography(model, web=[[FRA]]), STEADY, None)
    choice = choice_of(plan)
    assert [(member.address, member.weight) for member in choice.members] == [("192.0.2.1", 3), ("192.0.2.2", 1)]
    assert choice.count == 2
    assert (plan.policies[WEB].sticky4, plan.policies[WEB].sticky6, plan.policies[WEB].ttl) == (20, 48, 30)
    loose = deployment(replace(model.policies[WEB], sticky=None), pools=pools)
    assert decide(loose, geography(loose, web=[[FRA]]), STEADY, None).policies[WEB].sticky4 is None


def test_equal_choices_are_one() -> None:
    model = deployment(NEAREST, replace(NEAREST, name=PolicyId("shop")))
    plan = decide(model, geography(model, web=[[FRA], [IAD]], shop=[[IAD], [FRA]]), STEADY, None)
    assert plan.policies[WEB].choices[TYPE_A] == plan.policies[PolicyId("shop")].choices[TYPE_A][::-1]
    assert len(plan.choices) == len(set(plan.choices)) == 4


def test_versions_count_changes_of_content() -> None:
    first = decide(MODEL, PLACES, STEADY, None)
    assert decide(MODEL, PLACES, World(NOW + 60), first) is first
    second = decide(MODEL, PLACES, World(NOW, verdicts=down(FRA)), first)
    assert second.version == 2
    assert decide(MODEL, replace(PLACES, digest="newer"), World(NOW, verdicts=down(FRA)), second).version == 3


def test_a_plan_of_another_deployment_is_no_predecessor() -> None:
    foreign = replace(decide(MODEL, PLACES, STEADY, None), deployment="other", version=70)
    assert decide(MODEL, PLACES, STEADY, foreign).version == 1


def test_burst_pools_take_nothing_while_the_rule_has_a_pool() -> None:
    plan = decide(MODEL, PLACES, World(NOW, verdicts=down(FRA, IAD)), None)
    assert pools_answered(plan) == [SIN]


def test_an_override_of_a_site_covers_its_pools() -> None:
    plan = decide(MODEL, PLACES, World(NOW, overrides=(override("site/fra", Forced.DRAIN),)), None)
    assert pools_answered(plan) == [IAD]


PROGRAM = """
import sys
from tests.decide.worlds import *
policies = [replace(NEAREST, name=PolicyId(name)) for name in {"web", "shop", "mail", "dns"}]
model = deployment(*policies)
places = geography(model, **{policy.name: [[FRA, IAD, SIN], [SIN, IAD]] for policy in policies})
world = World(NOW, verdicts=down(*{FRA, SIN}), overrides=(override("site/iad", Forced.DRAIN),))
from gslb.decide.decide import decide
sys.stdout.buffer.write(decide(model, places, world, None).to_bytes())
"""


def test_every_node_decides_alike() -> None:
    """Two interpreters that order their sets differently; the digest is what nodes of one deployment compare."""
    written = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert written[0] == written[1]
    assert from_bytes(written[0]).digest == "83a207b538d248ee562fa0ad7f3a7714"
