"""What `gslb status` says of DNS in the driver."""

from __future__ import annotations

from typing import Any

from gslb.cli.driver_text import driver_lines

DRIVER = {
    "why": "",
    "notes": ["eth1: generic mode, which is slower: its driver"],
    "interfaces": [{"name": "eth0", "attached": "native"}, {"name": "eth1", "attached": "generic"}],
    "version": 7,
    "octets": 68_000_000,
    "addresses": 2,
    "pid": 77,
}


def report(driver: object, inside: int = 1_234) -> dict[str, Any]:
    workers = [{"kind": "udp", "seen": 2e9}, {"kind": "xdp", "seen": 1.8e9}]
    return {"driver": driver, "queries": 1_300, "counters": {"xdp": inside}, "workers": workers}


def test_nothing_where_nothing_is_known() -> None:
    assert list(driver_lines(report(None))) == []


def test_why_not() -> None:
    assert list(driver_lines(report({**DRIVER, "why": "dns.xdp is off"}))) == ["driver      no DNS: dns.xdp is off"]


def test_where_and_how_many() -> None:
    assert list(driver_lines(report(DRIVER))) == [
        "driver      DNS on eth0 native, eth1 generic: plan version 7, 2 addresses, 68 MB",
        "            1,234 queries answered there, 66 by workers",
        "            eth1: generic mode, which is slower: its driver",
    ]
    assert "            1 query answered there, 1,299 by workers" in driver_lines(report(DRIVER, 1))
    assert "1 address," in next(iter(driver_lines(report({**DRIVER, "addresses": 1}))))


def test_that_nobody_drives_it() -> None:
    undriven = report({**DRIVER, "pid": None})
    line = "no process drives it since 2027-01-15 08:00:00 UTC: the kernel goes on answering by that plan, and nobody counts"
    assert f"            {line}" in driver_lines(undriven)
    undriven["workers"] = []
    assert any("no process drives it: the kernel" in line for line in driver_lines(undriven))
