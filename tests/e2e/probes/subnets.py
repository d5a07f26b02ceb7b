"""EDNS Client Subnet (RFC 7871; items 62 to 64)."""

from __future__ import annotations

import itertools
import random
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network

from tests.e2e.probes.case import Probes
from tests.e2e.probes.wire import ECS, Option, Reply, Target, ecs, network_of, opt, query

probe = Probes()

# What `geo` answers to whom: the rules of the dynamic names (tests/e2e/probes/dynamic.py holds the same for each server).
RULES: dict[str, tuple[str, str]] = {
    "192.0.2.0/24": ("203.0.113.1", "2001:db8:f::1"),
    "198.51.0.0/16": ("203.0.113.2", "2001:db8:f::2"),
    "198.51.100.0/24": ("203.0.113.3", "2001:db8:f::3"),
    "2001:db8:a::/48": ("203.0.113.1", "2001:db8:f::1"),
    "2001:db8:b::/48": ("203.0.113.2", "2001:db8:f::2"),
}
OTHERS = ("203.0.113.9", "2001:db8:f::9")


def wanted(network: IPv4Network | IPv6Network) -> tuple[str, str]:
    """The answers for a client network by the longest rule that contains it."""
    rules = [ip_network(rule) for rule in RULES]
    holding = [rule for rule in rules if rule.version == network.version and rule.supernet_of(network)]  # type: ignore[arg-type]
    return RULES[str(max(holding, key=lambda rule: rule.prefixlen))] if holding else OTHERS


def _malformed(target: Target, option: Option) -> None:
    target.error(query("host", "A", edns=opt(option)), "FORMERR")


# RFC 7871 section 7.1.2 and 7.1.1: the first group MUST, the second SHOULD be refused
MUST = {
    "family-3": b"\x00\x03\x18\x00\xc0\x00\x02",
    "family-65535": b"\xff\xff\x18\x00\xc0\x00\x02",
    "family-0-prefix": b"\x00\x00\x18\x00\xc0\x00\x02",
    "prefix-33": b"\x00\x01\x21\x00\xc0\x00\x02\x01\x00",
    "prefix-255": b"\x00\x01\xff\x00" + b"\xc0" * 32,
    "prefix-129": b"\x00\x02\x81\x00" + b"\x20" * 17,
    "length-0": b"",
    "length-1": b"\x00",
    "length-2": b"\x00\x01",
    "length-3": b"\x00\x01\x18",
}
SHOULD = {
    "trailing-bits": b"\x00\x01\x17\x00\xc0\x00\x03",
    "trailing-bits-25": b"\x00\x01\x19\x00\xc0\x00\x02\x01",
    "scope-in-query": b"\x00\x01\x18\x18\xc0\x00\x02",
    "too-many-octets": b"\x00\x01\x18\x00\xc0\x00\x02\x00",
    "too-few-octets": b"\x00\x01\x18\x00\xc0\x00",
    "no-octets": b"\x00\x01\x18\x00",
}
probe.each(62, "ecs-bad-must", {name: partial(_malformed, option=(ECS, data)) for name, data in MUST.items()}, "ecs")
probe.each(
    62, "ecs-bad-should", {name: partial(_malformed, option=(ECS, data)) for name, data in SHOULD.items()}, "ecs"
)


@probe(62, "ecs-bad-leaves-no-trace", "ecs")
def malformed_then_good(target: Target) -> None:
    """Whatever a server remembers of a refused option, the next client with the same head gets its answer."""
    for text, bad in (
        ("192.0.2.0/25", b"\x00\x01\x19\x00\xc0\x00\x02\x01"),
        ("192.0.2.0/24", b"\x00\x01\x18\x18\xc0\x00\x02"),
    ):
        refused, good = query("host", "A", edns=opt((ECS, bad))), query("host", "A", edns=opt(ecs(text)))
        with target.udp_socket() as sock:  # one flow, so one worker
            for packet in (refused, good, refused, good):
                sock.send(packet)
            replies = [sock.recv(4096) for _ in range(4)]  # in any order: two executors may have answered
        for reply in replies:
            if reply[:2] == refused[:2]:
                target.judge_error(refused, reply, "FORMERR")
            else:
                assert echoed(Reply(good, reply), text) == 0
        assert sum(reply[:2] == refused[:2] for reply in replies) == 2


