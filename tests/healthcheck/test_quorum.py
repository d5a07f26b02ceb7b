"""Sites that vote on a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.model.world import Health, Verdict
from healthcheck.quorum import Heard, judged, voices

UP, DOWN = Health.UP, Health.DOWN
TTL_S = 15.0
QUORUMS = st.sampled_from([0.01, 0.34, 0.5, 2 / 3, 0.75, 1.0])


def heard(site: str, health: Health, age_s: float = 1.0, **given: object) -> Heard:
    named = {name: given.pop(name) for name in ("node", "for_s", "blind") if name in given}
    verdict = Verdict(health, age_s, **given)  # type: ignore[arg-type]
    return Heard(
        site,
        str(named.get("node", f"{site}1")),
        verdict,
        float(named.get("for_s", 1000.0)),  # type: ignore[arg-type]
        TTL_S,
        bool(named.get("blind", False)),
    )


def health_of(opinions: Sequence[Heard], quorum: float = 0.5) -> Health:
    found = judged(opinions, quorum)
    assert found is not None
    return found.health


@st.composite
def opinions(draw: st.DrawFn, *, fresh: bool = False, see: bool = False) -> list[Heard]:
    names = draw(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("123")), unique=True, max_size=9))
    found = []
    for site, node in names:
        age_s = draw(st.floats(0, TTL_S if fresh else 200))
        for_s = age_s + draw(st.floats(TTL_S if fresh else 0, 300))
        verdict = Verdict(draw(st.sampled_from(Health)), age_s, settles_s=draw(st.none() | st.floats(0, 60)))
        found.append(Heard(site, f"{site}{node}", verdict, for_s, TTL_S, blind=not see and draw(st.booleans())))
    return found


@pytest.mark.parametrize(
    ("words", "quorum", "health"),
    [
        ("up up down", 0.5, UP),
        ("up down down", 0.5, DOWN),
        ("up down", 0.5, UP),  # a tie
        ("up down", 0.51, DOWN),
        ("up up down", 2 / 3, UP),
        ("up up down", 1.0, DOWN),
        ("down down down up", 0.25, UP),
    ],
)
def test_a_quorum_of_sites(words: str, quorum: float, health: Health) -> None:
    sites = [heard("abcd"[place], Health(word)) for place, word in enumerate(words.split())]
    assert health_of(sites, quorum) is health


def test_the_reason_names_who_says_what() -> None:
    sites = [heard("iad", DOWN, 3), heard("fra", DOWN, 2, why="connection refused"), heard("sin", UP)]
    found = judged(sites, 0.5)
    assert found is not None
    assert found.why == "2 of 3 sites: fra (connection refused), iad; up: sin"
    assert (found.age_s, found.double, found.settles_s) == (2, True, None)
    found = judged(sites[1:], 0.5)
    assert found is not None
    assert found.why == "1 of 2 sites: sin; down: fra (connection refused)"
    assert not found.double


def test_what_was_last_heard_long_ago_says_so() -> None:
    found = judged([heard("fra", DOWN, 90, why="timeout"), heard("sin", DOWN)], 0.5)
    assert found is not None
    assert found.why == "2 of 2 sites: fra (timeout, 90 s ago), sin"
    assert found.age_s == 1


def test_a_single_node_has_its_own_words() -> None:
    one = heard("fra", DOWN, why="connection refused", settles_s=3.0, double=True, outlier="")
    assert judged([one], 1.0) is one.verdict


def test_nobody_has_a_voice() -> None:
    before = Verdict(DOWN, 30)
    assert judged([], 0.5, before) is before
    assert judged([heard("fra", UP, blind=True)], 0.5, before) is before
    assert judged([], 0.5) is None


def test_the_first_contrary_evidence_counts_alone() -> None:
    lost = [heard("fra", DOWN, 60, for_s=300), heard("iad", DOWN, 60, for_s=300)]
    assert health_of([*lost, heard("sin", UP, for_s=300)]) is DOWN
    assert health_of([*lost, heard("sin", UP, for_s=20)]) is UP
    assert health_of([*lost, heard("sin", UP, for_s=20)], 1.0) is UP


@pytest.mark.parametrize(
    ("settles", "expected"),
    [
        ((None, None, None), None),
        ((7.0, None, None), 7.0),
        ((7.0, 5.0, None), 7.0),  # two of three must fall
        ((7.0, 5.0, 9.0), 7.0),
    ],
)
def test_when_the_quorum_could_change(settles: tuple[float | None, ...], expected: float | None) -> None:
    sites = [heard("abc"[place], UP, settles_s=one) for place, one in enumerate(settles)]
    found = judged(sites, 0.5)
    assert found is not None
    assert found.settles_s == expected


def test_one_site_is_down_already_and_the_next_is_about_to_fall() -> None:
    found = judged([heard("a", DOWN), heard("b", UP, settles_s=4.0), heard("c", UP)], 0.5)
    assert found is not None
    assert (found.health, found.settles_s) == (UP, 4.0)


def test_who_stands_out_does_so_for_most_sites() -> None:
    sites = [heard("a", UP, outlier="slow"), heard("b", UP)]
    assert [getattr(judged(some, 0.5), "outlier", None) for some in (sites, sites[:1])] == ["", "slow"]
    found = judged([*sites, heard("c", UP, outlier="slow")], 0.5)
    assert found is not None
    assert found.outlier == "slow"


@given(opinions(), QUORUMS, st.randoms())
def test_the_order_does_not_matter(found: list[Heard], quorum: float, random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert judged(found, quorum) == judged(shuffled, quorum)


@given(opinions(see=True), QUORUMS, st.sampled_from(Health))
def test_one_site_has_one_voice(found: list[Heard], quorum: float, health: Health) -> None:
    alike = [heard("z", health, for_s=1000.0, node=name) for name in ("z1", "z2", "z3")]
    assert health_of([*found, *alike], quorum) is health_of([*found, alike[0]], quorum)


@given(opinions(), QUORUMS)
def test_the_blind_have_no_voice(found: list[Heard], quorum: float) -> None:
    assert judged(found, quorum) == judged([one for one in found if not one.blind], quorum)


@given(opinions())
def test_somebody_who_sees_has_a_voice(found: list[Heard]) -> None:
    assert bool(voices(found)) is any(not one.blind for one in found)


@given(opinions(fresh=True), QUORUMS, st.data(), st.floats(0, 1e6))
def test_what_is_only_lost_changes_nothing(
    found: list[Heard], quorum: float, data: st.DataObject, passed_s: float
) -> None:
    def later(one: Heard) -> Heard:
        lost = data.draw(st.booleans())
        verdict = replace(one.verdict, age_s=one.verdict.age_s + passed_s) if lost else one.verdict
        return replace(one, verdict=verdict, for_s=one.for_s + passed_s)

    before = judged(found, quorum)
    after = judged([later(one) for one in found], quorum)
    assert (before and before.health) is (after and after.health)


@given(opinions(see=True), QUORUMS, st.data())
def test_one_more_that_is_down_turns_nothing_up(found: list[Heard], quorum: float, data: st.DataObject) -> None:
    if not found:
        return
    place = data.draw(st.integers(0, len(found) - 1))
    fell = replace(found[place], verdict=Verdict(DOWN), for_s=0.0)
    if health_of(found, quorum) is DOWN:
        assert health_of([*found[:place], fell, *found[place + 1 :]], quorum) is DOWN
