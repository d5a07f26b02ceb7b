from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from healthcheck.reference import BLIND_INTERVAL_S, INTERVAL_S, LEAST_GAP_S, Sight, Turn

DOWN = "connection refused"


def asked(sight: Sight, now: float) -> None:
    assert sight.due(now)


def test_without_references_a_site_always_sees() -> None:
    sight = Sight(())
    assert sight.counts(0.0)
    assert sight.seen_at == math.inf
    assert sight.wake_at() == math.inf
    assert not sight.due(1e9)


def test_one_reference_that_answers_is_enough() -> None:
    sight = Sight("ab")
    asked(sight, 10.0)
    assert sight.took("a", DOWN, 10.1) is Turn.NOTHING
    assert sight.took("b", "", 10.2) is Turn.SAW
    assert sight.seen_at == 10.0
    assert sight.counts(5.0)
    assert sight.references == {"a": DOWN, "b": ""}


def test_blind_when_none_answers_and_back_when_one_does() -> None:
    sight = Sight("ab")
    asked(sight, 10.0)
    sight.took("a", DOWN, 10.1)
    assert sight.took("b", DOWN, 12.0) is Turn.BLINDED
    assert sight.blind_since == 12.0
    assert not sight.counts(12.5)
    assert sight.due(11.5 + BLIND_INTERVAL_S) == ["a", "b"]
    assert sight.took("a", DOWN, 12.6) is Turn.NOTHING
    assert sight.took("b", "", 12.7) is Turn.RETURNED
    assert sight.blind_since is None
    assert not sight.counts(12.4)  # begun before the site is known to see again
    assert sight.counts(12.5)


def test_a_reference_that_has_not_been_checked_yet_may_answer() -> None:
    sight = Sight("ab")
    asked(sight, 10.0)
    sight.took("a", DOWN, 10.1)
    assert sight.blind_since is None


def test_doubt_asks_at_once_what_was_not_asked_since() -> None:
    sight = Sight("a")
    asked(sight, 10.0)
    sight.took("a", "", 10.1)
    assert sight.wake_at() == 10.0 + INTERVAL_S
    sight.doubted(12.0)
    assert sight.wake_at() <= 12.0
    assert sight.due(12.5) == ["a"]
    assert sight.wake_at() == math.inf  # it runs
    sight.took("a", "", 12.6)
    assert sight.seen_at == 12.5
    assert sight.wake_at() == 12.5 + INTERVAL_S


def test_doubt_that_is_answered_already_asks_nothing() -> None:
    sight = Sight("a")
    asked(sight, 10.0)
    sight.took("a", "", 10.1)
    sight.doubted(9.0)
    assert sight.wake_at() == 10.0 + INTERVAL_S


def test_a_check_of_a_reference_that_began_before_the_doubt_does_not_count() -> None:
    sight = Sight("a")
    asked(sight, 10.0)
    sight.doubted(11.0)
    sight.took("a", "", 12.0)
    assert sight.seen_at == 10.0
    assert sight.due(12.0) == ["a"]


def test_many_doubts_do_not_flood_a_reference() -> None:
    sight = Sight("a")
    times = 0
    for tick in range(1000):
        now = 100.0 + tick / 1000
        sight.doubted(now)
        for name in sight.due(now):
            times += 1
            sight.took(name, "", now)
    assert times <= 1.0 / LEAST_GAP_S + 1


def test_a_result_nobody_asked_for_changes_nothing() -> None:
    sight = Sight("a")
    assert sight.took("a", DOWN, 1.0) is Turn.NOTHING
    assert sight.took("x", DOWN, 1.0) is Turn.NOTHING
    assert sight.blind_since is None


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "doubt"]), st.booleans(), st.floats(0, 3)), max_size=80))
def test_what_is_seen_was_asked_and_answered(steps: list[tuple[str, bool, float]]) -> None:
    sight = Sight("ab")
    now = 0.0
    running: dict[str, float] = {}
    good: list[float] = []
    last: dict[str, bool] = {}
    for what, ok, passed in steps:
        now += passed
        running |= dict.fromkeys(sight.due(now), now)
        if what == "doubt":
            sight.doubted(now)
        elif what in running:
            began = running.pop(what)
            sight.took(what, "" if ok else DOWN, now)
            last[what] = ok
            good += [began] if ok else []
        assert sight.seen_at == max(good, default=-math.inf)
        if sight.blind_since is not None:
            assert last == {"a": False, "b": False}
        assert (sight.wake_at() == math.inf) == (running.keys() == {"a", "b"})