def echoed(reply: Reply, network: str) -> int:
    """Check that the one option that came back repeats family, source and address; return the scope."""
    (option,) = reply.subnets()
    net = ip_network(network)
    assert option.family == (1 if net.version == 4 else 2), reply
    assert option.srclen == net.prefixlen, reply
    assert ip_network(f"{option.address}/{option.srclen}") == net, reply
    assert len(reply.options) == 1, reply
    return int(option.scopelen)


def _echo(target: Target, network: str) -> None:
    reply = target.ask("host", "A", ecs(network))
    assert len(reply.section("answer")) == 2, reply
    assert echoed(reply, network) == 0, "the same for all: scope 0"


ECHOES = ("192.0.2.0/24", "192.0.2.7/32", "192.0.2.128/25", "128.0.0.0/1", "2001:db8:a::/56", "2001:db8::1/128",
          "2001:db8:a::/48", "10.0.0.0/8", "198.51.100.0/23")  # fmt: skip
probe.each(63, "ecs-echo", {network: partial(_echo, network=network) for network in ECHOES}, "ecs")


@probe(63, "ecs-source0", "ecs")
def source_zero(target: Target) -> None:
    for network in ("0.0.0.0/0", "::/0"):
        for name in ("host", "absent"):
            assert echoed(target.ask(name, "A", ecs(network)), network) == 0


@probe(63, "ecs-source0-tailored", "tailoring")
def source_zero_where_answers_differ(target: Target) -> None:
    for network in ("0.0.0.0/0", "::/0"):
        reply = target.ask("geo", "A", ecs(network))
        assert reply.rcode == "NOERROR"
        assert len(reply.section("answer")) == 1
        assert echoed(reply, network) == 0


@probe(63, "ecs-quiet", "ecs")
def none_unasked(target: Target) -> None:
    for name in ("host", "absent", "www.sub"):
        assert not target.ask(name, "A", payload=1232).subnets()


@probe(63, "ecs-quiet-tailored", "tailoring")
def none_unasked_where_answers_differ(target: Target) -> None:
    reply = target.ask("geo", "A", payload=1232)
    assert not reply.subnets()
    assert len(reply.section("answer")) == 1
    assert len(target.ask("geo", "A").section("answer")) == 1


@probe(63, "ecs-negative", "ecs")
def negatives_and_referrals(target: Target) -> None:
    for name, rtype in (("absent", "A"), ("host", "MX"), ("www.sub", "A"), ("@", "SOA"), ("@", "NS")):
        for network in ("192.0.2.0/24", "2001:db8:a::/56"):
            assert echoed(target.ask(name, rtype, ecs(network)), network) == 0
    reply = target.udp(query(b"\x07example\x03org\x00", "A", edns=opt(ecs("192.0.2.0/24"))), allowed=1232)
    assert reply.rcode == "REFUSED"
    assert all(option.scopelen == 0 for option in reply.subnets())


@probe(63, "ecs-negative-dynamic", "tailoring")
def negatives_of_dynamic_names(target: Target) -> None:
    for name, rtype, rcode in (("geo", "MX", "NOERROR"), ("below.geo", "A", "NXDOMAIN")):
        reply = target.ask(name, rtype, ecs("192.0.2.0/24"))
        assert reply.rcode == rcode, reply
        assert echoed(reply, "192.0.2.0/24") == 0
        assert [line.split()[2] for line in reply.section("authority")] == ["SOA"]


@probe(63, "ecs-truncated", "ecs")
def truncated(target: Target) -> None:
    reply = target.ask("above4096", "TXT", ecs("192.0.2.0/24"))
    assert reply.tc
    assert echoed(reply, "192.0.2.0/24") == 0


@probe(63, "ecs-tcp", "ecs")
def over_tcp(target: Target) -> None:
    reply = target.tcp(query("host", "A", edns=opt(ecs("192.0.2.0/24"))))
    assert echoed(reply, "192.0.2.0/24") == 0


