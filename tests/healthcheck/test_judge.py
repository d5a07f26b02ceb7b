from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gslb.model.world import Health
from healthcheck.check import Sample
from healthcheck.judge import MOST_PATHS, Judge
from healthcheck.messages import Found, Order, Report, Role, Work
from tests.healthcheck.make import BAD, OK, order, slow

REFERENCE = order("reference", Role.REFERENCE)


class Site:
    """A judge whose checks take no time, and its clock."""

    def __init__(self, *orders: Order, groups: Sequence[tuple[str, ...]] = ()) -> None:
        self.judge = Judge()
        self.now = 100.0
        self.uplink = True
        self.judge.want(Work(1, orders, tuple(groups)))

    def check(self, name: str, samples: Sequence[Sample], *, passed_s: float = 5.0, began: float | None = None) -> None:
        """A round of the target `name`, after `passed_s`, and what references are due then."""
        self.now += passed_s
        self.judge.took(name, samples, self.now if began is None else began, self.now)
        self.ask()

    def ask(self) -> None:
        for name in self.judge.sight.due(self.now):
            self.judge.took(name, OK if self.uplink else BAD, self.now, self.now)

    def told(self) -> dict[str, Found]:
        """What is told at once."""
        return {found.id: found for found in self.judge.at_once().found} if self.judge.urgent else {}

    def pulse(self) -> Report:
        return self.judge.pulse(late=0, skipped=0, in_flight=0)


def test_a_change_is_told_at_once_and_only_once() -> None:
    site = Site(order("a"))
    site.check("a", OK)
    assert site.told() == {"a": Found("a", Health.UP, 105.0)}
    site.check("a", OK)
    assert site.told() == {}
    site.check("a", BAD)
    assert site.told() == {"a": Found("a", Health.UP, 115.0, "status 500", settles_s=10.0)}
    site.check("a", BAD)
    site.check("a", BAD)
    assert site.told() == {"a": Found("a", Health.DOWN, 125.0, "status 500")}
    site.check("a", BAD)
    assert site.told() == {}


def test_the_pulse_tells_of_everything_that_was_checked_since_the_last() -> None:
    site = Site(order("a"), order("b"))
    site.check("a", OK)
    site.check("b", OK)
    site.told()
    site.check("a", OK)
    report = site.pulse()
    assert report.found == (Found("a", Health.UP, 115.0), Found("b", Health.UP, 110.0))
    assert {detail.id for detail in report.details} == {"a", "b"}
    assert site.pulse().found == ()
    assert report.pulse is not None
    assert report.pulse.done == 3
    assert report.pulse.checks == 2


def test_what_could_not_be_told_is_told_in_its_latest_form() -> None:
    site = Site(order("a", known=Health.UP))
    for _ in range(3):
        site.check("a", BAD)
    assert site.told()["a"].health is Health.DOWN
    for _ in range(3):
        site.check("a", OK)
    assert [found.health for found in site.pulse().found] == [Health.UP]
    assert site.told() == {}


def test_new_work_keeps_what_is_the_same_in_it() -> None:
    site = Site(order("a"), order("b"), order("c"))
    for name in "abc":
        site.check(name, BAD)
    site.told()
    changes = site.judge.want(Work(2, (order("a", known=Health.UP), order("b", interval_s=1.0, known=Health.UP))))
    assert changes.ended == ("b", "c")
    assert [one.check.id for one in changes.started] == ["b"]
    report = site.judge.at_once()
    assert report.serial == 2
    assert [(found.id, found.health) for found in report.found] == [("a", Health.DOWN)]
    site.check("b", OK)
    assert site.told()["b"].health is Health.UP
    site.check("c", OK)  # nobody wants it any more
    assert site.told() == {}


def test_a_blind_site_judges_nothing() -> None:
    site = Site(order("a", known=Health.UP), order("b", known=Health.DOWN), REFERENCE)
    site.check("a", OK)
    site.check("b", BAD)
    site.told()
    site.uplink = False
    for _ in range(10):
        site.check("a", BAD, passed_s=2.5)
        site.check("b", OK, passed_s=2.5)
    assert site.judge.sight.blind_since is not None
    pulse = site.pulse()
    assert pulse.pulse is not None
    assert pulse.pulse.blind_since == site.judge.sight.blind_since
    found = {found.id: found for found in pulse.found}
    assert found["a"].health is Health.UP
    assert found["a"].at <= 112.5  # the knowledge grows old
    assert found["b"].health is Health.DOWN
    assert found["b"].settles_s is None


def test_the_uplink_is_lost_between_two_checks_of_the_references() -> None:
    site = Site(order("a", known=Health.UP), REFERENCE)
    site.ask()
    site.uplink = False
    site.check("a", BAD, passed_s=0.5)  # the references are asked at once
    assert site.judge.sight.blind_since is not None
    assert site.pulse().found[0].settles_s is None


def test_after_blindness_rounds_count_anew() -> None:
    site = Site(order("a", known=Health.UP), REFERENCE)
    site.uplink = False
    site.check("a", BAD)
    site.uplink = True
    site.check("a", BAD, passed_s=1.0, began=site.now)  # begun while the site was blind
    assert site.judge.sight.blind_since is None
    for number in range(3):
        site.check("a", BAD)
        assert (site.told()["a"].health is Health.DOWN) == (number == 2)


