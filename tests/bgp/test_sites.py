"""Whatever happens at however many sites: `min_sites` of them keep the route, and only sites with a cause of their own leave."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.routes import State
from bgp.when import Operator, Veto
from tests.bgp.sites import LEASE_S, Sites, announced

SITES = "abcd"
EVENTS = st.one_of(
    st.tuples(
        st.just("facts"), st.sets(st.sampled_from(SITES), min_size=1), st.sampled_from([False, False, True, None])
    ),
    st.tuples(st.just("pools"), st.sets(st.sampled_from(SITES), min_size=1), st.booleans()),
    st.tuples(st.just("old"), st.sets(st.sampled_from(SITES), min_size=1), st.booleans()),
    st.tuples(
        st.just("operator"),
        st.sets(st.sampled_from(SITES), min_size=1),
        st.sampled_from([Operator.NONE, Operator.UP, Operator.DRAIN, Operator.DOWN]),
    ),
    st.tuples(st.just("connected"), st.sets(st.sampled_from(SITES), min_size=1), st.booleans()),
    st.tuples(st.just("crash"), st.sets(st.sampled_from(SITES), min_size=1), st.none()),
    st.tuples(st.just("restart"), st.sets(st.sampled_from(SITES), min_size=1), st.none()),
    st.tuples(st.just("delay"), st.just(set(SITES)), st.integers(0, 15)),
    st.tuples(st.just("forget"), st.just(set(SITES)), st.none()),
)


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from(["drain", "hold"]),
    st.lists(st.tuples(EVENTS, st.integers(1, 45))),
)
def test_enough_sites_always_keep_the_route(
    count: int, min_sites: int, on_loss: str, story: list[tuple[tuple[str, set[str], Any], int]]
) -> None:
    sites = announced(max(count, min_sites), min_sites, on_loss)
    for (event, names, value), seconds in story:
        for name in sorted(names & sites.sites.keys()):
            happen(sites, event, name, value)
        sites.run(seconds)


def happen(sites: Sites, event: str, name: str, value: Any) -> None:
    match event:
        case "facts":
            sites.change(name, dns=value)
        case "pools" | "old" | "operator":
            sites.change(name, **{event: value})
        case "connected":
            sites.sites[name].connected = value
        case "crash":
            sites.crash(name)
        case "restart":
            sites.restart(name)
        case "delay":
            sites.delay_s = value
        case _:
            sites.forget_lease()


def test_one_site_that_fails_drains_at_once_and_leaves_with_the_lease() -> None:
    sites = announced(3)
    sites.change("a", dns=False)
    sites.run(1)
    assert sites.states() == {"a": State.DRAIN, "b": State.ANNOUNCED, "c": State.ANNOUNCED}
    sites.run(1)
    assert sites.states()["a"] is State.OFF
    sites.change("a", dns=True)
    sites.run(15)
    assert sites.states()["a"] is State.ANNOUNCED


def test_sites_that_fail_together_leave_one_at_a_time_while_others_announce() -> None:
    sites = announced(4, min_sites=2)
    for name in "ab":
        sites.change(name, dns=False)
    sites.run(60)
    assert [name for _, name in sites.withdrawals] in (["a", "b"], ["b", "a"])
    (first, _), (second, _) = sites.withdrawals
    assert second - first >= sites.rule.timing.fresh_s
    assert sites.states()["c"] is sites.states()["d"] is State.ANNOUNCED


@pytest.mark.parametrize("min_sites", [1, 2, 3])
def test_where_all_fail_at_once_all_stay_as_a_last_resort(min_sites: int) -> None:
    sites = announced(3, min_sites)
    for name in "abc":
        sites.change(name, dns=False)
    sites.run(1000)
    assert set(sites.states().values()) == {State.DRAIN}
    assert sites.withdrawals == []


def test_a_site_that_knows_of_nobody_drains_and_stays() -> None:
    sites = announced(3)
    sites.sites["a"].connected = False
    sites.run(60)
    assert sites.states()["a"] is State.ANNOUNCED
    sites.change("a", pools=False)
    sites.run(1000)
    assert sites.states()["a"] is State.DRAIN
    assert (verdict := sites.sites["a"].verdict) is not None
    assert verdict.veto is Veto.FEW_SITES
    sites.sites["a"].connected = True
    sites.run(LEASE_S + 5)
    assert sites.states()["a"] is State.OFF


@pytest.mark.parametrize(("on_loss", "state"), [("drain", State.DRAIN), ("hold", State.ANNOUNCED)])
def test_controllers_that_die_everywhere_leave_the_route_everywhere(on_loss: str, state: State) -> None:
    sites = announced(3, on_loss=on_loss)
    for name in "abc":
        sites.crash(name)
    sites.run(1000)
    assert set(sites.states().values()) == {state}


def test_a_leaver_that_dies_keeps_the_others_from_leaving_too_early() -> None:
    sites = announced(3)
    sites.change("a", dns=False)
    sites.run(2)
    assert sites.states()["a"] is State.OFF
    sites.crash("a")
    left_at = sites.now
    sites.change("b", dns=False)
    sites.run(60)
    assert sites.withdrawals[1][1] == "b"
    assert sites.withdrawals[1][0] - left_at >= sites.rule.timing.fresh_s


def test_healthy_again_beside_too_few_comes_back_as_drain_before_its_hold_ends() -> None:
    sites = announced(2)
    for _ in range(3):  # failures until the hold is long
        sites.change("a", dns=False)
        sites.run(60)
        assert sites.states()["a"] is State.OFF
        sites.change("a", dns=True)
        sites.run(40)
        assert sites.states()["a"] is State.ANNOUNCED
    sites.change("a", dns=False)
    sites.run(30)
    sites.change("a", dns=True)
    sites.run(10)
    assert sites.states()["a"] is State.OFF
    sites.change("b", dns=False)
    sites.run(2)
    assert sites.states() == {"a": State.DRAIN, "b": State.DRAIN}
    sites.run(60)
    assert sites.states()["a"] is State.ANNOUNCED
