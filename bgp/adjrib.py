"""ExaBGP's own table of routes, read from its answer to `show adj-rib out extensive`.  Pure.

A line is `neighbor A local-ip B ... family-allowed X ipv4 unicast PREFIX next-hop C as-path ( 1 2 ) med 3 community [ 1:2 3:4 ]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network

from bgp.routes import Attributes, Route

OPENING = {"[": "]", "(": ")"}
WELL_KNOWN = {
    "no-export": (0xFFFF, 0xFF01),
    "no-advertise": (0xFFFF, 0xFF02),
    "no-export-subconfed": (0xFFFF, 0xFF03),
    "nopeer": (0xFFFF, 0xFF04),
    "no-peer": (0xFFFF, 0xFF04),
    "blackhole": (0xFFFF, 0x029A),
}


def route_of(line: str) -> Route:
    """The route of one line.  Raises ValueError for anything else."""
    words = line.split()
    try:
        family = words.index("unicast")
        session, (prefix, *said) = dict(_pairs(words[: family - 1])), words[family + 1 :]
        neighbor, local = ip_address(session["neighbor"][0]), ip_address(session["local-ip"][0])
        known = dict(_pairs(said))
        hop = ip_address(known["next-hop"][0])
        return Route(neighbor, ip_network(prefix), None if hop == local else hop, _attributes(known))
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{line[:200]!r} - expected a route of ExaBGP's table ({error})") from error


def _attributes(known: dict[str, list[str]]) -> Attributes:
    return Attributes(
        med=_whole(known.get("med")),
        local_pref=_whole(known.get("local-preference")),
        as_path=tuple(int(word) for word in known.get("as-path", ())),
        communities=tuple(_community(word) for word in known.get("community", ())),
        large=tuple(_large(word) for word in known.get("large-community", ())),
    )


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """A name and its values, which stand in brackets where there may be several."""
    rest = iter(words)
    for name in rest:
        value = next(rest, "")
        if value not in OPENING:
            yield name, [value]
            continue
        values = []
        for word in rest:
            if word == OPENING[value]:
                break
            values.append(word)
        yield name, values


def _whole(values: list[str] | None) -> int | None:
    return int(values[0]) if values else None


def _community(word: str) -> tuple[int, int]:
    if word in WELL_KNOWN:
        return WELL_KNOWN[word]
    high, low = word.split(":")
    return int(high), int(low)


def _large(word: str) -> tuple[int, int, int]:
    first, second, third = word.split(":")
    return int(first), int(second), int(third)
