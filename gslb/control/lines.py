"""Changes as lines of the log: what went from where to where, and why.  Pure.

A configuration and a plan that are put in force have lines of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gslb.control.changes import GSLB, Change, What

MOST = 20  # lines a moment; the audit log has all
_NONE = {
    What.OVERRIDE: "auto",
    What.EJECTION: "in",
    What.OUT: "in",
    What.KEPT: "not kept",
    What.SHED: "0.0%",
    What.NODE: "not heard yet",
    What.OTHER_CONFIGURATION: "the same",
    What.CLOCK: "right",
    What.ROUTE: "not configured",
}
_ELSEWHERE = (What.CONFIGURATION, What.PLAN)


@dataclass(frozen=True, slots=True)
class Line:
    """One line and its fields; a field that is None is left out."""

    text: str
    fields: Mapping[str, str | None]


def lines(changes: Iterable[Change]) -> list[Line]:
    """A line for each change, in their order; of too many only how many more there are."""
    told = [change for change in changes if change.what not in _ELSEWHERE and not _unseen(change)]
    found = [Line(_text(change), {"why": change.why, "who": _who(change)}) for change in told[:MOST]]
    if len(told) > MOST:
        found.append(Line(f"and {len(told) - MOST:,} more changes: the audit log has all", {}))
    return found


def _unseen(change: Change) -> bool:
    """Whether what is shed changed by less than a line would show."""
    return change.what is What.SHED and _side(What.SHED, change.before) == _side(What.SHED, change.after)


def _text(change: Change) -> str:
    return f"{change.what} {change.subject}: {_side(change.what, change.before)} -> {_side(change.what, change.after)}"


def _who(change: Change) -> str | None:
    return None if change.who == GSLB else change.who


def _side(what: What, value: Any) -> str:
    """One side of a change in words."""
    if what is What.BLIND:
        return "blind" if value else "sees"
    if value is None:
        return _NONE.get(what, "not known")
    words = _WORDS.get(what)
    return str(value) if words is None else words(value)


def _out(value: Mapping[str, Any]) -> str:
    return f"{'held' if value['held'] else 'out'} ({', '.join(map(str, value['types']))})"


def _shed(value: Mapping[str, Any]) -> str:
    to = f" to {', '.join(value['to'])}" if value["to"] else ""
    return f"{value['level']:.1%}{to}"


_WORDS: Mapping[What, Callable[[Any], str]] = {
    What.OVERRIDE: lambda value: str(value["state"]),
    What.CONFLICT: lambda value: f"{value['state']} of {value['node']}",
    What.EJECTION: lambda _: "ejected",
    What.OUT: _out,
    What.KEPT: lambda value: f"kept by {value}",
    What.SHED: _shed,
    What.CLOCK: lambda ahead_s: f"{ahead_s:+g} s",
}