def _address(reply: Reply) -> str:
    (line,) = reply.section("answer")
    return line.split()[3]


@probe(64, "ecs-tailored", "tailoring")
def tailored(target: Target) -> None:
    for text in ("192.0.2.0/24", "192.0.2.77/32", "198.51.1.0/24", "198.51.100.0/24", "198.51.100.128/25",
                 "203.0.113.0/24", "8.8.8.0/24", "2001:db8:a::/56", "2001:db8:b:100::/56", "2001:db8:c::/48"):  # fmt: skip
        for number, rtype in enumerate(("A", "AAAA")):
            for reply in (
                target.ask("geo", rtype, ecs(text)),
                target.tcp(query("geo", rtype, edns=opt(ecs(text)))),
            ):
                assert _address(reply) == wanted(ip_network(text))[number], f"{text}\n{reply}"
                assert echoed(reply, text) > 0, f"tailored, so the scope is not 0\n{reply}"


@probe(64, "ecs-scope-holds", "tailoring")
def scope_holds(target: Target) -> None:
    """The answer for an address is the answer for every address of address/scope (DESIGN invariant 7)."""
    chance = random.Random(7871)
    for text in (
        "192.0.2.9/32",
        "198.51.7.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "192.0.3.0/24",
        "2001:db8:a::/56",
        "2001:db8:c::/48",
    ):
        reply = target.ask("geo", "A", ecs(text))
        (option,) = reply.subnets()
        within = network_of(option)
        for _ in range(8):
            address = within.network_address + chance.randrange(within.num_addresses)
            other = target.ask("geo", "A", ecs(f"{address}/{within.max_prefixlen}"))
            assert _address(other) == _address(reply), f"{text} has scope {within}, but {address} differs\n{other}"
            assert network_of(other.subnets()[0]) == within


def no_overlap(target: Target, name: str, clients: list[str]) -> None:
    """RFC 7871 section 7.2.1: networks of different answers never contain one another."""
    seen: dict[IPv4Network | IPv6Network, frozenset[str]] = {}
    for client in clients:
        reply = target.ask(name, "A", ecs(client))
        answer = frozenset(line.split()[3] for line in reply.section("answer"))
        within = network_of(reply.subnets()[0])
        assert seen.setdefault(within, answer) == answer, f"{within} has two answers"
    nets = sorted(seen, key=lambda net: (net.version, int(net.network_address), net.prefixlen))
    for first, second in itertools.pairwise(nets):
        assert not first.overlaps(second), f"{first} and {second} overlap"


def two_hundred() -> list[str]:
    """Clients in, beside and far from the rules, always the same."""
    chance = random.Random(200)
    near = [
        f"{a}.{b}.{chance.randrange(256)}.0/24"
        for a, b in ((192, 0), (198, 51), (198, 50), (192, 1))
        for _ in range(20)
    ]
    far = [f"{chance.randrange(1, 224)}.{chance.randrange(256)}.{chance.randrange(256)}.0/24" for _ in range(80)]
    six = [f"2001:db8:{chance.randrange(16):x}:{chance.randrange(256) << 8:x}::/56" for _ in range(40)]
    return [*near, *far, *six, *(rule for rule in RULES)]


@probe(64, "ecs-nooverlap", "tailoring")
def scopes_never_overlap(target: Target) -> None:
    no_overlap(target, "geo", two_hundred())


@probe(64, "ecs-unmatched-scope", "tailoring")
def unmatched_client(target: Target) -> None:
    """A client without a rule does not get scope 0 beside longer scopes: in a resolver's cache it would cover everyone."""
    for client in ("203.0.113.0/24", "192.0.3.0/24", "10.0.0.0/24", "2001:db8:c::/56"):
        within = network_of(target.ask("geo", "A", ecs(client)).subnets()[0])
        assert within.prefixlen > 0, f"{client} was told /0"
        assert not [rule for rule in RULES if ip_network(rule).overlaps(within)], f"{client} was told {within}"
