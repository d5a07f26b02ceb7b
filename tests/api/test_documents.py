"""docs/api.md lists the paths, fields, statuses and kinds of changes that there are."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path

from gslb.api.connection import CONNECTIONS, OF_ONE_CLIENT, Patience
from gslb.api.gate import BURST, PER_S
from gslb.api.server import Routes
from gslb.api.stream import HEARTBEAT_S, READERS
from gslb.control.changes import What
from gslb.control.events import KEPT
from tests.api.desk import FakeDesk
from tests.api.test_writes import DRAIN

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "api.md").read_text()


def test_every_path_is_documented(desk: FakeDesk) -> None:
    documented = re.findall(r"^\| (GET|POST|DELETE) \| `(\S+)` \|", TEXT, re.M)
    assert documented == [(method, path) for method, path, _ in Routes(desk).table]


def test_every_status_is_documented() -> None:
    source = "".join(path.read_text() for path in (ROOT / "gslb" / "api").glob("*.py"))
    told = {HTTPStatus[name].value for name in re.findall(r"HTTPStatus\.([A-Z_]+)", source)} - {200, 204}
    assert {int(status) for status in re.findall(r"^\| (\d{3}) \|", TEXT, re.M)} == told | {400}


def test_fields_kinds_and_limits_are_documented() -> None:
    fields = re.findall(r"^\| `(\w+)` \| (?:text|number|true or false) \|", TEXT, re.M)
    assert fields == [*(name for name in ("target", "state", "why", "who", "for")), "force", "pool", "value", "at"]
    assert DRAIN.keys() <= set(fields)
    for kind in What:
        assert f"`{kind}`" in TEXT
    assert f"more than {PER_S:.0f} requests a second of one client ({BURST:.0f} at once)" in TEXT
    assert (
        f"too many connections ({CONNECTIONS}, and {OF_ONE_CLIENT} of one client), readers of events ({READERS})"
        in TEXT
    )
    assert f"within {Patience().body_s:.0f} s" in TEXT
    assert f"A comment every {HEARTBEAT_S:.0f} s" in TEXT
    assert f"no longer kept ({KEPT:,} changes)".replace(",", " ") in TEXT
