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
}


def report(driver: object) -> dict[str, Any]:
    return {"driver": driver, "queries": 1_300, "counters": {"xdp": 1_234}}


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
    assert "1 address," in next(iter(driver_lines(report({**DRIVER, "addresses": 1}))))
