"""Precedence, step by step, with the reasons that `explain` shows."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gslb.decide.settle import Settled, settle
from gslb.decide.situation import situation_of
from gslb.decide.steps import STEPS
from gslb.model.deployment import (
    TYPE_A,
    AllDown,
    Backend,
    Balance,
    Capacity,
    Forward,
    Policy,
    PoolId,
    Return,
    Rule,
)
from gslb.model.history import Ejection, History, Out
from gslb.model.plan import Mode
from gslb.model.world import Forced, Health, Load, Override, Verdict, World
from tests.decide.worlds import FRA, IAD, NOW, WEB, deployment, down, override, pool

POOLS = (pool("web-fra", "192.0.2.1", "192.0.2.11"), pool("web-iad", "192.0.2.2"))
POLICY = Policy(WEB, rules=(Rule((FRA, IAD)),))
FRA1, FRA2, IAD1 = "192.0.2.1", "192.0.2.11", "192.0.2.2"


def settled_of(world: World, policy: Policy = POLICY) -> Settled:
    model = deployment(policy, pools=POOLS)
    return settle(policy, TYPE_A, situation_of(model, world, History()), None)


def test_the_order_is_that_of_the_design() -> None:
    assert [step.__name__ for step in STEPS] == [
        "overridden",
        "last_site_kept",
        "drained",
        "spread",
        "slowed",
        "held",
        "voted_down",
        "passively_failed",
        "failed_over",
    ]


CASES = [
    ("steady", [], (), Mode.NORMAL, {FRA1, FRA2, IAD1}, []),
    ("a verdict takes the pool", [], (FRA,), Mode.NORMAL, {IAD1}, [("voted_down", FRA1), ("voted_down", FRA2)]),
    (
        "up outranks a verdict",
        [override("pool/web-fra", Forced.UP)],
        (FRA, IAD),
        Mode.NORMAL,
        {FRA1, FRA2},
        [("overridden", FRA1), ("overridden", FRA2), ("voted_down", IAD1)],
    ),
    (
        "a drained site leaves",
        [override("site/fra", Forced.DRAIN)],
        (),
        Mode.NORMAL,
        {IAD1},
        [("drained", FRA1), ("drained", FRA2)],
    ),
    (
        "one address leaves its pool",
        [override(f"answer/web-fra/{FRA1}", Forced.DOWN)],
        (),
        Mode.NORMAL,
        {FRA2, IAD1},
        [("overridden", FRA1)],
    ),
    (
        "the pool outranks its site, the address outranks its pool",
        [
            override("site/fra", Forced.DOWN, since=9),
            override("pool/web-fra", Forced.UP, since=5),
            override(f"answer/web-fra/{FRA2}", Forced.DRAIN, since=1),
        ],
        (),
        Mode.NORMAL,
        {FRA1, IAD1},
        [("overridden", FRA1), ("drained", FRA2)],
    ),
    (
        "of two words on one target the newer holds",
        [override("pool/web-fra", Forced.UP, since=2), override("pool/web-fra", Forced.DOWN, since=1)],
        (IAD,),
        Mode.NORMAL,
        {FRA1, FRA2},
        [("overridden", FRA1), ("overridden", FRA2), ("voted_down", IAD1)],
    ),
    (
        "an expired override is none",
        [override("pool/web-fra", Forced.DOWN, until=NOW)],
        (),
        Mode.NORMAL,
        {FRA1, FRA2, IAD1},
        [],
    ),
    (
        "a drain waits for somewhere to go",
        [override("site/fra", Forced.DRAIN)],
        (IAD,),
        Mode.KEPT,
        {FRA1, FRA2},
        [("last_site_kept", FRA1), ("last_site_kept", FRA2), ("voted_down", IAD1)],
    ),
    (
        "a forced drain does not wait",
        [override("site/fra", Forced.DRAIN, force=True)],
        (IAD,),
        Mode.SERVE_ALL,
        {IAD1},
        [("overridden", FRA1), ("overridden", FRA2), ("voted_down", IAD1)],
    ),
    (
        "down outranks the guard while something else can be served",
        [override("pool/web-fra", Forced.DOWN)],
        (IAD,),
        Mode.SERVE_ALL,
        {IAD1},
        [("overridden", FRA1), ("overridden", FRA2), ("voted_down", IAD1)],
    ),
    (
        "when all is down as if all were up, but what drains stays out",
        [override("site/fra", Forced.DRAIN)],
        (FRA, IAD),
        Mode.SERVE_ALL,
        {IAD1},
        [("drained", FRA1), ("drained", FRA2), ("voted_down", IAD1)],
    ),
    (
        "drains of everything are kept",
        [override("site/fra", Forced.DRAIN), override("site/iad", Forced.DRAIN)],
        (FRA,),
        Mode.KEPT,
        {IAD1},
        [("last_site_kept", IAD1), ("drained", FRA1), ("drained", FRA2)],
    ),
    (
        "two overrides that add up to nothing keep the healthy part",
        [override("pool/web-fra", Forced.DOWN), override("pool/web-iad", Forced.DOWN)],
        (FRA,),
        Mode.KEPT,
        {IAD1},
        [("overridden", FRA1), ("overridden", FRA2), ("overridden", IAD1), ("last_site_kept", IAD1)],
    ),
    (
        "what is forced down stays down",
        [override("pool/web-fra", Forced.DOWN, force=True), override("pool/web-iad", Forced.DOWN)],
        (),
        Mode.KEPT,
        {IAD1},
        [("overridden", FRA1), ("overridden", FRA2), ("overridden", IAD1), ("last_site_kept", IAD1)],
    ),
    (
        "force everywhere is obeyed",
        [override("pool/web-fra", Forced.DOWN, force=True), override("site/iad", Forced.DRAIN, force=True)],
        (),
        Mode.NODATA,
        set(),
        [("overridden", FRA1), ("overridden", FRA2), ("overridden", IAD1)],
    ),
]


@pytest.mark.parametrize(
    ("overrides", "failing", "mode", "left", "reasons"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_precedence(
    overrides: list[Override],
    failing: tuple[PoolId, ...],
    mode: Mode,
    left: set[str],
    reasons: list[tuple[str, str]],
) -> None:
    world = World(NOW, verdicts=down(*failing, of=POOLS), overrides=tuple(overrides))
    settled = settled_of(world)
    assert settled.mode is mode
    assert {member.address for members in settled.by_pool.values() for member in members} == left
    assert [(reason.step, reason.member.address) for reason in settled.reasons] == reasons


WIDE = (pool("web-fra", "192.0.2.1", "192.0.2.11", "192.0.2.21"), pool("web-iad", "192.0.2.2"))
FRA_THREE = ["192.0.2.1", "192.0.2.11", "192.0.2.21"]
TWO_FAIL = {FRA: {address: Verdict(Health.DOWN) for address in FRA_THREE[:2]}}


def said(settled: Settled, pool_name: PoolId = FRA) -> list[tuple[str, str, bool]]:
    return [(one.step, one.member.address, one.usable) for one in settled.reasons if one.member.pool == pool_name]


def settled_wide(world: World, history: History | None = None) -> Settled:
    model = deployment(POLICY, pools=[replace(one, capacity=Capacity(9.0)) for one in WIDE])
    return settle(POLICY, TYPE_A, situation_of(model, world, history or History()), None)


def test_a_pool_in_panic_that_fails_over_says_so() -> None:
    settled = settled_wide(World(NOW, verdicts=TWO_FAIL))
    assert said(settled) == [
        ("voted_down", FRA_THREE[0], False),
        ("voted_down", FRA_THREE[1], False),
        ("failed_over", FRA_THREE[2], False),
    ]
    assert settled.reasons[-1].why == "1 of 3 of its weight is healthy, below panic 50%: another pool has room"


def test_a_pool_in_panic_that_is_spread_says_so() -> None:
    settled = settled_wide(World(NOW, verdicts=TWO_FAIL, loads={IAD: Load(0.95)}))
    assert said(settled) == [("spread", address, True) for address in FRA_THREE]
    assert settled.reasons[0].why.endswith("no other pool has room: all of it is answered")


def test_panic_puts_nothing_in_that_operators_took_out() -> None:
    drain = (override(f"answer/web-fra/{FRA_THREE[0]}", Forced.DRAIN),)
    verdicts = {FRA: {address: Verdict(Health.DOWN) for address in FRA_THREE[1:2]}}
    settled = settled_wide(World(NOW, verdicts=verdicts, loads={IAD: Load(0.95)}, overrides=drain))
    assert said(settled) == [("drained", FRA_THREE[0], False), ("voted_down", FRA_THREE[1], False)]


def test_an_ejected_address_says_why() -> None:
    history = History(ejected={f"web-fra/{FRA_THREE[0]}": Ejection(NOW + 9, 2, "900 ms, its peers 40 ms")})
    settled = settled_wide(World(NOW), history)
    assert said(settled) == [("passively_failed", FRA_THREE[0], False)]
    assert settled.reasons[0].why == "ejected (time 2) as an outlier: 900 ms, its peers 40 ms"


def test_the_checks_outrank_an_ejection() -> None:
    history = History(ejected={f"web-fra/{FRA_THREE[0]}": Ejection(NOW + 9, 2, "slow")})
    verdicts = {FRA: {FRA_THREE[0]: Verdict(Health.DOWN)}}
    assert said(settled_wide(World(NOW, verdicts=verdicts), history)) == [("voted_down", FRA_THREE[0], False)]


def test_a_held_pool_says_what_it_waits_for() -> None:
    model = deployment(POLICY, pools=[replace(one, return_=Return.MANUAL) for one in POOLS])
    history = History(out={WEB: {FRA: Out(NOW - 99, held=True)}})
    settled = settle(POLICY, TYPE_A, situation_of(model, World(NOW), history), None)
    assert said(settled) == [("held", FRA1, False), ("held", FRA2, False)]
    assert "until an operator's `up`" in settled.reasons[0].why


def test_backends_that_are_too_few_say_how_many() -> None:
    backends = (Backend(ip_address("10.1.0.1")), Backend(ip_address("10.1.0.2")))
    balance = Balance((), Forward.L2, backends, min_healthy=2)
    model = deployment(POLICY, pools=[replace(POOLS[0], balance=balance), POOLS[1]])
    world = World(NOW, verdicts={FRA: {"10.1.0.1": Verdict(Health.DOWN)}})
    settled = settle(POLICY, TYPE_A, situation_of(model, world, History()), None)
    assert {reason.why for reason in settled.reasons} == {"1 of 2 backends serve, expected at least 2"}


def test_reasons_say_who_and_why() -> None:
    world = World(NOW, verdicts=down(IAD), overrides=(override("site/fra", Forced.DOWN),))
    settled = settled_of(world)
    assert [reason.why for reason in settled.reasons] == [
        "down site/fra by alice: CHG-1",
        "down site/fra by alice: CHG-1",
        "its checks find it down: timeout",
    ]


@pytest.mark.parametrize("mode", [AllDown.NODATA, AllDown.SERVFAIL])
def test_a_policy_that_allows_no_answer_is_not_guarded(mode: AllDown) -> None:
    world = World(NOW, overrides=(override("site/fra", Forced.DRAIN), override("site/iad", Forced.DOWN)))
    policy = replace(POLICY, on_all_down=mode)
    settled = settled_of(world, policy)
    assert (settled.mode, settled.by_pool, settled.for_all) == (Mode(mode), {}, ())


def test_last_resort_stands_in_for_what_operators_took_down() -> None:
    world = World(NOW, overrides=(override("site/fra", Forced.DOWN), override("site/iad", Forced.DOWN)))
    policy = replace(POLICY, on_all_down=AllDown.LAST_RESORT, last_resort=(ip_address("203.0.113.1"),))
    settled = settled_of(world, policy)
    assert (settled.mode, [member.address for member in settled.for_all]) == (Mode.LAST_RESORT, ["203.0.113.1"])


def test_last_resort_of_the_other_family_leaves_the_guard_in_charge() -> None:
    world = World(NOW, overrides=(override("site/fra", Forced.DOWN), override("site/iad", Forced.DOWN)))
    policy = replace(POLICY, on_all_down=AllDown.LAST_RESORT, last_resort=(ip_address("2001:db8::1"),))
    settled = settled_of(world, policy)
    assert settled.mode is Mode.KEPT
