"""What ExaBGP and its bridge say, as values.  Pure.

A peer can put text into some of it (the reason of a session's end), so no line is trusted: what cannot be read is None.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address

from gslb.model.deployment import Address

LONGEST_REASON = 200  # characters


@dataclass(frozen=True, slots=True)
class Hello:
    """The bridge has come: process ids of it and of ExaBGP, and whether it had to act without us."""

    bridge: int
    exabgp: int
    tripped: bool


@dataclass(frozen=True, slots=True)
class Dropped:
    """So many events were not kept for us, because we did not read."""

    events: int


@dataclass(frozen=True, slots=True)
class Refused:
    """So many of our lines the bridge did not pass on."""

    lines: int


@dataclass(frozen=True, slots=True)
class SessionSaid:
    """ExaBGP about a session: `up`, or not, and why not."""

    neighbor: Address
    up: bool
    reason: str = ""


Heard = Hello | Dropped | Refused | SessionSaid


def bridge_said(line: str) -> Hello | Dropped | Refused | None:
    """A line that begins with "#"."""
    word, *rest = line.split()
    try:
        numbers = [int(text) for text in rest]
    except ValueError:
        return None
    match word, numbers:
        case "#hello", [bridge, exabgp, tripped]:
            return Hello(bridge, exabgp, bool(tripped))
        case "#dropped", [events]:
            return Dropped(events)
        case "#refused", [lines]:
            return Refused(lines)
        case _:
            return None


def event_said(line: str) -> SessionSaid | None:
    """A JSON event.  Only `up` is a session: a router that refuses us is `connected` and `down` at each attempt."""
    try:
        said = json.loads(line)
        neighbor = said["neighbor"]
        if said["type"] != "state" or neighbor["state"] not in ("up", "down"):
            return None
        address = ip_address(neighbor["address"]["peer"])
        return SessionSaid(address, neighbor["state"] == "up", plain(neighbor.get("reason", "")))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def sessions_said(line: str) -> list[SessionSaid]:
    """The answer to `show neighbor json`.  Its `state` is wrong in a session's first second; `fsm` is not."""
    try:
        return [
            SessionSaid(ip_address(said["peer"]["address"]), said["fsm"] == "ESTABLISHED", "")
            for said in json.loads(line)
        ]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def plain(text: object) -> str:
    """Printable ASCII, and not too much of it: a router's words may end in a terminal."""
    return "".join(char if " " <= char <= "~" else "?" for char in str(text))[:LONGEST_REASON]
