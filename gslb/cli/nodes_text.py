"""What `gslb status` says of the bus and of all nodes of the deployment.  Pure.

A node that is alone has none of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from gslb.cli.duration import duration

_LATE_S = 10.0  # it is written every two seconds
_SKEW_S, _DELAY_S = 0.5, 0.1  # less is not worth a word
_KNOWN = {"opinions": "opinions", "loads": "loads", "rtts": "trips", "demand": "answers"}

Node = Mapping[str, Any]
Column = Callable[[Node], str]


def bus_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The bus: where it is connected, or since when it is gone, and what was refused."""
    sharing = found.get("sharing")
    if not sharing:
        return
    bus, now = sharing["bus"], found["now"]
    late_s = now - sharing["at"]
    if late_s > _LATE_S:
        yield f"nodes       as they were known {duration(late_s)} ago: the controller does not tell any more"
    since_s = max(0.0, now - bus["since"])
    if bus["connected"]:
        yield f"bus         {bus['server']}, connected for {duration(since_s)}"
        if bus["keys_why"]:
            yield f"bus         its keys cannot be reached, so overrides and levels are not shared: {bus['keys_why']}"
    else:
        since = datetime.fromtimestamp(bus["since"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        why = f": {bus['why']}" if bus["why"] else ""
        yield f"bus         gone since {since} ({duration(since_s)}); what other nodes say is as old{why}"
    refused = Counter(bus["refused"]) + Counter(sharing["refused"])
    refused["shed"] = sharing.get("sheds", {}).get("refused", 0)
    told = ", ".join(f"{cause} {count:,}" for cause, count in sorted(refused.items()) if count)
    if told:
        yield f"bus         refused since the start: {told}"


def route_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What each node announces, or does not; of this one there is more elsewhere."""
    for one in _nodes(found):
        if one["this"] and found.get("announcing"):
            continue
        for prefix, state in sorted(one.get("routes", {}).items()):
            yield f"route       {one['node']}: {prefix} {state}"


def nodes_table(found: Mapping[str, Any]) -> Table | None:
    """All nodes, this one first; what is alike on all, and columns in which nothing stands, are left out."""
    nodes = _nodes(found)
    if not nodes:
        return None
    alike = len({one["config"] for one in nodes if one.get("config")}) <= 1
    columns: dict[str, Column] = {
        "node": lambda one: str(one["node"]),
        "site": lambda one: str(one["site"]),
        "state": _state,
        "gslb": lambda one: one.get("version", ""),
        "config": lambda one: _configuration(one, alike=alike),
        "plan": lambda one: f"{one['plan_version']} {one['plan'][:8]}" if one.get("plan") else "",
        "balancer": lambda one: one.get("balancers", "")[:8],
        "clock": _clock,
        "late": lambda one: f"{one['delay_s']:.2f} s" if one.get("delay_s", 0.0) >= _DELAY_S else "",
    }
    columns |= {title: _age(kind) for kind, title in _KNOWN.items()}
    cells = {title: [column(one) for one in nodes] for title, column in columns.items()}
    if len(set(filter(None, cells["gslb"]))) <= 1:
        del cells["gslb"]  # it stands above
    shown = {title: column for title, column in cells.items() if any(column)}
    table = Table(box=None, pad_edge=False)
    for title in shown:
        table.add_column(title, overflow="fold")
    for row in zip(*shown.values(), strict=True):
        table.add_row(*(cell or "-" for cell in row))
    return table


def steered_by(sharing: Mapping[str, Any], pool: str) -> str:
    """Which node says what a pool sheds; without the bus what others said is kept."""
    bus = sharing["bus"]
    unknown = "not known" if bus["connected"] and not bus["keys_why"] else "kept"
    return sharing.get("sheds", {}).get("writers", {}).get(pool) or unknown


def _nodes(found: Mapping[str, Any]) -> list[Node]:
    sharing = found.get("sharing")
    return list(sharing["nodes"]) if sharing else []


def _state(one: Node) -> str:
    if one["this"]:
        state = "this node"
    elif one["heard_s"] is None:
        state = "never heard"
    else:
        state = "alive" if one["alive"] else f"not heard for {duration(one['heard_s'])}"
    notes: Iterable[str] = (
        f"blind for {duration(one['blind_s'])}" if one.get("blind_s") is not None else "",
        "not in the configuration" if one.get("stranger") else "",
    )
    return ", ".join(filter(None, (state, *notes)))


def _configuration(one: Node, *, alike: bool) -> str:
    if not one.get("config"):
        return ""
    version = f"version {one['config_version']}" if one["config_version"] else "own file"
    digest = "" if alike else f" ({one['config'][:8]})"
    return f"{'another: ' if one['other_config'] else ''}{version}{digest}"


def _clock(one: Node) -> str:
    skew_s = one.get("skew_s", 0.0)
    return f"{abs(skew_s):.1f} s {'ahead' if skew_s > 0 else 'behind'}" if abs(skew_s) >= _SKEW_S else ""


def _age(kind: str) -> Column:
    def cell(one: Node) -> str:
        heap = one.get("known", {}).get(kind)
        return duration(heap["age_s"]) if heap else ""

    return cell
