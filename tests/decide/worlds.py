"""Deployments, geographies and worlds: small ones by hand, and random ones for property tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import TypeVar

from hypothesis import strategies as st

from gslb.model.deployment import (
    TYPE_A,
    TYPE_AAAA,
    AllDown,
    Answer,
    Api,
    Datacenter,
    Deployment,
    Dns,
    Policy,
    PolicyId,
    Pool,
    PoolId,
    Rule,
    SiteId,
    Socket,
    Spill,
)
from gslb.model.location import Geography, Ranking
from gslb.model.world import Forced, Health, Override, Verdict, Verdicts, World

K = TypeVar("K")
V = TypeVar("V")

NOW = 1_000.0
FRA, IAD, SIN, CLOUD = PoolId("web-fra"), PoolId("web-iad"), PoolId("web-sin"), PoolId("web-cloud")
WEB = PolicyId("web")


def pool(name: str, *answers: str, weight: int = 1) -> Pool:
    """A pool `web-fra` in datacenter `fra`; an answer may carry its own weight as `192.0.2.1*3`."""
    made = []
    for answer in answers:
        address, _, own = answer.partition("*")
        made.append(Answer(ip_address(address), int(own) if own else weight))
    return Pool(PoolId(name), SiteId(name.rpartition("-")[2]), tuple(made))


POOLS = (
    pool("web-fra", "192.0.2.1", "2001:db8:1::1"),
    pool("web-iad", "192.0.2.2", "2001:db8:2::2"),
    pool("web-sin", "192.0.2.3"),
    pool("web-cloud", "192.0.2.4", "2001:db8:4::4"),
)
NEAREST = Policy(WEB, rules=(Rule((FRA, IAD, SIN), nearest=True),), spill=Spill(to=(CLOUD,)))


def deployment(*policies: Policy, pools: Sequence[Pool] = POOLS) -> Deployment:
    """A deployment of these policies and pools, with the datacenters that the pools name."""
    sites = {pool.datacenter: Datacenter(pool.datacenter) for pool in pools}
    return Deployment(
        name="test",
        nodes={},
        datacenters=sites,
        pools={pool.name: pool for pool in pools},
        policies={policy.name: policy for policy in policies},
        dns=Dns(listen=()),
        api=Api(Socket(ip_address("127.0.0.1"), 8053)),
    )


def geography(model: Deployment, **orders: Sequence[Sequence[PoolId]]) -> Geography:
    """One ranking of the last rule for each order of pools given, by policy."""
    return Geography(
        digest="geography",
        classes=1 + max((len(given) for given in orders.values()), default=0),
        rankings={
            PolicyId(name): tuple(rank(model, model.policies[PolicyId(name)], -1, order) for order in given)
            for name, given in orders.items()
        },
    )


def rank(model: Deployment, policy: Policy, rule: int, order: Sequence[PoolId], limit: int | None = None) -> Ranking:
    """The ranking of a rule whose pools a client meets in this order."""
    by_type = {
        rtype: tuple(name for name in order if model.pools[name].answers_of(rtype))[:limit]
        for rtype in (TYPE_A, TYPE_AAAA)
    }
    return Ranking(rule % len(policy.rules), by_type[TYPE_A], by_type[TYPE_AAAA])


def override(
    target: str, state: Forced, *, since: float = 0.0, until: float | None = None, force: bool = False
) -> Override:
    """An override by alice."""
    return Override(target, state, who="alice", why="CHG-1", since=since, until=until, force=force)


def down(*pools: PoolId, of: Sequence[Pool] = POOLS) -> Verdicts:
    """Verdicts that find all addresses of these pools down."""
    return {
        pool.name: {str(answer.address): Verdict(Health.DOWN, why="timeout") for answer in pool.answers}
        for pool in of
        if pool.name in pools
    }


@st.composite
def models(draw: st.DrawFn) -> Deployment:
    """A deployment of up to six pools in up to four datacenters, and up to three policies."""
    pools = [draw(_pools(index)) for index in range(draw(st.integers(1, 6)))]
    names = [pool.name for pool in pools]
    return deployment(*(draw(_policies(index, names)) for index in range(draw(st.integers(1, 3)))), pools=pools)


@st.composite
def _pools(draw: st.DrawFn, index: int) -> Pool:
    v4 = [ip_address(f"192.0.2.{index * 16 + place}") for place in range(draw(st.integers(0, 2)))]
    v6 = [ip_address(f"2001:db8::{index:x}:{place:x}") for place in range(draw(st.integers(0 if v4 else 1, 2)))]
    answers = tuple(Answer(address, draw(st.sampled_from((1, 1, 1, 2, 0)))) for address in (*v4, *v6))
    return Pool(PoolId(f"p{index}"), SiteId(f"s{draw(st.integers(0, 3))}"), answers)


@st.composite
def _policies(draw: st.DrawFn, index: int, pools: list[PoolId]) -> Policy:
    some = st.lists(st.sampled_from(pools), min_size=1, unique=True).map(tuple)
    rules = draw(st.lists(st.builds(Rule, pools=some, nearest=st.booleans()), min_size=1, max_size=3))
    resort = st.lists(st.sampled_from(("203.0.113.1", "203.0.113.2", "2001:db8::ff")).map(ip_address), unique=True)
    return Policy(
        PolicyId(f"w{index}"),
        rules=tuple(rules),
        spill=Spill(to=draw(st.lists(st.sampled_from(pools), max_size=2, unique=True).map(tuple))),
        answers=draw(st.integers(1, 3)),
        on_all_down=draw(st.sampled_from(AllDown)),
        last_resort=tuple(draw(resort)),
    )


@st.composite
def geographies(draw: st.DrawFn, model: Deployment) -> Geography:
    """Rankings of each policy: first that of the unknown place, then some of every rule."""
    rankings = {}
    for name, policy in model.policies.items():
        found = [rank(model, policy, -1, policy.rules[-1].pools, limit=2 if policy.rules[-1].nearest else None)]
        for place, rule in enumerate(policy.rules):
            for _ in range(draw(st.integers(0, 2))):
                order = draw(st.permutations(rule.pools)) if rule.nearest else rule.pools
                found.append(rank(model, policy, place, order, limit=2 if rule.nearest else None))
        rankings[name] = tuple(dict.fromkeys(found))
    return Geography(digest=draw(st.sampled_from(("a", "b"))), classes=9, rankings=rankings)


@st.composite
def worlds(draw: st.DrawFn, model: Deployment) -> World:
    """Verdicts on some pools, and overrides of everything that can be overridden, in force or expired."""
    targets = [
        *(f"site/{name}" for name in model.datacenters),
        *(f"pool/{name}" for name in model.pools),
        *(f"answer/{name}/{answer.address}" for name, pool in model.pools.items() for answer in pool.answers),
    ]
    made = st.builds(
        Override,
        target=st.sampled_from(targets),
        state=st.sampled_from(Forced),
        who=st.just("alice"),
        why=st.sampled_from(("a", "b")),
        since=st.sampled_from((1.0, 2.0, 3.0)),
        until=st.sampled_from((None, NOW - 1, NOW, NOW + 1)),
        force=st.booleans(),
    )
    verdict = st.builds(Verdict, health=st.sampled_from((Health.DOWN, Health.DOWN, Health.UP)))
    return World(
        now=NOW,
        verdicts={
            name: draw(st.dictionaries(st.sampled_from([str(answer.address) for answer in pool.answers]), verdict))
            for name, pool in model.pools.items()
        },
        overrides=tuple(draw(st.lists(made, max_size=6))),
    )


def shuffled(model: Deployment, world: World) -> tuple[Deployment, World]:
    """The same model and world with every mapping and the overrides in the opposite order."""
    return (
        replace(
            model,
            pools=backwards(model.pools),
            policies=backwards(model.policies),
            datacenters=backwards(model.datacenters),
        ),
        replace(world, verdicts=backwards(world.verdicts), overrides=world.overrides[::-1]),
    )


def backwards(mapping: Mapping[K, V]) -> Mapping[K, V]:
    """The same mapping in the opposite order."""
    return dict(reversed(list(mapping.items())))
