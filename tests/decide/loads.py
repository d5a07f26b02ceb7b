"""Capacities, loads and demand: small services by hand, and random ones that go through several moments."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from gslb.model.deployment import TYPE_A, TYPE_AAAA, Capacity, Deployment, Policy, PolicyId, PoolId, Return, Rule, Spill
from gslb.model.history import WHOLE, Shed
from gslb.model.location import Geography
from gslb.model.plan import Plan
from gslb.model.world import Load, World
from tests.decide.worlds import CLOUD, FRA, IAD, NOW, POOLS, SIN, WEB, deployment, geographies, models, worlds

DWELL = 60.0
BURST = Spill(to=(CLOUD,))
FILLED = Capacity(conns_per_s=4000.0, soft=0.8, hard=0.9)


def service(*, spill: Spill = BURST, **capacities: Capacity | None) -> Deployment:
    """The pools of `worlds`, with capacity 4 000/s unless given by datacenter, and one policy of fra, iad and sin."""
    pools = [replace(pool, capacity=capacities.get(pool.datacenter, FILLED), return_=Return.GRADUAL) for pool in POOLS]
    return deployment(Policy(WEB, rules=(Rule((FRA, IAD, SIN), nearest=True),), spill=spill, velocity=1.0), pools=pools)


def loaded(now: float = NOW, /, **shares: float) -> World:
    """A world in which the pools of these datacenters measure these loads."""
    return World(now, loads={PoolId(f"web-{site}"): Load(share) for site, share in shares.items()})


def share_moved(shed: Shed, asked: dict[tuple[PolicyId, int, int], float]) -> float:
    """What part of the demand `asked` by cell a shed moves."""
    total = sum(asked.values())
    return sum(asked[one.policy, one.rtype, one.ranking] * one.slots / WHOLE for one in shed.moved) / total


@st.composite
def filled(draw: st.DrawFn) -> Deployment:
    """A random deployment whose pools have capacities of either unit, or none."""
    model = draw(models())
    capacity = st.builds(
        Capacity,
        conns_per_s=st.sampled_from((None, 1000.0, 4000.0)),
        servers=st.sampled_from((4, 40)),
        soft=st.sampled_from((None, 0.5, 0.8)),
        hard=st.just(0.9),
    )
    return replace(
        model,
        pools={
            name: replace(pool, capacity=draw(st.none() | capacity), return_=draw(st.sampled_from(Return)))
            for name, pool in model.pools.items()
        },
    )


@st.composite
def busy(draw: st.DrawFn, model: Deployment, places: Geography, now: float) -> World:
    """A random world with loads, some of them stale or absurd, and demand of some policies."""
    share = st.floats(0, 3) | st.sampled_from((float("nan"), float("inf"), 1e308, -1.0))
    rates = st.floats(0, 1000) | st.sampled_from((0.0, 5e-324))
    loads = draw(st.dictionaries(st.sampled_from(sorted(model.pools)), st.builds(Load, share, stale=st.booleans())))
    demand = {
        name: {rtype: tuple(draw(rates) for _ in places.rankings[name]) for rtype in (TYPE_A, TYPE_AAAA)}
        for name in draw(st.lists(st.sampled_from(sorted(model.policies)), unique=True))
    }
    return replace(
        draw(worlds(model)), now=now, loads=loads, demand=demand, heavy=draw(st.sampled_from(((), ("b", "a"))))
    )


@st.composite
def courses(draw: st.DrawFn) -> tuple[Deployment, list[tuple[Geography, World]]]:
    """A deployment and some moments of it: seconds to hours apart, and sometimes the clock goes back."""
    model = draw(filled())
    places = draw(geographies(model))
    now, moments = NOW, []
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.integers(0, 4)) == 0:
            places = replace(draw(geographies(model)), digest=f"{places.digest}+")
        moments.append((places, draw(busy(model, places, now))))
        now += draw(st.sampled_from((1.0, 30.0, 60.0, 61.0, 600.0, 7200.0, -500.0)))
    return model, moments


def level_of(plan: Plan, pool: PoolId) -> float:
    """What a plan lets a pool shed."""
    shed = plan.history.sheds.get(pool)
    return shed.level if shed is not None else 0.0
