from __future__ import annotations

import math
from itertools import pairwise, product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gslb.model.world import Health
from healthcheck.check import Sample
from healthcheck.verdict import (
    FORGIVEN_AFTER,
    IMPOSSIBLE,
    MOST_DOUBLINGS,
    NEXT,
    WHY_OCTETS,
    Event,
    Round,
    Standing,
    State,
    round_of,
)

SEES = math.inf  # this site always sees
PASS, FAIL = Round(ok=True), Round(ok=False, why="status 500")
TEN_MINUTES_S = 600


def run(standing: Standing, rounds: str) -> list[Health | None]:
    """The verdict after each round of `.` (passed) and `x` (failed)."""
    seen = []
    for one in rounds:
        standing.took(PASS if one == "." else FAIL, 0.0, SEES)
        seen.append(standing.health)
    return seen


def changes(seen: list[Health | None]) -> int:
    return sum(before is not after for before, after in pairwise(seen))


def up(fall: int = 3, rise: int = 5) -> Standing:
    return Standing(fall, rise, 5.0, Health.UP)


def test_every_pair_is_decided_once() -> None:
    assert NEXT.keys() | IMPOSSIBLE == set(product(State, Event))
    assert not NEXT.keys() & IMPOSSIBLE


@pytest.mark.parametrize(
    ("rounds", "health"),
    [
        ("", Health.UP),
        ("xx", Health.UP),
        ("xxx", Health.DOWN),
        ("x.x.x", Health.DOWN),  # failures accumulate
        ("x....x....x", Health.DOWN),  # four passes clear nothing
        ("xx.....xx", Health.UP),  # five do
        ("xxx....", Health.DOWN),
        ("xxx.....", Health.UP),
        ("xxx....x....", Health.DOWN),  # in a row
        ("xxx.....xx", Health.UP),  # and then all of `fall` again
        ("xxx.....xxx.....", Health.DOWN),  # the second return takes twice as long
        ("xxx.....xxx..........", Health.UP),
        ("xxx....." + "." * FORGIVEN_AFTER + "xxx.....", Health.UP),  # unless the first fall is forgiven
    ],
)
def test_rise_and_fall(rounds: str, health: Health) -> None:
    standing = up()
    run(standing, rounds)
    assert standing.health is health


def test_the_first_round_decides_where_nothing_is_known() -> None:
    assert run(Standing(3, 5, 5.0), ".") == [Health.UP]
    assert run(Standing(3, 5, 5.0), "x") == [Health.DOWN]
    assert Standing(3, 5, 5.0).health is None