def test_a_fall_is_told_when_a_reference_has_answered_since() -> None:
    site = Site(order("a", known=Health.UP), REFERENCE)
    site.ask()
    for _ in range(3):
        site.now += 1.0
        site.judge.took("a", BAD, site.now - 0.5, site.now)
    assert site.told()["a"].health is Health.UP
    assert site.judge.sight.due(site.now) == ["reference"]
    site.now += 0.5
    site.judge.took("reference", OK, site.now - 0.5, site.now)
    assert site.told()["a"].health is Health.DOWN


def test_a_target_that_is_down_already_has_no_reference_asked() -> None:
    site = Site(order("a", known=Health.DOWN), order("b", known=Health.UP), REFERENCE)
    site.ask()
    site.judge.took("a", BAD, site.now + 1, site.now + 1)
    assert site.judge.sight.wake_at() > site.now + 1
    site.judge.took("b", BAD, site.now + 1, site.now + 1)
    assert site.judge.sight.wake_at() <= site.now + 1


def test_a_first_round_that_fails_waits_for_the_references_too() -> None:
    site = Site(order("a"), REFERENCE)
    site.uplink = False
    site.check("a", BAD)
    assert site.told() == {}
    site.uplink = True
    site.check("a", BAD)
    site.check("a", BAD)
    assert site.told()["a"].health is Health.DOWN


def test_a_new_set_of_references_begins_anew() -> None:
    site = Site(order("a", known=Health.UP), REFERENCE)
    site.uplink = False
    site.ask()
    assert site.judge.sight.blind_since is not None
    changes = site.judge.want(Work(2, (order("a"), REFERENCE, order("other", Role.REFERENCE))))
    assert set(changes.ended) == {"reference"}
    assert {one.check.id for one in changes.started} == {"reference", "other"}
    assert site.judge.sight.blind_since is None
    site.judge.want(Work(3, (order("a"),)))
    assert site.judge.sight.seen_at == math.inf


def test_outliers_are_found_in_their_group_and_told_with_the_pulse() -> None:
    names = tuple("abcde")
    site = Site(*map(order, names), groups=[names, ("a", "b")])
    for _ in range(10):
        for name in names:
            site.check(name, slow(0.3 if name == "c" else 0.01), passed_s=1.0)
    pulse = site.pulse().pulse
    assert pulse is not None
    assert [(one.group, one.id) for one in pulse.outliers] == [(0, "c")]
    site.judge.want(Work(2, tuple(map(order, names)), (("a", "b"), names)))
    again = site.pulse().pulse
    assert again is not None
    assert [(one.group, one.id) for one in again.outliers] == [(1, "c")]


def test_a_target_that_is_down_is_no_outlier() -> None:
    names = tuple("abcde")
    site = Site(*map(order, names), groups=[names])
    for _ in range(10):
        for name in names:
            site.check(name, BAD if name == "c" else OK, passed_s=1.0)
    pulse = site.pulse().pulse
    assert pulse is not None
    assert pulse.outliers == ()


def test_statistics_are_kept_by_path_and_paths_are_bounded() -> None:
    site = Site(order("a"))
    for number in range(3):
        paths = [Sample(ok=True, latency_s=0.01 * (path + 1), path=f"/{path}-{number}") for path in range(20)]
        site.check("a", paths)
    (detail,) = site.pulse().details
    assert detail.figures[0].path == ""
    assert detail.figures[0].latency_s == pytest.approx(0.2)  # the slowest of each round
    assert len(detail.figures) == 1 + MOST_PATHS


def test_warnings_are_the_last_rounds() -> None:
    site = Site(order("a"))
    expiring = replace(OK[0], warning="the certificate expires in 3 days")
    site.check("a", [replace(expiring, path="/a"), replace(expiring, path="/b")])
    assert site.pulse().details[0].warning == "the certificate expires in 3 days"
    site.check("a", OK)
    assert site.pulse().details[0].warning == ""


def test_pages_of_load_give_readings_and_no_verdict() -> None:
    site = Site(order("load", Role.LOAD))
    site.check("load", [replace(OK[0], value=812.0)])
    report = site.pulse()
    assert report.found == ()
    assert [(one.id, one.value, one.why) for one in report.readings] == [("load", 812.0, "")]
    site.check("load", BAD)
    assert [(one.value, one.why) for one in site.pulse().readings] == [(None, "status 500")]
    assert site.pulse().readings == ()


@pytest.mark.parametrize("role", list(Role))
def test_no_samples_at_all_are_a_failure(role: Role) -> None:
    site = Site(order("a", role))
    site.judge.sight.due(site.now)
    site.judge.took("a", (), site.now, site.now)
    report = site.pulse()
    assert report.pulse is not None
    said = [found.why for found in report.found] + [one.why for one in report.readings]
    said += [why for why in report.pulse.references.values() if why]
    assert said == ["the check gave no result"]


def test_a_result_of_an_unknown_check_is_dropped() -> None:
    site = Site(order("a"))
    site.check("b", OK)
    assert site.pulse().found == ()


def test_a_target_that_this_node_could_not_ask_keeps_its_verdict_and_says_why() -> None:
    unasked = (Sample(ok=False, latency_s=0.0, why="may not set marks", moot=True),)
    site = Site(order("a"), order("new"))
    site.check("a", OK)
    for _ in range(5):
        site.check("a", unasked)
        site.check("new", unasked)
    report = site.pulse()
    assert {found.id: (found.health, found.at) for found in report.found} == {"a": (Health.UP, 105.0)}
    assert {detail.id: detail.warning for detail in report.details} == {
        "a": "may not set marks",
        "new": "may not set marks",
    }
    assert report.pulse is not None
    assert report.pulse.rounds == {"a": (1, 0)}
    site.check("a", OK)
    assert {detail.id: detail.warning for detail in site.pulse().details} == {"a": ""}
