"""The full city databases: seconds and memory from files to a table, from cache, and after a change; time of a lookup.  IO.

`python -m bench.geo [--json FILE]`.  Every step runs in a process of its own, as on a node, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import json
import mmap
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from random import Random

from gslb.geo.load import location_table
from gslb.geo.table import LocationTable
from gslb.model.deployment import (
    Answer,
    Api,
    Datacenter,
    Deployment,
    Dns,
    Geo,
    Policy,
    PolicyId,
    Pool,
    PoolId,
    Rule,
    SiteId,
    Socket,
)
from tests.databases import city_databases

LOOKUPS = 200_000
SITES = [
    *[("fra", 50.11, 8.68), ("iad", 38.95, -77.45), ("sin", 1.35, 103.82), ("syd", -33.87, 151.21)],
    *[("gru", -23.55, -46.63), ("lhr", 51.5, -0.12), ("sjc", 37.34, -121.89), ("nrt", 35.77, 140.39)],
    *[("bom", 19.08, 72.88), ("jnb", -26.2, 28.05), ("ams", 52.37, 4.9), ("mad", 40.42, -3.7)],
    *[("arn", 59.33, 18.07), ("waw", 52.23, 21.01), ("ord", 41.88, -87.63), ("dfw", 32.78, -96.8)],
    *[("mia", 25.76, -80.19), ("hkg", 22.32, 114.17), ("icn", 37.57, 126.98), ("scl", -33.45, -70.67)],
]
SMALL, LARGE = (5, 1), (20, 50)  # datacenters, policies


@dataclass(frozen=True)
class Step:
    """One measurement: what is done, on which deployment, how often, and the budget in seconds."""

    name: str
    sites: int
    policies: int
    moved: int
    rounds: int
    budget: float
    warm: bool = False


STEPS = (
    Step("cold: databases, places, table", *SMALL, moved=0, rounds=1, budget=60),
    Step("warm: from cache", *SMALL, moved=0, rounds=5, budget=1, warm=True),
    Step("a datacenter changed", *SMALL, moved=1, rounds=3, budget=5),
    Step("20 datacenters, 50 policies", *LARGE, moved=0, rounds=3, budget=5),
)


def main() -> int:
    """Measure and print; 1 without databases."""
    arguments = _arguments()
    if arguments.step is not None:
        print(json.dumps(_measured(STEPS[arguments.step], arguments.cache, arguments.round)))
        return 0
    if arguments.look_up:
        print(json.dumps(_lookups(arguments.look_up)))
        return 0
    if not city_databases():
        print("no city database; `make geography` fetches it", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        results = {step.name: _best(number, step, Path(folder)) for number, step in enumerate(STEPS)}
        looked_up = _child("--look-up", str(results[STEPS[-1].name]["path"]))
    lookups = {name: float(str(value)) for name, value in looked_up.items()}
    _print(results, lookups)
    if arguments.json:
        shown = {name: {key: value for key, value in one.items() if key != "path"} for name, one in results.items()}
        arguments.json.write_text(json.dumps({"steps": shown, "lookup": lookups}))
    return 0


def deployment(step: Step, turn: int) -> Deployment:
    """Policies that take the nearest of all datacenters; `turn` moves the first datacenter by a tenth of a degree."""
    sites = {SiteId(name): Datacenter(SiteId(name), (lat, lon)) for name, lat, lon in SITES[: step.sites]}
    first = next(iter(sites.values()))
    moved = (50.11 + step.moved * (turn + 1) / 10, 8.68)
    sites[first.name] = replace(first, at=moved)
    pools: dict[PoolId, Pool] = {}
    policies: dict[PolicyId, Policy] = {}
    for number in range(step.policies):
        # Each policy leaves some datacenters out, so that the policies tell different networks apart.
        chosen = [
            site for place, site in enumerate(sites) if (place * 7 + number) % step.policies < 0.8 * step.policies
        ]
        names = [PoolId(f"{number}-{site}") for site in chosen or sites]
        answers = (Answer(ip_address("192.0.2.1")), Answer(ip_address("2001:db8::1")))
        pools |= {name: Pool(name, SiteId(name.partition("-")[2]), answers) for name in names}
        policy = Policy(PolicyId(f"policy-{number}"), (Rule(tuple(names), nearest=True),))
        policies[policy.name] = policy
    return Deployment(
        name="bench",
        nodes={},
        datacenters=sites,
        pools=pools,
        policies=policies,
        dns=Dns(()),
        api=Api(Socket(ip_address("127.0.0.1"), 8053)),
        geo=Geo(databases=tuple(map(str, city_databases()))),
    )


def _measured(step: Step, cache: Path, turn: int) -> dict[str, object]:
    """One step in this process."""
    model = deployment(step, turn)
    started, busy = time.perf_counter(), time.process_time()
    located = location_table(model, cache)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    table = LocationTable.from_buffer(located.path.read_bytes())
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mb": peak,
        "classes": table.classes,
        "v6_ranges": table.v6_count,
        "table_mb": located.path.stat().st_size / 1e6,
        "path": str(located.path),
    }


def _best(number: int, step: Step, folder: Path) -> dict[str, object]:
    """The quickest of a step's rounds; only a warm one finds the table of the round before."""
    cache = folder / "cache"
    rounds = []
    for turn in range(step.rounds):
        if not step.warm:
            for path in cache.glob("table-*"):
                path.unlink()
        rounds.append(_child("--step", str(number), "--cache", str(cache), "--round", str(turn)))
    return min(rounds, key=lambda found: float(str(found["seconds"])))


