"""How much may leave at once: the rules one by one, and the limit itself over random failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gslb.decide.decide import decide
from gslb.decide.velocity import WINDOW_S, Leaver, Spent, kept_back, parts_of
from gslb.model.deployment import (
    TYPE_A,
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
    SiteId,
)
from gslb.model.history import Keeper
from gslb.model.plan import Plan, from_bytes
from gslb.model.world import Forced, Health, Load, Verdict, World
from tests.decide.sequences import targets_of
from tests.decide.worlds import NOW, WEB, deployment, geography, override, pool

NAMES = tuple(PoolId(f"web-s{place}") for place in range(5))
POOLS = tuple(replace(pool(name, f"192.0.2.{place}"), return_=Return.AT_ONCE) for place, name in enumerate(NAMES))
EACH = Policy(WEB, rules=(Rule(NAMES),), velocity=0.4)
MODEL = deployment(EACH, pools=POOLS)
PLACES = geography(MODEL, web=[[name, *NAMES] for name in NAMES])  # each pool is the first of some clients
STEADY = decide(MODEL, PLACES, World(NOW), None)


def leaver(name: str, part: float = 0.2, *, since: float = NOW, site: str | None = None, **facts: bool) -> Leaver:
    told = {"answered": True, "doubly": False, "site_dead": True, **facts}
    return Leaver(since, PoolId(name), SiteId(site or name), part, **told)


def kept(*leavers: Leaver, spent: float = 0.0, sites: str = "", room: bool = True) -> set[str]:
    return set(kept_back(leavers, Spent(spent, frozenset(map(SiteId, sites))), 0.5, NOW, room=room))


@pytest.mark.parametrize(
    ("found", "want"),
    [
        pytest.param(kept(leaver("a"), leaver("b")), set(), id="what fits leaves"),
        pytest.param(kept(leaver("a"), leaver("b"), leaver("c")), {"c"}, id="what does not fit is kept, by name"),
        pytest.param(kept(leaver("c", since=NOW - 9), leaver("a"), leaver("b")), {"b"}, id="the oldest failure first"),
        pytest.param(kept(leaver("a", 0.5)), set(), id="the limit itself is allowed"),
        pytest.param(kept(leaver("a", 0.2), spent=0.4, sites="x"), {"a"}, id="what left before counts"),
        pytest.param(kept(leaver("a", 0.9)), set(), id="a single dead site leaves"),
        pytest.param(kept(leaver("a", 0.9), room=False), {"a"}, id="but not where nobody has room"),
        pytest.param(kept(leaver("a", 0.9), spent=0.1, sites="x"), {"a"}, id="nor as the second site"),
        pytest.param(kept(leaver("a", 0.9), spent=0.1, sites="a"), set(), id="its other pool does not make it two"),
        pytest.param(kept(leaver("a", 0.9, site_dead=False)), {"a"}, id="a part of a site is no dead site"),
        pytest.param(
            kept(leaver("a", 0.9, site_dead=False, since=NOW - WINDOW_S)), set(), id="nothing dead is kept for ever"
        ),
        pytest.param(kept(leaver("a", 0.9, doubly=True), leaver("b", 0.5)), set(), id="double evidence does not count"),
        pytest.param(
            kept(leaver("a", 0.9, answered=False), leaver("b", 0.5)),
            {"b"},
            id="who is not answered is not kept, but counts",
        ),
    ],
)
def test_rules(found: set[str], want: set[str]) -> None:
    assert found == want


@pytest.mark.parametrize(
    ("capacities", "want"),
    [
        pytest.param([Capacity(100.0), Capacity(300.0)], [0.25, 0.75], id="connections"),
        pytest.param([Capacity(None, 1), Capacity(None, 3)], [0.25, 0.75], id="servers"),
        pytest.param([Capacity(100.0, 1), Capacity(300.0, 1)], [0.25, 0.75], id="connections before servers"),
        pytest.param([Capacity(100.0), Capacity(None, 3)], [0.5, 0.5], id="two units"),
        pytest.param([Capacity(100.0), None], [0.5, 0.5], id="not known of all"),
    ],
)
def test_a_pools_part_of_the_capacity(capacities: list[Capacity | None], want: list[float]) -> None:
    pools = [replace(one, capacity=capacity) for one, capacity in zip(POOLS, capacities, strict=False)]
    assert list(parts_of(pools).values()) == want


def failing(now: float, *names: PoolId, double: bool = False) -> World:
    down = Verdict(Health.DOWN, double=double)
    return World(now, verdicts={one.name: {str(one.answers[0].address): down} for one in POOLS if one.name in names})


def answered(plan: Plan) -> set[str | None]:
    indexes = plan.policies[WEB].choices[TYPE_A]
    return {member.pool for index in indexes for member in plan.choices[index].members}


def test_the_third_waits_until_the_window_has_passed() -> None:
    three = decide(MODEL, PLACES, failing(NOW, *NAMES[:3]), STEADY)
    assert answered(three) == {*NAMES[2:]}
    assert three.history.kept[WEB][NAMES[2]].by is Keeper.VELOCITY
    assert three.policies[WEB].ttl == EACH.ttl_min  # it will leave as soon as it may
    later = decide(MODEL, PLACES, failing(NOW + WINDOW_S - 1, *NAMES[:3]), three)
    assert answered(later) == {*NAMES[2:]}
    assert answered(decide(MODEL, PLACES, failing(NOW + WINDOW_S, *NAMES[:3]), later)) == {*NAMES[3:]}


def test_what_recovers_makes_room_for_the_next() -> None:
    three = decide(MODEL, PLACES, failing(NOW, *NAMES[:3]), STEADY)
    assert answered(decide(MODEL, PLACES, failing(NOW + 5, *NAMES[1:3]), three)) == {NAMES[0], *NAMES[3:]}


def test_what_comes_back_gradually_makes_no_room_yet() -> None:
    slowly = deployment(EACH, pools=[replace(one, return_=Return.GRADUAL) for one in POOLS])
    three = decide(slowly, PLACES, failing(NOW, *NAMES[:3]), STEADY)
    back = decide(slowly, PLACES, failing(NOW + 5, *NAMES[1:3]), three)
    assert answered(decide(slowly, PLACES, failing(NOW + 30, *NAMES[1:3]), back)) == {*NAMES[2:]}
    assert answered(decide(slowly, PLACES, failing(NOW + 65, *NAMES[1:3]), back)) == {NAMES[0], *NAMES[3:]}


def test_double_evidence_is_believed() -> None:
    assert answered(decide(MODEL, PLACES, failing(NOW, *NAMES[:4], double=True), STEADY)) == {NAMES[4]}


def dual(name: PoolId, place: int) -> Pool:
    return replace(pool(name, f"192.0.2.{place}", f"2001:db8::{place:x}"), return_=Return.AT_ONCE)


def with_two_backends(name: PoolId, place: int) -> Pool:
    backends = tuple(Backend(ip_address(f"10.0.{place}.{n}")) for n in (1, 2))
    return replace(_pool(name, place), balance=Balance((), Forward.L2, backends))


@pytest.mark.parametrize("made", [dual, with_two_backends])
@pytest.mark.parametrize("doubly", [False, True], ids=["one path each", "several paths each"])
def test_several_targets_of_a_pool_are_one_witness(made: Callable[[PoolId, int], Pool], doubly: bool) -> None:  # noqa: FBT001
    """One monitor on one node checks them all: a bad check finds every address of every pool down at once."""
    pools = {name: made(name, place) for place, name in enumerate(NAMES)}
    model = deployment(EACH, pools=list(pools.values()))
    places = geography(model, web=[[name, *NAMES] for name in NAMES])
    bad = Verdict(Health.DOWN, double=doubly)
    verdicts = {name: dict.fromkeys(targets_of(pools[name]), bad) for name in NAMES[:4]}
    before = decide(model, places, World(NOW), None)
    plan = decide(model, places, World(NOW, verdicts=verdicts), before)
    assert answered(plan) == ({NAMES[4]} if doubly else {*NAMES[2:]})
    # A single dead site leaves at once all the same, whatever its share.
    tight = replace(model, policies={WEB: replace(EACH, velocity=0.01)})
    alone = World(NOW, verdicts={NAMES[0]: verdicts[NAMES[0]]})
    assert answered(decide(tight, places, alone, before)) == {*NAMES[1:]}


def test_sites_that_find_the_answers_of_balanced_pools_down_are_witnesses_whatever_the_backends_say() -> None:
    pools = {name: with_two_backends(name, place) for place, name in enumerate(NAMES)}
    model = deployment(EACH, pools=list(pools.values()))
    places = geography(model, web=[[name, *NAMES] for name in NAMES])
    up = {name: dict.fromkeys(targets_of(one), Verdict(Health.UP)) for name, one in pools.items()}
    before = decide(model, places, World(NOW, verdicts=up), None)
    for double, want in ((False, {*NAMES[2:]}), (True, {NAMES[4]})):
        down = Verdict(Health.DOWN, why="2 of 3 sites: iad, sin; up: fra", double=double)
        verdicts = {
            name: found | {str(answer.address): down for answer in pools[name].answers if name in NAMES[:4]}
            for name, found in up.items()
        }
        assert answered(decide(model, places, World(NOW, verdicts=verdicts), before)) == want


def test_evidence_on_one_target_does_not_speak_for_another() -> None:
    """One address at fault by every path, the other by the only path it has."""
    pools = [dual(name, place) for place, name in enumerate(NAMES)]
    model = deployment(EACH, pools=pools)
    places = geography(model, web=[[name, *NAMES] for name in NAMES])
    verdicts = {
        one.name: {str(a.address): Verdict(Health.DOWN, double=a.address.version == 4) for a in one.answers}
        for one in pools[:4]
    }
    plan = decide(model, places, World(NOW, verdicts=verdicts), decide(model, places, World(NOW), None))
    assert answered(plan) == {*NAMES[2:]}


def test_nothing_is_kept_back_when_nothing_is_left() -> None:
    gone = decide(MODEL, PLACES, failing(NOW, *NAMES), STEADY)
    assert not gone.history.kept
    assert {*gone.history.out[WEB]} == {*NAMES}
    assert answered(gone) == {*NAMES}  # as if all were up


def test_a_drain_that_ends_over_a_failed_pool_brings_nothing_dead_into_answers() -> None:
    """What operators took out was not answered: velocity has nothing to keep."""
    drained = replace(failing(NOW, *NAMES[:2]), overrides=(override("pool/web-s2", Forced.DRAIN),))
    two = decide(MODEL, PLACES, drained, STEADY)
    ended = decide(MODEL, PLACES, failing(NOW + 9, *NAMES[:3]), two)
    assert answered(two) == answered(ended) == {*NAMES[3:]}


def test_the_other_pools_of_a_full_service_do_not_save_a_site_from_the_limit() -> None:
    """One dead site alone leaves while somebody has room, and is kept while everybody is full."""
    tight = deployment(replace(EACH, velocity=0.1), pools=[replace(one, capacity=Capacity(9.0)) for one in POOLS])
    dead = failing(NOW, NAMES[0])
    full = replace(dead, loads={name: Load(0.85) for name in NAMES})
    assert answered(decide(tight, PLACES, dead, STEADY)) == {*NAMES[1:]}
    assert answered(decide(tight, PLACES, full, STEADY)) == {*NAMES}


def test_what_was_only_kept_is_not_the_last_good() -> None:
    model = deployment(replace(EACH, on_all_down=AllDown.LAST_GOOD), pools=POOLS)
    three = decide(model, PLACES, failing(NOW, *NAMES[:3]), decide(model, PLACES, World(NOW), None))
    assert answered(three) == {*NAMES[2:]}
    assert answered(decide(model, PLACES, failing(NOW + 9, *NAMES), three)) == {*NAMES[3:]}


@st.composite
def failures(draw: st.DrawFn) -> tuple[Deployment, list[World]]:
    """Pools of one answer each at sites of their own, and which of them fail from second to second, on single evidence."""
    count = draw(st.integers(2, 8))
    names = [PoolId(f"web-s{place}") for place in range(count)]
    capacity = st.sampled_from((100.0, 100.0, 200.0, 400.0)).map(Capacity)
    pools = [replace(_pool(name, place), capacity=draw(capacity)) for place, name in enumerate(names)]
    policy = Policy(WEB, rules=(Rule(tuple(names)),), velocity=draw(st.sampled_from((0.1, 0.3, 0.5, 0.9))))
    now, worlds = NOW, []
    for _ in range(draw(st.integers(1, 10))):
        down = draw(st.lists(st.sampled_from(names), unique=True))
        verdicts = {one.name: {str(one.answers[0].address): Verdict(Health.DOWN)} for one in pools if one.name in down}
        worlds.append(World(now, verdicts=verdicts, loads={name: Load(0.85) for name in names}))  # nobody has room
        now += draw(st.sampled_from((1.0, 20.0, 59.0, 60.0, 61.0)))
    return deployment(policy, pools=pools), worlds


def _pool(name: PoolId, place: int) -> Pool:
    return replace(pool(name, f"192.0.2.{place}"), return_=Return.AT_ONCE)


@settings(max_examples=100)
@given(failures())
def test_never_more_than_the_limit_leaves_within_the_window(case: tuple[Deployment, list[World]]) -> None:
    """But one pool that is more than the limit by itself, when it has failed for a whole window and nothing else left."""
    model, worlds = case
    policy, parts = model.policies[WEB], parts_of(model.pools.values())
    places = geography(model, web=[[name, *model.pools] for name in model.pools])
    plan = decide(model, places, World(NOW - 600), None)
    gone: dict[PoolId, float] = {}  # by our own book: when each pool that is out left
    for world in worlds:
        plan = from_bytes(decide(model, places, world, plan).to_bytes())  # a restart at every moment
        out = {*plan.history.out.get(WEB, {})}
        left = out - gone.keys()
        gone = {name: gone.get(name, world.now) for name in out}
        if len(world.verdicts) == len(model.pools):
            continue  # nothing is left: that is no limit's business, and everything is answered
        assert answered(plan) == model.pools.keys() - out
        lately = {name for name in out if world.now - gone[name] < WINDOW_S}
        if left:
            within = sum(parts[name] for name in lately) <= policy.velocity + 1e-9
            assert within or len(lately) == 1 or any(_all_failed(worlds, at) for at in gone.values())


def _all_failed(worlds: list[World], moment: float) -> bool:
    return any(len(world.verdicts) == len(worlds[0].loads) for world in worlds if world.now == moment)


def test_nothing_dead_is_answered_for_ever() -> None:
    """With a limit below every pool, and nobody with room, one pool leaves each window."""
    tight = deployment(replace(EACH, velocity=0.01), pools=[replace(one, capacity=Capacity(9.0)) for one in POOLS])
    plan, counts = STEADY, []
    for second in range(0, 200, 10):
        world = replace(failing(NOW + second, *NAMES[:3]), loads={name: Load(0.85) for name in NAMES})
        plan = decide(tight, PLACES, world, plan)
        counts.append(len(answered(plan)))
    assert counts[0] == 5
    assert counts[-1] == 2
    assert all(before - after in (0, 1) for before, after in pairwise(counts))
