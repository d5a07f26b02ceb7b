"""The rate limit: its rate, whom it counts together, and what nobody can do to the others."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb import dnslayout
from gslb.nameserver.counters import Counter
from gslb.nameserver.limit import (
    BUCKETS_OCTETS,
    DROP,
    ERROR,
    NEGATIVE,
    PASS,
    PLACES_MAX,
    POSITIVE,
    SLIP,
    Limiter,
    account,
    limit_of,
)

SECRET = b"sixteen and more octets"
SECOND = 10**9  # nanoseconds
START = 5_000 * SECOND
CLIENT = "192.0.2.77"


def words() -> memoryview:
    return memoryview(bytearray(BUCKETS_OCTETS)).cast("Q")


def limiter(rate: float = 10, slip: int = 0, exempt: tuple[str, ...] = (), shared: memoryview | None = None) -> Limiter:
    limit = limit_of(SECRET, rate, slip, map(ip_network, exempt))
    return Limiter(limit, words() if shared is None else shared)


def passed(subject: Limiter, source: str, responses: int, now_ns: int = START, kind: int = POSITIVE) -> int:
    return sum(subject.verdict(source, kind, now_ns) == PASS for _ in range(responses))


def test_the_array_is_what_the_header_says() -> None:
    bucket = dnslayout.DnsLimitBucket(free_at=1, tag=2, over=3)
    assert memoryview(bytes(bucket)).cast("Q").tolist() == [1, 3 << 32 | 2]
    size = len(bytes(bucket))
    assert size * dnslayout.DNS_LIMIT_WAYS * dnslayout.DNS_LIMIT_SETS == BUCKETS_OCTETS
    assert size * dnslayout.DNS_LIMIT_WAYS == dnslayout.LINE


@pytest.mark.parametrize("rate", [1, 3, 10, 200, 100.5, 12_345])
def test_a_seconds_worth_at_once_and_the_rate_after_that(rate: float) -> None:
    subject = limiter(rate)
    assert passed(subject, CLIENT, 3 * int(rate) + 10) == int(rate)
    flood = sum(
        subject.verdict(CLIENT, POSITIVE, START + int(step * SECOND / (4 * rate))) == PASS
        for step in range(1, int(40 * rate))
    )
    assert flood == pytest.approx(10 * rate, abs=max(2, rate / 100))


def test_less_than_the_rate_is_never_limited() -> None:
    subject = limiter(10)
    assert all(subject.verdict(CLIENT, POSITIVE, START + step * SECOND // 10) == PASS for step in range(500))


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.1", "192.0.2.255", True),
        ("192.0.2.1", "192.0.3.1", False),
        ("2001:db8:0:1100::1", "2001:db8:0:11ff:ffff::1", True),
        ("2001:db8:0:1100::1", "2001:db8:0:1200::1", False),
        ("192.0.2.1", "::ffff:192.0.2.9", True),
        ("192.0.2.1", "c000:200::", False),  # the same octets, another family
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_networks(one: str, other: str, together: bool) -> None:  # noqa: FBT001
    subject = limiter(10)
    assert passed(subject, one, 100) == 10
    assert passed(subject, other, 100) == (0 if together else 10)


def test_kinds_of_responses_are_limited_apart() -> None:
    subject = limiter(10)
    for kind in (POSITIVE, ERROR, NEGATIVE, NEGATIVE + 1):
        assert passed(subject, CLIENT, 100, kind=kind) == 10


def test_every_outcome_has_an_account() -> None:
    accounts = {outcome.name: account(outcome, 7) for outcome in Counter if outcome not in (Counter.FAST, Counter.TCP)}
    assert {name for name, kind in accounts.items() if kind == POSITIVE} == {"ANSWERED", "REFERRAL", "YXDOMAIN"}
    assert {name for name, kind in accounts.items() if kind == NEGATIVE + 7} == {"NODATA", "NXDOMAIN"}
    assert account(Counter.NXDOMAIN, None) == account(Counter.REFUSED, 3) == ERROR


@pytest.mark.parametrize(("slip", "expected"), [(0, []), (1, [1, 2, 3, 4, 5, 6]), (2, [2, 4, 6]), (3, [3, 6])])
def test_each_so_manieth_over_the_limit_slips(slip: int, expected: list[int]) -> None:
    subject = limiter(10, slip)
    assert passed(subject, CLIENT, 10) == 10
    found = [subject.verdict(CLIENT, POSITIVE, START) for _ in range(6)]
    assert [place for place, verdict in enumerate(found, 1) if verdict == SLIP] == expected
    assert set(found) <= {DROP, SLIP}
    assert subject.last == CLIENT


def test_the_exempt_are_never_limited() -> None:
    subject = limiter(1, exempt=("198.51.100.0/25", "2001:db8::/32"))
    for source in ("198.51.100.127", "::ffff:198.51.100.1", "2001:db8:ffff::1"):
        assert passed(subject, source, 50) == 50
    for source in ("198.51.100.128", "2001:db9::1"):
        assert passed(subject, source, 50) == 1
    assert limiter(1, exempt=("0.0.0.0/0",)).verdict(CLIENT, POSITIVE, START) == PASS


def test_prefixes_of_ipv6_exempt_none_of_ipv4() -> None:
    """Though IPv4 addresses are counted as ::ffff:a.b.c.d, which lies in some of them."""
    for wide in ("::/0", "::/80", "::ffff:0:0/96", "::ffff:198.51.100.0/120"):
        subject = limiter(1, exempt=(wide,))
        for source in ("198.51.100.1", "::ffff:198.51.100.9"):
            assert passed(subject, source, 50) == 1, wide
            subject = limiter(1, exempt=(wide,))
    assert passed(limiter(1, exempt=("::/0",)), "2001:db8::1", 50) == 50


def test_processes_with_one_array_share_the_rate() -> None:
    shared = words()
    first, second = limiter(10, shared=shared), limiter(10, shared=shared)
    assert passed(first, CLIENT, 6) + passed(second, CLIENT, 100) == 10
    assert passed(first, CLIENT, 100) == 0


def test_a_clock_that_starts_anew_does_not_shut_anyone_out() -> None:
    shared = words()
    passed(limiter(10, shared=shared), CLIENT, 100, now_ns=START)
    assert passed(limiter(10, shared=shared), CLIENT, 100, now_ns=SECOND) == 10


@given(st.binary(min_size=64, max_size=64), st.integers(0, 2**62))
def test_whatever_stands_in_the_array_the_limit_holds(octets: bytes, now_ns: int) -> None:
    shared = memoryview(bytearray(octets * (BUCKETS_OCTETS // len(octets)))).cast("Q")
    subject = limiter(10, shared=shared)
    assert passed(subject, CLIENT, 100, now_ns=now_ns) <= 10
    assert passed(subject, CLIENT, 100, now_ns=now_ns + 4 * SECOND) == 10


def test_a_flood_from_everywhere_gives_nobody_more() -> None:
    """Buckets of networks below their limit give way before that of one over it."""
    subject = limiter(10)
    assert passed(subject, CLIENT, 100) == 10
    for number in range(4 * PLACES_MAX):
        subject.verdict(str(IPv4Address(number << 8 | 1 << 31)), POSITIVE, START + number)
    assert passed(subject, CLIENT, 100, now_ns=START + 4 * PLACES_MAX) == 0
    assert len(subject._places) <= PLACES_MAX


def test_places_depend_on_the_secret() -> None:
    first, second = limiter(), Limiter(limit_of(b"another", 10, 0), words())
    sources = [str(IPv4Address(number << 8)) for number in range(50)]
    for source in sources:
        first.verdict(source, POSITIVE, START)
        second.verdict(source, POSITIVE, START)
    assert all(first._places[source, POSITIVE] != second._places[source, POSITIVE] for source in sources)


def test_every_executor_finds_the_same_place() -> None:
    """Changing these numbers takes shared buckets apart."""
    subject = limiter()
    subject.verdict("192.0.2.1", POSITIVE, START)
    subject.verdict("2001:db8::1", NEGATIVE + 3, START)
    assert list(subject._places.values()) == [(107600, 608135651), (127096, 1731719464)]
