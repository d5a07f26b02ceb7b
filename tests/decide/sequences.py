"""Random services with capacities, backends and ways of return, and what is observed of them one moment after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

from hypothesis import strategies as st

from gslb.model.deployment import (
    AllDown,
    Answer,
    Backend,
    Balance,
    Capacity,
    Deployment,
    Forward,
    Listen,
    Policy,
    PolicyId,
    Pool,
    PoolId,
    Return,
    Rule,
    SiteId,
    Spill,
    WithoutBalancer,
)
from gslb.model.world import Forced, Health, Load, Override, Verdict, World
from tests.decide.worlds import deployment

START = 10_000.0
GAPS = (0.0, 1.0, 9.0, 11.0, 30.0, 59.0, 60.0, 61.0, 301.0, 3600.0, -120.0)  # seconds between two moments


@st.composite
def services(draw: st.DrawFn) -> Deployment:
    """Up to six pools in up to four datacenters, and one or two policies that use them."""
    pools = [draw(_pools(index)) for index in range(draw(st.integers(2, 6)))]
    names = [pool.name for pool in pools]
    return deployment(*(draw(_policies(index, names)) for index in range(draw(st.integers(1, 2)))), pools=pools)


@st.composite
def _pools(draw: st.DrawFn, index: int) -> Pool:
    v4 = [ip_address(f"192.0.2.{index * 16 + place}") for place in range(draw(st.integers(1, 3)))]
    v6 = [ip_address(f"2001:db8::{index:x}:{place:x}") for place in range(draw(st.integers(0, 2)))]
    backends = [ip_address(f"10.0.{index}.{place}") for place in range(draw(st.sampled_from((0, 0, 0, 1, 3))))]
    balance = Balance(
        listen=(Listen("tcp", 80),),
        forward=Forward.L2,
        backends=tuple(Backend(address, draw(st.integers(1, 2))) for address in backends),
        min_healthy=draw(st.integers(1, max(1, len(backends)))),
        without_balancer=draw(st.sampled_from(WithoutBalancer)),
    )
    return Pool(
        PoolId(f"p{index}"),
        SiteId(f"s{draw(st.integers(0, 3))}"),
        tuple(Answer(address, draw(st.sampled_from((1, 1, 2, 0)))) for address in (*v4, *v6)),
        capacity=draw(st.sampled_from((None, Capacity(conns_per_s=100.0), Capacity(conns_per_s=300.0, servers=4)))),
        return_=draw(st.sampled_from(Return)),
        balance=balance if backends else None,
    )


@st.composite
def _policies(draw: st.DrawFn, index: int, pools: list[PoolId]) -> Policy:
    some = st.lists(st.sampled_from(pools), min_size=1, unique=True).map(tuple)
    rules = draw(st.lists(st.builds(Rule, pools=some), max_size=2))
    return Policy(
        PolicyId(f"w{index}"),
        rules=(*rules, Rule(tuple(draw(st.permutations(pools))), nearest=True)),
        spill=Spill(to=draw(st.lists(st.sampled_from(pools), max_size=1).map(tuple))),
        on_all_down=draw(st.sampled_from(AllDown)),
        last_resort=(ip_address("203.0.113.1"),),
        panic=draw(st.sampled_from((0.0, 0.5, 0.6, 1.0))),
        velocity=draw(st.sampled_from((0.1, 0.34, 0.5, 1.0))),
    )


@st.composite
def moments(draw: st.DrawFn, model: Deployment, longest: int = 7) -> list[World]:
    """What is observed, one moment after the other; the clock may stand, jump, or go back."""
    found, now = [], START
    for _ in range(draw(st.integers(1, longest))):
        found.append(draw(observed(model, now)))
        now += draw(st.sampled_from(GAPS))
    return found


@st.composite
def observed(draw: st.DrawFn, model: Deployment, now: float) -> World:
    """Verdicts on some targets of every pool, some loads and some overrides."""
    verdict = st.builds(
        Verdict,
        health=st.sampled_from((Health.DOWN, Health.UP)),
        why=st.just("timeout"),
        settles_s=st.sampled_from((None, None, 3.2, 20.0)),
        double=st.sampled_from((False, False, True)),
        outlier=st.sampled_from(("", "", "slow")),
    )
    verdicts = {
        name: draw(st.dictionaries(st.sampled_from(targets_of(pool)), verdict)) for name, pool in model.pools.items()
    }
    loads = draw(st.dictionaries(st.sampled_from(list(model.pools)), st.sampled_from((0.3, 0.85, 0.95)).map(Load)))
    overrides = draw(st.lists(_overrides(model, now), max_size=2))
    unbalanced = draw(st.dictionaries(st.sampled_from(list(model.pools)), st.just("no privilege"), max_size=2))
    return World(now, verdicts=verdicts, loads=loads, overrides=tuple(overrides), unbalanced=unbalanced)


def _overrides(model: Deployment, now: float) -> st.SearchStrategy[Override]:
    names = [
        *(f"site/{name}" for name in model.datacenters),
        *(f"pool/{name}" for name in model.pools),
        *(f"answer/{name}/{answer.address}" for name, pool in model.pools.items() for answer in pool.answers),
        *(
            f"backend/{name}/{backend.address}"
            for name, pool in model.pools.items()
            if pool.balance
            for backend in pool.balance.backends
        ),
    ]
    return st.builds(
        Override,
        target=st.sampled_from(names),
        state=st.sampled_from(Forced),
        who=st.just("alice"),
        why=st.just("CHG-1"),
        since=st.just(now - 5),
        until=st.sampled_from((None, now + 5)),
        force=st.booleans(),
    )


def targets_of(pool: Pool) -> list[str]:
    """The addresses that may be checked: answers and backends."""
    backends = pool.balance.backends if pool.balance else ()
    return [*(str(one.address) for one in pool.answers), *(str(one.address) for one in backends)]


def single(world: World) -> World:
    """The same without double evidence and outliers."""
    plain: Mapping[PoolId, Mapping[str, Verdict]] = {
        pool: {address: replace(one, double=False, outlier="") for address, one in found.items()}
        for pool, found in world.verdicts.items()
    }
    return replace(world, verdicts=plain)
