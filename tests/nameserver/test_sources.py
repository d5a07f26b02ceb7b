"""Space-Saving: the heavy are never missed, no count is sure that was not, and memory is bounded."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gslb.nameserver.sources import KEPT, Sources

# Mostly a few, among many: and some that come once.
askers = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 400)), max_size=3000).map(
    lambda numbers: [f"192.0.2.{number}" for number in numbers]
)


def count(sources: list[str]) -> Sources:
    subject = Sources()
    for source in sources:
        subject.add(source)
    return subject


@given(askers)
def test_what_is_sure_is_true_and_what_is_heavy_is_kept(sources: list[str]) -> None:
    subject, truth = count(sources), Counter(sources)
    assert subject.total == len(sources)
    assert all(sure <= truth[source] for source, sure in subject.certain().items())
    assert len(subject._counts) <= KEPT
    assert subject._counts.keys() == subject._errors.keys()
    assert {source for source, times in truth.items() if times > len(sources) / KEPT} <= subject._counts.keys()
    assert all(truth[source] <= most for source, most in subject._counts.items())


@given(askers, askers)
def test_after_a_decay_what_is_sure_is_true_of_the_halves(before: list[str], after: list[str]) -> None:
    subject = count(before)
    subject.decay()
    for source in after:
        subject.add(source)
    truth = {source: times / 2 for source, times in Counter(before).items()}
    for source in after:
        truth[source] = truth.get(source, 0.0) + 1
    assert all(sure <= truth.get(source, 0.0) for source, sure in subject.certain().items())
    assert subject.total == len(before) // 2 + len(after)


def test_what_is_no_longer_asked_is_forgotten() -> None:
    subject = count(["192.0.2.1"] * 1000)
    for _ in range(10):
        subject.decay()
    assert (subject.total, subject.certain()) == (0, {})


def test_queries_with_a_subnet_are_in_the_total_only() -> None:
    subject = count(["", "", "192.0.2.1"])
    assert (subject.total, subject.certain()) == (3, {"192.0.2.1": 1})


def test_a_heavy_one_is_found_in_a_flood_of_others() -> None:
    subject = Sources()
    for number in range(200_000):
        subject.add(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        if number % 10 == 0:
            subject.add("192.0.2.1")
    assert subject.certain()["192.0.2.1"] > 15_000
    assert all(sure < 5000 for source, sure in subject.certain().items() if source != "192.0.2.1")
