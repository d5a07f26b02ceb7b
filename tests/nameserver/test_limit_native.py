"""The limit in C against the reference: the law alone, and whole replies over the limit."""

from __future__ import annotations

import ctypes
import time
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.dnslayout import DnsImage
from gslb.geo.subnets import subnet_table
from gslb.geo.table import LocationTable
from gslb.nameserver.answer import Responder
from gslb.nameserver.counters import Counter
from gslb.nameserver.guard import Buckets
from gslb.nameserver.image import ImageBuilder, split
from gslb.nameserver.limit import BUCKETS_OCTETS, Limiter, limit_of
from gslb.nameserver.native import Native, opened
from gslb.nameserver.table import Tables
from tests.conftest import missing
from tests.nameserver import make
from tests.nameserver.make import CLIENT, NOW, SECRET, bound, choice, ecs, opt, plan, policy_plan, query
from xdp.build import LIBRARY, OBJECTS, NotBuilt, build

EXEMPT = ("10.0.0.0/9", "2001:db8:1::/48", "::/8")  # the last one has ::ffff:a.b.c.d in it
GEOGRAPHY = subnet_table(make.deployment({"web": ()}))
SOA = "@ 60 SOA ns1 h 1 2 3 4 60\n@ 60 NS ns1\nns1 60 A 192.0.2.53"
COOKIE = (10, b"12345678")
QUERIES = {
    "A": query("www.z.test."),
    "RD": query("www.z.test.", flags=0x100),
    "subnet": query("www.z.test.", opt=opt(ecs("192.0.2.0/24"), flags=0x8000)),
    "NXDOMAIN": query("absent.z.test.", opt=opt()),
    "NODATA": query("www.z.test.", "MX"),
    "REFUSED": query("www.elsewhere.", opt=opt()),
    "nsid": query("www.z.test.", opt=opt((3, b""))),
    "cookie": query("www.z.test.", opt=opt(COOKIE), flags=0x100),
    "cookie and subnet": query("www.z.test.", opt=opt(ecs("192.0.2.0/24"), COOKIE, (3, b""))),
    "wrong cookie": query("absent.z.test.", opt=opt((10, bytes(24)))),
    "too long": query("long.z.test.", "TXT"),
}


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    try:
        build()
    except NotBuilt as error:
        missing(str(error))
    return opened(OBJECTS / LIBRARY)


def words() -> memoryview:
    return memoryview(bytearray(BUCKETS_OCTETS)).cast("Q")


def tables(rate: float, slip: int, *, dry_run: bool = False) -> Tables:
    location = LocationTable.from_buffer(GEOGRAPHY)
    made = plan(location, {"web": policy_plan({1: (0,), 28: (1,)})}, [choice("192.0.2.1"), choice("2001:db8::1")])
    text = SOA + "\nlong 60 TXT " + " ".join(["x" * 200] * 4)
    zones = [make.zone("z.test.", text, bound("www.z.test.")), make.zone("other.test.", SOA)]
    return make.tables(zones, made, location, b"nsid", make.protection(rate, slip, exempt=EXEMPT, dry_run=dry_run))


sources = st.one_of(
    st.sampled_from(["192.0.2.1", "192.0.2.200", "10.1.2.3", "10.200.2.3", "2001:db8:1::1"]).map(ip_address),
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.integers(0, 2**128 - 1).map(IPv6Address),
    st.integers(0, 2**32 - 1).map(lambda low: IPv6Address(0xFFFF << 32 | low)),
)


