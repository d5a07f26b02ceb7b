"""The token bucket: never more than burst + rate x time, and a bounded table."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given
from hypothesis import strategies as st

from gslb.api.limits import Limiter, Room
from gslb.model.deployment import Address

ONE = ip_address("192.0.2.1")


@given(st.lists(st.floats(0, 5), max_size=60), st.floats(0.5, 20), st.integers(1, 20))
def test_no_window_lets_more_through(gaps: list[float], per_s: float, burst: int) -> None:
    limiter, now, taken = Limiter(per_s, burst), 100.0, []
    for gap in gaps:
        now += gap
        if limiter.take(ONE, now) == 0:
            taken.append(now)
    for begin in range(len(taken)):
        for end in range(begin, len(taken)):
            allowed = burst + (taken[end] - taken[begin]) * per_s
            assert end - begin + 1 <= allowed + 1e-6


@given(st.floats(0.5, 20), st.integers(1, 20), st.integers(1, 50))
def test_who_waits_as_told_is_let_in(per_s: float, burst: int, tries: int) -> None:
    limiter = Limiter(per_s, burst)
    waits = [limiter.take(ONE, 7.0) for _ in range(burst + tries)]
    assert waits[:burst] == [0] * burst
    assert all(wait >= 1 for wait in waits[burst:])
    assert limiter.take(ONE, 7.0 + waits[-1]) == 0


def test_a_fine_is_a_debt_of_at_most_a_bucket() -> None:
    limiter = Limiter(1.0, 10)
    limiter.take(ONE, 0.0)
    for _ in range(100):
        limiter.fine(ONE, 5)
    assert limiter.take(ONE, 0.0) == 11
    assert limiter.take(ONE, 11.0) == 0


def test_a_clock_that_goes_back_fills_nothing() -> None:
    limiter = Limiter(1.0, 1)
    assert [limiter.take(ONE, 5.0), limiter.take(ONE, 0.0), limiter.take(ONE, 0.5)] == [0, 1, 1]


def test_the_table_is_bounded_and_forgets_the_oldest() -> None:
    limiter = Limiter(0.001, 1, clients=10)
    clients = [IPv4Address(number) for number in range(50)]
    assert [limiter.take(client, 0.0) for client in clients] == [0] * 50
    assert len(limiter) == 10
    assert limiter.take(clients[-1], 0.0) > 0
    assert limiter.take(clients[0], 0.0) == 0


def test_an_ipv6_network_is_one_client() -> None:
    limiter = Limiter(0.001, 1)
    base = int(IPv6Address("2001:db8::"))
    assert [limiter.take(IPv6Address(base + low), 0.0) > 0 for low in (1, 2, 2**64 + 1)] == [False, True, False]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=80))
def test_connections_of_one_client_and_in_all(steps: list[tuple[bool, int]]) -> None:
    """By a book of our own; the table knows only those who are there."""
    room = Room(in_all=6, of_one=3)
    there: list[Address] = []
    for enters, number in steps:
        client = ip_address(f"192.0.2.{number}")
        if not enters:
            if client in there:
                there.remove(client)
                room.leave(client)
            continue
        full = room.enter(client)
        assert (full is None) == (len(there) < 6 and there.count(client) < 3)
        if full is None:
            there.append(client)
    assert {**room._open} == {client: there.count(client) for client in there}


def test_a_network_of_ipv6_is_one_client() -> None:
    room = Room(in_all=9, of_one=2)
    assert [room.enter(ip_address(f"2001:db8::{n}")) is None for n in range(3)] == [True, True, False]
    assert room.enter(ip_address("2001:db8:0:1::1")) is None
