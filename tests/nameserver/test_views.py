"""Spreads: shares by weight, members that stay, and slots that every process computes alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pytest

from gslb.model.choice import maglev, members_from, sticky_keys, sticky_slot
from gslb.nameserver.counters import Counter as Outcome
from gslb.nameserver.message import Finished, finished
from gslb.nameserver.sources import Sources
from gslb.nameserver.views import Choice, Members, Parted, Shed, Spread, Stickiness
from tests.nameserver.make import SECRET

KEYS = sticky_keys(SECRET, "web")
ADDRESSES = tuple(bytes((192, 0, 2, host)) for host in (1, 2, 3))
IDENTITIES = (("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.3", 2))
THREE = Members(ADDRESSES, IDENTITIES, (("fra",), ("fra",), ("iad",)))
NOTHING = finished(0, (0, 0, 0), b"", Outcome.NODATA)
HEAVY = "198.51.100.53"
TTL = 60


def write(addresses: Sequence[bytes], pools: Sequence[tuple[str, ...]]) -> Finished:
    """A reply whose records are the addresses."""
    assert len(addresses) == len(pools)
    return finished(0, (0, 0, 0), b"".join(addresses), Outcome.ANSWERED)


def spread(count: int = 1, v4: int | None = 24, v6: int | None = 56) -> Spread:
    return Spread(Choice(servfail=False, count=count, members=THREE), Stickiness(KEYS, v4, v6), write, NOTHING)


class Given:
    """A choice that sheds: `slots` to one address, and as many to two others."""

    def __init__(self, slots: int, v4: int | None = 24, v6: int | None = 56) -> None:
        self.now = 1_800_000_000.0
        self.sources = Sources()
        shed = Shed(frozenset([HEAVY, "2001:db8::53"]), TTL, lambda: self.now, self.sources)
        parts = ((slots, one(7)), (slots, one(8, 9)))
        choice = Choice(servfail=False, count=1, members=one(1), shed=parts)
        self.choice = Parted(choice, Stickiness(KEYS, v4, v6), write, NOTHING, shed)

    def hosts(self, sources: Iterable[str], address: int = 0xC0000200) -> Counter[int]:
        """How often each host is answered."""
        return Counter(chosen(self.choice.pick4(address, 8, b"", source)[0])[3] for source in sources)


def one(*hosts: int) -> Members:
    names = tuple(f"192.0.2.{host}" for host in hosts)
    addresses = tuple(bytes((192, 0, 2, host)) for host in hosts)
    return Members(addresses, tuple((name, 1) for name in names), tuple((name,) for name in names))


def chosen(found: Finished) -> bytes:
    return found[1]


def test_shares_follow_weights() -> None:
    subject = spread()
    counts = Counter(chosen(subject.pick4(network << 8, 0, b"", "")[0]) for network in range(20_000))
    assert counts[ADDRESSES[2]] == pytest.approx(10_000, rel=0.1)
    assert counts[ADDRESSES[0]] == pytest.approx(5_000, rel=0.1)


def test_a_client_network_keeps_its_member() -> None:
    subject = spread()
    assert len({chosen(subject.pick4(0x0A000000 | host, 8, b"", "")[0]) for host in range(256)}) == 1


def test_the_slot_is_that_of_the_model() -> None:
    table = maglev(IDENTITIES, 1021)
    slot = sticky_slot(0x0A0001, KEYS)
    assert chosen(spread().pick4(0x0A000100, 8, b"", "")[0]) == ADDRESSES[table[slot]]
    pair = members_from(table, slot, 2)
    assert chosen(spread(count=2).pick4(0x0A000100, 8, b"", "")[0]) == b"".join(ADDRESSES[index] for index in pair)


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
    assert spread().pick(bytes.fromhex(packed), scope, b"", "")[1] == told


def test_embedded_addresses_are_given_what_their_ipv4_is() -> None:
    want = chosen(spread().pick4(0x0A000001, 8, b"", "")[0])
    for packed in ("20020a000001" + "00" * 10, "00" * 10 + "ffff0a000001", "0064ff9b" + "00" * 8 + "0a000001"):
        assert chosen(spread().pick(bytes.fromhex(packed), 104, b"", "")[0]) == want


def test_a_short_sticky_length_does_not_reach_into_embedded_prefixes() -> None:
    subject = spread(v6=4)
    assert subject.pick(bytes.fromhex("2001" + "00" * 14), 0, b"", "")[1] == 15
    assert subject.pick(bytes.fromhex("8000" + "00" * 14), 0, b"", "")[1] == 4


def slot_of(network: int) -> int:
    return sticky_slot(network, KEYS)


@pytest.mark.parametrize("slots", [0, 1, 200, 510])
def test_the_slot_picks_the_part_and_then_the_member(slots: int) -> None:
    subject = Given(slots).choice
    pair = maglev((("192.0.2.8", 1), ("192.0.2.9", 1)), 1021)
    for network in range(5000):
        slot = slot_of(network)
        want = 7 if slot < slots else (8, 9)[pair[slot]] if slot < 2 * slots else 1
        reply, scope = subject.pick4(network << 8, 16, b"", "")
        assert (chosen(reply)[3], scope) == (want, 24)


def test_more_slots_move_no_client_twice() -> None:
    """A single part that grows: who was moved stays moved, and nobody else moves but to it."""

    def answers(slots: int) -> list[int]:
        choice = Choice(servfail=False, count=1, members=one(1, 2, 3), shed=((slots, one(7)),))
        shed = Shed(frozenset(), TTL, lambda: 0.0, Sources())
        subject = Parted(choice, Stickiness(KEYS, 24, 56), write, NOTHING, shed)
        return [chosen(subject.pick4(network << 8, 8, b"", "")[0])[3] for network in range(3000)]

    before = answers(0)
    for slots in (1, 50, 300, 1021):
        after = answers(slots)
        assert all(now in (7, was) for was, now in zip(before, after, strict=True))
        assert after.count(7) / 3000 == pytest.approx(slots / 1021, abs=0.03)
        before = after


def test_a_part_without_members_is_answered_as_nothing() -> None:
    choice = Choice(servfail=False, count=1, members=one(1), shed=((1021, Members()),))
    shed = Shed(frozenset(), TTL, lambda: 0.0, Sources())
    assert Parted(choice, Stickiness(KEYS, 24, 56), write, NOTHING, shed).pick4(0, 8, b"", "")[0] is NOTHING


def test_a_heavy_resolver_is_split_by_ttl_epoch() -> None:
    subject = Given(204)  # two parts of a fifth each
    seen: Counter[int] = Counter()
    for epoch in range(4000):
        subject.now = 1_800_000_000.0 + epoch * TTL
        within = subject.hosts([HEAVY] * 3)
        assert len(within) == 1, "the same answer for all of an epoch"
        seen += within
    shares = [seen[host] / 12000 for host in (7, 8, 9, 1)]
    assert shares == pytest.approx([0.2, 0.1, 0.1, 0.6], abs=0.02)


@pytest.mark.parametrize("source", ["", "198.51.100.54"])
def test_all_others_keep_their_slot(source: str) -> None:
    subject = Given(204)
    first = subject.hosts([source])
    for epoch in range(50):
        subject.now = epoch * TTL
        assert subject.hosts([source]) == first


def test_a_heavy_resolver_of_ipv6_too() -> None:
    subject = Given(255)
    packed = bytes.fromhex("20010db8" + "00" * 12)
    seen = set()
    for epoch in range(64):
        subject.now = epoch * TTL
        seen.add(chosen(subject.choice.pick(packed, 32, b"", "2001:db8::53")[0]))
    assert len(seen) == 4


def test_without_stickiness_the_id_splits_a_heavy_resolver_already() -> None:
    subject = Given(510, None, None)
    picks = [subject.choice.pick4(0, 8, number.to_bytes(2, "big"), HEAVY) for number in range(2000)]
    assert {scope for _, scope in picks} == {8}
    assert sum(chosen(reply)[3] == 1 for reply, _ in picks) / 2000 < 0.02


def test_the_askers_are_counted() -> None:
    subject = Given(10)
    subject.hosts([HEAVY] * 3 + [""] * 2 + ["198.51.100.54"])
    assert subject.sources.total == 6
    assert subject.sources.certain() == {HEAVY: 3, "198.51.100.54": 1}
