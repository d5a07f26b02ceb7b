"""The interfaces by which this node's default routes leave.  IO: reads /proc/net."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

NET = Path("/proc/self/net")  # of this process's network namespace
_UP, _REJECT = 0x1, 0x200  # RTF_UP, RTF_REJECT (linux/route.h)
_LOOPBACK = "lo"


def uplinks(net: Path = NET) -> tuple[str, ...]:
    """The interface of the default route of least metric, of IPv4 and of IPv6: one name, or two; none without a route."""
    best = [min(found, default=None) for found in (list(_routes4(net)), list(_routes6(net)))]
    return tuple(dict.fromkeys(one[1] for one in best if one is not None))


def _routes4(net: Path) -> Iterator[tuple[int, str]]:
    """Metric and interface of default routes; proc(5): interface, destination, gateway, flags, .., .., metric, mask."""
    for words in _lines(net / "route")[1:]:
        if words[1] == "00000000" and words[7] == "00000000" and _usable(words[0], words[3]):
            yield int(words[6]), words[0]


def _routes6(net: Path) -> Iterator[tuple[int, str]]:
    """As `_routes4`; destination, length, source, length, next hop, metric, .., .., flags, interface."""
    for words in _lines(net / "ipv6_route"):
        if words[1] == "00" and _usable(words[9], words[8]):
            yield int(words[5], 16), words[9]


def _usable(interface: str, flags: str) -> bool:
    bits = int(flags, 16)
    return interface != _LOOPBACK and bool(bits & _UP) and not bits & _REJECT


def _lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text().splitlines()]
    except OSError:  # a kernel without IPv6
        return []
