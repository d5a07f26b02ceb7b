"""The table of the DNS bench: medians, the ratio to gdnsd, and servers that are not there."""

from __future__ import annotations

from bench.dns import Row, compare, table
from bench.hosts import Run


def row(server: str, cpu_s: float) -> Row:
    runs = [Run(answered=1000, lost=0.0, seconds=1.0, cpu_s=cpu_s)]
    return Row(server, "ecs", "1.0", answers_per_s=1000.0, cpu_s_per_million=cpu_s, busy=0.5, runs=runs)


def test_cpu_is_compared_with_gdnsd() -> None:
    rows = compare([row("gdnsd", 5.0), row("knot", 10.0), row("gslb", 2.5)])
    assert [(found.server, found.to_gdnsd) for found in rows] == [("gslb", 2.0), ("gdnsd", 1.0), ("knot", 0.5)]


def test_without_gdnsd_there_is_no_ratio() -> None:
    assert compare([row("knot", 10.0)])[0].to_gdnsd is None


def test_what_is_not_installed_is_said() -> None:
    lines = table(compare([row("gslb", 5.0), Row("knot", "ecs", note="not installed")])).splitlines()
    assert lines[2].split() == ["ecs", "gslb", "1.0", "1,000", "0.00%", "5.00", "-", "50%", "-", "-", "-"]
    assert lines[3].split() == ["ecs", "knot", "not", "installed"]
