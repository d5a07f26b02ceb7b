"""Log lines: one line an event, whatever is in it."""

from __future__ import annotations

import json
import logging

from gslb.control.journal import JsonLines, Logfmt


def record(**extra: object) -> logging.LogRecord:
    one = logging.getLogger("gslb.node").makeRecord(
        "gslb.node", logging.INFO, "node.py", 1, "plan in force", (), None, extra=extra
    )
    one.created, one.msecs = 0.0, 5.0
    return one


def test_fields_follow_the_message() -> None:
    line = Logfmt().format(record(version=7, why='a "quoted"\nreason', empty="", nothing=None))
    assert line == (
        '1970-01-01T00:00:00.005Z info gslb.node: plan in force version=7 why="a \\"quoted\\"\\nreason" empty=""'
    )


def test_json_lines() -> None:
    assert json.loads(JsonLines().format(record(version=7))) == {
        "time": "1970-01-01T00:00:00.005Z",
        "level": "info",
        "logger": "gslb.node",
        "message": "plan in force",
        "version": 7,
    }


def test_an_error_keeps_its_traceback() -> None:
    try:
        raise ValueError("a defect")
    except ValueError as error:
        one = record()
        one.exc_info = (ValueError, error, error.__traceback__)
    assert "ValueError: a defect" in Logfmt().format(one)
    assert "ValueError: a defect" in json.loads(JsonLines().format(one))["traceback"]
