"""Spreads: shares by weight, members that stay, and slots that every process computes alike."""

from __future__ import annotations

from collections import Counter

import pytest

from gslb.model.choice import maglev, members_from, sticky_keys, sticky_slot
from gslb.nameserver.counters import Counter as Outcome
from gslb.nameserver.message import Finished, finished
from gslb.nameserver.views import Choice, Spread, Stickiness
from tests.nameserver.make import SECRET

KEYS = sticky_keys(SECRET, "web")
ADDRESSES = tuple(bytes((192, 0, 2, host)) for host in (1, 2, 3))
IDENTITIES = (("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.3", 2))


def write(addresses: object) -> Finished:
    """A reply whose records are the addresses."""
    assert isinstance(addresses, (list, tuple))
    return finished(0, (0, 0, 0), b"".join(addresses), Outcome.ANSWERED)


def spread(count: int = 1, v4: int | None = 24, v6: int | None = 56) -> Spread:
    return Spread(
        Choice(servfail=False, count=count, addresses=ADDRESSES, identities=IDENTITIES), Stickiness(KEYS, v4, v6), write
    )


def chosen(found: Finished) -> bytes:
    return found[1]


def test_shares_follow_weights() -> None:
    subject = spread()
    counts = Counter(chosen(subject.pick4(network << 8, 0, b"")[0]) for network in range(20_000))
    assert counts[ADDRESSES[2]] == pytest.approx(10_000, rel=0.1)
    assert counts[ADDRESSES[0]] == pytest.approx(5_000, rel=0.1)


def test_a_client_network_keeps_its_member() -> None:
    subject = spread()
    assert len({chosen(subject.pick4(0x0A000000 | host, 8, b"")[0]) for host in range(256)}) == 1


def test_the_slot_is_that_of_the_model() -> None:
    table = maglev(IDENTITIES, 1021)
    slot = sticky_slot(0x0A0001, KEYS)
    assert chosen(spread().pick4(0x0A000100, 8, b"")[0]) == ADDRESSES[table[slot]]
    pair = members_from(table, slot, 2)
    assert chosen(spread(count=2).pick4(0x0A000100, 8, b"")[0]) == b"".join(ADDRESSES[index] for index in pair)


@pytest.mark.parametrize(
    ("packed", "scope", "told"),
    [
        ("0a000001", 8, 24),
        ("0a000001", 28, 28),
        ("20010db8" + "00" * 12, 32, 56),
        ("20010db8" + "00" * 12, 60, 60),
        ("20020a000001" + "00" * 10, 24, 40),
        ("00" * 10 + "ffff0a000001", 104, 120),
        ("0064ff9b" + "00" * 8 + "0a000001", 104, 120),
    ],
)
def test_scope_is_the_longer_of_depth_and_sticky_length(packed: str, scope: int, told: int) -> None:
    assert spread().pick(bytes.fromhex(packed), scope, b"")[1] == told


def test_embedded_addresses_are_given_what_their_ipv4_is() -> None:
    want = chosen(spread().pick4(0x0A000001, 8, b"")[0])
    for packed in ("20020a000001" + "00" * 10, "00" * 10 + "ffff0a000001", "0064ff9b" + "00" * 8 + "0a000001"):
        assert chosen(spread().pick(bytes.fromhex(packed), 104, b"")[0]) == want


def test_a_short_sticky_length_does_not_reach_into_embedded_prefixes() -> None:
    subject = spread(v6=4)
    assert subject.pick(bytes.fromhex("2001" + "00" * 14), 0, b"")[1] == 15
    assert subject.pick(bytes.fromhex("8000" + "00" * 14), 0, b"")[1] == 4
