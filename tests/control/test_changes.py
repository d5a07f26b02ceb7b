"""What changed between two moments: each kind, its cause and author, and nothing where nothing changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.bus.stamps import Written
from gslb.control.changes import Change, Moment, What, changes, conflict
from gslb.control.endings import Ending
from gslb.control.lines import lines
from gslb.control.words import Ended, Lost, Word
from gslb.model.deployment import TYPE_A, Forward, PolicyId, PoolId, SiteId
from gslb.model.history import Cause, Ejection, History, Keeper, Kept, Moved, Out, Shed
from gslb.model.plan import BackendPlan, BalancerTable, Serving, Vip
from gslb.model.world import Forced, Health, Override, Verdict

NOW = 1_000.0
FRA, IAD, WEB = PoolId("web-fra"), PoolId("web-iad"), PolicyId("web")
DRAIN = Override("site/fra", Forced.DRAIN, "alice", "CHG-7", NOW - 10, NOW + 100)


def table(*servings: Serving) -> dict[PoolId, BalancerTable]:
    """What is done with the backends 10.1.0.1, 10.1.0.2 and so on."""
    backends = (BackendPlan(f"10.1.0.{n}", 1, Forward.L2, serving) for n, serving in enumerate(servings, 1))
    return {FRA: BalancerTable(SiteId("fra"), (Vip("192.0.2.10/32", 6, 80),), tuple(backends))}


STEADY = Moment(
    now=NOW,
    configuration="c1",
    plan=(1, "d1"),
    history=History(),
    verdicts={FRA: {"192.0.2.10": Verdict(Health.UP), "192.0.2.11": Verdict(Health.UP)}},
    balancers=table(Serving.UP, Serving.UP),
)


def verdicts(*healths: Health, why: str = "") -> dict[PoolId, Mapping[str, Verdict]]:
    return {FRA: {f"192.0.2.{10 + number}": Verdict(health, why=why) for number, health in enumerate(healths)}}


def shed(level: float, cause: Cause = Cause.LOAD) -> Shed:
    return Shed(cause, level, NOW, "g", (Moved(WEB, 1, 0, IAD, 10),))


def after(**new: object) -> Moment:
    return replace(STEADY, now=NOW + 5, **new)  # type: ignore[arg-type]


CASES = {
    "configuration": (
        after(configuration="c2"),
        [Change(What.CONFIGURATION, "configuration", "gslb", "its files changed", "c1", "c2")],
    ),
    "override": (
        after(overrides=(DRAIN,)),
        [
            Change(
                What.OVERRIDE,
                "site/fra",
                "alice",
                "CHG-7",
                None,
                {"state": "drain", "who": "alice", "why": "CHG-7", "until": NOW + 100, "force": False},
            )
        ],
    ),
    "a target of a pool": (
        after(verdicts=verdicts(Health.DOWN, Health.UP, why="timeout")),
        [
            Change(What.TARGET, "web-fra/192.0.2.10", "gslb", "timeout", "up", "down"),
            Change(What.POOL, "web-fra", "gslb", "1 of 2 targets are down", "up", "degraded"),
        ],
    ),
    "all of its targets": (
        after(verdicts=verdicts(Health.DOWN, Health.DOWN)),
        [
            Change(What.TARGET, "web-fra/192.0.2.10", "gslb", "", "up", "down"),
            Change(What.TARGET, "web-fra/192.0.2.11", "gslb", "", "up", "down"),
            Change(What.POOL, "web-fra", "gslb", "2 of 2 targets are down", "up", "down"),
        ],
    ),
    "a target that was up and is checked no more": (after(verdicts=verdicts(Health.UP)), []),
    "a target that is down when it is first seen": (
        after(verdicts=verdicts(Health.UP, Health.UP, Health.DOWN, why="refused")),
        [
            Change(What.TARGET, "web-fra/192.0.2.12", "gslb", "refused", None, "down"),
            Change(What.POOL, "web-fra", "gslb", "1 of 3 targets are down", "up", "degraded"),
        ],
    ),
    "shed": (
        after(history=History(sheds={FRA: shed(0.25)})),
        [Change(What.SHED, "web-fra", "gslb", "load", None, {"cause": "load", "level": 0.25, "to": ["web-iad"]})],
    ),
    "ejection": (
        after(history=History(ejected={"web-fra/192.0.2.10": Ejection(NOW + 60, 2, "slow")})),
        [Change(What.EJECTION, "web-fra/192.0.2.10", "gslb", "slow", None, {"until": NOW + 60, "times": 2})],
    ),
    "a backend": (
        after(balancers=table(Serving.UP, Serving.DRAIN)),
        [Change(What.BACKEND, "web-fra/10.1.0.2", "gslb", "nothing speaks against it any more", "up", "drain")],
    ),
    "a backend that comes and serves": (after(balancers=table(Serving.UP, Serving.UP, Serving.UP)), []),
    "an ejection that is over is none": (
        after(history=History(ejected={"web-fra/192.0.2.10": Ejection(NOW + 1, 2, "slow")})),
        [],
    ),
    "out": (
        after(history=History(out={WEB: {FRA: Out(NOW)}})),
        [
            Change(
                What.OUT,
                "web/web-fra",
                "gslb",
                "none of its addresses is usable",
                None,
                {"held": False, "types": ["A", "AAAA"]},
            )
        ],
    ),
    "held": (
        after(history=History(out={WEB: {FRA: Out(NOW, held=True, types=(TYPE_A,))}})),
        [
            Change(
                What.OUT,
                "web/web-fra",
                "gslb",
                "it stays out until an operator's word",
                None,
                {"held": True, "types": ["A"]},
            )
        ],
    ),
    "kept": (
        after(history=History(kept={WEB: {FRA: Kept(NOW, Keeper.VELOCITY)}})),
        [Change(What.KEPT, "web/web-fra", "gslb", "it stays in the answers", None, "velocity")],
    ),
    "blind": (
        after(blind_since=NOW),
        [Change(What.BLIND, "site", "gslb", "no reference target can be reached", before=False, after=True)],
    ),
    "plan": (
        after(plan=(2, "d2")),
        [
            Change(
                What.PLAN,
                "plan",
                "gslb",
                "answers changed",
                {"version": 1, "digest": "d1"},
                {"version": 2, "digest": "d2"},
            )
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_kind(case: str) -> None:
    moment, expected = CASES[case]
    assert list(changes(STEADY, moment)) == expected


@pytest.mark.parametrize("case", CASES)
def test_what_came_goes_again(case: str) -> None:
    """Each change has its opposite, with before and after exchanged."""
    there = changes(STEADY, CASES[case][0])
    back = changes(replace(CASES[case][0], now=NOW), replace(STEADY, now=NOW + 1_000))
    moved = {(one.what, one.subject, repr(one.before), repr(one.after)) for one in there}
    assert {(one.what, one.subject, repr(one.after), repr(one.before)) for one in back} >= moved


HOT = {"web-fra/10.1.0.1": Ejection(NOW + 60, 1, "slow")}
ASKED = Override("backend/web-fra/10.1.0.1", Forced.DRAIN, "alice", "CHG-7", NOW - 10)


@pytest.mark.parametrize(
    ("serving", "known", "why"),
    [
        (Serving.DOWN, {"verdicts": {FRA: {"10.1.0.1": Verdict(Health.DOWN, why="refused")}}}, "refused"),
        (
            Serving.UP,
            {"verdicts": {FRA: {"10.1.0.1": Verdict(Health.DOWN, why="refused")}}},
            "its checks fail, and too few others serve (refused)",
        ),
        (Serving.DRAIN, {"history": History(ejected=HOT)}, "an outlier: slow"),
        (Serving.UP, {"history": History(ejected=HOT)}, "an outlier, and too few others serve (slow)"),
        (Serving.DRAIN, {"overrides": (ASKED,)}, "drain backend/web-fra/10.1.0.1 by alice: CHG-7"),
        (
            Serving.UP,
            {"overrides": (ASKED,)},
            "nothing else serves (drain backend/web-fra/10.1.0.1 by alice: CHG-7)",
        ),
        (Serving.UP, {}, "nothing speaks against it any more"),
    ],
)
def test_why_a_backend_is_given_what_it_is_given(serving: Serving, known: dict[str, object], why: str) -> None:
    before = Serving.DOWN if serving is Serving.UP else Serving.UP
    found = changes(replace(STEADY, balancers=table(before)), after(balancers=table(serving), **known))
    (told,) = (one for one in found if one.what is What.BACKEND)
    assert (told.subject, told.why) == ("web-fra/10.1.0.1", why)
    assert (told.before, told.after) == (before.value, serving.value)


def test_a_backend_that_is_down_when_it_is_first_seen() -> None:
    found = changes(replace(STEADY, balancers={}), after(balancers=table(Serving.UP, Serving.DOWN)))
    assert [(one.subject, one.before, one.after) for one in found] == [("web-fra/10.1.0.2", None, "down")]


def test_a_plan_in_which_only_tables_changed_says_so() -> None:
    (*_, told) = changes(STEADY, after(plan=(2, "d2"), balancers=table(Serving.UP, Serving.DOWN)))
    assert told.why == "answers or tables of balancers changed"


def test_who_ended_an_override() -> None:
    before = replace(STEADY, overrides=(DRAIN,))
    (unknown,) = changes(before, after())
    (ended,) = changes(before, after(), [Ending("site/fra", DRAIN.since, "bob", NOW + 1)])
    (explained,) = changes(before, after(), [Ending("site/fra", DRAIN.since, "bob", NOW + 1, "CHG-8 is done")])
    (another,) = changes(before, after(), [Ending("site/fra", DRAIN.since - 1, "bob", NOW - 20)])
    (over,) = changes(before, replace(STEADY, now=NOW + 100, overrides=(DRAIN,)))
    assert [(one.who, one.why, one.after) for one in (unknown, ended, explained, another, over)] == [
        ("unknown", "ended", None),
        ("bob", "ended", None),
        ("bob", "CHG-8 is done", None),
        ("unknown", "ended", None),
        ("gslb", "its time is over", None),
    ]


def test_ages_and_times_alone_are_no_change() -> None:
    older = {FRA: {address: replace(one, age_s=9.0) for address, one in STEADY.verdicts[FRA].items()}}
    history = History(sheds={FRA: shed(0.25)})
    stepped = History(sheds={FRA: replace(shed(0.25), stepped_at=NOW + 60)})
    assert changes(replace(STEADY, history=history), after(verdicts=older, history=stepped)) == ()


_HEALTHS = st.lists(st.sampled_from(Health), max_size=3).map(lambda healths: verdicts(*healths))
_HISTORIES = st.builds(
    History,
    sheds=st.dictionaries(st.sampled_from([FRA, IAD]), st.builds(shed, st.sampled_from([0.1, 0.2]))),
    out=st.dictionaries(st.just(WEB), st.dictionaries(st.just(FRA), st.builds(Out, st.just(NOW), st.booleans()))),
)
_MOMENTS = st.builds(
    Moment,
    now=st.just(NOW),
    configuration=st.sampled_from(["a", "b"]),
    plan=st.sampled_from([(1, "x"), (2, "y")]),
    history=_HISTORIES,
    verdicts=_HEALTHS,
    overrides=st.sampled_from([(), (DRAIN,)]),
    blind_since=st.sampled_from([None, 1.0, 2.0]),
)


@given(_MOMENTS, _MOMENTS)
def test_changes_are_few_named_once_and_json(one: Moment, other: Moment) -> None:
    found = changes(one, other)
    assert changes(one, one) == ()
    assert len({(change.what, change.subject) for change in found}) == len(found)
    assert all(change.before != change.after for change in found)
    assert all(change.to_json()["what"] in set(What) for change in found)


def test_a_word_that_lost_unknown_is_told_with_both() -> None:
    drain = Override("site/fra", Forced.DRAIN, "alice", "CHG-7", NOW)
    lost = Lost(
        Word("site/fra", drain, Written(1_000, "fra1")),
        Word("site/fra", Ended("bob", "done", NOW), Written(2_000, "iad1")),
    )
    told = conflict(lost)
    assert (told.what, told.subject, told.who) == (What.CONFLICT, "site/fra", "bob")
    assert told.why == "drain by alice on fra1 is lost: bob on iad1 did not know it"
    assert [line.text for line in lines([told])] == ["conflict site/fra: drain of fra1 -> auto of iad1"]
    assert told.before == {"state": "drain", "who": "alice", "why": "CHG-7", "node": "fra1", "at": 1.0}
