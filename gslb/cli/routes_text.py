"""What `gslb status` says of anycast routes, of BGP sessions, and of a site that drains.  Pure.

A node without a speaker has none of the routes; what is wrong with them stands among the problems.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gslb.cli.duration import duration
from gslb.control.draining import BALANCER, QUIET_S
from gslb.control.routealarms import reason_text

_WIDE = 100  # columns
_INDENT = " " * 12
_LATE_S = 10.0  # what is told each second is old then
_IN_ROUTER = {
    "used": "used",
    "unused": "there, but it prefers another route",
    "otherwise": "there with other attributes",
    "missing": "missing",
}

Known = Mapping[str, Any]


def announcing_lines(found: Known) -> Iterator[str]:
    """The speaker, each neighbor, each prefix; none where nothing is announced from this node."""
    state = found.get("announcing")
    if not state:
        return
    now = found["now"]
    yield from _speaker(state["speaker"], state["counts"])
    silent_s = found["controller"]["silent_s"]
    if found["controller"]["pid"] is None:
        yield "bgp         as it was when the controller was last there: it does not run"
    elif silent_s is not None:
        yield f"bgp         as it was {duration(silent_s)} ago: the controller does not answer"
    elif (late_s := now - state.get("at", now)) > _LATE_S:
        yield f"bgp         as it was {duration(late_s)} ago: the controller has written nothing since; is the disk full?"
    for one in state["neighbors"]:
        yield from _neighbor(one, now)
    for one in state["prefixes"]:
        yield from _prefix(one, now)


def draining_lines(found: Known) -> Iterator[str]:
    """What still comes to a site that an operator drains, and whether it is safe to stop; none where nobody does, or nothing runs."""
    state = found.get("draining")
    if not state or found["supervisor"]["pid"] is None:
        return
    now = found["now"]
    yield f"draining    site {state['site']} for {duration(max(0.0, now - state['since']))}: {_word(state)}"
    late_s = now - state["at"]
    if late_s > _LATE_S:
        yield f"draining    what comes is not known: the controller last told of it {duration(late_s)} ago; do not stop yet"
        return
    for one in state["arrivals"]:
        yield from _clauses("arrivals", f"{one['what']} {one['name']}: {_arrivals(one)}", _counted_by(one, late_s))
    if state["safe"]:
        yield f"draining    no new connections for {QUIET_S:.0f} s: safe to stop gslb here{_open(state['arrivals'])}"
        return
    for why in state["obstacles"]:
        yield from _clauses("draining", f"not safe to stop yet: {why}", ())


def _word(state: Known) -> str:
    return f"{state['state']} by {state['who']}: {state['why']}"


def _arrivals(one: Known) -> str:
    if one["unknown"]:
        return f"not known: {one['unknown']}"
    what = "new connections" if one["source"] == BALANCER else "answers"
    rate = "rate not known yet" if one["per_s"] is None else f"{_number(one['per_s'])} {what}/s"
    if one["checks_per_s"]:
        rate += f" ({_number(one['checks_per_s'])} are checks of other sites)"
    none = "no others" if one["checks_per_s"] else "none"
    return f"{rate}, {none} for {duration(one['quiet_s'])}" if one["quiet_s"] else rate


def _counted_by(one: Known, late_s: float) -> Iterator[str]:
    if one["unknown"]:
        return
    if one["active"] is not None:
        yield f"{one['active']:,} open"
    who = "the balancer" if one["source"] == BALANCER else "DNS of this node"
    yield f"counted by {who} {duration(one['age_s'] + max(0.0, late_s))} ago"


def _open(arrivals: Iterable[Known]) -> str:
    """Connections that end with it: those of pools, since prefixes have the same."""
    pools = [one["active"] for one in arrivals if one["what"] == "pool" and one["active"]]
    return f"; {sum(pools):,} that are open would end" if pools else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


def _speaker(speaker: Known, counts: Known) -> Iterator[str]:
    runs = f"pid {speaker['pid']}" if speaker["pid"] else "not running"
    version = f"ExaBGP {speaker['version']}" if speaker["version"] else "ExaBGP"
    clauses = [
        "adopted from an earlier run" if speaker["adopted"] else "",
        "" if speaker["ready"] or not speaker["pid"] else "does not answer yet",
        f"started again {_times(counts['restarts'])}" if counts["restarts"] else "",
    ]
    head = f"{speaker['name']}: AS {speaker['local_as']}, router id {speaker['router_id']}; {version}, {runs}"
    yield from _clauses("bgp", head, clauses)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _neighbor(one: Known, now: float) -> Iterator[str]:
    lasting = "" if one["since"] is None else f" for {duration(max(0.0, now - one['since']))}"
    routes = f"{one['routes']:,} route{'' if one['routes'] == 1 else 's'}"
    head = f"{one['address']} (AS {one['as']}): {'up' if one['up'] else 'down'}{lasting}"
    yield from _clauses("neighbor", head, (routes,) if one["up"] else (reason_text(one["reason"]) or "no answer",))


def _prefix(one: Known, now: float) -> Iterator[str]:
    head = (
        f"{one['prefix']} ({one['anycast']}): {one['state']} for {duration(max(0.0, now - one['since']))}: {one['why']}"
    )
    clauses = [
        f"kept: {one['veto']}" if one["veto"] else "",
        "" if one["operator"] == "none" else f"operator: {one['operator']}",
        "" if one["acked"] else "not acknowledged by ExaBGP yet",
        f"also announced by {', '.join(one['sites'])}" if one["sites"] else "no other site is known to announce it",
        _lease(one["lease"]),
        *_routers(one["in_router"], now),
        {True: "on lo", False: "not on lo", None: ""}[one["on_lo"]],
        *_local(one["local"]),
        f"{one['failures']:,} failures" if one["failures"] > 1 else "1 failure" if one["failures"] else "",
        f"next look in {duration(one['wake_s'])}" if one["wake_s"] else "",
    ]
    yield from _clauses("route", head, clauses)


def _lease(lease: Known) -> str:
    if lease["held"]:
        return "has the lease to withdraw"
    if not lease["wanted"]:
        return ""
    holder = f", {lease['holder']} has it" if lease["holder"] else ""
    return f"waits for the lease to withdraw{holder}"


def _routers(looks: Iterable[Known], now: float) -> Iterator[str]:
    for one in looks:
        age_s = max(0.0, now - one["at"])
        ago = f" ({duration(age_s)} ago)" if age_s > _LATE_S else ""
        yield f"in router {one['neighbor']}: {_IN_ROUTER.get(one['standing'], one['standing'])}{ago}"


def _local(local: Known) -> Iterator[str]:
    """What here is not as it should be; what is not checked yet tells itself as the reason."""
    for name, good in local.items():
        if good is False:
            yield f"{name} fails"


def _clauses(name: str, head: str, clauses: Iterable[str]) -> Iterator[str]:
    """A line that goes on in the next where it would be too long; no clause is broken."""
    line = f"{name:<12}{head}"
    for clause in filter(None, clauses):
        if len(line) + len("; ;") + len(clause) > _WIDE:
            yield f"{line};"
            line = f"{_INDENT}{clause}"
        else:
            line += f"; {clause}"
    yield line
