"""Nanoseconds that DNS in the driver takes for a query, by kind, and its share of a realistic mix: `python -m bench.dnsdriver [--json FILE]`.

Client networks are random over the full city database, names are drawn among 1 000; one core.  Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np

from bench.dnsruns import ETHERNET, FRAMES, NETWORKS, RUNS, Driver, Frames, Networks, Replay, Way, driver
from bench.dnsscene import APEX, NAMES, Scene, label, scene
from bench.queries import AAAA, TXT, A, Asked, Mix, cookie, message, option, subnet
from gslb.dnslayout import DnsCounter, DnsUp
from tests.databases import city_databases
from xdp import libbpf
from xdp.build import NotBuilt
from xdp.loader import Refused
from xdp.messages import Block

WAYS = {4: Way(ETHERNET, ETHERNET, "198.18.0.1", 53), 6: Way(ETHERNET, ETHERNET, "2001:2::1", 53)}
CACHE = Path(__file__).resolve().parent.parent / "build" / "bench" / "geo"
CLIENTS = 1 << 10  # resolvers: their frames stay in a core's cache, so that no miss of the bench's own counts
NEVER = 1e9  # responses/s of the limit: it is asked, and never reached
COOKIE_NS = 60.0  # budget of a cookie
MIXED = "realistic mix"
_IP4, _IP6 = 14 + 12, 14 + 8  # where the source stands in a frame
_UP_AT = 32  # of the first reason in struct dns_counts


@dataclass(frozen=True, slots=True)
class Kind:
    """What is asked.  `network`: 4, 6: a random one in the client subnet; -4, -6: in the source; 0: there is none."""

    name: str
    make: Callable[[Random, bytes], bytes]
    network: int = 0
    verdict: int = libbpf.XDP_TX
    budget: float | None = None
    beside: str = ""  # a kind that differs in the cookie alone


@dataclass(frozen=True, slots=True)
class Cost:
    """Nanoseconds of a kind and its budget."""

    name: str
    ns: float
    budget: float | None = None


def _dynamic(random: Random, kind: str = "w") -> bytes:
    return label(kind, random.randrange(NAMES)) + APEX


def _known(random: Random, source: bytes) -> bytes:
    return cookie(random, source, time.time(), known=True)


KINDS = (
    Kind("A, no EDNS, IPv4 source", lambda r, _: message(_dynamic(r), A, None), -4),
    Kind("AAAA, no EDNS, IPv6 source", lambda r, _: message(_dynamic(r), AAAA, None), -6),
    Kind("A, EDNS", lambda r, _: message(_dynamic(r), A)),
    Kind(
        "A, EDNS, new cookie",
        lambda r, s: message(_dynamic(r), A, cookie(r, s, time.time(), known=False)),
        beside="A, EDNS",
    ),
    Kind("A, EDNS, known cookie", lambda r, s: message(_dynamic(r), A, _known(r, s)), beside="A, EDNS"),
    Kind("A, ECS IPv4", lambda r, _: message(_dynamic(r), A, subnet(bytes(3))), 4, budget=250),
    Kind(
        "A, ECS IPv4, known cookie",
        lambda r, s: message(_dynamic(r), A, _known(r, s) + subnet(bytes(3))),
        4,
        beside="A, ECS IPv4",
    ),
    Kind("A, ECS IPv6", lambda r, _: message(_dynamic(r), A, subnet(bytes(7))), 6, budget=400),
    Kind(
        "A, ECS IPv6, known cookie",
        lambda r, s: message(_dynamic(r), A, _known(r, s) + subnet(bytes(7))),
        6,
        beside="A, ECS IPv6",
    ),
    Kind("A of 4 by hash, ECS IPv4", lambda r, _: message(_dynamic(r, "h"), A, subnet(bytes(3))), 4),
    Kind("A behind a CNAME, ECS IPv4", lambda r, _: message(_dynamic(r, "a"), A, subnet(bytes(3))), 4),
    Kind("A, static, EDNS", lambda r, _: message(_dynamic(r, "m"), A)),
    Kind("TXT of 500 octets, EDNS", lambda r, _: message(_dynamic(r, "t"), TXT)),
    Kind("NXDOMAIN, EDNS", lambda r, _: message(b"\x08" + r.randbytes(4).hex().encode() + APEX, A)),
    Kind(
        "passed up: a wildcard's",
        lambda r, _: message(_dynamic(r)[:6] + b"\x04wild" + APEX, A),
        verdict=libbpf.XDP_PASS,
    ),
    Kind(
        "A, three unknown options",
        lambda r, _: message(_dynamic(r), A, option(12, bytes(40)) * 3),
    ),
)


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    if os.geteuid() != 0:
        print("the bench of DNS in the driver loads programs into the kernel - run it as root", file=sys.stderr)
        return 1
    databases = city_databases()
    if not databases:
        print("without the city databases there is one place for all; `make geography` fetches them", file=sys.stderr)
    before = os.sched_getaffinity(0)
    try:
        made = scene(databases, CACHE, responses_per_s=NEVER)
        os.sched_setaffinity(0, {max(before)})
        with driver(made, [(way.address, way.port) for way in WAYS.values()]) as driven, closing(Replay()) as replay:
            costs = measure(made, driven, replay, arguments.runs, arguments.only)
            mixed = share(driven, replay)
    except (OSError, NotBuilt, Refused, ValueError) as error:
        print(f"DNS in the driver cannot be measured here: {error}", file=sys.stderr)
        return 1
    finally:
        os.sched_setaffinity(0, before)
    print(table(costs))
    print()
    print(mix_table(mixed))
    for cost in costs:
        if cost.budget is not None and cost.ns > cost.budget:
            print(f"over budget: {cost.name}: {cost.ns:.0f} ns - at most {cost.budget:.0f}")
    if arguments.json:
        found = {
            "ns": {cost.name: cost.ns for cost in costs},
            "budgets": {cost.name: cost.budget for cost in costs if cost.budget},
            "mix": mixed,
        }
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def measure(made: Scene, driven: Driver, replay: Replay, runs: int = RUNS, only: str = "") -> list[Cost]:
    """Every kind whose name has `only` in it, and the mix.  Raises OSError."""
    networks = {0: None, **drawn(made)}
    costs: list[Cost] = []
    for kind in KINDS:
        if only in kind.name:
            replay.load(frames(kind), networks[kind.network])
            ns, verdict = replay.cost(driven.fd, runs)
            if verdict != kind.verdict:
                raise OSError(0, f"{kind.name}: verdict {verdict} - expected {kind.verdict}")
            beside = next((cost.ns for cost in costs if cost.name == kind.beside), None)
            costs.append(Cost(kind.name, ns, kind.budget if beside is None else beside + COOKIE_NS))
    if only in MIXED:
        replay.load(mixed_frames(CLIENTS))
        costs.append(Cost(MIXED, replay.cost(driven.fd, runs)[0]))
    return costs


def share(driven: Driver, replay: Replay) -> dict[str, float]:
    """What becomes of the queries of the mix, each sent once: shares by word."""
    replay.load(mixed_frames(FRAMES))
    before = counted(driven.block())
    replay.run(driven.fd, FRAMES)
    after = counted(driven.block())
    return {word: (after[word] - before.get(word, 0)) / FRAMES for word in after if after[word] > before.get(word, 0)}


def counted(block: Block) -> dict[str, int]:
    """Answered, and passed up by reason."""
    numbers = dict(zip(memoryview(block.indexes).cast("I"), memoryview(block.counts).cast("Q"), strict=True))
    found = {"answered": numbers.get(DnsCounter.DNS_COUNTER_FAST, 0)}
    for reason in list(DnsUp)[1:-1]:
        found[f"up: {reason.name.removeprefix('DNS_UP_').lower()}"] = numbers.get(_UP_AT + reason, 0)
    return found


def frames(kind: Kind) -> Frames:
    """Queries of one kind from CLIENTS resolvers."""
    random = Random(kind.name)
    family = 6 if kind.network == -6 else 4
    made = []
    for number in range(CLIENTS):
        source = (
            IPv4Address(random.randrange(0x01000000, 0x7F000000)).packed
            if family == 4
            else IPv6Address(0x2A << 120 | random.getrandbits(120)).packed
        )
        made.append(WAYS[family].frame(Asked(kind.make(random, source), source), 1024 + number))
    if kind.network == 0:
        return Frames(made)
    if kind.network < 0:
        return Frames(made, _IP4, 4) if family == 4 else Frames(made, _IP6, 8)
    octets = 3 if kind.network == 4 else 7
    return Frames(made, len(made[0]) - octets, 8)


def mixed_frames(count: int) -> Frames:
    """The realistic mix."""
    asked = islice(Mix(1, time.time()), count)
    return Frames([WAYS[4].frame(one, 1024 + number % 60000) for number, one in enumerate(asked)])


def drawn(made: Scene) -> Mapping[int, Networks]:
    """Random client networks: IPv4 /24 anywhere; of IPv6 those where the database has something begin."""
    random = np.random.default_rng(1)
    v4 = random.integers(0, 1 << 24, NETWORKS, dtype=np.uint64) & np.uint64(0xFFFF00)
    first = random.integers(1, 127, NETWORKS, dtype=np.uint64)
    location = made.tables.location
    if location.v6_count:
        starts = np.asarray(location.v6_starts[:-1], dtype=np.uint64)
        starts = starts[(starts >> np.uint64(48) >= 0x20) & (starts >> np.uint64(48) < 0x40)]
    else:
        starts = random.integers(0x20 << 48, 0x30 << 48, NETWORKS, dtype=np.uint64)
    v6 = (random.choice(starts, NETWORKS) << np.uint64(8)).byteswap()
    return {4: first | v4, 6: v6, -4: first | v4 | np.uint64(1 << 24), -6: v6}


def table(costs: list[Cost]) -> str:
    """Costs as a table in Markdown."""
    lines = ["| query | ns | budget |", "|---|---|---|"]
    for cost in costs:
        budget = "" if cost.budget is None else f"{cost.budget:.0f}"
        lines.append(f"| {cost.name} | {cost.ns:.0f} | {budget} |")
    return "\n".join(lines)


def mix_table(mixed: Mapping[str, float]) -> str:
    """Shares as a table in Markdown."""
    lines = ["| of the realistic mix | share |", "|---|---|"]
    return "\n".join(lines + [f"| {word} | {part:.2%} |" for word, part in mixed.items()])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.dnsdriver")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--only", default="", metavar="TEXT", help="kinds with that in their name")
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help="the least of so many counts [%(default)s]")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
