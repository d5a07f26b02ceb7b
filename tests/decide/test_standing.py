"""What becomes of pools over time: panic, return by hand and gradually, flapping, clocks that jump, restarts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gslb.decide.decide import decide
from gslb.decide.panic import SPREAD_S
from gslb.decide.returning import returned
from gslb.decide.settle import settle
from gslb.decide.situation import situation_of
from gslb.model.deployment import (
    DYNAMIC_TYPES,
    TYPE_A,
    TYPE_AAAA,
    AllDown,
    Backend,
    Balance,
    Capacity,
    Deployment,
    Forward,
    Policy,
    Pool,
    PoolId,
    Return,
    Rule,
)
from gslb.model.history import Keeper, Out
from gslb.model.plan import Mode, Plan, from_bytes
from gslb.model.world import Forced, Health, Load, Override, Verdict, World
from tests.decide.oracle import ruling_override
from tests.decide.sequences import moments, services, targets_of
from tests.decide.worlds import FRA, IAD, NOW, SIN, WEB, deployment, geographies, geography, override, pool

POOLS = (
    replace(pool("web-fra", "192.0.2.1", "192.0.2.11", "192.0.2.21", "2001:db8::1"), capacity=Capacity(100.0)),
    replace(pool("web-iad", "192.0.2.2", "2001:db8::2"), capacity=Capacity(100.0)),
    pool("web-sin", "192.0.2.3"),
)
POLICY = Policy(WEB, rules=(Rule((FRA, IAD)),), velocity=1.0)
EMPTY: tuple[str, ...] = ()


def served(plan: Plan, rtype: int = TYPE_A) -> set[str]:
    choice = plan.choices[plan.policies[WEB].choices[rtype][0]]
    return {member.address for member in choice.members}


def mode(plan: Plan, rtype: int = TYPE_A) -> Mode:
    return plan.choices[plan.policies[WEB].choices[rtype][0]].mode


class Course:
    """One deployment as time goes by; each plan passes through its bytes, as over a restart."""

    def __init__(self, *pools: Pool, policy: Policy = POLICY) -> None:
        self.model = deployment(policy, pools=pools)
        self.places = geography(self.model, web=[[name for name in policy.pools if name in self.model.pools]])
        self.plan: Plan | None = None
        self.now = NOW

    def at(
        self, second: float, *down: str, loads: dict[PoolId, float] | None = None, overrides: tuple[Override, ...] = ()
    ) -> Plan:
        """The plan `second` seconds after the start, when these addresses fail."""
        verdicts = {
            name: {address: Verdict(Health.DOWN) for address in targets_of(one) if address in down}
            for name, one in self.model.pools.items()
        }
        known = {name: Load(share) for name, share in (loads or {}).items()}
        world = World(NOW + second, verdicts=verdicts, loads=known, overrides=overrides)
        self.plan = from_bytes(decide(self.model, self.places, world, self.plan).to_bytes())
        return self.plan


FRA_ALL = ("192.0.2.1", "192.0.2.11", "192.0.2.21", "2001:db8::1")
FRA_TWO = FRA_ALL[:2]
FULL = {FRA: 0.5, IAD: 0.85}


def at_once(*pools: Pool) -> tuple[Pool, ...]:
    return tuple(replace(one, return_=Return.AT_ONCE) for one in pools)


def by_hand(*pools: Pool) -> tuple[Pool, ...]:
    return tuple(replace(one, return_=Return.MANUAL) for one in pools)


def test_a_pool_in_panic_fails_over_to_one_that_has_room() -> None:
    course = Course(*at_once(*POOLS[:2]))
    assert served(course.at(0, FRA_ALL[0])) == {"192.0.2.11", "192.0.2.21"}  # two of three: no panic
    assert served(course.at(1, *FRA_TWO)) == {"192.0.2.2"}
    assert course.plan is not None
    assert course.plan.history.out[WEB] == {FRA: Out(NOW + 1, types=(TYPE_A,))}
    assert served(course.plan, TYPE_AAAA) == {"2001:db8::1"}  # the other family is not in panic
    assert served(course.at(2)) == {"192.0.2.1", "192.0.2.11", "192.0.2.21"}


def test_a_pool_in_panic_is_spread_over_all_its_addresses_where_nobody_has_room() -> None:
    course = Course(*at_once(*POOLS[:2]))
    plan = course.at(0, *FRA_TWO, loads=FULL)
    assert (mode(plan), served(plan)) == (Mode.NORMAL, set(FRA_ALL[:3]))
    assert plan.history.kept[WEB][FRA].by is Keeper.PANIC


def test_a_pool_in_panic_does_not_come_and_go_with_the_load_of_others() -> None:
    course = Course(*at_once(*POOLS[:2]))
    assert served(course.at(0, *FRA_TWO)) == {"192.0.2.2"}
    assert served(course.at(9, *FRA_TWO, loads=FULL)) == {"192.0.2.2"}  # over soft, and below hard
    assert served(course.at(20, *FRA_TWO, loads={IAD: 0.9})) == set(FRA_ALL[:3])
    assert served(course.at(30, *FRA_TWO, loads={IAD: 0.2})) == set(FRA_ALL[:3])
    assert served(course.at(20 + SPREAD_S, *FRA_TWO, loads={IAD: 0.2})) == {"192.0.2.2"}


def test_a_pool_without_any_healthy_address_is_down_and_not_spread() -> None:
    plan = Course(*POOLS[:2]).at(0, *FRA_ALL, loads=FULL)
    assert served(plan) == {"192.0.2.2"}
    assert not plan.history.kept


def test_what_operators_took_out_is_not_missing() -> None:
    """Two of three drained: the third is all that they left in, and healthy."""
    drains = tuple(override(f"answer/web-fra/{address}", Forced.DRAIN) for address in FRA_TWO)
    assert served(Course(*POOLS[:2]).at(0, overrides=drains)) == {"192.0.2.21"}


def test_panic_of_everybody_spreads_everybody() -> None:
    pools = [replace(POOLS[0], return_=Return.AT_ONCE), pool("web-iad", "192.0.2.2", "192.0.2.12", "192.0.2.22")]
    plan = Course(*pools).at(0, *FRA_TWO, "192.0.2.2", "192.0.2.12")
    assert served(plan) == set(FRA_ALL[:3])


def test_a_pool_that_comes_back_by_hand_waits_for_the_operator() -> None:
    course = Course(*by_hand(*POOLS[:2]))
    assert served(course.at(0, *FRA_ALL)) == {"192.0.2.2"}
    back = course.at(100)
    assert served(back) == {"192.0.2.2"}
    assert back.history.out[WEB][FRA] == Out(NOW, held=True)
    word = override("pool/web-fra", Forced.UP, until=NOW + 260)
    assert served(course.at(200, overrides=(word,))) == set(FRA_ALL[:3])
    after = course.at(300, overrides=(word,))  # the word has expired, and needs no repeat
    assert served(after) == set(FRA_ALL[:3])
    assert not after.history.out


@pytest.mark.parametrize("target", ["site/fra", "pool/web-fra", "answer/web-fra/2001:db8::1"])
def test_what_counts_as_the_operators_word(target: str) -> None:
    course = Course(*by_hand(*POOLS[:2]))
    course.at(0, *FRA_ALL)
    assert served(course.at(100, overrides=(override(target, Forced.UP),))) == set(FRA_ALL[:3])


def test_a_held_pool_is_put_in_when_it_is_the_last() -> None:
    for on_all_down in AllDown:
        course = Course(*by_hand(*POOLS[:2]), policy=replace(POLICY, on_all_down=on_all_down))
        course.at(0, *FRA_ALL)
        plan = course.at(100, "192.0.2.2", "2001:db8::2")
        assert (mode(plan), served(plan)) == (Mode.KEPT, set(FRA_ALL[:3]))
        assert plan.history.out[WEB][FRA].held
        assert served(course.at(200, *FRA_ALL)) >= {"192.0.2.2"}


def test_a_drain_that_ends_comes_back_at_once_whatever_the_return() -> None:
    drain = (override("site/fra", Forced.DRAIN),)
    for return_ in Return:
        course = Course(*(replace(one, return_=return_) for one in POOLS[:2]))
        assert served(course.at(0)) == set(FRA_ALL[:3])
        assert served(course.at(1, overrides=drain)) == {"192.0.2.2"}
        assert served(course.at(2, *FRA_ALL, overrides=drain)) == {"192.0.2.2"}  # its servers restart meanwhile
        back = course.at(3)
        assert (served(back), back.history.out) == (set(FRA_ALL[:3]), {})


def test_a_drain_does_not_end_a_hold() -> None:
    course = Course(*by_hand(*POOLS[:2]))
    course.at(0, *FRA_ALL)
    course.at(100, overrides=(override("pool/web-fra", Forced.DRAIN),))
    assert served(course.at(200)) == {"192.0.2.2"}


def test_which_pools_come_back_gradually() -> None:
    for return_, want in ((Return.GRADUAL, {FRA}), (Return.MANUAL, set()), (Return.AT_ONCE, set())):
        course = Course(*(replace(one, return_=return_) for one in POOLS[:2]))
        plan = course.at(0, *FRA_ALL)
        situation = situation_of(course.model, World(NOW + 100), plan.history)
        standings = [settle(POLICY, rtype, situation, plan).standing for rtype in DYNAMIC_TYPES]
        assert returned(standings) == want
        up = World(NOW + 100, overrides=(override("pool/web-fra", Forced.UP),))
        forced = settle(POLICY, TYPE_A, situation_of(course.model, up, plan.history), plan)
        assert not forced.standing.returned


def test_backends_take_their_pool_with_them() -> None:
    backends = tuple(Backend(one.address) for one in pool("x", *(f"10.1.0.{n}" for n in range(1, 5))).answers)
    fra = replace(POOLS[0], return_=Return.AT_ONCE, balance=Balance((), Forward.L2, backends, min_healthy=2))
    policy = replace(POLICY, panic=0.3)
    course = Course(fra, POOLS[1], policy=policy)
    assert served(course.at(0, "10.1.0.1", "10.1.0.2")) == set(FRA_ALL[:3])
    assert served(course.at(1, "10.1.0.1", "10.1.0.2", "10.1.0.3")) == {"192.0.2.2"}
    # A word on a backend is as good as its check.
    up = override("backend/web-fra/10.1.0.1", Forced.UP)
    assert served(course.at(2, "10.1.0.1", "10.1.0.2", "10.1.0.3", overrides=(up,))) == set(FRA_ALL[:3])
    downs = tuple(override(f"backend/web-fra/10.1.0.{n}", Forced.DRAIN) for n in (1, 2, 3))
    assert served(course.at(3, overrides=downs)) == {"192.0.2.2"}
    # Where panic is stricter, the pool fails over though enough for it serve.
    strict = Course(fra, POOLS[1], policy=replace(policy, panic=0.8))
    assert served(strict.at(0, "10.1.0.1")) == {"192.0.2.2"}


def test_a_flapping_pool_moves_its_clients_boundedly() -> None:
    """Up and down every second: by hand it moves them once; gradually, what comes back within a second is next to nothing."""
    for return_, most in ((Return.MANUAL, 1), (Return.GRADUAL, 12)):
        course = Course(*(replace(one, return_=return_) for one in POOLS[:2]))
        before, changes = course.at(0).version, 0
        for second in range(1, 600):
            after = course.at(second, *(FRA_ALL if second % 2 else EMPTY)).version
            changes += after != before
            before = after
        assert changes <= most


Story = tuple[Deployment, list[Plan], list[World]]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    model = draw(services())
    places = draw(geographies(model))
    worlds = draw(moments(model))
    plans: list[Plan] = []
    for world in worlds:
        plans.append(decide(model, places, world, plans[-1] if plans else None))
    return model, plans, worlds


@settings(max_examples=40)
@given(services(), st.data())
def test_a_restart_at_any_moment_changes_nothing(model: Deployment, data: st.DataObject) -> None:
    places = data.draw(geographies(model))
    running: Plan | None = None
    restarted: Plan | None = None
    for world in data.draw(moments(model)):
        running = decide(model, places, world, running)
        restarted = decide(model, places, world, restarted and from_bytes(restarted.to_bytes()))
        assert running.to_bytes() == restarted.to_bytes()
        assert decide(model, places, world, running) is running or running.history.sheds


@settings(max_examples=40)
@given(stories())
def test_never_empty_whatever_happened_before(story: Story) -> None:
    model, plans, worlds = story
    for plan, world in zip(plans, worlds, strict=True):
        if any(one.force for one in world.overrides):
            continue
        for name, policy in model.policies.items():
            empty = policy.on_all_down in (AllDown.NODATA, AllDown.SERVFAIL)
            for index in () if empty else plan.policies[name].choices[TYPE_A]:
                has_one = any(a.weight for pool in policy.pools for a in model.pools[pool].answers_of(TYPE_A))
                assert bool(plan.choices[index].members) or not has_one


@settings(max_examples=40)
@given(stories())
def test_what_operators_took_out_is_in_no_answer_but_by_the_guard(story: Story) -> None:
    model, plans, worlds = story
    for plan, world in zip(plans, worlds, strict=True):
        for choice in plan.choices:
            members = (*choice.members, *(member for part in choice.shed for member in part.members))
            for member in members if choice.mode is Mode.NORMAL else ():
                of_pool = model.pools[PoolId(str(member.pool))]
                answer = next(one for one in of_pool.answers if str(one.address) == member.address)
                ruling = ruling_override(of_pool, answer, world)
                assert ruling is None or ruling.state is Forced.UP


@settings(max_examples=40)
@given(stories())
def test_the_history_is_bounded_and_knows_no_future(story: Story) -> None:
    model, plans, worlds = story
    for plan, world in zip(plans, worlds, strict=True):
        history = plan.history
        for by_policy in (history.out, history.kept):
            assert by_policy.keys() <= model.policies.keys()
            for name, entries in by_policy.items():
                policy = model.policies[name]
                assert entries.keys() <= {*policy.pools, *policy.spill.to}
                assert all(entry.since <= world.now for entry in entries.values())
        assert all(ejection.until <= world.now + 1800 and ejection.times <= 7 for ejection in history.ejected.values())
        pools = {key.partition("/")[0] for key in history.ejected}
        assert pools <= set(model.pools)


def test_a_configuration_that_drops_a_pool_drops_its_history() -> None:
    course = Course(*by_hand(*POOLS))
    plan = course.at(0, *FRA_ALL)
    assert FRA in plan.history.out[WEB]
    smaller = deployment(replace(POLICY, rules=(Rule((IAD, SIN)),)), pools=POOLS[1:])
    after = decide(smaller, geography(smaller, web=[[IAD, SIN]]), World(NOW + 1), plan)
    assert after.history.out == {}


def test_a_pool_that_is_drained_while_it_is_out_keeps_its_place_in_history() -> None:
    course = Course(*at_once(*POOLS[:2]))
    course.at(0, *FRA_ALL)
    drained = course.at(50, *FRA_ALL, overrides=(override("site/fra", Forced.DRAIN),))
    assert drained.history.out[WEB][FRA].since == NOW
    assert course.at(100, *FRA_ALL).history.out[WEB][FRA].since == NOW


def test_what_an_ejection_took_cannot_leave_as_well() -> None:
    """Three pools alike, half may leave: one, but not one and a third of each of the others."""
    pools = [
        replace(pool(f"web-{site}", *(f"192.0.2.{n}{k}" for k in range(1, 2 + 2 * (n > 1)))), capacity=Capacity(9.0))
        for n, site in enumerate(("fra", "iad", "sin"), start=1)
    ]
    model = deployment(Policy(WEB, rules=(Rule((FRA, IAD, SIN)),), panic=0.0), pools=pools)
    places = geography(model, web=[[FRA], [IAD], [SIN]])
    full = {name: Load(0.85) for name in model.pools}  # so that no site leaves for being the only one
    slow = Verdict(Health.UP, outlier="900 ms, its peers 40 ms")
    for others, kept in (({}, False), ({IAD: {"192.0.2.21": slow}, SIN: {"192.0.2.31": slow}}, True)):
        before = decide(model, places, World(NOW, verdicts=others, loads=full), None)
        dead = {FRA: {"192.0.2.11": Verdict(Health.DOWN)}}
        after = decide(model, places, World(NOW + 1, verdicts={**others, **dead}, loads=full), before)
        assert len(before.history.ejected) == len(others)
        assert (FRA in after.history.kept.get(WEB, {})) is kept
