"""Changes of routes and of BGP sessions, for the log, the audit log and events.  Pure.

It goes by the values under `announcing` in a report.  What is known first is no change: a controller that comes back adopts what
ExaBGP has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gslb.control.changes import GSLB, Change, What
from gslb.control.routealarms import reason_text

_NONE: Mapping[str, Any] = {"prefixes": (), "neighbors": ()}


def route_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> tuple[Change, ...]:
    """What differs, sessions first; None: there is no speaker."""
    return (*_sessions(before or _NONE, after or _NONE), *_routes(before or _NONE, after or _NONE))


def _sessions(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    was = {one["address"]: one for one in before["neighbors"]}
    for one in after["neighbors"]:
        old = was.get(one["address"])
        if old is None or old["up"] == one["up"]:
            continue
        lost = reason_text(one["reason"]) or after["speaker"]["problem"] or "no reason is known"
        why = "it is established" if one["up"] else lost
        yield Change(What.SESSION, one["address"], GSLB, why, _up(old), _up(one))


def _up(one: Mapping[str, Any]) -> str:
    return "up" if one["up"] else "down"


def _routes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    was = {one["prefix"]: one for one in before["prefixes"]}
    now = {one["prefix"]: one for one in after["prefixes"]}
    for prefix in dict.fromkeys((*was, *now)):
        old, new = was.get(prefix), now.get(prefix)
        if old is not None and new is not None and old["state"] != new["state"]:
            kept = f"; kept: {new['veto']}" if new["veto"] else ""
            yield Change(What.ROUTE, prefix, GSLB, f"{new['why']}{kept}", old["state"], new["state"])
        elif old is not None and new is None and old["state"] != "off":
            yield Change(What.ROUTE, prefix, GSLB, "it is not configured any more", old["state"], None)
