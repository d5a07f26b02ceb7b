"""The responder: both paths alike, scopes that never overlap (invariant 7), nothing that breaks it (fuzz)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import dns.edns
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.geo.table import LocationTable
from gslb.model.plan import Choice, Member, Mode, Part
from gslb.nameserver.answer import OPTIONS_MAX, Responder
from gslb.nameserver.counters import Counter
from gslb.nameserver.wire import Rtype
from tests.nameserver.make import (
    CLIENT,
    ask,
    bound,
    choice,
    ecs,
    many_classes,
    opt,
    part,
    plan,
    policy_plan,
    protection,
    query,
    records,
    responder,
    tables,
    zone,
)

ZONE = (
    "@ 3600 SOA ns1 h 1 2 3 4 60\n@ 300 NS ns1\nns1 300 A 198.18.0.53\nalias 300 CNAME www\nbig 300 TXT "
    + '"'
    + "x" * 200
    + '" '
    + '"y"\n'
)
POOL = [f"192.0.2.{host}" for host in range(1, 5)]
RANKINGS = 4
HEAVY = ("198.51.100.53", "2001:db8::53")

# Addresses where tables and embedded IPv4 have their edges, and any.
corners4 = [
    "10.20.0.0",
    "10.19.255.255",
    "10.21.0.0",
    "198.51.100.7",
    "203.0.113.255",
    "7.255.255.255",
    "8.0.0.0",
    "192.0.2.1",
]
corners6 = [
    "2001:db8:5::1",
    "2001:db8:4:ffff::",
    "2001:db8:5:5500::",
    "::1",
    "::ffff:10.20.1.1",
    "::fffe:0:1",
    "64:ff9b::a14:101",
    "2002:a14:101::1",
    "2003::",
    "2001:ffff::",
    "64:ff9b:0:1::",
]
addresses4 = st.one_of(st.sampled_from([int(ip_address(text)) for text in corners4]), st.integers(0, 2**32 - 1))
addresses6 = st.one_of(
    st.sampled_from([int(ip_address(text)) for text in corners6]),
    st.integers(0, 2**32 - 1).map(lambda low: 0xFFFF << 32 | low),
    st.integers(0, 2**80 - 1).map(lambda low: 0x2002 << 112 | low << 32),
    st.integers(0, 2**128 - 1),
)
sources4 = st.builds(lambda address, bits: IPv4Network((address, bits), strict=False), addresses4, st.integers(1, 32))
sources6 = st.builds(lambda address, bits: IPv6Network((address, bits), strict=False), addresses6, st.integers(1, 128))
subnets = st.one_of(sources4, sources6)
members = st.lists(st.sampled_from(POOL), min_size=1, max_size=4, unique=True)
parts = st.builds(lambda slots, addresses: part(slots, *addresses), st.integers(0, 340), members)
choices = st.one_of(
    st.builds(lambda addresses, count: choice(*addresses, count=count), members, st.integers(1, 3)),
    st.builds(
        lambda addresses, count, shed: choice(*addresses, count=count, shed=shed),
        members,
        st.integers(1, 3),
        st.lists(parts, min_size=1, max_size=3),
    ),
    st.sampled_from([choice(mode=Mode.NODATA), choice(mode=Mode.SERVFAIL)]),
)
stickiness = st.one_of(st.tuples(st.integers(1, 32), st.integers(1, 64)), st.just((None, None)), st.just((24, 56)))


def over(
    location: LocationTable, by_ranking: list[Choice], sticky: tuple[int | None, int | None], now: float = 0.0
) -> Responder:
    """A responder whose policy `web` gives each ranking its choice; for AAAA, of like addresses."""
    half = len(by_ranking)
    policies = {"web": policy_plan({1: range(half), 28: range(half, 2 * half)}, sticky=sticky)}
    both = [*by_ranking, *(_as_ipv6(one) for one in by_ranking)]
    zones = [zone("z.test.", ZONE, bound("www.z.test."))]
    made = plan(location, policies, both, heavy=HEAVY)
    return Responder(tables(zones, made, location, protection=protection()), clock=lambda: now)


def _as_ipv6(one: Choice) -> Choice:
    shed = [Part(each.slots, _members_as_ipv6(each.members)) for each in one.shed]
    return Choice(one.mode, _members_as_ipv6(one.members), one.count, tuple(shed))


def _members_as_ipv6(members: tuple[Member, ...]) -> tuple[Member, ...]:
    return tuple(replace(one, address=f"2001:db8::{one.address}") for one in members)


def given_to(subject: Responder, subnet: IPv4Network | IPv6Network, name: str = "www.z.test.") -> tuple[object, int]:
    """What the clients of `subnet` are told, and with which scope."""
    reply = ask(subject, query(name, opt=opt(ecs(str(subnet)))))
    (option,) = reply.options
    assert isinstance(option, dns.edns.ECSOption)
    assert ip_network(f"{option.address}/{option.srclen}") == subnet
    return (reply.rcode(), tuple(records(reply.answer))), int(option.scopelen)


def block(subnet: IPv4Network | IPv6Network, scope: int) -> IPv4Network | IPv6Network:
    """The networks that a resolver keeps the answer for."""
    return (
        ip_network((int(subnet.network_address), scope), strict=False)
        if subnet.version == 6
        else IPv4Network((int(subnet.network_address), scope), strict=False)
    )


@given(st.lists(choices, min_size=RANKINGS, max_size=RANKINGS), stickiness, subnets, st.data())
def test_the_answer_for_an_address_is_that_of_its_scope(
    by_ranking: list[Choice],
    sticky: tuple[int | None, int | None],
    subnet: IPv4Network | IPv6Network,
    data: st.DataObject,
) -> None:
    subject = over(many_classes(), by_ranking, sticky)
    told, scope = given_to(subject, subnet)
    within = block(subnet, scope)
    beyond = data.draw(st.integers(0, int(within.hostmask)))
    other = ip_network(ip_address(within.network_address.packed) + beyond)
    assert given_to(subject, other)[0] == told


@given(
    st.lists(choices, min_size=RANKINGS, max_size=RANKINGS),
    stickiness,
    st.one_of(st.tuples(sources4, sources4), st.tuples(sources6, sources6)),
)
def test_scopes_of_different_answers_never_overlap(
    by_ranking: list[Choice],
    sticky: tuple[int | None, int | None],
    pair: tuple[IPv4Network, IPv4Network] | tuple[IPv6Network, IPv6Network],
) -> None:
    subject = over(many_classes(), by_ranking, sticky)
    (told, scope), (other_told, other_scope) = (given_to(subject, subnet) for subnet in pair)
    if told != other_told:
        assert not block(pair[0], scope).overlaps(block(pair[1], other_scope))


@given(
    st.lists(choices, min_size=RANKINGS, max_size=RANKINGS),
    stickiness,
    st.sampled_from([*HEAVY, "::ffff:198.51.100.53", CLIENT, "2001:db8::54", "fe80::1%eth0"]),
    st.floats(0, 4e9),
)
def test_a_client_without_subnet_is_told_the_same_on_every_path(
    by_ranking: list[Choice], sticky: tuple[int | None, int | None], source: str, now: float
) -> None:
    """`ask` compares both paths of UDP; the general one has read the query with every check."""
    subject = over(many_classes(), by_ranking, sticky, now)
    for octets in (b"", opt()):
        for rtype in ("A", "AAAA"):
            message = query("www.z.test.", rtype, octets)
            told = ask(subject, message, source)
            assert ask(subject, message, source, tcp=True).answer == told.answer
            assert subject.udp(message, source) == subject.udp(message, source)


@given(
    st.lists(choices, min_size=RANKINGS, max_size=RANKINGS), stickiness, subnets, st.floats(0, 4e9), st.floats(0, 4e9)
)
def test_a_client_subnet_is_told_the_same_whoever_asks_and_whenever(
    by_ranking: list[Choice],
    sticky: tuple[int | None, int | None],
    subnet: IPv4Network | IPv6Network,
    now: float,
    later: float,
) -> None:
    message = query("www.z.test.", opt=opt(ecs(str(subnet))))
    first = over(many_classes(), by_ranking, sticky, now).udp(message, HEAVY[0])
    assert over(many_classes(), by_ranking, sticky, later).udp(message, CLIENT) == first


COOKIE = (10, b"12345678")
ORDINARY = [
    query("www.z.test."),
    query("www.z.test.", "AAAA", opt()),
    query("wWw.z.test.", opt=opt(ecs("192.0.2.0/24"))),
    query("www.z.test.", opt=opt(ecs("10.0.0.0/8"), flags=0x8000)),
    query("www.z.test.", opt=opt(ecs("2001:db8:5::/56"))),
    query("www.z.test.", opt=opt(ecs("2002:a14:101::/48"), payload=512)),
    query("alias.z.test.", opt=opt(ecs("192.0.2.0/24"))),
    query("absent.z.test.", "TXT", opt()),
    query("big.z.test.", "TXT", flags=0x0130),
    query("www.elsewhere.net.", opt=opt()),
    query("www.z.test.", opt=opt(COOKIE)),
    query("www.z.test.", opt=opt((10, bytes(range(24))), ecs("192.0.2.0/24"), payload=512, flags=0x8000)),
    query("absent.z.test.", "TXT", opt(ecs("2001:db8:5::/56"), COOKIE)),
]
OTHERS = [
    query("www.z.test.", opt=opt((3, b""), COOKIE)),
    query("www.z.test.", opt=opt(COOKIE, COOKIE)),
    query("www.z.test.", opt=opt(COOKIE, ecs("192.0.2.128/25"))),
    query("www.z.test.", opt=opt((10, bytes(9)))),
    query("www.z.test.", opt=opt(ecs("192.0.2.128/25"))),
    query("www.z.test.", opt=opt((8, b"\0\1\0\0"))),
    query("z.test.", "ANY", opt((3, b""), (10, bytes(8)))),
    query("www.z.test.", opt=opt(), flags=0x2000),
    query("version.bind.", "TXT", rclass=3),
    query(b"\x03a\0b\x01z\x04test\0"),
]


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A valid query with some octets changed, cut, doubled or added."""
    octets = bytearray(draw(st.sampled_from(ORDINARY + OTHERS)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(octets)))
        match draw(st.sampled_from(["change", "cut", "add", "double"])):
            case "change":
                octets[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del octets[at:]
            case "add":
                octets[at:at] = draw(st.binary(max_size=8))
            case _:
                octets[at:at] = octets[draw(st.integers(0, len(octets))) : at]
    return bytes(octets)


@pytest.fixture(scope="module")
def world() -> Responder:
    by_ranking = [
        choice(*POOL, count=2),
        choice(POOL[0]),
        choice(POOL[1]),
        choice(*POOL[2:], shed=[part(100, POOL[0]), part(300, *POOL[:2])]),
    ]
    return over(many_classes(), by_ranking, (24, 56))


@given(
    st.one_of(mutations(), st.binary(max_size=100)),
    st.sampled_from([CLIENT, "10.20.1.1", "2001:db8:5::1", "fe80::1%eth0"]),
)
def test_any_octets_get_a_fitting_reply_or_silence(world: Responder, message: bytes, source: str) -> None:
    reply = world.udp(message, source)
    assert reply == world.general(message, source)
    assert reply == world.udp(message, source)  # now from memory
    streamed = world.tcp(message, source)
    silent = len(message) < 12 or message[2] >= 0x80
    assert (reply is None, streamed is None) == (silent, silent)
    if reply is None or streamed is None:
        return
    assert len(reply) <= 1232
    assert reply[:2] == message[:2] == streamed[:2]
    assert reply[2] >= 0x80
    with_opt = len(message) > 512 or message[11] or message[7] or message[9]
    assert with_opt or len(reply) <= 512
    dns.message.from_wire(reply, ignore_trailing=False)


@pytest.mark.parametrize(
    ("message", "fast"),
    [*((message, 1) for message in ORDINARY), *((message, 0) for message in OTHERS)],
    ids=[*(f"ordinary {place}" for place in range(len(ORDINARY))), *(f"other {place}" for place in range(len(OTHERS)))],
)
def test_an_ordinary_query_takes_the_hot_path_from_the_second_time_on(
    world: Responder, message: bytes, fast: int
) -> None:
    world.udp(message, CLIENT)
    before = world.counts[Counter.FAST]
    world.udp(message, CLIENT)
    assert world.counts[Counter.FAST] - before == fast


def test_the_source_decides_without_a_subnet_and_with_source_0(world: Responder) -> None:
    for octets in (b"", opt(), opt((8, b"\0\1\0\0")), opt((8, b"\0\2\0\0"))):
        assert records(ask(world, query("www.z.test.", opt=octets), "10.20.1.1").answer) == _a(POOL[0])
        assert records(ask(world, query("www.z.test.", opt=octets), "198.51.100.9").answer) == _a(POOL[1])
        assert records(ask(world, query("www.z.test.", opt=octets), "::ffff:10.20.1.1").answer) == _a(POOL[0])
        assert records(ask(world, query("www.z.test.", opt=octets), "2001:db8:5::1").answer) == _a(POOL[0])
    (option,) = ask(world, query("www.z.test.", opt=opt((8, b"\0\1\0\0"))), "10.20.1.1").options
    assert isinstance(option, dns.edns.ECSOption)
    assert (option.srclen, option.scopelen) == (0, 0)


@pytest.mark.parametrize(
    ("subnet", "address", "scope"),
    [
        ("10.20.1.0/24", POOL[0], 16),
        ("10.20.0.0/16", POOL[0], 16),
        ("10.0.0.0/8", POOL[1], 12),
        ("198.51.100.0/24", POOL[1], 24),
        ("2001:db8:5::/56", POOL[0], 48),
        ("2002:a14:101::/48", POOL[0], 32),
        ("2002:a14::/32", POOL[0], 32),
        ("::ffff:10.20.1.0/120", POOL[0], 112),
        ("64:ff9b::a14:100/120", POOL[0], 112),
    ],
)
def test_tailored(world: Responder, subnet: str, address: str, scope: int) -> None:
    assert given_to(world, ip_network(subnet)) == ((0, tuple(_a(address))), scope)


def test_a_chain_is_tailored_at_its_end(world: Responder) -> None:
    reply = ask(world, query("alias.z.test.", opt=opt(ecs("10.20.1.0/24"))))
    assert records(reply.answer) == ["alias.z.test. 300 IN CNAME www.z.test.", *_a(POOL[0])]
    (option,) = reply.options
    assert isinstance(option, dns.edns.ECSOption)
    assert option.scopelen == 16


def test_without_stickiness_the_id_spreads(world: Responder) -> None:
    assert world is not None
    subject = over(many_classes(), [choice(*POOL)] * RANKINGS, (None, None))
    message = query("www.z.test.", opt=opt(ecs("10.20.1.0/24")))
    replies = [subject.udp(number.to_bytes(2, "big") + message[2:], CLIENT) for number in range(2000)]
    counts = [sum(reply is not None and ip_address(address).packed in reply for reply in replies) for address in POOL]
    assert sum(counts) == 2000
    assert min(counts) > 400
    assert given_to(subject, ip_network("10.20.1.0/24"))[1] == 16


def test_the_lesser_ttl_is_told() -> None:
    location = many_classes()
    made = plan(location, {"web": policy_plan({1: (0,) * RANKINGS, 28: (0,) * RANKINGS}, ttl=20)}, [choice(POOL[0])])
    dynamic = {**bound("long.z.test.", ttl=60), **bound("short.z.test.", ttl=5)}
    subject = Responder(tables([zone("z.test.", ZONE, dynamic)], made, location))
    assert records(ask(subject, query("long.z.test.")).answer) == ["long.z.test. 20 IN A 192.0.2.1"]
    assert records(ask(subject, query("short.z.test.")).answer) == ["short.z.test. 5 IN A 192.0.2.1"]


def test_names_do_not_grow_memory() -> None:
    subject = responder(zone("z.test.", ZONE))
    for number in range(21_000):
        subject.udp(query(b"\x08%08d\x01z\x04test\0" % number), CLIENT)
    assert len(subject._known.entries) <= 20_000


def test_options_do_not_grow_memory() -> None:
    subject = responder(zone("z.test.", ZONE))
    for payload in range(OPTIONS_MAX + 100):
        subject.udp(query("z.test.", "SOA", opt(payload=payload)), CLIENT)
    assert len(subject._options) <= OPTIONS_MAX


def test_counts_go_on_in_the_next_generation() -> None:
    location = many_classes()
    made = tables([zone("z.test.", ZONE)], plan(location, {}, []), location)
    first = Responder(made)
    first.udp(query("z.test.", "SOA"), CLIENT)
    second = Responder(made, counts=first.counts)
    second.udp(query("z.test.", "SOA"), CLIENT)
    assert second.counts[Counter.ANSWERED] == 2


def test_type_65_is_not_type_97() -> None:
    """Lowering a key must not touch type and class: 65 is "A", 97 is "a"."""
    subject = responder(zone("z.test.", ZONE + "web 300 HTTPS 1 .\n"))
    for _ in range(2):
        assert ask(subject, query("web.z.test.", Rtype.HTTPS)).answer
        assert not ask(subject, query("web.z.test.", 97)).answer


def _a(*addresses: str) -> list[str]:
    return [f"www.z.test. 60 IN A {address}" for address in addresses]
