"""What BIRD and FRR say of one prefix -> routes.  Pure.

BIRD: the lines of its control socket (doc/reply_codes of BIRD 2), for `show route PREFIX all`.
FRR: `show bgp ipv4|ipv6 unicast PREFIX json`.  It says well-known communities by name (RFC 1997, 7999, 8326, 9494).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from bgp.routes import Attributes
from gslb.model.deployment import Address

_WELL_KNOWN = {
    "internet": (0, 0),
    "gracefulShutdown": (65535, 0),
    "graceful-shutdown": (65535, 0),
    "acceptOwn": (65535, 1),
    "llgrStale": (65535, 6),
    "noLlgr": (65535, 7),
    "blackhole": (65535, 666),
    "noExport": (65535, 65281),
    "noAdvertise": (65535, 65282),
    "localAs": (65535, 65283),
    "noPeer": (65535, 65284),
}
_ROUTE = re.compile(
    r"(?P<kind>unicast|unreachable) \[(?P<name>\S+) \S+(?: \S+)?(?: from (?P<giver>[0-9a-fA-F.:]+))?\](?P<used> \*)?"
)


@dataclass(frozen=True, slots=True)
class InRouter:
    """A route that a router holds: who gave it, whether it is the best (or as good), and what it says."""

    giver: Address
    used: bool
    attributes: Attributes


class Unreadable(ValueError):
    """What a router said is not what it was asked for."""


def bird_routes(text: str) -> tuple[InRouter, ...]:
    """The routes of a reply of BIRD's control socket without its codes.  Raises Unreadable."""
    parts = re.split(r"\n(?=\S*\s+(?:unicast|unreachable) \[)", text)
    return tuple(_bird_route(part) for part in parts if _ROUTE.search(part) and "BGP." in part)


def frr_routes(text: str) -> tuple[InRouter, ...]:
    """The routes of FRR's JSON.  Raises Unreadable."""
    try:
        return tuple(_frr_route(path) for path in json.loads(text).get("paths", ()))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"FRR said {text[:80]!r} - expected the JSON of a prefix's paths ({error!r})") from None


def _bird_route(text: str) -> InRouter:
    head, fields = _ROUTE.search(text), dict(re.findall(r"^\s*BGP\.(\w+): ?(.*)$", text, re.M))
    via = re.search(r"^\s*via (\S+) on", text, re.M)
    try:
        giver = (
            head["giver"] if head is not None and head["giver"] else via[1] if via is not None else fields["next_hop"]
        )
        return InRouter(
            ip_address(giver.split()[0]),
            head is not None and head["kind"] == "unicast" and head["used"] is not None,
            Attributes(
                med=int(fields["med"]) if "med" in fields else None,
                local_pref=int(fields["local_pref"]) if "local_pref" in fields else None,
                as_path=_numbers(fields["as_path"]),
                communities=tuple(
                    _pair(found) for found in re.findall(r"\((\d+),\s*(\d+)\)", fields.get("community", ""))
                ),
                large=tuple(
                    _triple(found) for found in re.findall(r"\(([\d, ]+)\)", fields.get("large_community", ""))
                ),
            ),
        )
    except (KeyError, ValueError) as error:
        raise Unreadable(f"BIRD said {text[:80]!r} - expected a route with its attributes ({error!r})") from None


def _frr_route(path: dict[str, Any]) -> InRouter:
    names = path.get("community", {}).get("list", ())
    return InRouter(
        ip_address(path["peer"]["peerId"]),
        bool(path.get("multipath") or path.get("bestpath", {}).get("overall")),
        Attributes(
            med=path.get("metric"),
            local_pref=path.get("locPrf"),
            as_path=_numbers(path["aspath"]["string"]),
            communities=tuple(_WELL_KNOWN[name] if name in _WELL_KNOWN else _pair(name.split(":")) for name in names),
            large=tuple(_triple(text) for text in path.get("largeCommunity", {}).get("list", ())),
        ),
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in re.findall(r"\d+", text))


def _pair(parts: tuple[str, str] | list[str]) -> tuple[int, int]:
    high, low = parts
    return int(high), int(low)


def _triple(text: str) -> tuple[int, int, int]:
    first, second, third = _numbers(text)
    return first, second, third
