"""How much went over the bus, by direction and kind of message.  Pure."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from gslb.bus.messages import Kind

_KINDS = frozenset(Kind)
OTHER = "other"  # in place of kinds that there are not: whoever is on the bus may make them up


class Direction(StrEnum):
    """Which way a message went."""

    HEARD = "heard"
    TOLD = "told"


class Traffic:
    """Counts messages and octets of their bodies; they only grow."""

    def __init__(self) -> None:
        self._messages: Counter[tuple[Direction, str]] = Counter()
        self._octets: Counter[tuple[Direction, str]] = Counter()

    def count(self, direction: Direction, kind: str, octets: int) -> None:
        """One message, with a body of so many octets."""
        where = direction, kind if kind in _KINDS else OTHER
        self._messages[where] += 1
        self._octets[where] += octets

    def state(self) -> dict[str, dict[str, dict[str, int]]]:
        """By direction and kind, as JSON values."""
        found: dict[str, dict[str, dict[str, int]]] = {direction: {} for direction in Direction}
        for (direction, kind), messages in sorted(self._messages.items()):
            found[direction][kind] = {"messages": messages, "octets": self._octets[direction, kind]}
        return found
