"""The table of whole-machine costs and its budgets."""

from __future__ import annotations

from bench.dnspath import REFLECTOR, Row, compare, missed, table


def row(server: str, whole: float, load: str = "ecs", lost: float = 0.0) -> Row:
    return Row(server, load, 100_000.0, lost, whole)


def test_what_the_reflector_took_is_taken_off() -> None:
    rows = compare([row(REFLECTOR, 2.0), row("gslb XDP", 2.5), row("gdnsd", 5.0)])
    assert [found.own for found in rows] == [None, 0.5, 3.0]
    assert missed(rows) == []
    assert table(rows).splitlines()[3] == "| ecs | gslb XDP | 100,000 | 0.00% | 2.50 | 0.50 | 6.00 |"


def test_at_full_speed_nothing_is_compared() -> None:
    assert [found.own for found in compare([row(REFLECTOR, 2.0, "full"), row("gdnsd", 5.0, "full")])] == [None, None]


def test_budgets_that_are_missed_are_told() -> None:
    rows = compare([row(REFLECTOR, 2.0), row("gslb XDP", 3.0), row("knot XDP", 3.2), row("gdnsd", 4.0)])
    assert missed(rows) == [
        "ecs: gslb XDP takes 1.00 s a million, gdnsd 2.00 - at most a 3.0th",
        "ecs: gslb XDP takes 1.00 s a million, knot XDP 1.20 - at most a 1.5th",
    ]
    bare = row(REFLECTOR, 2.0, "full", lost=0.005)
    lossy = row("gslb XDP", 3.0, "full", lost=0.01)
    assert missed([bare, lossy]) == ["full: gslb XDP lost 1.0000% - at most the reflector's 0.5000%"]
    assert missed([row(REFLECTOR, 2.0, "full", lost=0.01), lossy]) == []


def test_one_that_could_not_be_started_says_why() -> None:
    assert "| ecs | knot XDP | not installed |" in table([Row("knot XDP", "ecs", 0, 0, 0, note="not installed")])
