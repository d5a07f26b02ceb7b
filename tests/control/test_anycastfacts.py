"""What decisions of anycast prefixes are made from: rules, local facts, and what others say, with its age."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.routes import State
from bgp.when import Local, Operator, Remote, Rule, Timing, sites_announcing
from gslb.bus.messages import Life
from gslb.bus.peers import Living
from gslb.control.anycastfacts import ON_THE_WAY_S, WORDS, Known, Since, announced_here, local, remote, rules_of
from gslb.decide.decide import decide
from gslb.model.bgp import Bgp
from gslb.model.deployment import (
    Anycast,
    Backend,
    Balance,
    Deployment,
    Forward,
    Listen,
    Monitor,
    MonitorId,
    Node,
    NodeId,
    PoolId,
    SiteId,
    WithoutBalancer,
)
from gslb.model.plan import BackendPlan, BalancerTable, Plan, Serving
from gslb.model.world import Forced, Health, Override, Verdict, World
from tests.control import make

V4, V6 = IPv4Network("192.0.2.10/32"), IPv6Network("2001:db8::53/128")
WEB, IAD = PoolId("web-fra"), PoolId("web-iad")
MONITOR = Monitor(MonitorId("tcp"), "tcp", 5, 1, 2, 2, 0.5)
ANYCAST = Anycast("web", (V4, V6), ("dns", "pools"), (WEB, IAD), 2, "drain", 1.0, 2.0, 3.0, 4.0, 50.0)
SPEAKER = Bgp("fra", 65001, IPv4Address("10.0.0.1"), ())
BACKENDS = tuple(f"10.1.0.{number}" for number in (1, 2, 3))
PLAIN = replace(
    make.DEPLOYMENT,
    pools={name: replace(pool, monitor=MONITOR.name) for name, pool in make.POOLS.items()},
    monitors={MONITOR.name: MONITOR},
    anycast=(ANYCAST,),
    bgp=(SPEAKER,),
)
BALANCE = Balance(
    (Listen("tcp", 443),), Forward.L2, tuple(Backend(IPv4Address(one)) for one in BACKENDS), min_healthy=2
)
BALANCED = replace(PLAIN, pools={**PLAIN.pools, WEB: replace(PLAIN.pools[WEB], balance=BALANCE)})
UP, DOWN = Health.UP, Health.DOWN


def plan(*serving: Serving) -> Plan:
    """A plan whose balancer serves the backends so."""
    backends = tuple(BackendPlan(address, 1, Forward.L2, one) for address, one in zip(BACKENDS, serving, strict=False))
    return Plan("example", 1, "", {}, (), balancers={WEB: BalancerTable(make.FRA, (), backends)} if backends else {})


def known(health: Mapping[str, Health], made: Plan | None = None, *overrides: Override, **others: Any) -> Known:
    """What a node knows; its balancer has all tables."""
    verdicts = {WEB: {address: Verdict(one) for address, one in health.items()}}
    return replace(Known(made or plan(), verdicts, {}, overrides, dns=True, now=100.0), **others)


def word(target: str, state: Forced, since: float = 1.0, **others: Any) -> Override:
    return Override(target, state, "alice", "work", since, **others)


def pools(deployment: Deployment, found: Known) -> bool | None:
    return local(deployment.anycast[0], deployment, make.NODE, found).pools


def test_the_rule_of_each_prefix_is_that_of_the_configuration() -> None:
    rule = Rule(("dns", "pools"), 2, Timing(rise_s=1.0, least_s=2.0, drain_s=3.0, hold_s=4.0, longest_hold_s=50.0))
    assert rules_of(PLAIN) == {V4: rule, V6: rule}


def test_a_node_announces_where_it_has_a_speaker_and_a_pool() -> None:
    assert announced_here(PLAIN, make.NODE) == {V4: ANYCAST, V6: ANYCAST}
    elsewhere = Node(NodeId("ams"), SiteId("ams"))
    assert announced_here(PLAIN, elsewhere) == {}, "it has no speaker"
    spoken = replace(PLAIN, bgp=(SPEAKER, replace(SPEAKER, name="ams")))
    assert announced_here(spoken, elsewhere) == {}, "no pool of the prefix is there"
    poolless = replace(ANYCAST, pools=(), announce_when=("dns",))
    assert announced_here(replace(spoken, anycast=(poolless,)), elsewhere) == {V4: poolless, V6: poolless}


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        ({make.FRA_ADDRESS: UP}, True),
        ({make.FRA_ADDRESS: DOWN}, False),
        ({}, None),
        ({make.IAD_ADDRESS: DOWN}, None),
    ],
)
def test_a_pool_without_balancer_is_as_its_answers_are(health: dict[str, Health], *, expected: bool | None) -> None:
    assert pools(PLAIN, known(health)) is expected


def test_a_pool_that_nobody_checks_is_taken_as_up() -> None:
    unchecked = replace(PLAIN, pools={name: replace(pool, monitor=None) for name, pool in PLAIN.pools.items()})
    assert pools(unchecked, known({make.FRA_ADDRESS: DOWN})) is True


def test_of_words_on_answers_only_up_counts() -> None:
    target, well, ill = "pool/web-fra", {make.FRA_ADDRESS: UP}, {make.FRA_ADDRESS: DOWN}
    for state in (Forced.DOWN, Forced.DRAIN):
        assert pools(PLAIN, known(well, None, word(target, state))) is True
    assert pools(PLAIN, known(ill, None, word(target, Forced.UP))) is True
    assert pools(PLAIN, known(ill, None, word(target, Forced.UP, until=99.0))) is False, "it is over"
    assert pools(PLAIN, known(ill, None, word(f"answer/web-fra/{make.FRA_ADDRESS}", Forced.UP))) is True


@pytest.mark.parametrize(
    ("serving", "health", "expected"),
    [
        ((Serving.UP, Serving.UP, Serving.UP), (UP, UP, UP), True),
        ((Serving.UP, Serving.UP, Serving.DOWN), (UP, UP, DOWN), True),
        ((Serving.UP, Serving.DRAIN, Serving.DOWN), (UP, UP, DOWN), False),
        ((Serving.UP, Serving.UP, Serving.UP), (DOWN, DOWN, DOWN), False),
        ((Serving.UP, Serving.UP, Serving.UP), (UP, None, DOWN), None),
        ((Serving.UP, Serving.UP, Serving.UP), (None, DOWN, DOWN), False),
        ((Serving.UP, Serving.UP), (UP, DOWN, UP), None),
        ((), (UP, UP, UP), None),
    ],
)
def test_a_balanced_pool_needs_its_healthy_backends(
    serving: tuple[Serving, ...], health: tuple[Health | None, ...], *, expected: bool | None
) -> None:
    found = {address: one for address, one in zip(BACKENDS, health, strict=True) if one is not None}
    assert pools(BALANCED, known(found, plan(*serving))) is expected


def test_words_on_backends_count_as_they_do_in_the_plan() -> None:
    served, third = plan(*[Serving.UP] * 3), f"backend/web-fra/{BACKENDS[2]}"
    health = dict(zip(BACKENDS, (UP, DOWN, DOWN), strict=True))
    assert pools(BALANCED, known(health, served, word(third, Forced.UP))) is True
    assert pools(BALANCED, known(health | {BACKENDS[2]: UP}, served, word(third, Forced.DRAIN))) is False


def test_where_all_backends_fail_the_plan_serves_all_and_the_pool_is_ill(tmp_path: Path) -> None:
    found = {WEB: {address: Verdict(DOWN) for address in BACKENDS}}
    model = make.model(tmp_path, BALANCED)
    made = decide(BALANCED, model.geography, World(100.0, verdicts=found), None)
    assert {one.serving for one in made.balancers[WEB].backends} == {Serving.UP}
    assert pools(BALANCED, known(dict.fromkeys(BACKENDS, DOWN), made)) is False


def test_a_pool_needs_its_tables_unless_it_may_do_without_the_balancer() -> None:
    well = known(dict.fromkeys(BACKENDS, UP), plan(*[Serving.UP] * 3))
    assert pools(BALANCED, replace(well, unbalanced={WEB: "no rights"})) is False
    assert pools(BALANCED, replace(well, unbalanced={IAD: "no rights"})) is True
    assert pools(BALANCED, replace(well, unbalanced=None)) is None, "the balancer has not said"
    ill = known(dict.fromkeys(BACKENDS, DOWN), plan(*[Serving.UP] * 3), unbalanced=None)
    assert pools(BALANCED, ill) is False, "whatever it will say"
    serve = replace(BALANCE, without_balancer=WithoutBalancer.SERVE)
    alone = replace(BALANCED, pools={**BALANCED.pools, WEB: replace(BALANCED.pools[WEB], balance=serve)})
    for health in (UP, DOWN):
        without = known({make.FRA_ADDRESS: health}, plan(*[Serving.UP] * 3), unbalanced={WEB: "no rights"})
        assert pools(alone, without) is (health is UP)


def test_all_pools_of_the_site_must_stand() -> None:
    second = replace(PLAIN.pools[WEB], name=PoolId("dns-fra"))
    both = replace(
        PLAIN,
        pools={**PLAIN.pools, second.name: second},
        anycast=(replace(ANYCAST, pools=(*ANYCAST.pools, second.name)),),
    )
    found = known({make.FRA_ADDRESS: UP})
    assert pools(both, found) is None
    for health in (UP, DOWN):
        verdicts = {**found.verdicts, second.name: {make.FRA_ADDRESS: Verdict(health)}}
        assert pools(both, replace(found, verdicts=verdicts)) is (health is UP)


def test_nothing_is_known_before_there_is_a_plan() -> None:
    found = Known(None, {}, {}, (), dns=None, now=100.0, old=True)
    assert local(ANYCAST, PLAIN, make.NODE, found) == Local(None, None, Operator.NONE, old=True)
    poolless = replace(ANYCAST, pools=(), announce_when=("dns",))
    assert local(poolless, PLAIN, make.NODE, known({})) == Local(dns=True, pools=None)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], Operator.NONE),
        ([word("site/fra", Forced.UP)], Operator.UP),
        ([word("site/fra", Forced.DRAIN)], Operator.DRAIN),
        ([word("site/fra", Forced.DRAIN, force=True)], Operator.DRAIN),
        ([word("site/fra", Forced.DOWN)], Operator.DOWN),
        ([word("site/fra", Forced.DOWN, force=True)], Operator.FORCED_DOWN),
        ([word("site/fra", Forced.DOWN, until=100.0)], Operator.NONE),
        ([word("site/fra", Forced.UP, 3.0), word("site/fra", Forced.DOWN, 2.0)], Operator.UP),
        ([word("site/iad", Forced.DOWN), word("pool/web-fra", Forced.DOWN)], Operator.NONE),
    ],
)
def test_an_operators_word_on_the_site_rules(words: list[Override], expected: Operator) -> None:
    assert local(ANYCAST, PLAIN, make.NODE, known({}, None, *words)).operator is expected


HEALTH = st.sampled_from([UP, DOWN, None])


@given(
    st.lists(HEALTH, min_size=3, max_size=3),
    st.lists(st.sampled_from(list(Serving)), min_size=3, max_size=3),
    st.integers(1, 3),
)
def test_what_comes_to_be_known_settles_what_was_not(
    health: list[Health | None], serving: list[Serving], least: int
) -> None:
    balance = replace(BALANCE, min_healthy=least)
    deployment = replace(BALANCED, pools={**BALANCED.pools, WEB: replace(BALANCED.pools[WEB], balance=balance)})
    made = plan(*serving)

    def said(found: Iterable[Health | None]) -> bool | None:
        verdicts = {address: one for address, one in zip(BACKENDS, found, strict=True) if one is not None}
        return pools(deployment, known(verdicts, made))

    settled = {said(found) for found in product(*([one] if one is not None else [UP, DOWN] for one in health))}
    now = said(health)
    assert settled == {True, False} if now is None else settled == {now}


def living(node: str, site: str, routes: Mapping[str, str] | None, age_s: float = 0.5, *, alive: bool = True) -> Living:
    life = Life("", 0, 0, "", "", "", None, routes, "1", 1.0) if routes is not None else None
    return Living(SiteId(site), NodeId(node), 1, life, age_s, alive, 0.0, 0.0, {})


LONG = Since(0.0, 1000.0)


def others(*lives: Living, since: Since = LONG, lease_left_s: float = 0.0) -> Remote:
    return remote(V4, {one.node: one for one in lives}, NODES, lease_left_s, since)


NODES = {NodeId(name): Node(NodeId(name), SiteId(site)) for name, site in [("a1", "a"), ("a2", "a"), ("b1", "b")]}


def test_others_count_as_they_say_at_the_site_that_they_are_of() -> None:
    found = others(
        living("a1", "a", {str(V4): "announced", str(V6): "withdrawn"}),
        living("a2", "b", {str(V4): "announced"}),
        living("stranger", "b", {str(V4): "announced"}),
        living("b1", "b", {str(V4): "drained"}),
        lease_left_s=7.0,
    )
    assert [(one.node, one.site, one.state) for one in found.others] == [
        ("a1", "a", State.ANNOUNCED),
        ("b1", "b", State.DRAIN),
    ]
    assert found.lease_left_s == 7.0


@pytest.mark.parametrize("routes", [None, {}, {str(V4): "nonsense"}, {str(V6): "announced"}])
def test_who_says_nothing_of_the_prefix_says_nothing(routes: dict[str, str] | None) -> None:
    assert others(living("a1", "a", routes)).others == ()


def test_what_is_older_than_this_run_is_not_believed() -> None:
    kept = living("a1", "a", {str(V4): "announced"}, age_s=2.0)
    assert others(kept, since=Since(1.0, 2.9)).others == ()
    assert len(others(kept, since=Since(1.0, 3.1)).others) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["a1", "a2", "b1", "x"]), st.sampled_from("ab"), st.floats(0, 30), st.floats(0, 30)),
        max_size=6,
    ),
    st.sampled_from([*WORDS.values(), "", "ANNOUNCED"]),
    st.floats(0, 20),
    st.floats(0, 60),
)
def test_never_younger_than_it_was_true_and_never_more_sites_than_there_are(
    told: list[tuple[str, str, float, float]], state: str, lives_s: float, run_s: float
) -> None:
    """Each message was sent `age` before `lives` was given, and `extra` is what the measurement adds to its age."""
    lives = [living(node, site, {str(V4): state}, age + extra) for node, site, age, extra in told]
    by_node = {one.node: (age, one) for one, (_, _, age, _) in zip(lives, told, strict=True)}
    found = others(*lives, since=Since(lives_s, run_s))
    for one in found.others:
        age, said = by_node[NodeId(one.node)]
        assert one.age_s >= age + lives_s
        assert one.age_s <= said.age_s + lives_s + ON_THE_WAY_S
        assert NODES[NodeId(one.node)].site == one.site == said.site
        assert WORDS[one.state] == state
        assert age + lives_s <= run_s
    rule = rules_of(PLAIN)[V4]
    fresh = {
        one.site
        for one in lives
        if by_node[one.node][1] is one
        and one.age_s + lives_s <= min(run_s, rule.timing.fresh_s - ON_THE_WAY_S)
        and NODES.get(one.node) == Node(one.node, one.site)
    }
    assert sites_announcing(rule, found) == (fresh if state == "announced" else set())
