"""Milliseconds from a changed verdict to tables that a worker could answer from, at the size of the budget.

`python -m bench.decide [--json FILE]`: 1 000 dynamic records, 50 policies, 200 pools, 20 datacenters, 5 000 location classes;
each policy ranks 20 pools in about 200 ways.  One pool goes down and comes back, first while no other sheds, then while some
others are full (FULL: how many, and their load), when they take a step and a second later; the median of several changes is
told.  Then the image of HOSTS static names, which zones with as many ask for.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path
from statistics import median
from typing import TypeVar

from gslb.control.store import Store
from gslb.decide.decide import decide
from gslb.geo.subnets import subnet_table
from gslb.geo.table import LocationTable
from gslb.model.deployment import (
    Answer,
    Api,
    Capacity,
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
)
from gslb.model.location import Geography
from gslb.model.plan import Plan
from gslb.model.world import Health, Load, Verdict, World
from gslb.model.zone import DynamicRecord, RRset, Zone
from gslb.nameserver.image import ImageBuilder
from gslb.nameserver.table import Tables, compile_names, compile_plan

SITES, POOLS, POLICIES, RECORDS, NETWORKS = 20, 200, 50, 1000, 5000
POOLS_OF_POLICY, ORDERS = 20, 200
HOSTS = 100_000
FULL = ((10, 1.2), (100, 0.85), (200, 0.85))
ROUNDS = 9
APEX = b"\x07example\x03com\x00"
SECRET = b"a bench has no secrets"

T = TypeVar("T")
Times = dict[str, list[float]]


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    model = deployment()
    location = LocationTable.from_buffer(subnet_table(model))
    results = measure(model, location)
    size = {
        "classes": location.classes,
        "rankings": sum(len(rankings) for rankings in location.rankings.values()),
        "records": RECORDS,
    }
    print(", ".join(f"{value} {name}" for name, value in size.items()))
    for name, milliseconds in results.items():
        print(f"{name:38} {milliseconds:7.1f} ms")
    if arguments.json:
        arguments.json.write_text(json.dumps({"milliseconds": results, "size": size}))


def measure(model: Deployment, location: LocationTable) -> dict[str, float]:
    """The median time of each part over changes that take one pool out and put it back."""
    geography = location.geography()
    names = compile_names([zone()], None)
    times: Times = {}
    builder = ImageBuilder()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), model.name, "bench")
        plan = decide(model, geography, _world(model, 0, {}), None)
        for turn in range(1, ROUNDS + 1):
            for name, seen in (("nothing", turn - 1), ("one verdict", turn)):
                once_more = partial(decide, model, geography, _world(model, seen, {}), plan)
                plan = _timed(times, f"decide, {name} changed", once_more)
            _hand_out(times, store, names, plan, location, builder)
        parts = [median(values) for name, values in times.items() if name != "decide, nothing changed"]
        for count, share in FULL:
            _shed(
                times,
                model,
                geography,
                plan,
                {PoolId(f"pool-{POOLS - 1 - place}"): Load(share) for place in range(count)},
            )
    _images(times, plan, location)
    found = {name: median(values) for name, values in times.items()}
    return {**found, "all parts of a change": sum(parts)}


def _images(times: Times, plan: Plan, location: LocationTable) -> None:
    """The image of many static names: when zones are read, and then at each plan."""
    tables = Tables.load(compile_names([zone(HOSTS)], None), compile_plan(plan, SECRET), location)
    builder = ImageBuilder()
    for when in ("first", "later"):
        _timed(times, f"image of {HOSTS} static names, {when}", partial(builder.build, tables))


def _shed(times: Times, model: Deployment, geography: Geography, plan: Plan, full: Mapping[PoolId, Load]) -> None:
    """Full pools take a step, then rest."""
    for turn in range(ROUNDS + 1, 2 * ROUNDS + 1):
        for name, later in (("step", 0.0), ("rest", 1.0)):
            world = _world(model, turn, full)
            once_more = partial(decide, model, geography, replace(world, now=world.now + later), plan)
            plan = _timed(times, f"decide, {len(full)} pools are full and {name}", once_more)


def _hand_out(
    times: Times, store: Store, names: bytes, plan: Plan, location: LocationTable, builder: ImageBuilder
) -> None:
    _timed(times, "store the plan (synced)", lambda: store.save_plan(plan))
    compiled = _timed(times, "compile the plan", lambda: compile_plan(plan, SECRET))
    tables = _timed(times, "load names and plan in a worker", lambda: Tables.load(names, compiled, location))
    _timed(times, "make the image", lambda: builder.build(tables))


def _world(model: Deployment, turn: int, loads: Mapping[PoolId, Load]) -> World:
    """Every second turn one pool is down; turns are ten minutes apart."""
    pool = model.pools[PoolId(f"pool-{turn // 2}")]
    verdict = Verdict(Health.UP if turn % 2 == 0 else Health.DOWN)
    verdicts = {pool.name: {str(answer.address): verdict for answer in pool.answers}}
    idle = {name: Load(0.3) for name in model.pools}
    return World(now=600.0 * turn, verdicts=verdicts, loads={**idle, **loads})


def deployment() -> Deployment:
    """The deployment of the budget."""
    sites = [SiteId(f"site-{place}") for place in range(SITES)]
    pools = {}
    for place in range(POOLS):
        addresses = IPv4Address(0xC6120000 + place), IPv6Address((0x20010DB8 << 96) + place)
        name = PoolId(f"pool-{place}")
        answers = tuple(Answer(address) for address in addresses)
        pools[name] = Pool(name, sites[place % SITES], answers, capacity=Capacity(conns_per_s=4000.0))
    networks = [IPv4Network((0x0A000000 + (place << 8), 24)) for place in range(NETWORKS)]
    return Deployment(
        name="bench",
        nodes={},
        datacenters={site: Datacenter(site) for site in sites},
        pools=pools,
        policies={policy.name: policy for policy in (_policy(place, networks) for place in range(POLICIES))},
        dns=Dns(listen=()),
        api=Api(Socket(IPv4Address("127.0.0.1"), 8053)),
    )


def _policy(place: int, networks: list[IPv4Network]) -> Policy:
    """Each network is given one of ORDERS orders of the policy's pools, differently by each policy."""
    mine = [PoolId(f"pool-{(place * 4 + step) % POOLS}") for step in range(POOLS_OF_POLICY)]
    members: list[list[IPv4Network]] = [[] for _ in range(ORDERS)]
    for index, network in enumerate(networks):
        members[(index * (2 * place + 1) + index // ORDERS) % ORDERS].append(network)
    rules = [
        Rule(
            tuple(mine[(order * step + order // POOLS_OF_POLICY) % POOLS_OF_POLICY] for step in (1, 3, 7)),
            subnets=tuple(nets),
        )
        for order, nets in enumerate(members)
        if nets
    ]
    return Policy(PolicyId(f"policy-{place}"), (*rules, Rule(tuple(mine))))


def zone(hosts: int = 0) -> Zone:
    """A zone of RECORDS dynamic names, and so many static ones."""
    server = b"\x03ns1" + APEX
    soa = server + b"\x0ahostmaster" + APEX + bytes(16) + (300).to_bytes(4, "big")
    static = (
        RRset(APEX, 6, 3600, (soa,)),
        RRset(APEX, 2, 3600, (server,)),
        RRset(server, 1, 3600, (b"\xc0\x00\x02\x35",)),
        *(RRset(b"\x07h%06d" % host + APEX, 1, 3600, (host.to_bytes(4, "big"),)) for host in range(hosts)),
    )
    dynamic = (
        DynamicRecord(b"\x05w%04d" % place + APEX, (1, 28), PolicyId(f"policy-{place % POLICIES}"), 60)
        for place in range(RECORDS)
    )
    return Zone(APEX, static, tuple(dynamic))


def _timed(times: Times, name: str, call: Callable[[], T]) -> T:
    start = time.perf_counter()
    result = call()
    times.setdefault(name, []).append((time.perf_counter() - start) * 1000)
    return result


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results there as well")
    return parser.parse_args()


if __name__ == "__main__":
    main()
