"""What is made of a drill: what failed and what did not, what was right when, the timeline, the page."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

import pytest

from compose.clients import Outcome
from compose.drills import page, promises, result, sites
from compose.drills.__main__ import played
from compose.drills.catalogue import DRILLS
from compose.drills.result import Audience, Death, Expected, Mark, Shift, Story
from compose.topology import ANYCAST, lab
from compose.wired import Wired

LAB = lab()
WEB, ANY, DNS = (Audience("europe", kind) for kind in ("web", "anycast", "dns"))
FRA, IAD = "203.0.113.1", "203.0.113.2"
STORY = Story(
    "drill", "A <drill>", "nothing", [Mark(12.0, "killed & lost")],
    [Expected(10.0, 10.0, "europe", frozenset({"fra"})), Expected(12.0, 14.0, "europe", frozenset({"iad"}))],
    [Death(12.0, 12.1, "web-fra1", FRA)],
    {
        WEB: [
            Outcome(10.0, 0.01, FRA, "fra", "web-fra1", opened=True),
            Outcome(11.9, 0.15, FRA, failed="http: reset", opened=True),
            Outcome(12.2, 3.00, FRA, failed="http: timed out"),
            Outcome(13.5, 1.20, FRA, "fra", "web-fra2", opened=True),
            Outcome(15.0, 0.01, FRA, "fra", "web-fra2", opened=True),
            Outcome(16.0, 0.01, IAD, "iad", "web-iad1", opened=True),
        ],
        ANY: [
            Outcome(12.5, 0.90, ANYCAST, failed="http: reset", opened=True),
            Outcome(13.5, 0.10, ANYCAST, failed="http: refused"),
            Outcome(14.5, 2.10, ANYCAST, "sin", "web-sin1", opened=True),
        ],
        DNS: [Outcome(10.0, 0.01, FRA), Outcome(17.0, 0.01, IAD), Outcome(18.0, 2.0, failed="dns: timed out")],
    },
    [Shift(12.9, 13.0)],
)  # fmt: skip


def test_what_was_in_flight_and_what_was_shifted_is_counted_apart() -> None:
    found = result.total(STORY, LAB)
    assert (found.requests, found.failed, found.in_flight, found.shifted) == (12, 3, 1, 1)
    assert found.why == {"http: timed out": 1, "http: refused": 1, "dns: timed out": 1}


def test_seconds_are_degraded_as_long_as_somebody_waits_in_vain() -> None:
    assert result.score(STORY, LAB, [WEB]).degraded_s == 4  # 12 to 15
    assert result.total(STORY, LAB).degraded_s == 7  # 18 to 20 as well


def test_a_site_is_wrong_when_another_one_has_been_right_for_long_enough() -> None:
    assert result.score(STORY, LAB, [WEB]).wrong_site == 1  # the one at 15
    assert result.score(STORY, LAB, [DNS]).wrong_site == 0
    assert result.score(STORY, LAB, [ANY]).wrong_site is None  # by anycast any site is right


def test_nothing_is_wrong_where_nothing_particular_is_expected() -> None:
    anywhere = Expected(9.0, 9.0, "europe", frozenset())
    assert result.score(replace(STORY, expected=[anywhere]), LAB, [WEB]).wrong_site is None
    narrowed = [anywhere, Expected(14.0, 15.5, "europe", frozenset({"fra"}))]
    assert result.right_sites(narrowed, "europe", 15.0) == frozenset()
    assert result.score(replace(STORY, expected=narrowed), LAB, [WEB]).wrong_site == 1  # the one at 16


DEATH = Death(12.0, 12.1, "web-fra1", FRA)
SHIFT = Shift(20.0, 25.0)
RESET = Outcome(11.9, 0.15, FRA, failed="http: reset", opened=True)
FLOW = Outcome(18.5, 2.00, ANYCAST, "fra", "web-fra1", "http: reset", opened=True)


@pytest.mark.parametrize(
    ("outcome", "fate"),
    [
        (RESET, "in flight"),
        (replace(RESET, server="web-fra1"), "in flight"),
        (replace(RESET, address=ANYCAST), "in flight"),
        (replace(RESET, at=12.09), "in flight"),  # not known to be dead yet
        (replace(RESET, opened=False), "failed"),
        (replace(RESET, server="web-fra2"), "failed"),  # that one lives
        (replace(RESET, address=IAD), "failed"),
        (replace(RESET, failed="http: status 500"), "failed"),
        (replace(RESET, took_s=0.05), "failed"),  # ended before
        (replace(RESET, at=12.2), "failed"),
        (FLOW, "shifted"),
        (replace(FLOW, at=24.9), "shifted"),
        (replace(FLOW, at=25.1), "failed"),
        (replace(FLOW, took_s=1.0), "failed"),
        (replace(FLOW, opened=False), "failed"),
        (replace(FLOW, failed="http: status 503"), "failed"),
        (replace(FLOW, address=FRA), "failed"),
        (replace(FLOW, failed=""), "served"),
    ],
)
def test_only_what_the_drill_did_to_it_is_counted_apart(outcome: Outcome, fate: str) -> None:
    assert result.fate(outcome, [DEATH], [SHIFT]) == fate


def test_without_a_death_or_a_shift_all_that_fails_has_failed() -> None:
    assert result.fate(RESET, []) == result.fate(FLOW, []) == "failed"


def test_what_was_promised_and_not_kept_is_told() -> None:
    assert promises.nobody_fails(STORY, LAB) == ["requests that failed: 3"]
    unicast = replace(STORY, heard={ANY: STORY.heard[ANY], WEB: STORY.heard[WEB][:2]})
    assert promises.nobody_fails(unicast, LAB) == ["requests that failed: 1"]
    assert promises.nobody_fails_of_unicast(unicast, LAB) == []
    there = replace(STORY, heard={WEB: STORY.heard[WEB]})
    assert promises.only_at("fra", there, LAB) == []
    assert promises.only_at("iad", there, LAB) == ["requests that failed: 1"]


def test_a_fact_that_is_missing_or_is_no_number_is_not_kept() -> None:
    story = replace(STORY, facts={"short": 1.0, "never": math.inf, "none": math.nan})
    assert promises.within(story, {"short": 1.0}) == []
    assert len(promises.within(story, {"short": 0.9, "never": 9.0, "none": 9.0, "missing": 9.0})) == 4


@pytest.mark.parametrize(
    ("heard", "seconds"),
    [
        ([], math.inf),
        ([(11.0, False), (12.0, False)], math.inf),
        ([(11.0, True), (12.0, False)], math.inf),
        ([(11.0, False), (12.0, True), (13.0, True)], 2.0),
        ([(11.0, True), (12.0, False), (13.0, True)], 3.0),
        ([(10.0, True), (11.0, True)], 0.0),
    ],
)
def test_what_never_goes_well_again_took_for_ever(heard: list[tuple[float, bool]], seconds: float) -> None:
    assert sites.well_after(heard, 10.0) == seconds
    assert sites.well_after(reversed(heard), 10.0) == seconds


def test_what_took_for_ever_is_told_in_words() -> None:
    told = result.to_json(replace(STORY, facts={"well": math.inf}), LAB)
    assert json.loads(json.dumps(told, allow_nan=False))["facts"] == {"well": "never"}


class _Ill:
    topology = LAB

    def well(self) -> None:
        raise AssertionError("nobody is served")


def test_a_drill_that_ends_early_has_a_result_too(tmp_path: Path) -> None:
    told, ended = played(cast(Wired, _Ill()), DRILLS["flap"], tmp_path)
    assert not ended
    assert (told["drill"], told["broken"]) == ("flap", ["ended early: nobody is served"])
    page.page([told])


def test_results_and_the_page_say_what_was_not_kept() -> None:
    found = result.to_json(STORY, LAB, ["3 requests failed"])
    assert found["broken"] == ["3 requests failed"]
    assert "not kept: 3 requests failed" in page.page([found])
    assert "<td>-</td>" in page.page([found])


def test_late_is_what_took_longer_than_it_should() -> None:
    assert result.total(STORY, LAB).late == 1


def test_addresses_that_only_dns_told_are_of_their_sites() -> None:
    assert result.score(STORY, LAB, [DNS]).by_site == {"fra": 1, "iad": 1}
    assert set(result.sites_of(LAB).values()) == {"fra", "iad", "sin", "cloud"}


def test_the_timeline_has_what_was_done_and_what_users_saw() -> None:
    found = result.to_json(STORY, LAB)
    json.dumps(found)
    told = [(line["at"], line["what"]) for line in found["timeline"]]
    assert (2.0, "killed & lost") in told
    assert (2.2, "europe web: http: reset -> http: timed out") in told
    assert (7.0, "europe dns: fra -> iad") in told
    assert told == sorted(told, key=lambda one: one[0])


def test_each_second_of_an_audience_is_told() -> None:
    seconds = result.seconds(STORY, LAB, WEB)
    assert seconds[0] == {"fra": 1}
    assert seconds[1] == {"in flight": 1}
    assert seconds[2] == {"failed": 1}
    assert seconds[6] == {"iad": 1}


def test_the_page_holds_every_drill_and_its_plots_are_well_formed() -> None:
    found = [result.to_json(STORY, LAB)]
    made = page.page(found)
    assert "A &lt;drill&gt;" in made
    assert "killed &amp; lost" in made
    drawn = ElementTree.fromstring(page.plot(found[0]))
    wide = [one for one in drawn.iter("rect") if one.attrib["width"] != "10"]  # that is the legend's
    assert {one.attrib["fill"] for one in wide} == {colour for name, colour in page.COLOURS.items() if name != "cloud"}


def test_of_a_drill_without_clients_a_page_is_made_too() -> None:
    story = Story("none", "None", "", [], [], [], {})
    assert result.total(story, LAB).requests == 0
    page.page([result.to_json(story, LAB)])


def test_drills_have_names_of_their_own_and_say_what_they_promise() -> None:
    assert len(DRILLS) >= 12
    assert all(drill.name == name and drill.title and drill.promise for name, drill in DRILLS.items())
