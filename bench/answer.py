"""Nanoseconds of CPU a call of `Responder.udp`, by kind of query, in one process and without sockets.

`python -m bench.answer [--json FILE]`.  The location table is as large as a full one (2^24 entries, hit at random); the
policy ranks three pools by 4 096 random networks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from random import Random

from gslb.decide.decide import decide
from gslb.geo.subnets import subnet_table
from gslb.geo.table import LocationTable
from gslb.model.deployment import (
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
)
from gslb.model.plan import Member, Part, Plan
from gslb.model.world import World
from gslb.model.zone import DynamicRecord, RRset, Zone
from gslb.nameserver import cookies
from gslb.nameserver.answer import Responder
from gslb.nameserver.guard import Buckets
from gslb.nameserver.limit import BUCKETS_OCTETS, limit_of
from gslb.nameserver.protection import Protection
from gslb.nameserver.table import Tables, compile_names, compile_plan

QUERIES = 4096  # distinct queries of each kind
ROUNDS = 5  # the best of so many is told
NETWORKS = 4096
APEX = b"\x07example\x03com\x00"
PARTS = ((200, "198.51.100.1"), (55, "198.51.100.2"))
SECRET = b"a bench has no secrets"
NOW = 1_800_000_000.0  # seconds since the epoch
PROTECTION = Protection(cookies.keys_of(SECRET, NOW), limit_of(SECRET, 1e9, 2))
LIMITED = ("A, no EDNS, source decides", "A, ECS IPv4 /24", "NXDOMAIN, one name")  # measured under a limit too


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    made = tables()
    respond = Responder(made, clock=lambda: NOW).udp
    results = {name: measure(respond, queries) for name, queries in kinds().items()}
    buckets = Buckets(memoryview(bytearray(BUCKETS_OCTETS)).cast("Q"), time.monotonic_ns)
    limited = Responder(made, clock=lambda: NOW, buckets=buckets).udp
    results |= {f"{name}, limit": measure(limited, kinds()[name]) for name in LIMITED}
    if arguments.json:
        arguments.json.write_text(json.dumps({"answer_ns": results}))
    for name, nanoseconds in results.items():
        print(f"{name:28} {nanoseconds:7.0f} ns a call")


def measure(respond: Callable[[bytes, str], bytes | None], queries: Sequence[tuple[bytes, str]]) -> float:
    """The best mean over ROUNDS, in nanoseconds; the cost of the loop is taken off."""
    for query, source in queries:
        assert respond(query, source) is not None
    best = min(_round(respond, queries) for _ in range(ROUNDS))
    return (best - min(_round(_nothing, queries) for _ in range(ROUNDS))) / len(queries)


def tables() -> Tables:
    """One zone with a name of each kind, over a full-sized location table."""
    model = _deployment()
    location = LocationTable.from_buffer(subnet_table(model))
    plan = _shedding(decide(model, location.geography(), World(now=0.0), None))
    return Tables.load(compile_names([_zone()], None), compile_plan(plan, SECRET, PROTECTION), location)


def kinds() -> dict[str, list[tuple[bytes, str]]]:
    """Queries with their sources, by kind."""
    random = Random(1)
    source = "192.0.2.53"

    def v4() -> bytes:
        return _opt(1, 24, random.randbytes(3))

    def v6() -> bytes:
        return _opt(2, 56, b"\x2a" + random.randbytes(6))

    def many(make: Callable[[], bytes], where: Callable[[], str] = lambda: source) -> list[tuple[bytes, str]]:
        return [(make(), where()) for _ in range(QUERIES)]

    return {
        "A, no EDNS, source decides": many(
            lambda: _query(b"\x03www"), lambda: str(IPv4Address(random.getrandbits(32)))
        ),
        "A, ECS IPv4 /24": many(lambda: _query(b"\x03www", v4())),
        "A, ECS IPv6 /56": many(lambda: _query(b"\x03www", v6())),
        "A of 4 by hash, ECS IPv4": many(lambda: _query(b"\x04many", v4())),
        "A with shed parts, ECS IPv4": many(lambda: _query(b"\x04shed", v4())),
        "A with shed parts, heavy": many(lambda: _query(b"\x04shed")),
        "A with shed parts, others": many(
            lambda: _query(b"\x04shed"), lambda: str(IPv4Address(random.getrandbits(32)))
        ),
        "TXT, static, EDNS": many(lambda: _query(b"\x04text", _opt(), 16)),
        "NXDOMAIN, one name": many(lambda: _query(b"\x06absent", _opt())),
        "NXDOMAIN, random names": many(lambda: _query(b"\x08" + random.randbytes(4).hex().encode(), _opt())),
        "A, new cookie": many(lambda: _query(b"\x03www", _opt_raw(b"\0\x0a\0\x08" + random.randbytes(8)))),
        "A, good cookie": many(lambda: _query(b"\x03www", _opt_raw(_cookie(random.randbytes(8), source)))),
        "A, good cookie, ECS IPv4 /24": many(
            lambda: _query(b"\x03www", _opt_raw(_cookie(random.randbytes(8), source) + v4()[11:]))
        ),
        "A, unknown option": many(lambda: _query(b"\x03www", _opt_raw(b"\xfd\xe9\0\x08" + random.randbytes(8)))),
    }


def _deployment() -> Deployment:
    random = Random(2)
    names = [PoolId(f"pool-{place}") for place in range(3)]
    sites = [SiteId(f"site-{place}") for place in range(3)]
    wide = PoolId("wide")
    pools = {
        name: Pool(name, site, (Answer(IPv4Address(f"192.0.2.{place}")), Answer(IPv6Address(f"2001:db8::{place}"))))
        for place, (name, site) in enumerate(zip(names, sites, strict=True))
    }
    pools[wide] = Pool(wide, sites[0], tuple(Answer(IPv4Address(f"198.51.100.{host}")) for host in range(4)))
    subnets: list[list[IPv4Network | IPv6Network]] = [[], []]
    for place in range(NETWORKS):
        v4 = IPv4Network((random.getrandbits(32), 20), strict=False)
        v6 = IPv6Network((0x2A << 120 | random.getrandbits(120), 32), strict=False)
        subnets[place % 2] += [v4, v6]
    rules = (
        Rule((names[1], names[0]), subnets=tuple(subnets[0])),
        Rule((names[2], names[0]), subnets=tuple(subnets[1])),
        Rule(tuple(names)),
    )
    return Deployment(
        name="bench",
        nodes={},
        datacenters={site: Datacenter(site) for site in sites},
        pools=pools,
        policies={
            PolicyId("web"): Policy(PolicyId("web"), rules),
            PolicyId("many"): Policy(PolicyId("many"), (Rule((wide,)),)),
            PolicyId("shed"): Policy(PolicyId("shed"), (Rule((names[0],)),)),
        },
        dns=Dns(listen=()),
        api=Api(Socket(IPv4Address("127.0.0.1"), 8053)),
    )


def _shedding(plan: Plan) -> Plan:
    """With a quarter of what policy `shed` answers going elsewhere, and one heavy resolver."""
    policy = plan.policies[PolicyId("shed")]
    home = plan.choices[policy.choices[1][0]]
    parts = tuple(Part(slots, (Member(address, 1, PoolId("wide")),)) for slots, address in PARTS)
    choices = {rtype: (len(plan.choices),) * len(indexes) for rtype, indexes in policy.choices.items()}
    policies = {**plan.policies, PolicyId("shed"): replace(policy, choices=choices)}
    return replace(plan, policies=policies, choices=(*plan.choices, replace(home, shed=parts)), heavy=("192.0.2.53",))


def _zone() -> Zone:
    server = b"\x03ns1" + APEX
    soa = server + b"\x0ahostmaster" + APEX + bytes(16) + (300).to_bytes(4, "big")
    return Zone(
        APEX,
        (
            RRset(APEX, 6, 3600, (soa,)),
            RRset(APEX, 2, 3600, (server,)),
            RRset(server, 1, 3600, (b"\xc0\x00\x02\x35",)),
            RRset(b"\x04text" + APEX, 16, 300, (b"\x0bhello world",)),
        ),
        (
            DynamicRecord(b"\x03www" + APEX, (1, 28), PolicyId("web"), 60),
            DynamicRecord(b"\x04many" + APEX, (1,), PolicyId("many"), 60),
            DynamicRecord(b"\x04shed" + APEX, (1,), PolicyId("shed"), 60),
        ),
    )


def _query(label: bytes, opt: bytes = b"", rtype: int = 1) -> bytes:
    head = b"\x12\x34\x00\x10\x00\x01\0\0\0\0\0" + bytes([bool(opt)])
    return head + label + APEX + rtype.to_bytes(2, "big") + b"\0\x01" + opt


def _opt(family: int = 0, source: int = 0, address: bytes = b"") -> bytes:
    if not family:
        return _opt_raw(b"")
    data = family.to_bytes(2, "big") + bytes([source, 0]) + address
    return _opt_raw(b"\0\x08" + len(data).to_bytes(2, "big") + data)


def _cookie(client: bytes, source: str) -> bytes:
    """A COOKIE option as this server would have given it to `source`."""
    given, _ = cookies.answer(client, IPv4Address(source).packed, PROTECTION.cookie_keys, int(NOW))
    return b"\0\x0a" + len(given).to_bytes(2, "big") + given


def _opt_raw(options: bytes) -> bytes:
    return b"\0\0\x29\x04\xd0\0\0\x80\0" + len(options).to_bytes(2, "big") + options


def _round(respond: Callable[[bytes, str], bytes | None], queries: Sequence[tuple[bytes, str]]) -> int:
    start = time.thread_time_ns()
    for query, source in queries:
        respond(query, source)
    return time.thread_time_ns() - start


def _nothing(query: bytes, source: str) -> bytes | None:  # noqa: ARG001  # has the signature of what is measured
    return None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the results to a file as well")
    return parser.parse_args()


if __name__ == "__main__":
    main()
