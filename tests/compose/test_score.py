"""What is made of requests."""

from __future__ import annotations

import json
from dataclasses import asdict

from compose.clients import Outcome
from compose.score import moves, read, score

STORY = [
    Outcome(10.0, 0.01, "203.0.113.1", "fra", "web-fra1"),
    Outcome(10.5, 3.00, "203.0.113.1", failed="http: timed out"),
    Outcome(10.9, 3.00, "203.0.113.1", failed="http: timed out"),
    Outcome(12.1, 2.00, failed="dns: timed out"),
    Outcome(13.0, 0.02, "203.0.113.2", "iad", "web-iad1"),
    Outcome(13.5, 0.02, "203.0.113.1", "fra", "web-fra2"),
]


def test_failures_are_counted_by_kind_and_by_the_seconds_in_which_somebody_waited_for_them() -> None:
    found = score(STORY, "fra")
    assert (found.requests, found.failures, found.degraded_s, found.wrong_site) == (6, 3, 5, 1)
    assert found.failed == {"http: timed out": 2, "dns: timed out": 1}
    assert found.by_site == {"fra": 2, "iad": 1}
    assert found.slowest_s == 3.0


def test_of_nothing_there_is_nothing() -> None:
    found = score([], "fra")
    assert (found.requests, found.failures, found.degraded_s, found.wrong_site, found.slowest_s) == (0, 0, 0, 0, 0.0)


def test_moves_are_told_once() -> None:
    assert moves(STORY) == [
        (10.0, "fra"),
        (10.5, "http: timed out"),
        (12.1, "dns: timed out"),
        (13.0, "iad"),
        (13.5, "fra"),
    ]


def test_lines_are_read_as_they_were_printed_but_for_one_that_was_cut_off() -> None:
    lines = [json.dumps(asdict(one)) for one in STORY]
    assert read(lines) == STORY
    assert read([*lines[:2], lines[2][:20]]) == STORY[:2]
