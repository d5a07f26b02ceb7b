"""What `gslb status` says of the balancer: how it is attached, each pool's table, and what it observes.  Pure.

What is wrong with any of it stands among the problems.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gslb.control.rates import CLEAR
from healthcheck.outlier import ERROR_FLOOR
from xdp.messages import Attached

_LISTED = 20  # backends of a table, VIPs of a pool


def balancer_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a report; none where nothing is to be balanced."""
    balancer = found["balancer"]
    if balancer is not None and balancer["refused"]:
        yield f"balancer    refused{_why(balancer['refused'], found)}"
        return
    for why in dict.fromkeys(found["unbalanced"].values()):
        pools = [pool for pool, each in found["unbalanced"].items() if each == why]
        yield f"unbalanced  {_folded(pools)}{_why(why, found)}"
    if balancer is None:
        return
    modes = ", ".join(map(_interface, balancer["interfaces"])) or "no interface yet"
    yield f"balancer    {modes}{'; adopted from an earlier run' if balancer['adopted'] else ''}"
    servings = {one["name"]: {each["address"]: each["serving"] for each in one["targets"]} for one in found["pools"]}
    for pool, table in balancer["tables"].items():
        yield _table(pool, table, servings.get(pool, {}))
    absent = _absent(found["controller"])
    if absent:
        yield f"traffic     not known while {absent}; `gslb lb stats` reads what the kernel counts"
        return
    ejected = {(pool["name"], one["address"]) for pool in found["pools"] for one in pool["targets"] if one["ejected_s"]}
    for pool, seen in balancer["passive"].items():
        yield from _traffic(pool, seen)
        yield from _round_trips(pool, seen["rtt"])
        yield from _again(pool, {name: one for name, one in seen["backends"].items() if (pool, name) not in ejected})


def _absent(controller: Mapping[str, Any]) -> str:
    """Why nobody knows what comes now; empty where the controller does."""
    if controller["pid"] is None:
        return "no controller runs"
    return "" if controller["silent_s"] is None else "the controller does not answer"


def milliseconds(seconds: float) -> str:
    """`0.08 ms`, `1.2 ms`, `48 ms`."""
    figure = seconds * 1000
    return f"{figure:.2f} ms" if figure < 1 else f"{figure:.1f} ms" if figure < 10 else f"{figure:.0f} ms"


def _why(reason: str, found: Mapping[str, Any]) -> str:
    """The reason, where no problem tells it."""
    return "" if any(reason in line for line in found["problems"].get("balancer", ())) else f": {reason}"


def _interface(one: Mapping[str, Any]) -> str:
    return f"{one['name']} {'not attached' if one['attached'] == Attached.NOT else one['attached']}"


def _table(pool: str, table: Mapping[str, Any], servings: Mapping[str, str | None]) -> str:
    """Each backend's share of the slots; where it has none, what the plan says of it."""
    total = sum(table["slots"].values()) or 1
    shares = [
        f"{backend} {f'{held / total:.1%}' if held else servings.get(backend) or '0%'}"
        for backend, held in table["slots"].items()
    ]
    moving = f"; {table['moving']:,} slots keep flows of an earlier backend" if table["moving"] else ""
    lost = f"; unreachable: {', '.join(table['unreachable'])}" if table["unreachable"] else ""
    return f"table       {pool} ({table['digest'][:12]}): {_folded(shares) or 'no backend'}{moving}{lost}"


def _folded(words: list[str]) -> str:
    more = f" and {len(words) - _LISTED:,} more" if len(words) > _LISTED else ""
    return ", ".join(words[:_LISTED]) + more


def _traffic(pool: str, seen: Mapping[str, Any]) -> Iterator[str]:
    """A line for the pool, and one for each VIP where several have packets."""
    vips = seen["vips"]
    if not vips:
        yield f"traffic     {pool}: not known"
        return
    packets, octets = (_sum(vips.values(), key) for key in ("packets_per_s", "octets_per_s"))
    active = _active(seen)
    if not packets:
        yield f"traffic     {pool}: no packets{active}"
        return
    known, followed = seen["connections_per_s"], seen["followed"]
    connections = "new connections not known" if known is None else f"{_number(known)} new connections/s"
    if followed is not None and followed < CLEAR:
        connections += f" (of SYNs only {followed:.1%} could be followed)"
    yield f"traffic     {pool}: {_rates(packets, octets)}, {connections}{active}"
    busy = {name: one for name, one in vips.items() if one["packets_per_s"]}
    if len(busy) > 1:
        for name, one in sorted(busy.items(), key=lambda item: -item[1]["packets_per_s"])[:_LISTED]:
            rates = _rates(one["packets_per_s"], one["octets_per_s"])
            yield f"            {name}: {rates}, {_number(one['connections_per_s'])} new connections/s{_active(one)}"


def _active(seen: Mapping[str, Any]) -> str:
    """Connections that there are, with what the estimate may be off by."""
    if seen.get("active") is None:
        return ""
    return f", {active_text(seen['active'], seen['active_error'])} active"


def active_text(active: int, error: int) -> str:
    """`300`, or `1,200 ± 30` where not every connection is followed."""
    return f"{active:,}" + (f" ± {error:,}" if error else "")


def _sum(counts: Iterable[Mapping[str, float]], key: str) -> float:
    return sum(one[key] for one in counts)


def _rates(packets: float, octets: float) -> str:
    return f"{_number(packets)} packets/s, {octets * 8 / 1e6:,.2f} Mbit/s"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _round_trips(pool: str, rtt: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """By address family: the middle, and how long the slow ones take."""
    for family, one in rtt.items():
        name = family.replace("ipv", "IPv")
        half, most = milliseconds(one["p50_s"]), milliseconds(one["p90_s"])
        yield f"round trip  {pool} {name} clients: median {half}, 90th percentile {most}"


def _again(pool: str, backends: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Backends for which clients repeat many SYNs; of those that are ejected for it the line of the ejection tells."""
    for name, one in backends.items():
        if one["outlier"]:
            yield f"SYNs again  {pool} {name}: {one['outlier']}"
        elif one["resent"] is not None and one["resent"] >= ERROR_FLOOR:
            yield f"SYNs again  {pool} {name}: {one['resent']:.0%} of its clients' SYNs are sent again"
