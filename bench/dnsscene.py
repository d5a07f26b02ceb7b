"""What the driver's DNS bench answers from: 1 000 dynamic names over the full city databases, and the reference beside it.  IO: files.

20 datacenters, 50 policies that take the nearest of different ones of them, names of static records of some 500 octets, cookies,
and the limit of responses as a node has it by default.  Pools of every fifth policy have four addresses, of which a client network
is given one by its hash.
"""

from __future__ import annotations

import mmap
import time
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

from bench.geo import LARGE, Step, deployment
from gslb.decide.decide import decide
from gslb.geo.load import location_table
from gslb.geo.subnets import subnet_table
from gslb.geo.table import LocationTable
from gslb.model.deployment import Answer, Deployment, PolicyId
from gslb.model.world import World
from gslb.model.zone import DynamicRecord, RRset, Zone
from gslb.nameserver.answer import Responder
from gslb.nameserver.cookies import keys_of
from gslb.nameserver.image import ImageBuilder
from gslb.nameserver.limit import limit_of
from gslb.nameserver.protection import Protection
from gslb.nameserver.table import Tables, compile_names, compile_plan

NAMES = 1000  # dynamic ones, and as many of each static kind
HASHED = 5  # each so manieth policy has several addresses a pool
APEX = b"\x07example\x03com\x00"
SECRET = b"a bench has no secrets"
TEXT_OCTETS = 440  # of a TXT record: a reply of some 500 octets, as one with its signature
_A, _NS, _CNAME, _SOA, _TXT, _AAAA = 1, 2, 5, 6, 16, 28


@dataclass(frozen=True, slots=True)
class Scene:
    """Tables, the files that executors are given, and the reference."""

    tables: Tables
    image: bytes
    geography: bytes | mmap.mmap
    responder: Responder


def scene(databases: tuple[Path, ...], cache: Path, *, responses_per_s: float = 200.0) -> Scene:
    """Made anew, but for what lies in `cache`; `databases` () gives one place for everyone.  Raises OSError, ValueError."""
    model = _model(databases)
    geography = _geography(model, cache)
    location = LocationTable.from_buffer(memoryview(geography))
    plan = decide(model, location.geography(), World(now=0.0), None)
    protection = Protection(keys_of(SECRET, time.time()), limit_of(SECRET, responses_per_s, 2))
    tables = Tables.load(compile_names([_zone()], None), compile_plan(plan, SECRET, protection), location)
    return Scene(tables, ImageBuilder().build(tables).octets, geography, Responder(tables, clock=time.time))


def label(kind: str, number: int) -> bytes:
    """The first label of a name: `w` dynamic, `h` the same of hashed policies, `t` TXT, `a` an alias, `m` static A."""
    return b"\x05" + kind.encode() + b"%04d" % number


def _model(databases: tuple[Path, ...]) -> Deployment:
    made = deployment(Step("", *LARGE, moved=0, rounds=0, budget=0), 0)
    hashed = tuple(f"{number}-" for number in range(0, LARGE[1], HASHED))
    wide = tuple(Answer(ip_address(f"{net}{host}")) for net in ("198.51.100.", "2001:db8:2::") for host in range(1, 5))
    pools = {
        name: replace(pool, answers=wide) if name.startswith(hashed) else pool for name, pool in made.pools.items()
    }
    return replace(made, pools=pools, geo=replace(made.geo, databases=tuple(map(str, databases))))


def _geography(model: Deployment, cache: Path) -> bytes | mmap.mmap:
    if not model.geo.databases:
        return subnet_table(model)
    cache.mkdir(parents=True, exist_ok=True)
    with location_table(model, cache).path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _zone() -> Zone:
    server = b"\x03ns1" + APEX
    soa = server + b"\x0ahostmaster" + APEX + bytes(16) + (300).to_bytes(4, "big")
    static = [
        RRset(APEX, _SOA, 3600, (soa,)),
        RRset(APEX, _NS, 3600, (server,)),
        RRset(server, _A, 3600, (b"\xc0\x00\x02\x35",)),
        RRset(b"\x01*\x04wild" + APEX, _A, 300, (b"\xc0\x00\x02\x36",)),
    ]
    dynamic = []
    plain = [number for number in range(LARGE[1]) if number % HASHED]
    hashed = range(0, LARGE[1], HASHED)
    for number in range(NAMES):
        words = b"".join(bytes([220]) + bytes([65 + number % 26]) * 220 for _ in range(TEXT_OCTETS // 220))
        static += [
            RRset(label("t", number) + APEX, _TXT, 300, (words,)),
            RRset(label("m", number) + APEX, _A, 300, (number.to_bytes(4, "big"),)),
            RRset(label("a", number) + APEX, _CNAME, 300, (label("w", number) + APEX,)),
        ]
        for kind, policies in (("w", plain), ("h", hashed)):
            policy = PolicyId(f"policy-{policies[number % len(policies)]}")
            dynamic.append(DynamicRecord(label(kind, number) + APEX, (_A, _AAAA), policy, 60))
    return Zone(APEX, tuple(static), tuple(dynamic))
