"""What the log says of the rate limit, and how often."""

from __future__ import annotations

import logging

import pytest

from gslb.nameserver.counters import Counter
from gslb.nameserver.overlimit import TELL_S, OverLimit


def counts(over: int) -> list[int]:
    found = [0] * len(Counter)
    found[Counter.OVER_LIMIT] = over
    return found


def test_it_is_told_once_a_minute_at_most(caplog: pytest.LogCaptureFixture) -> None:
    told = OverLimit(logging.getLogger("gslb.test"))
    for now, over in ((0.0, 0), (1.0, 5), (1.2, 9), (TELL_S, 20), (TELL_S + 1, 30), (TELL_S + 2, 40), (3 * TELL_S, 40)):
        told.look(counts(over), "192.0.2.77", now)
    assert [vars(record)["responses"] for record in caplog.records] == [5, 25, 10]
    assert {vars(record)["client"] for record in caplog.records} == {"192.0.2.77"}
    assert all("limits.responses_per_s" in record.message for record in caplog.records)


def test_nothing_is_told_of_answers_that_count_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    told = OverLimit(logging.getLogger("gslb.test"))
    told.look((), "", 0.0)
    told.look(counts(0), "", 0.0)
    assert not caplog.records
    told.look(counts(1), "", 0.0)
    assert not hasattr(caplog.records[0], "client"), "the driver does not know whom"
