"""What balancers are told of each backend, by examples; `test_balancers_twin` has random ones."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from gslb.decide.case import Case, without
from gslb.decide.decide import decide
from gslb.decide.ejection import SHORTEST_S
from gslb.decide.explain import explain
from gslb.decide.rest import origin_of, settled
from gslb.model.deployment import (
    TYPE_A,
    AllDown,
    Anycast,
    Backend,
    Balance,
    Capacity,
    Deployment,
    Forward,
    Listen,
    Policy,
    PoolId,
    Return,
    Rule,
    SiteId,
    WithoutBalancer,
)
from gslb.model.history import Ejection
from gslb.model.plan import BackendPlan, Mode, Plan, Serving, Vip, from_bytes
from gslb.model.world import Forced, Health, Load, Override, Verdict, World
from tests.decide.worlds import FRA, IAD, NOW, WEB, deployment, geography, override, pool

UP, DRAIN, DOWN = Serving.UP, Serving.DRAIN, Serving.DOWN
FAILS, WELL, SLOW = Verdict(Health.DOWN, why="refused"), Verdict(Health.UP), Verdict(Health.UP, outlier="900 ms")
BALANCE = Balance(
    listen=(Listen("tcp", 80), Listen("udp", 443)),
    forward=Forward.L2,
    backends=(
        Backend(ip_address("10.1.0.1"), weight=2, id=7),
        Backend(ip_address("10.1.0.2"), forward=Forward.IPIP),
        Backend(ip_address("10.1.0.3"), forward=Forward.GUE),
        Backend(ip_address("10.1.0.4")),
    ),
)
HOME = replace(pool("web-fra", "192.0.2.1", "2001:db8:1::1"), balance=BALANCE, return_=Return.AT_ONCE)
AWAY = pool("web-iad", "192.0.2.2", "2001:db8:2::2")
POLICY = Policy(WEB, rules=(Rule((FRA, IAD)),))
MODEL = deployment(POLICY, pools=[HOME, AWAY])
ALONE = deployment(Policy(WEB, rules=(Rule((FRA,)),)), pools=[HOME])
PLACES = geography(MODEL, web=[[FRA, IAD]])
NEAR = geography(ALONE, web=[[FRA]])


def seen(*overrides: Override, now: float = NOW, unbalanced: str = "", fail: str = "", **verdicts: Verdict) -> World:
    """Verdicts of backends by `b1` to `b4`; `fail`: the numbers of those that fail."""
    found = {f"10.1.0.{name[1]}": verdict for name, verdict in verdicts.items()}
    found |= {f"10.1.0.{number}": FAILS for number in fail}
    unable = {FRA: unbalanced} if unbalanced else {}
    return World(now, verdicts={FRA: found}, overrides=overrides, unbalanced=unable)


def word(number: int, state: Forced, *, force: bool = False) -> Override:
    return override(f"backend/web-fra/10.1.0.{number}", state, force=force)


def told(world: World, model: Deployment = MODEL, previous: Plan | None = None) -> str:
    """What each backend of web-fra is, as a letter each: u(p), d(rain), - (down)."""
    plan = decide(model, PLACES if model is not ALONE else NEAR, world, previous)
    return letters(plan)


def letters(plan: Plan, name: PoolId = FRA) -> str:
    return "".join({UP: "u", DRAIN: "d", DOWN: "-"}[one.serving] for one in plan.balancers[name].backends)


def answering(plan: Plan) -> set[PoolId | None]:
    return {member.pool for choice in plan.choices for member in choice.members}


def test_the_whole_table() -> None:
    table = decide(MODEL, PLACES, World(NOW), None).balancers[FRA]
    assert table.site == "fra"
    assert table.vips == (
        Vip("192.0.2.1/32", 6, 80),
        Vip("192.0.2.1/32", 17, 443),
        Vip("2001:db8:1::1/128", 6, 80),
        Vip("2001:db8:1::1/128", 17, 443),
    )
    assert table.backends == (
        BackendPlan("10.1.0.1", 2, Forward.L2, UP, 7),
        BackendPlan("10.1.0.2", 1, Forward.IPIP, UP),
        BackendPlan("10.1.0.3", 1, Forward.GUE, UP),
        BackendPlan("10.1.0.4", 1, Forward.L2, UP),
    )


def test_only_balanced_pools_have_one() -> None:
    assert set(decide(MODEL, PLACES, World(NOW), None).balancers) == {FRA}


def test_anycast_prefixes_that_name_the_pool_are_its_vips() -> None:
    """An anycast address that is an answer too is there once; a prefix that is shorter stays one."""
    prefixes = tuple(map(ip_network, ("203.0.113.80/28", "192.0.2.1/32", "2001:db8:f::/64")))
    anycast = Anycast("web", prefixes, ("pools",), (IAD, FRA)), Anycast("dns", (ip_network("192.0.2.53/32"),), ("dns",))
    table = decide(replace(MODEL, anycast=anycast), PLACES, World(NOW), None).balancers[FRA]
    assert [vip.prefix for vip in table.vips if vip.port == 80] == [
        "192.0.2.1/32",
        "2001:db8:1::1/128",
        "2001:db8:f::/64",
        "203.0.113.80/28",
    ]


def test_a_pool_that_only_anycast_uses_is_balanced_and_loses_outliers() -> None:
    anycast = Anycast("web", (ip_network("203.0.113.80/32"),), ("pools",), (FRA,))
    model = deployment(Policy(WEB, rules=(Rule((IAD,)),)), pools=[HOME, AWAY])
    model = replace(model, anycast=(anycast,))
    plan = decide(model, geography(model, web=[[IAD]]), seen(b1=WELL, b2=SLOW, b3=FAILS), None)
    assert letters(plan) == "ud-u"


@pytest.mark.parametrize(
    ("world", "want"),
    [
        (seen(), "uuuu"),
        (seen(b1=WELL, b2=FAILS), "u-uu"),
        (seen(b2=SLOW), "uduu"),
        (seen(word(2, Forced.DRAIN)), "uduu"),
        (seen(word(2, Forced.DRAIN, force=True)), "uduu"),
        (seen(word(2, Forced.DOWN)), "u-uu"),
        (seen(word(2, Forced.UP), b2=FAILS), "uuuu"),
        (seen(word(2, Forced.DRAIN), b2=FAILS), "uduu"),
        (seen(replace(word(2, Forced.DOWN), until=NOW)), "uuuu"),
        (seen(override("pool/web-fra", Forced.DRAIN)), "uuuu"),
        (seen(override("site/fra", Forced.DOWN), b2=FAILS), "u-uu"),
        (seen(override("answer/web-fra/192.0.2.1", Forced.DOWN)), "uuuu"),
        (seen(override("backend/other/10.1.0.1", Forced.DOWN)), "uuuu"),
    ],
)
def test_each_word(world: World, want: str) -> None:
    assert told(world) == want


def test_an_operators_word_on_a_backend_ends_an_ejection_and_the_end_of_one_brings_it_back() -> None:
    out = decide(MODEL, PLACES, seen(b2=SLOW), None)
    assert letters(out) == "uduu"
    assert out.history.ejected == {"web-fra/10.1.0.2": Ejection(NOW + SHORTEST_S, 1, "900 ms")}
    assert told(seen(word(2, Forced.UP), now=NOW + 1), previous=out) == "uuuu"
    assert told(seen(now=NOW + SHORTEST_S - 1), previous=out) == "uduu", (
        "it counts while nothing is said of it any more"
    )
    assert told(seen(now=NOW + SHORTEST_S), previous=out) == "uuuu"


def test_an_outlier_needs_no_monitor_and_comes_back_when_its_peers_fail() -> None:
    out = decide(MODEL, PLACES, seen(b2=SLOW), None)
    back = decide(MODEL, PLACES, seen(now=NOW + 1, b1=FAILS, b3=FAILS, b4=FAILS), out)
    assert letters(back) == "-u--"


def test_below_panic_with_room_elsewhere_the_pool_leaves_and_its_rest_serves_who_comes() -> None:
    plan = decide(MODEL, PLACES, seen(b1=FAILS, b2=FAILS), None)
    assert (answering(plan), letters(plan)) == ({IAD}, "--uu")


def test_below_panic_without_room_elsewhere_all_serve_whom_no_operator_rules() -> None:
    world = seen(word(4, Forced.DRAIN), fail="12")
    sized = replace(MODEL, pools={FRA: HOME, IAD: replace(AWAY, capacity=Capacity(conns_per_s=100))})
    assert told(world, sized) == "--ud"
    assert told(replace(world, loads={IAD: Load(0.95)}), sized) == "uuud"
    assert told(seen(word(4, Forced.DOWN), fail="12"), ALONE) == "uuu-"
    assert told(seen(word(4, Forced.DOWN), fail="1"), ALONE) == "-uu-", "2 of 4 are enough"
    assert told(seen(fail="12"), ALONE) == "uuuu"
    assert told(seen(b2=FAILS, b3=FAILS), ALONE) == "u--u", "3 of 5 are enough"


def test_the_kindest_policy_decides() -> None:
    """One policy has somewhere to go, the other has not: those who stay are served by all."""
    lone = Policy(replace(POLICY, name=WEB).name, rules=(Rule((FRA, IAD)),))
    other = replace(POLICY, name=type(WEB)("api"), rules=(Rule((FRA,)),))
    model = deployment(lone, other, pools=[HOME, AWAY])
    places = geography(model, web=[[FRA, IAD]], api=[[FRA]])
    world = seen(b1=FAILS, b2=FAILS)
    assert letters(decide(model, places, world, None)) == "uuuu"
    patient = replace(model, policies={WEB: lone, other.name: replace(other, panic=0.1)})
    assert letters(decide(patient, places, world, None)) == "--uu", "enough for the one, and the other has left"


def test_a_pool_that_an_operator_forces_up_is_served_by_all_below_panic() -> None:
    world = seen(override("pool/web-fra", Forced.UP), b1=FAILS, b2=FAILS)
    plan = decide(MODEL, PLACES, world, None)
    assert (answering(plan), letters(plan)) == ({FRA}, "uuuu")


def test_min_healthy_takes_the_pool_from_the_answers_and_not_its_rest_from_those_who_come() -> None:
    home = replace(HOME, balance=replace(BALANCE, min_healthy=4))
    model = deployment(POLICY, pools=[home, AWAY])
    plan = decide(model, PLACES, seen(b2=FAILS), None)
    assert (answering(plan), letters(plan)) == ({IAD}, "u-uu")


@pytest.mark.parametrize(
    ("world", "want"),
    [
        (seen(b1=FAILS, b2=FAILS, b3=FAILS, b4=FAILS), "uuuu"),
        (seen(word(1, Forced.DOWN), b2=FAILS, b3=FAILS, b4=FAILS), "-uuu"),
        (seen(word(1, Forced.DRAIN), b2=FAILS, b3=FAILS, b4=FAILS), "u---"),
        (seen(word(1, Forced.DRAIN), b1=FAILS, b2=FAILS, b3=FAILS, b4=FAILS), "duuu"),
        (seen(word(1, Forced.DRAIN, force=True), b2=FAILS, b3=FAILS, b4=FAILS), "duuu"),
        (seen(*(word(n, Forced.DRAIN) for n in (1, 2, 3, 4)), b2=FAILS), "uduu"),
        (
            seen(*(word(n, Forced.DRAIN) for n in (1, 2)), *(word(n, Forced.DOWN) for n in (3, 4)), b1=FAILS, b2=FAILS),
            "uu--",
        ),
        (seen(*(word(n, Forced.DOWN) for n in (1, 2, 3, 4))), "----"),
        (seen(*(word(n, Forced.DRAIN, force=True) for n in (1, 2, 3, 4))), "dddd"),
    ],
)
def test_when_none_is_up_the_least_bad_serve(world: World, want: str) -> None:
    plan = decide(MODEL, PLACES, world, None)
    assert (answering(plan), letters(plan)) == ({IAD}, want)


def test_what_velocity_keeps_is_served_by_all() -> None:
    """The pool may not leave yet, and too few of it are healthy."""
    third = pool("web-sin", "192.0.2.3", "2001:db8:3::3")
    pools = [HOME, replace(AWAY, datacenter=SiteId("fra")), third]
    policy = Policy(WEB, rules=(Rule((FRA, IAD, PoolId("web-sin"))),), velocity=0.3)
    model = deployment(policy, pools=pools)
    places = geography(model, web=[[FRA, IAD, PoolId("web-sin")]])
    before = decide(model, places, seen(), None)
    plan = decide(model, places, seen(now=NOW + 1, b1=FAILS, b2=FAILS), before)
    assert (answering(plan), letters(plan)) == ({FRA}, "uuuu")
    later = decide(model, places, seen(now=NOW + 62, b1=FAILS, b2=FAILS), plan)
    assert (answering(later), letters(later)) == ({IAD}, "--uu")


def test_a_pool_that_cannot_be_balanced_here_is_down_at_once_with_the_reason() -> None:
    before = decide(MODEL, PLACES, seen(b1=WELL), None)
    world = seen(now=NOW + 1, unbalanced="the kernel is too old", b1=WELL, b2=Verdict(Health.UP, settles_s=3.0))
    tight = replace(MODEL, policies={WEB: replace(POLICY, velocity=0.1)})
    plan = decide(tight, PLACES, world, before)
    assert answering(plan) == {IAD}
    assert plan.policies[WEB].ttl == POLICY.ttl_max, "no check could change it"
    assert letters(plan) == "uuuu", "so that it is known when it can be balanced"
    first, *_ = explain(tight, PLACES, world, before, (WEB, 0, TYPE_A)).tried
    assert [
        (reason.step, reason.usable, reason.why) for reason in first.reasons if reason.member.address == "192.0.2.1"
    ] == [("voted_down", False, "cannot be balanced here: the kernel is too old")]


def test_the_last_pool_is_answered_though_it_cannot_be_balanced() -> None:
    plan = decide(ALONE, NEAR, seen(unbalanced="no privilege"), None)
    assert plan.choices[0].mode is Mode.SERVE_ALL
    quiet = replace(ALONE, policies={WEB: replace(ALONE.policies[WEB], on_all_down=AllDown.NODATA)})
    assert decide(quiet, NEAR, seen(unbalanced="no privilege"), None).choices[0].mode is Mode.NODATA


def test_without_balancer_its_answers_are_the_servers() -> None:
    balance = replace(BALANCE, without_balancer=WithoutBalancer.SERVE)
    model = deployment(POLICY, pools=[replace(HOME, balance=balance), AWAY])
    assert answering(decide(model, PLACES, seen(fail="123"), None)) == {IAD}
    plan = decide(model, PLACES, seen(unbalanced="no privilege", fail="123"), None)
    assert (answering(plan), letters(plan)) == ({FRA}, "---u")
    answers = World(NOW, verdicts={FRA: {"192.0.2.1": FAILS, "2001:db8:1::1": FAILS}}, unbalanced={FRA: "no privilege"})
    assert answering(decide(model, PLACES, answers, None)) == {IAD}


def test_what_cannot_be_balanced_concerns_balanced_pools_only() -> None:
    world = World(NOW, unbalanced={IAD: "no privilege", PoolId("gone"): "no privilege"})
    assert decide(MODEL, PLACES, world, None) == decide(MODEL, PLACES, World(NOW), None)


def test_a_change_of_a_table_is_a_new_version_and_no_change_is_none() -> None:
    first = decide(MODEL, PLACES, seen(b1=WELL), None)
    second = decide(MODEL, PLACES, seen(b1=FAILS), first)
    assert (second.version, second.choices) == (first.version + 1, first.choices)
    assert decide(MODEL, PLACES, seen(b1=replace(FAILS, why="timeout")), second) is second
    assert second.balancers[FRA].backends[1] is first.balancers[FRA].backends[1]


def test_a_steady_table_is_the_same_object() -> None:
    """So that to compare plans costs no look at each backend."""
    first, second = (decide(MODEL, PLACES, World(now), None) for now in (NOW, NOW + 1))
    assert first.balancers[FRA] is second.balancers[FRA]


def test_a_reload_is_seen() -> None:
    """What is kept of a pool is kept by the object that the configuration gave."""
    more = replace(BALANCE, backends=BALANCE.backends[:2])
    model = replace(MODEL, pools={**MODEL.pools, FRA: replace(HOME, balance=more)})
    assert told(seen(b2=FAILS), model) == "u-"
    assert told(seen(b2=FAILS)) == "u-uu"


def test_a_lost_site_in_a_what_if() -> None:
    case = Case(MODEL, PLACES, seen(b1=WELL), decide(MODEL, PLACES, seen(b1=WELL), None))
    rest = settled(without(case, [SiteId("fra")]), origin_of(case))
    assert (answering(rest.plan), rest.calm) == ({IAD}, True)
    assert letters(rest.plan) == "uuuu"


PROGRAM = """
import sys
from tests.decide.test_balancers import *
world = seen(word(3, Forced.DRAIN), b1=FAILS, b4=SLOW)
sys.stdout.buffer.write(decide(MODEL, PLACES, world, None).to_bytes())
"""


def test_every_node_tells_alike() -> None:
    """Two interpreters that order their sets differently."""
    written = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    (data,) = written
    plan = from_bytes(data)
    assert (letters(plan), plan.digest) == ("-udu", "9af5503db41a3dbe550c61800386fbdc")
