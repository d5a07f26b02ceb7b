"""Builders: zones from master text, plans from a line, queries from parts, and the responder over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from ipaddress import IPv4Address, ip_address, ip_network

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.zone

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
from gslb.model.plan import Choice, Member, Mode, Part, Plan, PolicyPlan
from gslb.model.zone import DynamicRecord, RRset, Zone
from gslb.nameserver.answer import Responder
from gslb.nameserver.cookies import keys_of
from gslb.nameserver.limit import limit_of
from gslb.nameserver.protection import Protection
from gslb.nameserver.table import Tables, compile_names, compile_plan

SECRET = b"sixteen and more octets"
CLIENT = "192.0.2.77"
NOW = 1_800_000_000.0  # seconds since the epoch
WEB = PolicyId("web")


def wire(name: str) -> bytes:
    """`www.example.com.` -> wire form, with its case."""
    return dns.name.from_text(name).to_wire() or b""


def zone(apex: str, text: str, dynamic: Mapping[str, DynamicRecord] | None = None) -> Zone:
    """A zone from master file text (dnspython reads it); `dynamic` by full name."""
    read = dns.zone.from_text(text, origin=apex, relativize=False, check_origin=False, allow_include=False)
    rrsets = tuple(
        RRset(
            owner=name.to_wire() or b"",
            rtype=int(rdataset.rdtype),
            ttl=rdataset.ttl,
            rdatas=tuple(rdata.to_wire() or b"" for rdata in rdataset),
        )
        for name, rdataset in read.iterate_rdatasets()
    )
    return Zone(wire(apex), rrsets, tuple((dynamic or {}).values()))


def bound(
    *names: str, policy: str = "web", ttl: int = 60, types: tuple[int, ...] = (1, 28)
) -> dict[str, DynamicRecord]:
    """Names that `policy` answers."""
    return {name: DynamicRecord(wire(name), types, PolicyId(policy), ttl) for name in names}


def choice(*addresses: str, count: int = 1, mode: Mode = Mode.NORMAL, shed: Sequence[Part] = ()) -> Choice:
    """A choice; see `member`."""
    return Choice(mode, tuple(map(member, addresses)), count, tuple(shed))


def part(slots: int, *addresses: str) -> Part:
    """What is answered in so many slots instead."""
    return Part(slots, tuple(map(member, addresses)))


def member(text: str) -> Member:
    """`192.0.2.1*3@fra` has weight 3 and is of pool `fra`; `@-` is an address of last resort."""
    rest, _, pool = text.partition("@")
    address, _, weight = rest.partition("*")
    named = None if pool == "-" else PoolId(pool or "pool")
    return Member(str(ip_address(address)), int(weight or 1), named)


def policy_plan(
    by_type: Mapping[int, Sequence[int]], ttl: int = 60, sticky: tuple[int | None, int | None] = (24, 56)
) -> PolicyPlan:
    """One policy of a plan: indexes of choices by type and ranking."""
    return PolicyPlan(ttl, *sticky, {rtype: tuple(indexes) for rtype, indexes in by_type.items()})


def plan(
    location: LocationTable,
    policies: Mapping[str, PolicyPlan],
    choices: Iterable[Choice],
    version: int = 1,
    heavy: Iterable[str] = (),
) -> Plan:
    """A plan for this location table."""
    named = {PolicyId(name): policy for name, policy in policies.items()}
    return Plan("tests", version, location.digest, named, tuple(choices), tuple(heavy))


def one_class(*policies: str) -> LocationTable:
    """The location table of a node without a database."""
    return LocationTable.from_buffer(subnet_table(deployment(dict.fromkeys(policies, ()))))


@cache
def many_classes() -> LocationTable:
    """A table where the policy `web` has four rankings, by networks of every shape."""
    shapes = {
        "web": (
            ("10.20.0.0/16", "203.0.113.0/24", "2001:db8:5::/48", "::/40"),
            ("10.0.0.0/8", "198.51.100.0/24", "2001:db8::/32", "64:ff9b::/48"),
            ("0.0.0.0/5", "192.0.2.0/24", "2000::/13", "2001:db8:5:5500::/56"),
        )
    }
    return LocationTable.from_buffer(subnet_table(deployment(shapes)))


def deployment(rules: Mapping[str, Sequence[Sequence[str]]]) -> Deployment:
    """Policies whose rules each send some subnets to a pool of their own; the catch-all has the last pool."""
    most = max(len(subnets) for subnets in rules.values())
    site = SiteId("site")
    pools = {
        PoolId(f"pool-{place}"): Pool(PoolId(f"pool-{place}"), site, (Answer(IPv4Address(f"192.0.2.{place}")),))
        for place in range(most + 1)
    }
    names = tuple(pools)
    policies = {}
    for name, subnets in rules.items():
        special = [
            Rule((names[place],), subnets=tuple(ip_network(text, strict=False) for text in texts))
            for place, texts in enumerate(subnets)
        ]
        policies[PolicyId(name)] = Policy(PolicyId(name), (*special, Rule((names[-1],))))
    return Deployment(
        name="tests",
        nodes={},
        datacenters={site: Datacenter(site)},
        pools=pools,
        policies=policies,
        dns=Dns(listen=()),
        api=Api(Socket(IPv4Address("127.0.0.1"), 8053)),
    )


def tables(
    zones: Iterable[Zone],
    made: Plan,
    location: LocationTable,
    nsid: bytes | None = None,
    protection: Protection | None = None,
) -> Tables:
    """Compiled and loaded again, as a worker does."""
    return Tables.load(compile_names(zones, nsid), compile_plan(made, SECRET, protection), location)


def protection(
    responses_per_s: float = 200.0, slip: int = 2, *, exempt: Sequence[str] = (), dry_run: bool = False
) -> Protection:
    """Keys of cookies at NOW, and a limit."""
    limit = limit_of(SECRET, responses_per_s, slip, map(ip_network, exempt), dry_run=dry_run)
    return Protection(keys_of(SECRET, NOW), limit)


def responder(*zones: Zone, nsid: bytes | None = None, sticky: tuple[int | None, int | None] = (24, 56)) -> Responder:
    """Over one class: policy `web` answers 192.0.2.1 and 2001:db8::1; `spread` two of three; `none` nothing; `dead` SERVFAIL;
    `shed` sheds some of what it has to two parts.  192.0.2.77 is a heavy resolver; time stands still."""
    location = one_class("web", "spread", "none", "dead", "shed")
    policies = {
        "web": policy_plan({1: (0,), 28: (1,)}),
        "spread": policy_plan({1: (2,), 28: (3,)}, sticky=sticky),
        "none": policy_plan({1: (4,), 28: (4,)}),
        "dead": policy_plan({1: (5,), 28: (5,)}),
        "shed": policy_plan({1: (6,), 28: (7,)}, sticky=sticky),
    }
    choices = (
        choice("192.0.2.1"),
        choice("2001:db8::1"),
        choice("192.0.2.1", "192.0.2.2", "192.0.2.3", count=2),
        choice("2001:db8::1", "2001:db8::2"),
        choice(mode=Mode.NODATA),
        choice(mode=Mode.SERVFAIL),
        choice("192.0.2.1", shed=[part(300, "192.0.2.2"), part(200, "192.0.2.3", "192.0.2.4*2")]),
        choice("2001:db8::1", "2001:db8::2", shed=[part(600, "2001:db8::3")]),
    )
    made = plan(location, policies, choices, heavy=[CLIENT])
    return Responder(tables(zones, made, location, nsid, protection()), clock=lambda: NOW)


def query(name: str | bytes, rtype: str | int = "A", opt: bytes = b"", *, rclass: int = 1, flags: int = 0) -> bytes:
    """A query of id 0x1234; `name` as text, or in wire form as it is."""
    asked = wire(name) if isinstance(name, str) else name
    number = rtype if isinstance(rtype, int) else int(dns.rdatatype.from_text(rtype))
    counts = b"\0\1\0\0\0\0\0\1" if opt else b"\0\1\0\0\0\0\0\0"
    return (
        b"\x12\x34"
        + flags.to_bytes(2, "big")
        + counts
        + asked
        + number.to_bytes(2, "big")
        + rclass.to_bytes(2, "big")
        + opt
    )


def opt(*options: tuple[int, bytes], payload: int = 1232, version: int = 0, flags: int = 0) -> bytes:
    """An OPT record."""
    data = b"".join(code.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body for code, body in options)
    head = b"\0\0\x29" + payload.to_bytes(2, "big") + bytes([0, version]) + flags.to_bytes(2, "big")
    return head + len(data).to_bytes(2, "big") + data


def ecs(subnet: str) -> tuple[int, bytes]:
    """A client subnet option: `192.0.2.0/24`, cut to its source prefix."""
    network = ip_network(subnet, strict=False)
    address = network.network_address.packed[: (network.prefixlen + 7) // 8]
    return 8, (1 if network.version == 4 else 2).to_bytes(2, "big") + bytes([network.prefixlen, 0]) + address


def ask(subject: Responder, message: bytes, source: str = CLIENT, *, tcp: bool = False) -> dns.message.Message:
    """The reply as dnspython reads it.  Over UDP both paths are asked, and must agree octet for octet."""
    if tcp:
        octets = subject.tcp(message, source)
    else:
        octets = subject.general(message, source)
        assert subject.udp(message, source) == octets
    assert octets is not None
    reply = dns.message.from_wire(octets, one_rr_per_rrset=False)
    assert reply.id == 0x1234
    assert reply.flags & dns.flags.QR
    assert not reply.flags & (dns.flags.RA | dns.flags.AD | dns.flags.CD | 0x0040)
    return reply


def records(section: Iterable[object]) -> list[str]:
    """A section as sorted lines `owner TTL IN TYPE data`."""
    return sorted(line for rrset in section for line in str(rrset).splitlines())
