"""What `gslb status` says of versions of the configuration, and of overrides that others do not know yet."""

from __future__ import annotations

from typing import Any

import pytest

from gslb.cli.rollout_text import rollout_lines

RECORD = {"version": 3, "since": 1_000_000.0, "who": "alice", "node": "fra1", "why": "CHG-7"}
VERSION = "version 3 since 1970-01-12 13:46:40 UTC, by alice on fra1: CHG-7"


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ({}, []),
        ({"rollout": None, "agreement": None}, []),
        ({"rollout": {"published": None, "in_force": 0, "refused": {}}}, []),
        ({"rollout": {"published": RECORD, "in_force": 3}}, [f"config      {VERSION}"]),
        ({"rollout": {"published": RECORD, "in_force": 0}}, [f"config      its own file; published is {VERSION}"]),
        ({"rollout": {"published": RECORD, "in_force": 2}}, [f"config      version 2; published is {VERSION}"]),
        ({"rollout": {"published": None, "in_force": 2}}, ["config      version 2"]),
        (
            {"rollout": {"published": None, "refused": {"iad1": {"version": 3, "lines": list("abcde")}}}},
            [
                *(f"config      node iad1 refuses version 3: {line}" for line in "abc"),
                "config      ... and 2 lines more; --json has all",
            ],
        ),
        (
            {"agreement": {"waiting": 2, "refused": {"future": 1, "malformed": 3}}},
            [
                "overrides   2 not on the bus yet: other nodes may not know them",
                "overrides   4 refused from the bus: future 1, malformed 3",
            ],
        ),
    ],
    ids=map(str, range(9)),
)
def test_what_is_said(found: dict[str, Any], lines: list[str]) -> None:
    assert list(rollout_lines(found)) == lines
