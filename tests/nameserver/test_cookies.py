"""DNS cookies, by the vectors of RFC 9018 and at every border of their lives."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.nameserver.cookies import DAY_S, KEY_OCTETS, Keys, answer, keys_of, next_keys_at
from tests.nameserver.make import NOW, SECRET

CLIENT = bytes(range(8))
SOURCE = ip_address("192.0.2.77").packed
KEYS = keys_of(SECRET, NOW)
MADE = int(NOW)
GIVEN, _ = answer(CLIENT, SOURCE, KEYS, MADE)

# RFC 9018 appendix A: the key, the client's address, what it sends, the time, and the reply's cookie
FIRST = "e5e973e5a6b2a43f48e7dc849e37bfcf"
ROLLED = "445536bcd2513298075a5d379663c962"
VECTORS = {
    "A.1 learning": (
        FIRST, "198.51.100.100", "2464c4abcf10c957", 1559731985, "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
    ),
    "A.2 the same again, renewed": (
        FIRST, "198.51.100.100", "2464c4abcf10c957010000005cf79f111f8130c3eee29480", 1559734385,
        "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
    ),
    "A.3 another client, reserved octets": (
        FIRST, "203.0.113.203", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", 1559728000,
        "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
    ),
    "A.3 too old": (
        FIRST, "203.0.113.203", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", 1559734700,
        "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
    ),
    "A.4 IPv6, another key": (
        ROLLED, "2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8", 1559741961,
        "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
    ),
}  # fmt: skip


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_vectors_of_rfc_9018(vector: tuple[str, str, str, int, str]) -> None:
    key, address, asked, now, expected = vector
    both = bytes.fromhex(key), bytes.fromhex(key)
    reply, _ = answer(bytes.fromhex(asked), ip_address(address).packed, both, now)
    assert reply.hex() == expected


def test_the_reserved_octets_are_hashed_as_they_come() -> None:
    asked = bytes.fromhex("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5")
    key = bytes.fromhex(FIRST)
    assert answer(asked, ip_address("203.0.113.203").packed, (key, key), 1559728000)[1]


@pytest.mark.parametrize(
    ("age_s", "valid", "same"),
    [(-301, False, False), (-300, True, True), (0, True, True), (1800, True, True), (1801, True, False),
     (3600, True, False), (3601, False, False)],
)  # fmt: skip
def test_borders_of_age(age_s: int, valid: bool, same: bool) -> None:  # noqa: FBT001
    reply, found = answer(GIVEN, SOURCE, KEYS, MADE + age_s)
    assert (found, reply == GIVEN) == (valid, same)


@given(st.integers(0, 23), st.integers(1, 255))
def test_any_other_octet_makes_it_invalid(place: int, change: int) -> None:
    forged = GIVEN[:place] + bytes((GIVEN[place] ^ change,)) + GIVEN[place + 1 :]
    assert answer(forged, SOURCE, KEYS, MADE)[1] is False


@given(st.binary(min_size=8, max_size=8), st.binary(max_size=32), st.sampled_from([4, 16]))
def test_every_cookie_is_answered_with_the_clients_and_a_good_one(client: bytes, server: bytes, octets: int) -> None:
    source = bytes(range(100, 100 + octets))
    reply, _ = answer(client + server, source, KEYS, MADE)
    assert reply[:8] == client
    assert len(reply) == 24
    assert answer(reply, source, KEYS, MADE + 60) == (reply, True)


def test_it_is_good_for_one_address_only() -> None:
    assert answer(GIVEN, ip_address("192.0.2.78").packed, KEYS, MADE)[1] is False


def test_ipv4_inside_ipv6_is_ipv4() -> None:
    assert answer(GIVEN, ip_address("::ffff:192.0.2.77").packed, KEYS, MADE) == (GIVEN, True)


def test_another_version_is_not_taken() -> None:
    other = GIVEN[:8] + b"\2" + GIVEN[9:]
    reply, valid = answer(other, SOURCE, KEYS, MADE)
    assert (reply[8], valid) == (1, False)


def test_timestamps_go_round() -> None:
    end = 1 << 32
    before, _ = answer(CLIENT, SOURCE, KEYS, end - 10)
    assert before[12:16] == b"\xff\xff\xff\xf6"
    assert answer(before, SOURCE, KEYS, end - 10 + 100)[1] is True


@given(st.integers(0, 40 * DAY_S), st.integers(-3600, 300))
def test_whoever_has_the_keys_of_its_time_takes_what_any_other_node_made(now: int, apart: int) -> None:
    """`apart` is how far the other's clock, or the time when it made the cookie, is from ours."""
    now += MADE
    made, _ = answer(CLIENT, SOURCE, keys_of(SECRET, now + apart), now + apart)
    assert answer(made, SOURCE, keys_of(SECRET, now), now)[1] is True


def test_keys_change_at_noon_and_only_then() -> None:
    noon = (MADE // DAY_S) * DAY_S + DAY_S // 2
    assert keys_of(SECRET, noon - 1) != keys_of(SECRET, noon) == keys_of(SECRET, noon + DAY_S - 1)
    assert next_keys_at(noon - 1) == noon
    assert next_keys_at(noon) == noon + DAY_S


def test_a_day_keeps_its_key_and_days_have_their_own() -> None:
    days: dict[int, bytes] = {}
    for now in range(MADE, MADE + 10 * DAY_S, DAY_S // 4):
        first = (now - DAY_S // 2) // DAY_S
        for day in (first, first + 1):
            key = keys_of(SECRET, now)[day % 2]
            assert days.setdefault(day, key) == key
    assert len(set(days.values())) == len(days)


def test_every_node_has_the_same_keys() -> None:
    expected: Keys = (
        bytes.fromhex("952f16164ad522de389c2fcf855ead1d"),
        bytes.fromhex("7968552ff710b91c755f69c6d8aa02f2"),
    )
    assert keys_of(b"sixteen and more octets", 1_800_000_000.0) == expected  # changing these ends all cookies
    assert all(len(key) == KEY_OCTETS for key in expected)
    assert keys_of(b"another", NOW) != expected
