"""What `gslb status` says of DNS in the driver: where it runs, from what it answers, and how many queries each executor had.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any


def driver_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a report; none where nothing is known of it."""
    driver = found["driver"]
    if driver is None:
        return
    if driver["why"]:
        yield f"driver      no DNS: {driver['why']}"
        return
    modes = ", ".join(f"{one['name']} {one['attached']}" for one in driver["interfaces"])
    addresses = "1 address" if driver["addresses"] == 1 else f"{driver['addresses']} addresses"
    yield f"driver      DNS on {modes}: plan version {driver['version']}, {addresses}, {driver['octets'] / 1e6:,.0f} MB"
    inside = found["counters"]["xdp"]
    queries = "1 query" if inside == 1 else f"{inside:,} queries"
    yield f"            {queries} answered there, {found['queries'] - inside:,} by workers"
    if not driver["pid"]:
        yield f"            no process drives it{_since(found)}: the kernel goes on answering by that plan, and nobody counts"
    for note in driver["notes"]:
        yield f"            {note}"


def _since(found: Mapping[str, Any]) -> str:
    """Since when nobody has looked at its counts; nothing where nobody ever did."""
    seen = max((one["seen"] for one in found["workers"] if one["kind"] == "xdp"), default=None)
    return f" since {datetime.fromtimestamp(seen, UTC):%Y-%m-%d %H:%M:%S} UTC" if seen is not None else ""
