"""Loads: damping, age, shares, reports that are refused, restarts, new configurations."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.control.loads import AHEAD_S, CLIPPED, DAMPING_S, BadLoad, Loads, capacity_of
from gslb.model.deployment import (
    Answer,
    Api,
    Capacity,
    Datacenter,
    Deployment,
    Dns,
    LoadSource,
    Pool,
    PoolId,
    SiteId,
    Socket,
)
from gslb.model.world import Load

PAGE, PUSH, COUNTED, BARE, UNREAD = (PoolId(name) for name in ("page", "push", "counted", "bare", "unread"))
FRA = SiteId("fra")
LISTEN = Socket(ip_address("127.0.0.1"), 53)


def pool(name: PoolId, load: LoadSource | None, capacity: Capacity | None) -> Pool:
    return Pool(name, FRA, (Answer(ip_address("192.0.2.1")),), capacity=capacity, load=load)


POOLS = {
    PAGE: pool(PAGE, LoadSource("url", "http://192.0.2.1/", json="$.rps"), Capacity(conns_per_s=1000, servers=10)),
    PUSH: pool(PUSH, LoadSource("push"), Capacity(servers=40)),
    COUNTED: pool(COUNTED, LoadSource("balancer"), Capacity(conns_per_s=100)),
    BARE: pool(BARE, LoadSource("push"), None),
    UNREAD: pool(UNREAD, None, Capacity(conns_per_s=1)),
}
DEPLOYMENT = Deployment("test", {}, {FRA: Datacenter(FRA)}, POOLS, {}, Dns((LISTEN,)), Api(LISTEN))


@pytest.fixture
def loads() -> Loads:
    known = Loads()
    known.want(DEPLOYMENT)
    return known


def share(loads: Loads, pool: PoolId, now: float) -> float:
    return loads.world(now)[pool].share


def test_what_a_load_is_a_share_of(loads: Loads) -> None:
    loads.scraped(PAGE, 800, 0)
    loads.pushed(PUSH, 10, 0)
    loads.counted(COUNTED, 50, 0)
    assert {name: load.share for name, load in loads.world(0).items()} == {PAGE: 0.8, PUSH: 0.25, COUNTED: 0.5}
    assert capacity_of(None) is None
    assert capacity_of(Capacity()) is None


def test_a_load_without_capacity_is_shown_and_has_no_share(loads: Loads) -> None:
    loads.pushed(BARE, 7, 0)
    assert BARE not in loads.world(0)
    assert (loads.state(0)[BARE]["value"], loads.state(0)[BARE]["share"]) == (7, None)


def test_what_was_never_read_is_not_in_the_world(loads: Loads) -> None:
    assert loads.world(1e6) == {}
    assert loads.state(1e6)[PAGE] == {
        "source": "url", "value": None, "last": None, "share": None, "age_s": None, "stale": True, "error": ""
    }  # fmt: skip
    assert UNREAD not in loads.state(0)


def test_readings_are_damped(loads: Loads) -> None:
    loads.scraped(PAGE, 100, 0)
    assert share(loads, PAGE, 0) == 0.1, "the first is taken as is"
    loads.scraped(PAGE, 1000, DAMPING_S)
    assert share(loads, PAGE, DAMPING_S) == pytest.approx(0.1 + 0.9 * (1 - math.exp(-1)))
    assert loads.state(DAMPING_S)[PAGE]["last"] == 1000


def test_the_interval_of_readings_does_not_matter(loads: Loads) -> None:
    """The same course, read every second and every five, gives the same mean."""
    other = Loads()
    other.want(DEPLOYMENT)
    for one in (loads, other):
        one.scraped(PAGE, 0, 0)
    for second in range(1, 21):
        loads.scraped(PAGE, 500, second)
    for second in range(5, 21, 5):
        other.scraped(PAGE, 500, second)
    assert share(loads, PAGE, 20) == pytest.approx(share(other, PAGE, 20))


def test_a_reading_handed_over_again_stays_as_old_as_it_is(loads: Loads) -> None:
    loads.scraped(PAGE, 100, 10)
    loads.scraped(PAGE, 100, 10)
    assert loads.world(18)[PAGE] == Load(0.1, 8, stale=False)


@pytest.mark.parametrize(("name", "limit"), [(PAGE, 15), (COUNTED, 15), (PUSH, 60)])
def test_a_stale_load_keeps_its_last_value_and_says_so(loads: Loads, name: PoolId, limit: float) -> None:
    {PAGE: loads.scraped, COUNTED: loads.counted, PUSH: loads.pushed}[name](name, 20, 0)
    fresh, stale = loads.world(limit)[name], loads.world(limit + 0.1)[name]
    assert not fresh.stale
    assert stale == Load(fresh.share, limit + 0.1, stale=True)


def test_an_absurd_reading_is_forgotten_within_a_minute(loads: Loads) -> None:
    loads.scraped(PAGE, 500, 0)
    loads.scraped(PAGE, 1e12, 5)
    assert share(loads, PAGE, 5) <= CLIPPED
    for second in range(10, 66, 5):
        loads.scraped(PAGE, 500, second)
    assert share(loads, PAGE, 65) == pytest.approx(0.5, abs=0.02)


NO_LOADS = [math.nan, math.inf, -math.inf, -1, -0.5, 1e308, 10**400, "12", None, True, [1], {}]


@pytest.mark.parametrize("value", NO_LOADS, ids=lambda value: str(value)[:20])
def test_what_is_no_load_changes_nothing(loads: Loads, value: object) -> None:
    loads.pushed(PUSH, 10, 0)
    loads.scraped(PAGE, 500, 0)
    before = loads.world(5)
    with pytest.raises(BadLoad, match=r"^load of push: .* (is no load|is no number)") as refused:
        loads.pushed(PUSH, value, 5)
    loads.scraped(PAGE, value, 5)
    assert loads.world(5) == before
    assert loads.state(5)[PAGE]["error"], "the page's error is shown"
    assert len(str(refused.value)) < 200
    loads.scraped(PAGE, 500, 6)
    assert loads.state(6)[PAGE]["error"] == ""


def test_a_source_that_goes_back_in_time_is_refused(loads: Loads) -> None:
    loads.pushed(PUSH, 10, now=0, at=1000.0)
    with pytest.raises(BadLoad, match=r"load of push: a report goes back in time by 10 s - the newer one is kept"):
        loads.pushed(PUSH, 40, now=5, at=990.0)
    assert share(loads, PUSH, 5) == 0.25
    loads.pushed(PUSH, 10, now=6, at=1000.0)
    assert loads.world(6)[PUSH].age_s == 0, "a report that is sent again is no older one"


WALL = 1_800_000_000.0


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (
            WALL * 1000,
            "1800000000000 is 1.7982e+12 s ahead of this node's clock - expected seconds since the epoch; is it in milliseconds?",
        ),
        (WALL * 1e6, "; is it in milliseconds?"),
        (
            WALL + AHEAD_S + 1,
            "1800000006 is 6 s ahead of this node's clock - expected seconds since the epoch; is the reporter's clock right?",
        ),
        (1e308, "; is it in milliseconds?"),
    ],
)
def test_a_report_from_the_future_shuts_nobody_out(loads: Loads, at: float, said: str) -> None:
    loads.pushed(PUSH, 10, now=0, at=WALL - 1, wall=WALL)
    with pytest.raises(BadLoad, match=rf"^load of push: time .*{re.escape(said)}$"):
        loads.pushed(PUSH, 40, now=1, at=at, wall=WALL)
    assert "ahead of this node's clock" in str(loads.state(1)[PUSH]["error"])
    assert share(loads, PUSH, 1) == 0.25
    loads.pushed(PUSH, 10, now=2, at=WALL + 2, wall=WALL + 2)
    assert loads.world(2)[PUSH].age_s == 0


def test_a_clock_a_little_ahead_is_heard(loads: Loads) -> None:
    loads.pushed(PUSH, 10, now=0, at=WALL + AHEAD_S, wall=WALL)
    assert share(loads, PUSH, 0) == 0.25


def test_a_reporter_whose_clock_was_ahead_is_heard_again(loads: Loads) -> None:
    loads.pushed(PUSH, 10, now=0, at=4e9)
    with pytest.raises(BadLoad):
        loads.pushed(PUSH, 10, now=59, at=1000.0)
    loads.pushed(PUSH, 40, now=61, at=1000.0)
    assert not loads.world(61)[PUSH].stale


@pytest.mark.parametrize("at", [math.nan, math.inf, "noon", True, [0]], ids=str)
def test_a_time_that_is_none(loads: Loads, at: object) -> None:
    with pytest.raises(BadLoad, match="expected seconds"):
        loads.pushed(PUSH, 10, 0, at)
    assert loads.world(0) == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pusj", "no pool 'pusj' - did you mean push?"),
        ("page", "pool page takes no reports: its load is from url - expected load: {from: push}"),
        ("unread", "pool unread takes no reports: its load is from no source - expected load: {from: push}"),
    ],
)
def test_reports_for_other_pools_are_refused(loads: Loads, name: str, expected: str) -> None:
    with pytest.raises(BadLoad) as refused:
        loads.pushed(PoolId(name), 1, 0)
    assert str(refused.value) == expected


def test_observations_of_pools_that_are_gone_are_passed_over(loads: Loads) -> None:
    for name in (PoolId("gone"), PUSH):
        loads.scraped(name, 1, 0)
        loads.counted(name, 1, 0)
    assert loads.world(0) == {}
    assert not loads.failed(PoolId("gone"), "no connection")


def test_a_failure_is_told_once(loads: Loads) -> None:
    assert loads.failed(PAGE, "connection refused")
    assert not loads.failed(PAGE, "connection refused")
    assert loads.state(0)[PAGE]["error"] == "connection refused"
    loads.scraped(PAGE, 1, 1)
    assert loads.failed(PAGE, "connection refused")


def test_a_clock_that_goes_back_loses_nothing(loads: Loads) -> None:
    loads.scraped(PAGE, 500, 1000)
    loads.scraped(PAGE, 900, 10)
    assert loads.world(10)[PAGE] == Load(0.5, 0, stale=False)
    for second in range(15, 120, 5):
        loads.scraped(PAGE, 900, second)
    assert share(loads, PAGE, 115) == pytest.approx(0.9, abs=0.01)


def test_a_restart_begins_with_what_was_known(loads: Loads) -> None:
    loads.scraped(PAGE, 500, 100)
    loads.pushed(PUSH, 10, 100)
    again = Loads()
    again.want(DEPLOYMENT)
    again.scraped(PAGE, 100, 0)
    again.restore({**loads.world(130), PoolId("gone"): Load(1.0)}, now=0)
    assert again.world(0) == {PAGE: Load(0.1, 0, stale=False), PUSH: Load(0.25, 30, stale=False)}
    assert again.world(40)[PUSH].stale


@pytest.mark.parametrize("load", [Load(math.nan), Load(-1), Load(0.5, math.nan), Load(math.inf)], ids=str)
def test_a_restart_takes_no_nonsense(loads: Loads, load: Load) -> None:
    loads.restore({PAGE: load}, 0)
    assert loads.world(0) == {}


def test_a_new_configuration_keeps_what_is_known(loads: Loads) -> None:
    loads.scraped(PAGE, 500, 0)
    loads.pushed(PUSH, 10, 0)
    loads.counted(COUNTED, 50, 0)
    pools = {
        PAGE: replace(POOLS[PAGE], capacity=Capacity(conns_per_s=2000)),
        PUSH: replace(POOLS[PUSH], load=LoadSource("balancer")),
    }
    loads.want(replace(DEPLOYMENT, pools=pools))
    assert loads.world(0) == {PAGE: Load(0.25, 0, stale=False)}, "another capacity, another source, a pool gone"


ACTS = st.tuples(
    st.sampled_from(["scraped", "pushed", "counted", "failed", "want"]),
    st.sampled_from(list(POOLS)),
    st.one_of(st.floats(), st.integers(), st.text(max_size=3), st.none()),
    st.floats(-1e9, 1e9),
    st.one_of(st.none(), st.floats()),
)


@given(st.lists(ACTS, max_size=30), st.floats(-1e9, 1e9))
def test_whatever_comes_shares_are_finite_and_bounded(
    acts: list[tuple[str, PoolId, object, float, object]], now: float
) -> None:
    loads = Loads()
    loads.want(DEPLOYMENT)
    for act, name, value, at, reported in acts:
        match act:
            case "pushed":
                with suppress(BadLoad):
                    loads.pushed(name, value, at, reported)
            case "failed":
                loads.failed(name, str(value))
            case "want":
                loads.want(DEPLOYMENT)
            case _:
                getattr(loads, act)(name, value, at)
    for load in loads.world(now).values():
        assert 0 <= load.share <= CLIPPED
        assert load.age_s >= 0
    json.dumps(loads.state(now), allow_nan=False)