@given(
    rate=st.sampled_from([1, 2, 7.5, 100]),
    slip=st.integers(0, 4),
    asked=st.lists(
        st.tuples(st.lists(sources, min_size=1, max_size=4), st.integers(0, 3), st.integers(0, 10**9)), max_size=60
    ),
    start=st.integers(0, 2**60),
    found=st.binary(min_size=64, max_size=64),
)
def test_the_law_is_the_same(
    library: ctypes.CDLL,
    rate: float,
    slip: int,
    asked: list[tuple[list[IPv4Address | IPv6Address], int, int]],
    start: int,
    found: bytes,
) -> None:
    """Whatever stands in the array at first."""
    limit = limit_of(SECRET, rate, slip, map(ip_network, EXEMPT))
    image, _ = split(ImageBuilder().build(tables(rate, slip)).octets)
    head = DnsImage.from_buffer_copy(image).limit
    ours, theirs = bytearray(found * (BUCKETS_OCTETS // 64)), bytearray(found * (BUCKETS_OCTETS // 64))
    subject = Limiter(limit, memoryview(ours).cast("Q"))
    array = (ctypes.c_char * len(theirs)).from_buffer(theirs)
    now = start
    for several, account, later in asked:
        now += later
        for source in several:
            packed = IPv6Address(0xFFFF << 32 | int(source)) if source.version == 4 else source
            verdict = library.gslb_dns_charge(ctypes.byref(head), array, packed.packed, account, now)
            assert verdict == subject.verdict(str(source), account, now)
    assert ours == theirs


def executors(library: ctypes.CDLL, slip: int, *, dry_run: bool = False) -> tuple[Responder, Native]:
    """Both over the same tables, each with buckets of its own; one response a second."""
    made = tables(1, slip, dry_run=dry_run)
    image, _ = split(ImageBuilder().build(made).octets)
    reference = Responder(made, clock=lambda: NOW, buckets=Buckets(words(), lambda: 10**12))
    return reference, Native(library, image, GEOGRAPHY, words())


@pytest.mark.parametrize("slip", [0, 1, 2])
@pytest.mark.parametrize("message", QUERIES.values(), ids=QUERIES)
def test_replies_over_the_limit_are_the_same(library: ctypes.CDLL, message: bytes, slip: int) -> None:
    reference, native = executors(library, slip)
    source = IPv6Address(f"::ffff:{CLIENT}").packed
    expected = [reference.udp(message, CLIENT) or b"" for _ in range(6)]
    assert [native.answer(message, source, int(NOW)) for _ in range(6)] == expected
    assert native.limited == reference.limited == CLIENT
    assert len(set(expected)) == (2 if slip == 1 or not slip else 3) or message is QUERIES["too long"]
    counted = [*native.counts[: len(Counter)]]
    told = list(reference.counts)
    assert sum(counted[: Counter.TCP]) == sum(told[: Counter.TCP]) == 6
    assert counted[Counter.ANSWERED :] == told[Counter.ANSWERED :]
    native.close()


def test_in_a_dry_run_all_is_sent(library: ctypes.CDLL) -> None:
    reference, native = executors(library, 2, dry_run=True)
    source = IPv6Address(f"::ffff:{CLIENT}").packed
    replies = [native.answer(QUERIES["subnet"], source, int(NOW)) for _ in range(6)]
    assert replies == [reference.udp(QUERIES["subnet"], CLIENT)] * 6
    assert native.counts[Counter.OVER_LIMIT] == 5
    native.close()


def test_a_good_cookie_passes(library: ctypes.CDLL) -> None:
    _, native = executors(library, 1)
    source = IPv6Address("2001:db8::7").packed
    given = native.answer(QUERIES["cookie"], source, int(NOW))
    assert given is not None
    good = query("www.z.test.", opt=opt((10, given[-24:])))
    replies = {native.answer(good, source, int(NOW)) for _ in range(6)}
    assert len(replies) == 1
    assert native.counts[Counter.COOKIES_VALID] == 6
    assert native.counts[Counter.OVER_LIMIT] == 0
    assert native.limited == ""
    for _ in range(6):
        native.answer(QUERIES["A"], source, int(NOW))
    assert native.limited == "2001:db8::7"
    native.close()
    assert native.limited == ""


def test_workers_of_both_kinds_share_what_they_count(library: ctypes.CDLL) -> None:
    made = tables(3, 0)
    image, _ = split(ImageBuilder().build(made).octets)
    shared = words()
    native = Native(library, image, GEOGRAPHY, shared)
    message, source = QUERIES["A"], IPv6Address(f"::ffff:{CLIENT}").packed
    assert native.answer(message, source, int(NOW))
    reference = Responder(made, clock=lambda: NOW, buckets=Buckets(shared, time.monotonic_ns))
    assert [reference.udp(message, CLIENT) is not None for _ in range(4)] == [True, True, False, False]
    assert native.answer(message, source, int(NOW)) == b""
    native.close()