def _lookups(path: Path) -> dict[str, float]:
    """Opening a table and looking addresses up, as a worker does, and the memory that the worker then shares."""
    random = Random(1)
    addresses = {
        "IPv4": [random.randbytes(4) for _ in range(LOOKUPS)],
        "IPv6": [bytes([0x2A, random.randrange(16)]) + random.randbytes(14) for _ in range(LOOKUPS)],
    }
    started = time.perf_counter()
    with path.open("rb") as file:
        table = LocationTable.from_buffer(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    found = {"open_ms": (time.perf_counter() - started) * 1e3}
    started = time.perf_counter()
    geography = table.geography()
    found["geography_ms"] = (time.perf_counter() - started) * 1e3
    found["rankings"] = float(sum(map(len, geography.rankings.values())))
    for family, packed in addresses.items():
        found[f"{family}_us"] = min(_timed(table.lookup, packed) for _ in range(3)) / LOOKUPS * 1e6
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in rollup[1:]}
    return {**found, "resident_mb": sizes["Rss"], "private_mb": sizes["Private_Dirty"]}


def _timed(lookup: Callable[[bytes], tuple[int, int]], packed: list[bytes]) -> float:
    started = time.perf_counter()
    for address in packed:
        lookup(address)
    return time.perf_counter() - started


def _child(*words: str) -> dict[str, object]:
    done = subprocess.run([sys.executable, "-m", "bench.geo", *words], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def _print(results: dict[str, dict[str, object]], lookups: dict[str, float]) -> None:
    print(f"{'':34} {'seconds':>8} {'CPU s':>7} {'peak MB':>8} {'budget s':>8} {'classes':>8} {'table MB':>9}")
    for step in STEPS:
        one = results[step.name]
        print(
            f"{step.name:34} {one['seconds']:8.2f} {one['cpu_seconds']:7.2f} {one['peak_mb']:8.0f} {step.budget:8} "
            f"{one['classes']:8} {one['table_mb']:9.1f}"
        )
    shown = {name: f"{value:.2f}" for name, value in lookups.items()}
    print(f"the controller: {lookups['rankings']:.0f} rankings with catchments in {shown['geography_ms']} ms")
    print(
        f"a worker: open {shown['open_ms']} ms, lookup IPv4 {shown['IPv4_us']} us, IPv6 {shown['IPv6_us']} us, "
        f"resident {shown['resident_mb']} MB, of which its own {shown['private_mb']} MB"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.geo", description="Measure the location table.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("--step", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--round", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--look-up", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
