"""Backends whose clients must send SYNs again are found; others, and floods, eject nobody."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gslb.control.passive import Passive
from gslb.control.zombies import LEAST, LONGEST_S
from tests.control.pulses import BACKENDS, WEB, Balancer, grow, watching
from xdp.messages import Count, Pulse


def second(passive: Passive, balancer: Balancer, each: int, resent: dict[str, int]) -> bool:
    for name in BACKENDS:
        again = resent.get(name, 0)
        balancer.backend(name, syns=each + again, handshakes=each, resent_syns=again)
    return passive.take(*balancer.pulse())


def test_three_syns_dropped_of_ten_are_found_and_released_when_good() -> None:
    passive, balancer = watching(), Balancer()
    second(passive, balancer, 0, {})
    changed = [second(passive, balancer, 10, {BACKENDS[0]: 3 if turn % 2 else 4}) for turn in range(10)]
    assert changed.count(True) == 1
    found = passive.outliers(balancer.now)
    assert found.keys() == {WEB}
    assert found[WEB].keys() == {BACKENDS[0]}
    assert "SYNs are sent again" in found[WEB][BACKENDS[0]]
    for _ in range(int(LONGEST_S)):
        second(passive, balancer, 10, {})
    assert passive.outliers(balancer.now) == {}


def test_one_of_three_backends_is_found_and_one_of_two_is_not() -> None:
    for number, expected in ((3, {BACKENDS[0]}), (2, set())):
        passive, now, counts = watching(), 10.0, {name: Count() for name in BACKENDS[:number]}
        for _ in range(12):
            now += 1
            counts = {
                name: grow(count, handshakes=10, resent_syns=5 * (name == BACKENDS[0]))
                for name, count in counts.items()
            }
            passive.take(Pulse(now, 1.0, {}, {"web": dict(counts)}), now)
        assert passive.outliers(now).get(WEB, {}).keys() == expected


def test_a_backend_that_answers_no_syn_is_found() -> None:
    passive, balancer = watching(), Balancer()
    second(passive, balancer, 0, {})
    for _ in range(10):
        for name in BACKENDS[1:]:
            balancer.backend(name, syns=10, handshakes=10)
        balancer.backend(BACKENDS[0], syns=20, resent_syns=10)
        passive.take(*balancer.pulse())
    assert passive.outliers(balancer.now)[WEB].keys() == {BACKENDS[0]}


def test_peers_that_are_all_bad_are_no_outliers() -> None:
    passive, balancer = watching(), Balancer()
    for _ in range(20):
        second(passive, balancer, 10, dict.fromkeys(BACKENDS, 5))
    assert passive.outliers(balancer.now) == {}


def test_few_samples_judge_nobody() -> None:
    passive, balancer = watching(), Balancer()
    second(passive, balancer, 0, {})
    second(passive, balancer, LEAST // 2, {BACKENDS[0]: LEAST // 2 - 1})
    assert passive.outliers(balancer.now) == {}


def test_an_outlier_is_none_for_long_without_pulses() -> None:
    passive, balancer = watching(), Balancer()
    for _ in range(12):
        second(passive, balancer, 10, {BACKENDS[0]: 10})
    assert passive.outliers(balancer.now)
    assert passive.outliers(balancer.now + LONGEST_S) == {}


@given(st.lists(st.tuples(st.integers(0, 500_000), st.integers(0, 500_000)), min_size=1, max_size=20))
def test_a_flood_of_made_up_clients_ejects_nobody(seconds: list[tuple[int, int]]) -> None:
    """Whatever SYNs come to whichever backend: what neither repeats nor completes says nothing."""
    passive, balancer = watching(), Balancer()
    for left, right in seconds:
        balancer.backend(BACKENDS[0], syns=left, untracked_syns=left // 2)
        balancer.backend(BACKENDS[1], syns=right, untracked_syns=right // 3)
        assert not second(passive, balancer, 10, {})
    assert passive.outliers(balancer.now) == {}


@given(st.integers(2, 40), st.integers(0, 400), st.integers(0, 1 << 32))
def test_repeats_of_made_up_clients_are_spread_and_eject_nobody(each: int, repeats: int, seed: int) -> None:
    choice = Random(seed).choice
    passive, balancer = watching(), Balancer()
    for _ in range(15):
        spread = dict.fromkeys(BACKENDS, 0)
        for _ in range(repeats):
            spread[choice(BACKENDS)] += 1
        second(passive, balancer, each, spread)
        assert passive.outliers(balancer.now) == {}
