"""Changes of routes and of sessions: what is told of them, and where nothing changed."""

from __future__ import annotations

import json
from pathlib import Path

from gslb.control.changes import Change, Moment, What
from gslb.control.chronicle import Chronicle
from gslb.control.events import Hub
from gslb.control.lines import lines
from gslb.control.routechanges import route_changes
from tests.control.routed import FEW_SITES, NOW, PREFIX, ROUTER, neighbor, prefix, state

DRAINED = state(prefix(state="drain", why="no executor of DNS answers", veto=FEW_SITES))
DOWN = state(neighbors=(neighbor(up=False, reason="notification received (6,2)"),))


def test_a_route_that_moves() -> None:
    (there,) = route_changes(state(), DRAINED)
    assert there == Change(
        What.ROUTE, PREFIX, "gslb", f"no executor of DNS answers; kept: {FEW_SITES}", "announced", "drain"
    )
    (back,) = route_changes(DRAINED, state())
    assert (back.why, back.before, back.after) == ("healthy", "drain", "announced")
    (line,) = lines([there])
    assert (line.text, line.fields["why"]) == (f"route {PREFIX}: announced -> drain", there.why)


def test_a_session_that_ends_and_comes_back() -> None:
    (gone,) = route_changes(state(), DOWN)
    assert gone == Change(What.SESSION, ROUTER, "gslb", "ended by the router: administrative shutdown", "up", "down")
    (back,) = route_changes(DOWN, state())
    assert (back.why, back.before, back.after) == ("it is established", "down", "up")
    assert [line.text for line in lines([gone, back])] == [
        f"session {ROUTER}: up -> down",
        f"session {ROUTER}: down -> up",
    ]


def test_an_exabgp_that_ends_takes_its_sessions_with_it() -> None:
    ended = state(neighbors=(neighbor(up=False),), pid=None, ready=False, problem="ExaBGP ended")
    (gone,) = route_changes(state(), ended)
    assert (gone.subject, gone.why, gone.after) == (ROUTER, "ExaBGP ended", "down")
    (unknown,) = route_changes(state(), state(neighbors=(neighbor(up=False),)))
    assert unknown.why == "no reason is known"


def test_sessions_are_told_before_routes() -> None:
    both = {**DRAINED, "neighbors": DOWN["neighbors"]}
    assert [one.what for one in route_changes(state(), both)] == [What.SESSION, What.ROUTE]


def test_what_is_first_known_is_no_change_and_what_is_gone_is_one() -> None:
    assert route_changes(None, state()) == ()
    (gone,) = route_changes(state(), None)
    assert (gone.subject, gone.before, gone.after) == (PREFIX, "announced", None)
    assert [line.text for line in lines([gone])] == [f"route {PREFIX}: announced -> not configured"]
    assert route_changes(state(prefix(state="off")), None) == ()
    assert route_changes(state(), state(prefix(why="other", since=NOW), neighbors=(neighbor(routes=7),))) == ()


def test_each_change_is_told_once_from_when_the_table_is_known(tmp_path: Path) -> None:
    events = Hub(epoch=1)
    chronicle = Chronicle(tmp_path, events, Moment())
    early = state(prefix(state="off"), ready=False)
    unasked = {**DRAINED, "speaker": early["speaker"], "neighbors": DOWN["neighbors"]}
    ended = {
        **DRAINED,
        "speaker": {**early["speaker"], "pid": None, "problem": "ended"},
        "neighbors": DOWN["neighbors"],
    }
    for at, found in enumerate((None, early, state(), state(), DRAINED, unasked, DRAINED, ended, unasked, DRAINED)):
        chronicle.routes(NOW + at, found)
    chronicle.close()
    told = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(one["what"], one["subject"], one["before"], one["after"]) for one in told] == [
        ("route", PREFIX, "announced", "drain"),
        ("session", ROUTER, "up", "down"),
        ("session", ROUTER, "down", "up"),
    ]