@pytest.mark.parametrize("interval_s", range(1, 11))
@pytest.mark.parametrize("fall", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("rise", [3, 5, 8])
@pytest.mark.parametrize("phase", range(3))
def test_a_target_that_fails_every_third_check_settles(interval_s: int, fall: int, rise: int, phase: int) -> None:
    seen = run(up(fall, rise), ("..x" * TEN_MINUTES_S)[phase:][: TEN_MINUTES_S // interval_s])
    assert changes([Health.UP, *seen]) <= 2


@pytest.mark.parametrize("fall", [1, 2, 3])
@pytest.mark.parametrize("rise", [1, 2])
def test_where_two_passes_are_enough_to_return_it_settles_after_a_few_returns(fall: int, rise: int) -> None:
    assert changes(run(up(fall, rise), "..x" * 200)) <= 5


@given(st.lists(st.booleans(), max_size=400), st.integers(1, 4), st.integers(1, 6))
@example([False] * 3 + [True] * 5, 3, 5)
def test_returns_become_rare_however_a_target_flaps(rounds: list[bool], fall: int, rise: int) -> None:
    """Each fall takes `fall` rounds, the n-th return at least rise * 2^n, less one doubling for each FORGIVEN_AFTER rounds."""
    seen = run(up(fall, rise), "".join("x."[ok] for ok in rounds))
    allowed, left, doublings = 0, len(rounds), 0
    forgiven = len(rounds) // FORGIVEN_AFTER
    while left >= fall:
        left -= fall
        allowed += 1
        needed = rise << min(max(doublings - forgiven, 0), MOST_DOUBLINGS)
        if left < needed:
            break
        left -= needed
        allowed += 1
        doublings += 1
    assert changes([Health.UP, *seen]) <= allowed


@given(st.text(".x", max_size=200), st.integers(1, 5), st.integers(1, 5))
def test_settling_is_told_while_something_speaks_against_the_verdict(rounds: str, fall: int, rise: int) -> None:
    standing = Standing(fall, rise, 5.0, Health.UP)
    for one in rounds:
        before = standing.health
        left_s = standing.settles_s
        run(standing, one)
        if standing.health is not before:  # it did not come sooner than was told
            against = left_s if left_s is not None else (fall if before is Health.UP else rise) * 5.0
            assert against == 5.0
        assert (standing.settles_s is None) == (standing.state in (State.UP, State.DOWN))
        assert standing.settles_s is None or standing.settles_s >= 5.0


def test_how_long_the_remaining_checks_need() -> None:
    standing = up()
    assert standing.settles_s is None
    run(standing, "x")
    assert standing.settles_s == 10.0
    run(standing, ".")
    assert standing.settles_s == 10.0  # the failure is not cleared
    run(standing, "xx..")
    assert standing.health is Health.DOWN
    assert standing.settles_s == 15.0


def test_a_fall_waits_until_this_site_is_known_to_see() -> None:
    standing = up()
    for began in (10.0, 15.0, 20.0):
        standing.took(FAIL, began, 19.9)
    seen = [standing.health]
    assert standing.awaits_sight == 20.0
    for seen_at in (19.99, 20.0):
        standing.saw(seen_at)
        seen.append(standing.health)
    assert seen == [Health.UP, Health.UP, Health.DOWN]
    assert standing.awaits_sight is None


def test_further_failures_do_not_put_the_fall_off() -> None:
    standing = up()
    for began in (10.0, 15.0, 20.0, 25.0):
        standing.took(FAIL, began, 1.0)
    standing.saw(21.0)
    assert standing.health is Health.DOWN


@pytest.mark.parametrize("rounds", ["", "xx", "xxx", "xxx...."])
def test_blindness_leaves_the_verdict_and_forgets_what_was_counted(rounds: str) -> None:
    standing = up()
    run(standing, rounds)
    verdict = standing.health
    standing.blinded()
    assert standing.health is verdict
    assert standing.settles_s is None
    against = "x" if verdict is Health.UP else "."
    needed = 3 if verdict is Health.UP else 5
    run(standing, against * (needed - 1))
    assert standing.health is verdict
    run(standing, against)
    assert standing.health is not verdict


def test_nothing_is_known_of_a_target_that_was_first_seen_blind() -> None:
    standing = Standing(3, 5, 5.0)
    standing.took(FAIL, 10.0, 0.0)
    standing.blinded()
    assert standing.health is None
    assert standing.awaits_sight is None


def sample(path: str, *, ok: bool, why: str = "") -> Sample:
    return Sample(ok=ok, latency_s=0.01, why=why, path=path)


def test_a_round_fails_when_any_path_does() -> None:
    good, bad = sample("/ping", ok=True), sample("/login", ok=False, why="status 500")
    assert round_of([good, bad]) == Round(ok=False, why="/login: status 500")
    assert round_of([good]) == Round(ok=True)
    assert not round_of([]).ok


def test_the_evidence_is_double_when_every_one_of_several_paths_fails() -> None:
    bad = [sample(path, ok=False, why="refused") for path in ("/a", "/b")]
    assert round_of(bad).double
    assert not round_of(bad[:1]).double
    assert not round_of([*bad, sample("/c", ok=True)]).double


def test_reasons_are_bounded() -> None:
    many = [sample(f"/{number}", ok=False, why="x" * 1000) for number in range(100)]
    assert len(round_of(many).why) <= WHY_OCTETS
    short = [sample(f"/{number}", ok=False, why="no") for number in range(5)]
    assert round_of(short).why == "/0: no; /1: no; /2: no; and 2 more paths"
