"""What an image says is what the reference answers, octet by octet; or it says that the reference is to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gslb import dnslayout
from gslb.geo.table import UnreadableTable
from gslb.nameserver.answer import Responder
from gslb.nameserver.counters import Counter
from gslb.nameserver.edns import SUBNET_OCTETS, UDP_PLAIN, UDP_SAFE
from gslb.nameserver.image import ImageBuilder, split
from gslb.nameserver.legend import Legend
from gslb.nameserver.wire import COUNTS, RESPONSE, TRUNCATED
from tests.nameserver import make
from tests.nameserver.imagereader import Found
from tests.nameserver.imagescene import LONG, NAMES, TYPES, scene
from tests.nameserver.make import ecs, plan, query, wire

addresses = st.one_of(
    st.sampled_from(["10.20.1.0", "10.1.2.0", "1.2.3.0", "203.0.113.0", "192.0.2.0", "100.1.1.0", make.CLIENT]).map(
        IPv4Address
    ),
    st.integers(0, (1 << 32) - 1).map(IPv4Address),
    st.sampled_from(
        [
            "2001:db8:5::",
            "2001:db8::",
            "2002:a14:100::",
            "64:ff9b::a14:100",
            "::ffff:10.20.1.1",
            "::1",
            "64:ff9b::1:a14:100",
        ]
    ).map(IPv6Address),
    st.integers(0, (1 << 128) - 1).map(IPv6Address),
)
prefixes = st.lists(st.sampled_from(["x", "ns1", "WWW", "a.b", "l" * 50]), max_size=1)


@st.composite
def asked(draw: st.DrawFn) -> tuple[bytes, int]:
    """A name and a type."""
    name = draw(st.sampled_from(NAMES))
    labels = draw(st.one_of(st.just([]), prefixes))
    whole = wire(".".join([*labels, name]) if name != "." else ".".join([*labels, ""]) or ".")
    return whole, draw(st.sampled_from(TYPES))


@given(
    asked=asked(),
    client=addresses,
    subnet=st.one_of(st.none(), st.integers(1, 128)),
    query_id=st.integers(0, 65535),
    payload=st.sampled_from([512, 700, 1232]),
    one_class=st.booleans(),
)
@example(
    asked=(wire("mails.z.test."), 15),
    client=IPv4Address("192.0.2.1"),
    subnet=None,
    query_id=1,
    payload=512,
    one_class=True,
)
@example(
    asked=(wire("many.z.test."), 16),
    client=IPv4Address("192.0.2.1"),
    subnet=None,
    query_id=1,
    payload=512,
    one_class=True,
)
@example(
    asked=(wire("large.z.test."), 1),
    client=IPv4Address("100.1.1.0"),
    subnet=24,
    query_id=1,
    payload=512,
    one_class=False,
)
@example(
    asked=(wire("nowhere.z.test."), 1),
    client=IPv4Address("100.1.1.0"),
    subnet=24,
    query_id=1,
    payload=512,
    one_class=False,
)
@example(
    asked=(wire("mixed.z.test."), 28),
    client=IPv4Address("100.1.1.0"),
    subnet=24,
    query_id=1,
    payload=512,
    one_class=False,
)
def test_an_image_answers_as_the_reference(
    asked: tuple[bytes, int],
    client: IPv4Address | IPv6Address,
    subnet: int | None,
    query_id: int,
    payload: int,
    *,
    one_class: bool,
) -> None:
    here = scene(one_class=one_class)
    options = []
    told = client
    if subnet is not None:
        network = ip_network((client, min(subnet, client.max_prefixlen)), strict=False)
        told = network.network_address
        options = [ecs(str(network))]
    name, rtype = asked
    message = query_id.to_bytes(2, "big") + query(name, rtype, make.opt(*options, payload=payload))[2:]
    found = here.reader.find(name, rtype, told.packed, query_id, subnet=subnet is not None)
    before = _counted(here.responder)
    reply = here.responder.general(message, str(client))
    if found is None or reply is None:
        return
    counted = _difference(before, _counted(here.responder))
    plain = 12 + len(name) + 4
    assert reply[:2] == message[:2]
    record = reply[len(reply) - len(make.opt(*options)) :]  # as long as that of the query
    head = COUNTS.pack(RESPONSE | found.flags, 1, *found.counts[:2], found.counts[2] + 1)
    whole = message[:2] + head + message[12:plain] + found.body + record
    outcome = Counter(found.outcome)
    if len(whole) > max(UDP_PLAIN, min(payload, UDP_SAFE)):
        if found.cut == dnslayout.DnsCut.DNS_CUT_UP:
            return
        cut = COUNTS.pack(RESPONSE | TRUNCATED | found.flags, 1, 0, 0, 1)
        assert reply == message[:2] + cut + message[12:plain] + record
        assert counted == {outcome: 1, Counter.TRUNCATED: 1}
        return
    assert reply == whole
    if subnet is not None:
        assert record[SUBNET_OCTETS - 1] == found.scope
    assert counted == {outcome: 1, **_expected(here.legend, found)}


def _counted(responder: Responder) -> dict[object, int]:
    counts: dict[object, int] = {
        counter: responder.counts[counter]
        for counter in Counter
        if counter not in (Counter.GENERAL, Counter.ECS, Counter.UNUSUAL, Counter.FAST)
    }
    for (policy, rtype), cells in responder.given.cells.items():
        counts |= {(policy, rtype, ranking): count for ranking, count in enumerate(cells)}
    counts |= responder.given.pools()
    for policy, sources in responder.given.sources.items():
        counts[policy] = sources.total
    return counts


def _difference(before: Mapping[object, int], after: Mapping[object, int]) -> dict[object, int]:
    return {what: count - before.get(what, 0) for what, count in after.items() if count != before.get(what, 0)}


def _expected(legend: Legend, found: Found) -> dict[object, int]:
    counts: dict[object, int] = {}
    if found.cell is not None:
        for each in legend.cells:
            if each.first <= found.cell < each.first + each.rankings:
                counts[each.policy, each.rtype, found.cell - each.first] = 1
    rtype, pools = legend.marks[found.mark]
    counts |= {(pool, rtype): 1 for pool in pools}
    if found.asked is not None:
        counts |= {policy: 1 for policy, number in legend.asked.items() if number == found.asked}
    return counts


HELD = [
    ("z.test.", 255), ("www.z.test.", 255), ("alias.z.test.", 255), ("b.c.deep.z.test.", 255), ("x.y.z.test.", 255),
    ("www.z.test.", 1), ("www.z.test.", 28), ("www.z.test.", 16), ("z.test.", 6), ("z.test.", 2), ("absent.z.test.", 1),
    ("x.y.z.test.", 28), ("alias.z.test.", 1), ("across.z.test.", 28), ("spread.z.test.", 1), ("none.z.test.", 1),
    ("dead.z.test.", 1), ("mixed.z.test.", 1), ("b.c.deep.z.test.", 1), ("out.z.test.", 1), ("dangling.z.test.", 1),
    ("child.z.test.", 43), ("child.z.test.", 6), ("under.child.z.test.", 1), ("www.elsewhere.", 1), ("nowhere.z.test.", 1),
    ("www.odd.test.", 1), ("old.z.test.", 1), ("old.z.test.", 39), ("types.z.test.", 1000), (".", 2),
]  # fmt: skip
UP = [
    ("sub.z.test.", 1), ("x.sub.z.test.", 1), ("x.old.z.test.", 1), ("x.wild.z.test.", 1), ("x.any.z.test.", 1),
    ("huge.z.test.", 16), (f"{LONG}.z.test.", 1), (f"x.{LONG}.z.test.", 1), ("z.test.", 252),
    ("types.z.test.", 1013), ("alias.z.test.", 33),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rtype"), HELD)
def test_what_is_held(name: str, rtype: int) -> None:
    assert scene(one_class=False).reader.find(wire(name), rtype, bytes((10, 20, 1, 0)), 1, subnet=True)


@pytest.mark.parametrize(("name", "rtype"), UP)
def test_what_goes_up(name: str, rtype: int) -> None:
    assert scene(one_class=False).reader.find(wire(name), rtype, bytes((10, 20, 1, 0)), 1, subnet=True) is None


def test_choices_with_parts_go_up_where_no_subnet_is_told() -> None:
    here = scene(one_class=True).reader
    assert here.find(wire("shed.z.test."), 1, bytes((10, 20, 1, 0)), 1, subnet=False) is None
    assert here.find(wire("shed.z.test."), 1, bytes((10, 20, 1, 0)), 1, subnet=True) is not None


def test_every_node_makes_the_same_image() -> None:
    tables = scene(one_class=False).tables
    assert ImageBuilder().build(tables).octets == ImageBuilder().build(tables).octets


def test_a_file_that_is_none_is_refused() -> None:
    file = ImageBuilder().build(scene(one_class=True).tables).octets
    for wrong, why in (
        (file[:100], "too few"),
        (bytes(4) + file[4:], "not an image"),
        (file[:4] + bytes(6) + file[10:], "expected " + dnslayout.LAYOUT_HASH),
        (file[: split(file)[0].nbytes - 1], "in a file of"),
        (file[:-1], "legend"),
    ):
        with pytest.raises(UnreadableTable, match=why):
            split(wrong)


def test_the_head_has_the_keys_of_cookies_and_the_limit() -> None:
    location = make.one_class("web")
    made = plan(location, {}, [])
    protection = make.protection(100.5, 3, exempt=("192.0.2.0/25", "2001:db8::/33", "0.0.0.0/0", "::/0"), dry_run=True)
    compiled = make.tables(
        [make.zone("z.test.", "@ 60 SOA ns1 h 1 2 3 4 60\n@ 60 NS ns1.example.")], made, location, protection=protection
    )
    head = dnslayout.DnsImage.from_buffer_copy(split(ImageBuilder().build(compiled).octets)[0])
    limit = head.limit
    assert (head.cookies, bytes(head.cookie_keys)) == (1, b"".join(protection.cookie_keys))
    assert bytes(limit.key) == protection.limit.key
    assert (limit.interval_ns, limit.slip, limit.dry_run, limit.exempts) == (protection.limit.interval_ns, 3, 1, 4)
    told = [(bytes(limit.exempt[place].address), bytes(limit.exempt[place].mask)) for place in range(5)]
    v4, none, ones = bytes(10) + b"\xff\xff", bytes(16), b"\xff" * 12
    assert told == [
        (v4 + b"\xc0\0\2\0", ones + b"\xff\xff\xff\x80"),
        (b"\x20\1\r\xb8" + bytes(12), b"\xff\xff\xff\xff\x80" + bytes(11)),
        (v4 + bytes(4), ones + bytes(4)),
        (none, none),
        (none, none),
    ]


def test_without_protection_there_are_no_cookies_and_no_limit() -> None:
    location = make.one_class("web")
    head = dnslayout.DnsImage.from_buffer_copy(
        split(ImageBuilder().build(make.tables([], plan(location, {}, []), location)).octets)[0]
    )
    assert (head.cookies, head.limit.interval_ns) == (0, 0)
