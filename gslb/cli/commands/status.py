"""`gslb status`: what this node is doing, from its state folder."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gslb.cli.balancer_text import balancer_lines
from gslb.cli.console import console as stdout
from gslb.cli.driver_text import driver_lines
from gslb.cli.duration import duration
from gslb.cli.executor_text import executor_lines
from gslb.cli.nodes_text import bus_lines, nodes_table, route_lines, steered_by
from gslb.cli.options import add_config, add_node, add_state, node_of
from gslb.cli.rollout_text import rollout_lines
from gslb.cli.routes_text import announcing_lines, draining_lines
from gslb.cli.situation import configuration
from gslb.config.problem import Refused
from gslb.control import facts
from gslb.control.report import Report, report
from gslb.control.store import Store
from gslb.model.deployment import Deployment
from gslb.model.plan import Mode

_WATCH_S = 2.0  # between two looks
_LISTED = 20  # overrides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gslb status`."""
    add_config(parser)
    add_node(parser)
    add_state(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--watch", action="store_true", help="show it anew every two seconds, until Ctrl-C")


def run(arguments: argparse.Namespace) -> int:
    """Print the report; 1 where the node does not serve."""
    try:
        store, deployment = _which(arguments)
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    except PermissionError as error:
        return _forbidden(error)
    console = stdout()
    loaded = None
    try:
        while True:
            found = report(store, deployment, time.time())  # noqa: TID251  # a command has no other clock
            before, loaded = loaded, (found["generation"] or {}).get("configuration")
            if before not in (None, loaded):  # another one is in force since the last look
                with suppress(Refused):
                    store, deployment = _which(arguments)
                    continue
            if arguments.watch and not arguments.json:
                console.clear()
            if arguments.json:
                print(json.dumps(found, indent=None if arguments.watch else 2), flush=True)
            else:
                show(found, console)
            if not arguments.watch:
                return 0 if serves(found) else 1
            time.sleep(_WATCH_S)
    except PermissionError as error:
        return _forbidden(error)
    except KeyboardInterrupt:
        return 0


def serves(found: Report) -> bool:
    """Whether there is a generation and a living UDP worker."""
    living = any(worker["alive"] and worker["kind"] == "udp" for worker in found["workers"])
    return living and found["generation"] is not None


def show(found: Report, console: Console) -> None:
    """The report for people."""
    for part in (*_head(found), *bus_lines(found), _workers(found), *_told(found)):
        if isinstance(part, str):
            console.print(part, highlight=False, markup=False)
        else:
            console.print(part)


def _head(found: Report) -> Iterator[str]:
    """The processes, and what they serve."""
    generation, controller = found["generation"], found["controller"]
    which = "".join(f"  {name} {found[name]}" for name in ("deployment", "node", "site") if found[name] is not None)
    yield f"gslb {found['version']}{which}"
    yield f"supervisor  {_process(found['supervisor']['pid'])}"
    yield f"controller  {_process(controller['pid'])}{_silence(controller, found['now'])}"
    if found["listening"]:
        yield f"listening   {', '.join(found['listening'])}"
    if generation is None:
        yield "generation  none: nothing is served yet"
    else:
        yield (
            f"generation  {generation['number']}: plan version {generation['plan_version']} "
            f"({generation['plan_digest'][:12]}), {duration(generation['plan_age_s'])} old{_left_out(generation['image'])}"
        )
    yield f"geography   {_geography(found['geography'])}"
    counts = ", ".join(f"{name} {value}" for name, value in found["counters"].items() if value)
    yield f"queries     {found['queries']}{': ' + counts if counts else ''}"


def _told(found: Report) -> Iterator[str | Table]:
    """Nodes, pools, and what is not as it should be."""
    nodes = nodes_table(found)
    if nodes is not None:
        yield nodes
        yield from route_lines(found)
    if found["pools"]:
        yield _pools(found)
        yield from _targets(found)
        yield from _warnings(found["checks"])
    yield from executor_lines(found)
    yield from driver_lines(found)
    yield from balancer_lines(found)
    yield from announcing_lines(found)
    yield from draining_lines(found)
    yield from _policies(found["policies"])
    if found["blind_since"] is not None:
        since = duration(max(0.0, found["now"] - found["blind_since"]))
        yield f"blind       for {since}: no reference target answers, so this site's checks do not count"
    yield from rollout_lines(found)
    yield from _overrides(found)
    for what, lines in found["problems"].items():
        if what != "bus" or not found["sharing"]:  # its line is above
            yield from (f"problem     {what}: {line}" for line in lines)


def _which(arguments: argparse.Namespace) -> tuple[Store, Deployment | None]:
    """The state folder; by the configuration, or the only one there is while that is refused.  Raises Refused."""
    try:
        deployment = configuration(arguments).deployment
    except Refused:
        known = sorted(arguments.state.glob(f"*/*/{facts.NAME}"))
        if len(known) != 1:
            raise
        print(f"{arguments.config} is refused now; `gslb check` says why", file=sys.stderr)
        folder = Path(known[0]).parent
        return Store(arguments.state, folder.parent.name, folder.name), None
    node = node_of(deployment, arguments).name
    return Store(arguments.state, deployment.name, node), deployment


def _forbidden(error: PermissionError) -> int:
    remedy = "run it as the user that runs the node, or give --state"
    print(f"gslb: {error.filename}: {error.strerror}; {remedy}", file=sys.stderr)
    return 1


def _process(pid: int | None) -> str:
    return f"pid {pid}" if pid else "not running"


def _left_out(image: Mapping[str, Any] | None) -> str:
    """What executors in C leave to the reference for want of room."""
    found = (
        ", ".join(f"{count} {what}" for what, count in sorted(image["left_out"].items())) if image is not None else ""
    )
    return f"; not in its image: {found}" if found else ""


def _silence(controller: Mapping[str, Any], now: float) -> str:
    """Since when it does not answer, and what mends it."""
    silent_s = controller["silent_s"]
    if silent_s is None:
        return ""
    since = datetime.fromtimestamp(now - silent_s, UTC)
    mend = f"`kill -9 {controller['pid']}` has it replaced"
    return f", does not answer since {since:%Y-%m-%d %H:%M:%S} UTC ({duration(silent_s)}); {mend}"


def _geography(known: Mapping[str, Any] | None) -> str:
    if known is None:
        return "none yet"
    databases = ", ".join(known["databases"]) or "no database"
    notes = "".join(f"; {note}" for note in known["notes"])
    return f"{databases}; {known['classes']} classes ({known['digest'][:12]}){notes}"


def _workers(found: Report) -> Table:
    table = Table("worker", "pid", "state", "generation", "queries", "answers/s", "up", box=None, pad_edge=False)
    for one in found["workers"]:
        pid, state = one["pid"], "alive" if one["alive"] else "dead"
        if one["kind"] == "xdp":  # its page is the controller's, and what it tells of goes on without any process
            pid = found["driver"]["pid"] if found["driver"] is not None else None
            state = "alive" if pid else "undriven"
        up, rate = duration(found["now"] - one["since"]), one["answers_per_s"]
        cells = (pid or "-", state, one["generation"], one["queries"], "-" if rate is None else rate, up)
        table.add_row(f"{one['kind']} {one['slot']}", *map(str, cells))
    return table


def _pools(found: Report) -> Table:
    table = Table(
        "pool", "site", "true state", "override", "in answers", "load", "soft/hard", "sheds", box=None, pad_edge=False
    )
    if found["sharing"]:
        table.add_column("level by")
    for one in found["pools"]:
        true_state = one["true_state"] if one["checked"] else f"{one['true_state']} (not checked)"
        true_state += "".join(f", {own['true_state']} from {name}" for name, own in one["regional"].items())
        answered = "yes" if one["answered"] else "held" if one["out"] and one["out"]["held"] else "no"
        cells = (true_state, one["override"] or "-", answered, *_load(one["load"]), _sheds(one["shed"]))
        level_by = (steered_by(found["sharing"], one["name"]),) if found["sharing"] else ()
        table.add_row(one["name"], one["site"], *cells, *level_by)
    return table


def _load(load: Mapping[str, Any] | None) -> tuple[str, str]:
    """The load and its marks."""
    if load is None:
        return "-", "-"
    share = "not known" if load["share"] is None else f"{load['share']:.0%}"
    if load["over"]:
        share += f" over {load['over']}"
    if load["stale"]:
        share += f" ({duration(load['age_s'])} old)"
    return share, f"{load['soft']:.0%}{' (auto)' if load['auto'] else ''}/{load['hard']:.0%}"


def _sheds(shed: Mapping[str, Any] | None) -> str:
    """How much of a pool's answers goes elsewhere, and where to."""
    share = "0.0%" if shed is None else f"{shed['level']:.1%}"
    if shed is None or share == "0.0%":  # what is being taken back ends with steps that are too small to see
        return "-"
    to = f" to {', '.join(shed['to'])}" if shed["to"] else ""
    return f"{share}{to} ({shed['cause']})"


def _policies(policies: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Those whose answers are not the normal ones."""
    for one in policies:
        if any(mode != Mode.NORMAL for modes in one["modes"].values() for mode in modes):
            told = ", ".join(f"{rtype} {' and '.join(modes)}" for rtype, modes in one["modes"].items() if modes)
            yield f"policy      {one['name']}: {told}; TTL {one['ttl']} s"


def _targets(found: Report) -> Iterator[str]:
    """What is not well, target by target."""
    for pool in found["pools"]:
        for one in pool["targets"]:
            name = f"{pool['name']} {one['address']}"
            if one["health"] == "down":
                serves = "; given flows all the same: too few others serve" if one["serving"] == "up" else ""
                yield f"down        {name}: {one['why']} (checked {duration(one['age_s'])} ago){serves}"
            elif one["ejected_s"] is not None:
                yield f"ejected     {name} for {duration(one['ejected_s'])} more: {one['outlier']}"
            elif one["settles_s"] is not None:
                yield f"contrary    {name}: {one['why'] or 'checks pass again'}"
            elif one["why"]:
                yield f"up          {name}: {one['why']} (checked {duration(one['age_s'])} ago)"
        for continent, seen in pool["regional"].items():
            for one in seen["targets"]:
                why = f": {one['why']}" if one["why"] else ""
                told = f"{one['health']} as seen from {continent}{why} (checked {duration(one['age_s'])} ago)"
                yield f"regional    {pool['name']} {one['address']} is {told}"


def _warnings(checks: Mapping[str, Any]) -> Iterator[str]:
    """What checks and loads warn of, as the node kept it last."""
    for one in checks.get("targets", ()):
        if one["warning"]:
            yield f"warning     {', '.join(one['pools'])} {one['address']}: {one['warning']}"
    for pool, figures in checks.get("loads", {}).items():
        if figures["error"]:
            yield f"load        {pool}: {figures['error']}; the last one is kept"


def _overrides(found: Report) -> Iterator[str]:
    """Those of targets that exist first; many are folded."""
    ordered = sorted(found["overrides"], key=lambda one: one["known"] is False)
    for one in ordered[:_LISTED]:
        yield _override(one, found["node"], found["now"])
    if len(ordered) > _LISTED:
        yield f"override    ... and {len(ordered) - _LISTED:,} more; --json has all"


def _override(one: Mapping[str, Any], here: str, now: float) -> str:
    """One of them; where it was made only if that was elsewhere."""
    until = "until ended" if one["until"] is None else f"for {duration(max(0.0, one['until'] - now))} more"
    state = one["state"] if one["holds"] else f"{one['state']} (expired)"
    if one["known"] is False:
        state += " (no such target)"
    where = f" on {one['node']}" if one["node"] not in ("", here) else ""
    return f"override    {one['target']} {state} by {one['who']}{where}, {until}: {one['why']}"
